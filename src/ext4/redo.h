/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <ext2fs/ext2fs.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"
#include "ext4/disk.h"
#include "ext4/holes.h"

/*
 * An image file that is changed all at once or not at all. What libext2fs writes is staged in a
 * file beside the image, NAME.affix-redo, and read from there; redo_commit() makes that complete
 * and durable, and then copies it in. Whoever finds one later goes on from there: redo_finish().
 *
 * The format (little-endian, cells of 1024 bytes):
 *   0      the header of 4096 bytes: until the commit zero, but for ranges of the image that were
 *          holes before they were written to, from 2048 on (holes.h)
 *   4096   the staged cells
 *          then a row of 24 bytes for each, and for each cell that was written past the file
 * Header: "affix-redo 2\n" in 16 bytes; the image's size, the file system's offset, the number of
 * staged cells, the number of rows, 8 bytes each; from 64 the BLAKE2b-512 of the whole file with
 * this field zero; from 128 the file system's superblock as it was before, 1024 bytes.
 * Row: the cell's number in the file system, 8 bytes; then for each of its two sectors the CRC-64
 * (ECMA-182, reflected) of what the image held at the commit, 8 bytes.
 */
#define REDO_SUFFIX    ".affix-redo"
#define REDO_ALIGNMENT 4096U

struct redo;

/*
 * Finishes what is committed in the redo file *name* of directory *dirfd* for the image *image_fd*
 * (open for writing), removes what is not. 0, also where there is none; PROBLEM_E_REFUSED where it
 * does not belong to this image; -errno. *ret_left* is what holes can be made of again.
 */
must_check int redo_finish(int image_fd, const char *image, int dirfd, const char *name,
			   struct holes *ret_left, struct problem *reterr_problem);

/* The redo file of an image that is given up, for redo_remove_left(): -EBADF where there is none.
 * 0; PROBLEM_E_REFUSED where the file is somebody's; -errno. */
must_check int redo_find_left(const char *image, int dirfd, const char *name, int *ret_fd,
			      struct problem *reterr_problem);
/* Takes *name* from the redo file *fd*, if it still has it. */
must_check int redo_remove_left(int dirfd, const char *name, int fd);

/* Whether there is one. */
must_check int redo_exists(int dirfd, const char *name, bool *ret);

/*
 * For the file system at *place* of the image. *name* NULL: only for reading, nothing is made. The
 * descriptors and *name* are borrowed. 0 or -errno.
 */
must_check int redo_open(int image_fd, int dirfd, const char *name, const struct disk_place *place,
			 struct redo **ret);
/* For a file that nobody knows yet and that goes where the change fails: nothing is staged, and
 * what is written is in it at once. redo_settle() is the end of it, there is nothing to commit. */
must_check int redo_open_new(int image_fd, const struct disk_place *place, struct redo **ret);
/* What was staged and not committed is gone. */
struct redo *redo_free(struct redo *redo);

DEFINE_CLEANUP(struct redo *, redo, redo_free)
#define cleanup_redo CLEANUP(cleanup_redo)

/* ext2fs_open2() with it below. */
errcode_t redo_open_fs(struct redo *redo, int flags, ext2_filsys *ret);

/* Does of redo_commit() what can be done while somebody still looks whether there will be one. 0 or
 * -errno. */
must_check int redo_prepare(struct redo *redo);
/*
 * Makes what was staged the image's content: durable in the redo file (from here on it will be
 * done), copied, durable in the image, read back. 0 or -errno: with *ret_committed* the next
 * redo_finish() finishes it, or gives it up where the disk has not got all of it; without it the
 * image is as it was and stays so.
 */
must_check int redo_commit(struct redo *redo, bool *ret_committed);

/*
 * Bytes for a place that the file system of before the change does not use: they need no staging,
 * nobody finds them before the commit. 0; -ERANGE; -errno.
 */
must_check int redo_write_through(struct redo *redo, uint64_t position, const void *data,
				  size_t size);
/* Before that: the file says which holes there were, for whoever comes after a kill. 0 or -errno.
 */
must_check int redo_note_holes(struct redo *redo, struct holes *holes);
/* Has them on the disk. 0 or -errno. */
must_check int redo_settle(struct redo *redo);
/* For who wants to see them: has the ranges that were wanted, and are settled, on their way back
 * from the disk. 0; -ERANGE; -errno. */
must_check int redo_want(struct redo *redo, uint64_t position, uint64_t size);
void redo_fetch(struct redo *redo);
/* Then reads one of them, to memory that begins at a multiple of REDO_ALIGNMENT. */
must_check int redo_read_back(struct redo *redo, uint64_t position, void *data, size_t size);
/* What has the same from the disk at any time, settled or not: a descriptor and *ret_offset* there;
 * -EBADF where it cannot be had so. It is borrowed, and reads to the same kind of memory. */
int redo_find_direct(struct redo *redo, uint64_t position, size_t size, uint64_t *ret_offset);

/* How many bytes are staged. */
uint64_t redo_size(const struct redo *redo);
