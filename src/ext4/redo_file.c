/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The durable half of redo.h. The header is the commit: it holds the digest of everything, so that
 * one wait for the disk does for all, and a file that lost some of its blocks to a power cut is no
 * commit. After it the cells are copied into the image, as often as it takes.
 *
 * A file that is found later must be this image's: same size, and a superblock whose sectors are
 * the ones from before or the ones that it brings. An image that was mounted, repaired or replaced
 * meanwhile has another.
 */

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "crypto/digest.h"
#include "ext4/redo.h"
#include "ext4/redo_private.h"

#define SECTOR_SIZE     512U
#define COPY_CELLS      1024UL
#define SUPERBLOCK_CELL 1U

static const char magic[16] = "affix-redo 1\n";

struct redo_header {
	char magic[16];
	uint64_t image_size;
	uint64_t offset;
	uint64_t n_cells;
	uint8_t reserved[24];
	struct digest digest;
	uint8_t superblock[SUPERBLOCK_SIZE];
	uint8_t padding[REDO_HEADER_SIZE - 128 - SUPERBLOCK_SIZE];
};

_Static_assert(sizeof(struct redo_header) == REDO_HEADER_SIZE, "the header is what redo.h says");

int redo_read_exactly(int fd, void *data, size_t size, uint64_t offset)
{
	size_t n = 0;
	int r = fd_pread_full(fd, data, size, offset, &n);

	return r == 0 && n < size ? -ENODATA : r;
}

/* Of the header, its digest left out, and all that follows. */
static int digest_file(int fd, const struct redo_header *header, struct digest *ret)
{
	struct redo_header blank = *header;
	struct digest_state state;
	cleanup_free char *buffer = malloc(COPY_CELLS * REDO_CELL_SIZE);
	uint64_t cells = le64toh(header->n_cells);
	uint64_t left = cells * (REDO_CELL_SIZE + sizeof(uint64_t));
	uint64_t offset = REDO_HEADER_SIZE;

	if (!buffer)
		return -ENOMEM;
	blank.digest = DIGEST_INIT;
	digest_begin(&state);
	digest_add(&state, &blank, sizeof(blank));
	while (left > 0) {
		size_t n = (size_t)MIN(left, COPY_CELLS * REDO_CELL_SIZE);
		int r = redo_read_exactly(fd, buffer, n, offset);

		if (r < 0)
			return r;
		digest_add(&state, buffer, n);
		offset += n;
		left -= n;
	}
	digest_end(&state, ret);
	return 0;
}

static uint64_t table_offset(uint64_t n_cells)
{
	return REDO_HEADER_SIZE + n_cells * REDO_CELL_SIZE;
}

static int write_table(const struct redo *redo)
{
	cleanup_free uint64_t *table = calloc(MAX(redo->n_cells, 1U), sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < redo->n_cells; i++)
		table[i] = htole64(redo->cells[i]);
	return fd_pwrite_full(redo->fd, table, redo->n_cells * sizeof(*table),
			      table_offset(redo->n_cells));
}

/* Room in the image for what is copied in: a hole is filled here, before the commit, and not after
 * it. Where the file system cannot promise that, it is found out later, and finished then. */
static int reserve_room(const struct redo *redo)
{
	for (size_t i = 0; i < redo->n_cells;) {
		size_t run = 1;

		while (i + run < redo->n_cells && redo->cells[i + run] == redo->cells[i] + run)
			run++;
		if (fallocate(redo->image_fd, FALLOC_FL_KEEP_SIZE,
			      (off_t)(redo->place.offset + redo->cells[i] * REDO_CELL_SIZE),
			      (off_t)(run * REDO_CELL_SIZE)) < 0)
			return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
		i += run;
	}
	return 0;
}

int redo_file_commit(struct redo *redo)
{
	struct redo_header header = {0};
	struct stat st;
	int r;

	if (fstat(redo->image_fd, &st) < 0)
		return -errno;
	memcpy(header.magic, magic, sizeof(magic));
	header.image_size = htole64((uint64_t)st.st_size);
	header.offset = htole64(redo->place.offset);
	header.n_cells = htole64(redo->n_cells);
	r = redo_read_exactly(redo->image_fd, header.superblock, SUPERBLOCK_SIZE,
			      redo->place.offset + SUPERBLOCK_SIZE);
	if (r == 0)
		r = reserve_room(redo);
	if (r == 0)
		r = write_table(redo);
	if (r == 0)
		r = digest_file(redo->fd, &header, &header.digest);
	if (r == 0)
		r = fd_pwrite_full(redo->fd, &header, sizeof(header), 0);
	if (r == 0 && fdatasync(redo->fd) < 0)
		r = -errno;
	return r < 0 ? r : dir_sync(redo->dirfd);
}

/* How many of the *n* cells of *table* follow each other in the image. */
static size_t count_run(const uint64_t *table, size_t n)
{
	size_t run = 1;

	while (run < n && le64toh(table[run]) == le64toh(table[0]) + run)
		run++;
	return run;
}

/* One piece of cells, from the redo file to *place* in the image, or, *compare*, held against it.
 */
static int move_run(int image_fd, int fd, size_t first, uint64_t place, size_t n, char *buffer,
		    bool compare)
{
	char *other = buffer + COPY_CELLS * REDO_CELL_SIZE;
	size_t size = n * REDO_CELL_SIZE;
	int r = redo_read_exactly(fd, buffer, size,
				  REDO_HEADER_SIZE + (uint64_t)first * REDO_CELL_SIZE);

	if (r < 0)
		return r;
	if (!compare)
		return fd_pwrite_full(image_fd, buffer, size, place);
	r = redo_read_exactly(image_fd, other, size, place);
	return r < 0 ? r : (memcmp(buffer, other, size) == 0 ? 0 : -EIO);
}

static int move_cells(int image_fd, int fd, const struct redo_header *header, const uint64_t *table,
		      bool compare)
{
	cleanup_free char *buffer = malloc(2 * COPY_CELLS * REDO_CELL_SIZE);
	size_t n = (size_t)le64toh(header->n_cells);
	uint64_t base = le64toh(header->offset);
	int r = buffer ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < n;) {
		size_t run = MIN(count_run(table + i, n - i), COPY_CELLS);

		r = move_run(image_fd, fd, i, base + le64toh(table[i]) * REDO_CELL_SIZE, run,
			     buffer, compare);
		i += run;
	}
	return r;
}

static int read_table(int fd, uint64_t n_cells, uint64_t **ret)
{
	cleanup_free uint64_t *table = calloc(MAX(n_cells, 1U), sizeof(*table));
	int r;

	if (!table)
		return -ENOMEM;
	r = redo_read_exactly(fd, table, n_cells * sizeof(*table), table_offset(n_cells));
	if (r == 0)
		*ret = TAKE_PTR(table);
	return r;
}

/* Copies, waits, reads back from the disk, and only then forgets. */
int redo_file_apply(int image_fd, int dirfd, const char *name, int fd)
{
	cleanup_free uint64_t *table = NULL;
	struct redo_header header;
	int r;

	r = redo_read_exactly(fd, &header, sizeof(header), 0);
	if (r == 0)
		r = read_table(fd, le64toh(header.n_cells), &table);
	if (r == 0)
		r = move_cells(image_fd, fd, &header, table, false);
	if (r == 0 && fdatasync(image_fd) < 0)
		r = -errno;
	if (r == 0) {
		(void)posix_fadvise(image_fd, 0, 0, POSIX_FADV_DONTNEED);
		r = move_cells(image_fd, fd, &header, table, true);
	}
	if (r == 0)
		r = file_remove(dirfd, name, NULL);
	return r < 0 ? r : dir_sync(dirfd);
}

/* The superblock that a redo file brings, or the one from before where it brings none. */
static int find_superblock(int fd, const struct redo_header *header, const uint64_t *table,
			   uint8_t *ret)
{
	memcpy(ret, header->superblock, SUPERBLOCK_SIZE);
	for (size_t i = 0; i < le64toh(header->n_cells); i++) {
		if (le64toh(table[i]) == SUPERBLOCK_CELL)
			return redo_read_exactly(fd, ret, SUPERBLOCK_SIZE,
						 REDO_HEADER_SIZE + (uint64_t)i * REDO_CELL_SIZE);
	}
	return 0;
}

static int belongs(int image_fd, int fd, const struct redo_header *header, uint64_t image_size,
		   bool *ret)
{
	cleanup_free uint64_t *table = NULL;
	uint8_t found[SUPERBLOCK_SIZE];
	uint8_t brought[SUPERBLOCK_SIZE];
	int r;

	*ret = false;
	if (le64toh(header->image_size) != image_size || le64toh(header->offset) >= image_size)
		return 0;
	r = read_table(fd, le64toh(header->n_cells), &table);
	if (r == 0)
		r = redo_read_exactly(image_fd, found, sizeof(found),
				      le64toh(header->offset) + SUPERBLOCK_SIZE);
	if (r == 0)
		r = find_superblock(fd, header, table, brought);
	if (r != 0)
		return r == -ENODATA ? 0 : r;
	for (size_t i = 0; i < SUPERBLOCK_SIZE; i += SECTOR_SIZE) {
		if (memcmp(found + i, header->superblock + i, SECTOR_SIZE) != 0 &&
		    memcmp(found + i, brought + i, SECTOR_SIZE) != 0)
			return 0;
	}
	for (size_t i = 0; i < le64toh(header->n_cells); i++) {
		if (le64toh(table[i]) >= (image_size - le64toh(header->offset)) / REDO_CELL_SIZE)
			return 0;
	}
	*ret = true;
	return 0;
}

/* Whether the file was committed: all of it is there and has the digest that it says. */
static int is_committed(int fd, struct redo_header *header, bool *ret)
{
	struct digest digest;
	struct stat st;
	uint64_t n;
	int r;

	*ret = false;
	if (fstat(fd, &st) < 0)
		return -errno;
	r = redo_read_exactly(fd, header, sizeof(*header), 0);
	if (r < 0)
		return r == -ENODATA ? 0 : r;
	n = le64toh(header->n_cells);
	if (memcmp(header->magic, magic, sizeof(magic)) != 0 || n > REDO_CELLS_MAX ||
	    (uint64_t)st.st_size != table_offset(n) + n * sizeof(uint64_t))
		return 0;
	r = digest_file(fd, header, &digest);
	if (r == 0)
		*ret = digest_is_equal(&digest, &header->digest);
	return r;
}

/* Whether *fd* can be a file of ours at all: to remove another would be a loss. */
static int is_ours(int fd, bool *ret)
{
	char start[sizeof(magic)] = {0};
	static const char blank[sizeof(magic)] = {0};
	size_t n = 0;
	int r = fd_pread_full(fd, start, sizeof(start), 0, &n);

	*ret = n == 0 || memcmp(start, magic, sizeof(magic)) == 0 ||
	       memcmp(start, blank, sizeof(blank)) == 0;
	return r;
}

int redo_exists(int dirfd, const char *name, bool *ret)
{
	struct stat st;

	*ret = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	return *ret || errno == ENOENT ? 0 : -errno;
}

static int refuse_foreign(const char *image, const char *name, struct image_problem *problem)
{
	return image_refuse(problem, "foreign-redo",
			    "'%s' holds an unfinished change of another image, or '%s' was changed "
			    "since; put the image back that belongs to it, or remove '%s' to give "
			    "the change up",
			    name, image, name);
}

int redo_finish(int image_fd, const char *image, int dirfd, const char *name,
		struct image_problem *reterr_problem)
{
	struct redo_header header;
	cleanup_fd int fd = -EBADF;
	bool committed = false;
	bool ours = false;
	struct stat st;
	int r;

	r = path_open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (fstat(image_fd, &st) < 0)
		return -errno;
	r = is_ours(fd, &ours);
	if (r == 0 && ours)
		r = is_committed(fd, &header, &committed);
	if (r < 0)
		return r;
	if (!ours)
		return refuse_foreign(image, name, reterr_problem);
	if (!committed) {
		r = file_remove(dirfd, name, NULL);
		return r < 0 ? r : dir_sync(dirfd);
	}
	r = belongs(image_fd, fd, &header, (uint64_t)st.st_size, &committed);
	if (r < 0)
		return r;
	if (!committed)
		return refuse_foreign(image, name, reterr_problem);
	return redo_file_apply(image_fd, dirfd, name, fd);
}
