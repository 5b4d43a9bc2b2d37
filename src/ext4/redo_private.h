/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ext4/redo.h"

#define REDO_CELL_SIZE   1024U
#define REDO_HEADER_SIZE 4096U
#define REDO_CELLS_MAX   (64U << 20) /* 64 GiB of changes */

struct redo {
	int image_fd;
	int dirfd;
	const char *name; /* NULL: for reading only */
	struct disk_place place;
	int fd;
	uint64_t *cells; /* their numbers in the file system, in the order of staging */
	size_t n_cells;
	size_t n_allocated;
	uint32_t *map; /* hash table: index into cells plus one, 0: empty; a power of two long */
	size_t map_size;
	bool is_unsettled; /* something was written through that may not be on the disk yet */
	bool is_done;      /* the file is not ours to remove any more */
};

/* Reads or stages *size* bytes at *position* of the file system. 0; -ERANGE outside of it; -errno.
 */
must_check int redo_read(struct redo *redo, uint64_t position, void *data, size_t size);
must_check int redo_write(struct redo *redo, uint64_t position, const void *data, size_t size);

/* -ENODATA where there is less. */
must_check int redo_read_exactly(int fd, void *data, size_t size, uint64_t offset);

/* redo_file.c: the redo file of *n_cells* cells is completed. */
must_check int redo_file_commit(struct redo *redo);
/* Copies a committed redo file into the image and removes it. */
must_check int redo_file_apply(int image_fd, int dirfd, const char *name, int fd);
