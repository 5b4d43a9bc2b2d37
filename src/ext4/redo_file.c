/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The durable half of redo.h. The header is the commit: it holds the digest of everything, so that
 * one wait for the disk does for all, and a file that lost some of its blocks to a power cut is no
 * commit. After it the cells are copied into the image, as often as it takes.
 *
 * A file that is found later must be this image's: same size, and each sector of the superblock and
 * of the cells is the one from before or the one that it brings (redo_table.c). An image that was
 * mounted, repaired or replaced meanwhile is another.
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
#include "ext4/lock.h"
#include "ext4/redo.h"
#include "ext4/redo_private.h"

#define SUPERBLOCK_CELL 1U

static const char magic[16] = "affix-redo 2\n";
/* Of it, what all versions have. */
#define MAGIC_NAME_SIZE (sizeof("affix-redo ") - 1)

struct redo_header {
	char magic[16];
	uint64_t image_size;
	uint64_t offset;
	uint64_t n_cells;
	uint64_t n_rows;
	uint8_t reserved[16];
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
	cleanup_free char *buffer = malloc(REDO_RUN_MAX * REDO_CELL_SIZE);
	uint64_t cells = le64toh(header->n_cells);
	uint64_t left = cells * REDO_CELL_SIZE + le64toh(header->n_rows) * sizeof(struct redo_row);
	uint64_t offset = REDO_HEADER_SIZE;

	if (!buffer)
		return -ENOMEM;
	blank.digest = DIGEST_INIT;
	digest_begin(&state);
	digest_add(&state, &blank, sizeof(blank));
	while (left > 0) {
		size_t n = (size_t)MIN(left, REDO_RUN_MAX * REDO_CELL_SIZE);
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

/* After a commit that may or may not be on the disk: it is none if its header goes or its name. */
static bool retract(const struct redo *redo)
{
	static const struct redo_header blank;
	bool is_blank =
		fd_pwrite_full(redo->fd, &blank, sizeof(blank), 0) == 0 && fdatasync(redo->fd) == 0;

	return (redo_remove_left(redo->dirfd, redo->name, redo->fd) == 0 &&
		dir_sync(redo->dirfd) == 0) ||
	       is_blank;
}

static int write_header(const struct redo *redo, const struct redo_header *header)
{
	int r = fd_pwrite_full(redo->fd, header, sizeof(*header), 0);

	if (r == 0 && fdatasync(redo->fd) < 0)
		r = -errno;
	return r < 0 ? r : dir_sync(redo->dirfd);
}

int redo_file_prepare(struct redo *redo)
{
	struct redo_header header = {0};
	uint64_t n_rows = 0;
	struct stat st;
	int r;

	if (fstat(redo->image_fd, &st) < 0)
		return -errno;
	if (!redo->header)
		redo->header = malloc(sizeof(header));
	if (!redo->header)
		return -ENOMEM;
	memcpy(header.magic, magic, sizeof(magic));
	header.image_size = htole64((uint64_t)st.st_size);
	header.offset = htole64(redo->place.offset);
	header.n_cells = htole64(redo->n_cells);
	r = redo_read_exactly(redo->image_fd, header.superblock, SUPERBLOCK_SIZE,
			      redo->place.offset + SUPERBLOCK_SIZE);
	if (r == 0)
		r = redo_table_write(redo, &n_rows);
	header.n_rows = htole64(n_rows);
	if (r == 0)
		r = digest_file(redo->fd, &header, &header.digest);
	if (r < 0)
		return r;
	*redo->header = header;
	redo->is_prepared = true;
	/* The disk is at it meanwhile: a hint. */
	(void)sync_file_range(redo->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return 0;
}

int redo_file_commit(struct redo *redo, bool *ret_committed)
{
	int r = redo->is_prepared ? 0 : redo_file_prepare(redo);

	*ret_committed = false;
	if (r == 0)
		r = reserve_room(redo);
	if (r < 0)
		return r;
	r = write_header(redo, redo->header);
	*ret_committed = r == 0 || !retract(redo);
	return r;
}

/* One piece of cells, from the redo file to *place* in the image, or, *compare*, held against it.
 */
static int move_run(int image_fd, int fd, size_t first, uint64_t place, size_t n, char *buffer,
		    bool compare)
{
	char *other = buffer + REDO_RUN_MAX * REDO_CELL_SIZE;
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

static int move_cells(int image_fd, int fd, const struct redo_header *header,
		      const struct redo_row *rows, bool compare)
{
	cleanup_free char *buffer = malloc(2 * REDO_RUN_MAX * REDO_CELL_SIZE);
	size_t n = (size_t)le64toh(header->n_cells);
	uint64_t base = le64toh(header->offset);
	int r = buffer ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < n;) {
		size_t run = redo_table_run(rows + i, n - i);

		r = move_run(image_fd, fd, i, base + le64toh(rows[i].cell) * REDO_CELL_SIZE, run,
			     buffer, compare);
		i += run;
	}
	return r;
}

static int fetch_cells(int image_fd, const struct redo_header *header, const struct redo_row *rows)
{
	cleanup_redo_ranges struct redo_ranges ranges = {0};
	size_t n = (size_t)le64toh(header->n_cells);
	uint64_t base = le64toh(header->offset);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = redo_ranges_add(&ranges, base + le64toh(rows[i].cell) * REDO_CELL_SIZE,
				    REDO_CELL_SIZE, false);
	if (r == 0)
		redo_ranges_fetch(&ranges, image_fd);
	return r;
}

int redo_remove_left(int dirfd, const char *name, int fd)
{
	bool has_name = false;
	int r = image_has_name(fd, dirfd, name, &has_name);

	return r < 0 || !has_name ? r : file_remove(dirfd, name, NULL);
}

/* Copies, waits, reads back from the disk, and only then forgets. */
int redo_file_apply(int image_fd, int dirfd, const char *name, int fd)
{
	cleanup_free struct redo_row *rows = NULL;
	struct redo_header header;
	int r;

	r = redo_read_exactly(fd, &header, sizeof(header), 0);
	if (r == 0)
		r = redo_table_read(fd, le64toh(header.n_cells), le64toh(header.n_cells), &rows);
	if (r == 0)
		r = move_cells(image_fd, fd, &header, rows, false);
	if (r == 0 && fdatasync(image_fd) < 0)
		r = -errno;
	if (r == 0)
		r = fetch_cells(image_fd, &header, rows);
	if (r == 0)
		r = move_cells(image_fd, fd, &header, rows, true);
	if (r == 0)
		r = redo_remove_left(dirfd, name, fd);
	return r < 0 ? r : dir_sync(dirfd);
}

/* The superblock that a redo file brings, or the one from before where it brings none. */
static int find_superblock(int fd, const struct redo_header *header, const struct redo_row *rows,
			   uint8_t *ret)
{
	memcpy(ret, header->superblock, SUPERBLOCK_SIZE);
	for (size_t i = 0; i < le64toh(header->n_cells); i++) {
		if (le64toh(rows[i].cell) == SUPERBLOCK_CELL)
			return redo_read_exactly(fd, ret, SUPERBLOCK_SIZE,
						 REDO_HEADER_SIZE + (uint64_t)i * REDO_CELL_SIZE);
	}
	return 0;
}

/* Each sector of the superblock is old or new. */
static int check_superblock(int image_fd, int fd, const struct redo_header *header,
			    const struct redo_row *rows, bool *ret)
{
	uint8_t found[SUPERBLOCK_SIZE];
	uint8_t brought[SUPERBLOCK_SIZE];
	int r = redo_read_exactly(image_fd, found, sizeof(found),
				  le64toh(header->offset) + SUPERBLOCK_SIZE);

	if (r == 0)
		r = find_superblock(fd, header, rows, brought);
	*ret = r == 0;
	for (size_t i = 0; *ret && i < SUPERBLOCK_SIZE; i += REDO_SECTOR_SIZE)
		*ret = memcmp(found + i, header->superblock + i, REDO_SECTOR_SIZE) == 0 ||
		       memcmp(found + i, brought + i, REDO_SECTOR_SIZE) == 0;
	return r;
}

static int belongs(int image_fd, int fd, const struct redo_header *header, uint64_t image_size,
		   bool *ret)
{
	cleanup_free struct redo_row *rows = NULL;
	uint64_t offset = le64toh(header->offset);
	bool is_same = false;
	int r;

	*ret = false;
	if (le64toh(header->image_size) != image_size || offset >= image_size)
		return 0;
	r = redo_table_read(fd, le64toh(header->n_cells), le64toh(header->n_rows), &rows);
	for (size_t i = 0; r == 0 && i < le64toh(header->n_rows); i++) {
		if (le64toh(rows[i].cell) >= (image_size - offset) / REDO_CELL_SIZE)
			return 0;
	}
	if (r == 0)
		r = check_superblock(image_fd, fd, header, rows, &is_same);
	if (r == 0 && is_same)
		r = redo_table_check(image_fd, fd, offset, rows, le64toh(header->n_cells),
				     le64toh(header->n_rows), &is_same);
	*ret = r == 0 && is_same;
	return r == -ENODATA ? 0 : r;
}

/* Whether the file was committed: all of it is there and has the digest that it says. */
static int is_committed(int fd, struct redo_header *header, bool *ret)
{
	struct digest digest;
	struct stat st;
	uint64_t n_rows;
	uint64_t n;
	int r;

	*ret = false;
	if (fstat(fd, &st) < 0)
		return -errno;
	r = redo_read_exactly(fd, header, sizeof(*header), 0);
	if (r < 0)
		return r == -ENODATA ? 0 : r;
	n = le64toh(header->n_cells);
	n_rows = le64toh(header->n_rows);
	if (memcmp(header->magic, magic, sizeof(magic)) != 0 || n > REDO_CELLS_MAX || n_rows < n ||
	    n_rows - n > REDO_CELLS_MAX ||
	    (uint64_t)st.st_size != redo_table_offset(n) + n_rows * sizeof(struct redo_row))
		return 0;
	r = digest_file(fd, header, &digest);
	if (r == 0)
		*ret = digest_is_equal(&digest, &header->digest);
	return r;
}

/* Whether *fd* can be a file of ours at all: to remove another would be a loss. *ret_is_other*:
 * whether it is one of a version of affix that writes them in another way. */
static int is_ours(int fd, bool *ret, bool *ret_is_other)
{
	char start[sizeof(magic)] = {0};
	static const char blank[sizeof(magic)] = {0};
	struct stat st;
	size_t n = 0;
	int r;

	*ret = *ret_is_other = false;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	r = fd_pread_full(fd, start, sizeof(start), 0, &n);
	*ret = r == 0 && (n == 0 || memcmp(start, magic, sizeof(magic)) == 0 ||
			  memcmp(start, blank, sizeof(blank)) == 0);
	*ret_is_other = r == 0 && !*ret && memcmp(start, magic, MAGIC_NAME_SIZE) == 0;
	return r;
}

int redo_exists(int dirfd, const char *name, bool *ret)
{
	struct stat st;

	*ret = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	return *ret || errno == ENOENT ? 0 : -errno;
}

static int refuse_foreign(const char *image, const char *name, struct problem *problem)
{
	return problem_refuse(
		problem, "foreign-redo",
		"'%s' holds an unfinished change of another image, or '%s' was changed "
		"since; put the image back that belongs to it, or remove '%s' to give "
		"the change up",
		name, image, name);
}

/* The image may be half changed, and only they can finish it: no word of removing the file. */
static int refuse_version(const char *image, const char *name, struct problem *problem)
{
	return problem_refuse(problem, "foreign-redo",
			      "'%s' holds an unfinished change that another version of affix made; "
			      "finish it with that version, as with its 'affix image ls %s'",
			      name, image);
}

/* Beside the image may be a directory where everybody can make files: what one writes into an image
 * must be from somebody who might do it. */
static int check_origin(int fd, const struct stat *image_st, const char *image, const char *name,
			struct problem *problem)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid == geteuid() || st.st_uid == image_st->st_uid) &&
	    (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return 0;
	return problem_refuse(problem, "foreign-redo",
			      "'%s' is not followed: a file that only you or the owner of '%s' may "
			      "write to was expected; find out who made it, and remove it",
			      name, image);
}

/* 0 where there is none: *ret_fd* stays. */
static int open_left(const char *image, int dirfd, const char *name, int *ret_fd,
		     struct problem *problem)
{
	cleanup_fd int fd = -EBADF;
	bool ours = false;
	bool is_other = false;
	int r = path_open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);

	if (r == 0)
		r = is_ours(fd, &ours, &is_other);
	if (r == -ENOENT)
		return 0;
	if (r < 0 && r != -ELOOP && r != -ENXIO)
		return r;
	if (is_other)
		return refuse_version(image, name, problem);
	if (!ours)
		return refuse_foreign(image, name, problem);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int redo_find_left(const char *image, int dirfd, const char *name, int *ret_fd,
		   struct problem *reterr_problem)
{
	*ret_fd = -EBADF;
	return open_left(image, dirfd, name, ret_fd, reterr_problem);
}

int redo_finish(int image_fd, const char *image, int dirfd, const char *name,
		struct holes *ret_left, struct problem *reterr_problem)
{
	struct redo_header header;
	cleanup_fd int fd = -EBADF;
	bool committed = false;
	struct stat st;
	int r;

	r = open_left(image, dirfd, name, &fd, reterr_problem);
	if (r != 0 || fd < 0)
		return r;
	if (fstat(image_fd, &st) < 0)
		return -errno;
	r = check_origin(fd, &st, image, name, reterr_problem);
	if (r == 0)
		r = is_committed(fd, &header, &committed);
	if (r != 0)
		return r;
	if (!committed) {
		r = holes_load(fd, REDO_HOLES_OFFSET, ret_left);
		if (r == 0)
			r = redo_remove_left(dirfd, name, fd);
		return r < 0 ? r : dir_sync(dirfd);
	}
	r = belongs(image_fd, fd, &header, (uint64_t)st.st_size, &committed);
	if (r < 0)
		return r;
	if (!committed)
		return refuse_foreign(image, name, reterr_problem);
	return redo_file_apply(image_fd, dirfd, name, fd);
}
