/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ext4/redo.h"

#define REDO_CELL_SIZE    1024U
#define REDO_HEADER_SIZE  4096U
#define REDO_HOLES_OFFSET 2048U       /* in it, until the commit */
#define REDO_CELLS_MAX    (64U << 20) /* 64 GiB of changes */
#define REDO_SECTOR_SIZE  512U        /* a disk writes it whole or not at all */
#define REDO_RUN_MAX      1024UL      /* cells that are moved at once */

/* A line of the table: a cell of the file system, and its sectors' checksums, little-endian. */
struct redo_row {
	uint64_t cell;
	uint64_t checksums[REDO_CELL_SIZE / REDO_SECTOR_SIZE];
};

/* Bytes of the image file that are to be read from the disk (redo_fetch.c). */
struct redo_range {
	uint64_t begin;
	uint64_t end;
	bool is_direct; /* whoever reads them goes past the kernel's memory anyway */
};

struct redo_ranges {
	struct redo_range *items;
	size_t count;
	size_t allocated;
};

struct redo {
	int image_fd;
	int dirfd;
	const char *name; /* NULL: for reading only, or direct */
	struct disk_place place;
	int fd;
	uint64_t *cells; /* their numbers in the file system, in the order of staging */
	size_t n_cells;
	size_t n_allocated;
	uint32_t *map; /* hash table: index into cells plus one, 0: empty; a power of two long */
	size_t map_size;
	struct redo_row *written; /* cells that were written past the file */
	size_t n_written;
	size_t n_written_allocated;
	uint64_t written_end; /* behind the last of them */
	bool is_rewritten;    /* one may be there twice: the checksums are not to be relied on */
	char *ahead;          /* what follows the last read of the image, or NULL */
	uint64_t ahead_position;
	size_t ahead_size;
	size_t ahead_next;          /* what the next one is to have */
	uint64_t read_end;          /* of the last read */
	struct redo_header *header; /* what the commit will be, or NULL */
	bool is_prepared;           /* it is right: nothing was written since */
	char *small;                /* what small content is to be written past the file, or NULL */
	uint64_t small_position;
	size_t small_size;
	struct redo_ranges wanted; /* to be fetched */
	int direct_fd; /* the image, for reads from the disk; -EBADF where it has none */
	bool refuses_direct;
	bool is_direct;    /* nothing is staged: what is written is the image's at once */
	bool is_unsettled; /* something was written through that may not be on the disk yet */
	bool is_done;      /* the file is not ours to remove any more */
};

/* Reads or stages *size* bytes at *position* of the file system. 0; -ERANGE outside of it; -errno.
 */
must_check int redo_read(struct redo *redo, uint64_t position, void *data, size_t size);
must_check int redo_write(struct redo *redo, uint64_t position, const void *data, size_t size);

/* Whether it is staged. */
bool redo_has_cell(const struct redo *redo, uint64_t cell);

void redo_ranges_done(struct redo_ranges *ranges);
#define cleanup_redo_ranges CLEANUP(redo_ranges_done)
must_check int redo_ranges_add(struct redo_ranges *ranges, uint64_t offset, uint64_t size,
			       bool is_direct);
/* Has the kernel forget what it holds of the file there, if it is written. */
void redo_forget(int fd, uint64_t offset, uint64_t size);
/* Has them, which are written, forgotten by the kernel and on their way back from the disk; none
 * are left. */
void redo_ranges_fetch(struct redo_ranges *ranges, int fd);

/* -ENODATA where there is less. */
must_check int redo_read_exactly(int fd, void *data, size_t size, uint64_t offset);

/* redo_file.c: all of it but the header, which is kept. What was written past it is on the disk. */
must_check int redo_file_prepare(struct redo *redo);
/* Completes it. -errno: *ret_committed* tells whether it may be complete all the same. */
must_check int redo_file_commit(struct redo *redo, bool *ret_committed);
/* Copies a committed redo file into the image and removes it. */
must_check int redo_file_apply(int image_fd, int dirfd, const char *name, int fd);

/* redo_table.c: one row, of a cell whose bytes are at hand. */
void redo_table_set(struct redo_row *row, uint64_t cell, const char *data);
/* Writes the rows of all cells, staged and then written past the file, with what the image holds
 * now. Of much content they are many: no copy of them is made. */
must_check int redo_table_write(struct redo *redo, uint64_t *ret_n);
/* The first *n* of them; the caller frees them. */
must_check int redo_table_read(int fd, uint64_t n_cells, uint64_t n, struct redo_row **ret);
/* Whether the image is the one that the *n* rows were made of, whatever of the first *n_cells*
 * was copied into it since. */
must_check int redo_table_check(int image_fd, int fd, uint64_t offset, const struct redo_row *rows,
				uint64_t n_cells, uint64_t n, bool *ret);
/* How many of them, REDO_RUN_MAX at most, follow each other in the image. */
size_t redo_table_run(const struct redo_row *rows, size_t n);

/* Where the table is. */
static inline uint64_t redo_table_offset(uint64_t n_cells)
{
	return REDO_HEADER_SIZE + n_cells * REDO_CELL_SIZE;
}
