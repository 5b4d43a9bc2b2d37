/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <ext2fs/ext2fs.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/str.h"
#include "ext4/disk.h"
#include "ext4/holes.h"
#include "ext4/redo.h"

/*
 * An ext2, ext3 or ext4 file system in an image file that is looked at and changed without mounting
 * it. One process at a time has the image. Changes are staged (redo.h) until edit_commit(). Paths
 * are absolute; symlinks resolve inside the image.
 */
struct edit {
	char *path; /* of the image file, symlinks resolved */
	int fd;
	int dirfd;
	char *redo_name; /* NULL: a new file, changed at once */
	struct disk_place place;
	struct redo *redo;
	ext2_filsys fs;
	ext2fs_block_bitmap old_blocks; /* in use before any change */
	struct holes holes;             /* what was written to of the others, unless committed */
	errcode_t error; /* of the last call of libext2fs that failed: edit_describe() */
};

#define EDIT_INIT                             \
	(struct edit)                         \
	{                                     \
		.fd = -EBADF, .dirfd = -EBADF \
	}

#define EDIT_SYMLINKS_MAX 40U  /* followed on one path, as the kernel does */
#define EDIT_DEPTH_MAX    128U /* components of a path */

/*
 * Opens `FILE` or `FILE:PARTITION`, finishing what an earlier process left. *writable*: bitmaps are
 * read and changes can be staged. 0; PROBLEM_E_REFUSED; -errno.
 */
must_check int edit_open(const char *where, bool writable, struct edit *ret,
			 struct problem *reterr_problem);
/* For changes, of a file system in the new file *fd*, which has no name yet and is of no use after
 * a failure: nothing is staged. *path* is for messages. */
must_check int edit_open_new(int fd, const char *path, struct edit *ret,
			     struct problem *reterr_problem);
/* What was not committed is gone. */
void edit_done(struct edit *edit);
#define cleanup_edit CLEANUP(edit_done)

/* Has of that done what can be, while it is looked whether there will be one: redo_prepare(). */
must_check int edit_prepare(struct edit *edit);
/* Makes all changes the image's, at once. -errno: *ret_committed* as redo_commit() says. */
must_check int edit_commit(struct edit *edit, bool *ret_committed);

/* The two halves that need no path: the file system, of an edit that has its redo; and all that
 * libext2fs still holds, staged, *ret_changed* telling whether there is anything. */
must_check int edit_open_fs(struct edit *edit, const char *name, bool writable,
			    struct problem *reterr_problem);
must_check int edit_flush(struct edit *edit, bool *ret_changed);

/* Has the content of files, so far as it is in the image already, on the disk. */
must_check int edit_settle(struct edit *edit);
/* edit_usable.c: whether it may be worked on at all; *fd* then has a lock that keeps virtual
 * machines out. 0; PROBLEM_E_REFUSED; -errno. */
must_check int edit_check_unused(int fd, const char *name, struct problem *reterr_problem);
must_check int edit_check_features(ext2_filsys fs, const char *name, bool writable,
				   struct problem *reterr_problem);
/* Whether none of the blocks that are free for content holds what the file system stands on. */
must_check int edit_check_bitmap(ext2_filsys fs, const char *name, struct problem *reterr_problem);
/* -errno for what libext2fs says, which is kept for edit_describe(). 0 for 0. */
must_check int edit_error(struct edit *edit, errcode_t error);
/* A clause about what went wrong last: what libext2fs said, or what *r* (-errno) means. */
const char *edit_describe(const struct edit *edit, int r);

/* An object of the file system. */
struct edit_stat {
	ext2_ino_t ino;
	uint32_t mode; /* st_mode */
	uint32_t uid;
	uint32_t gid;
	uint32_t links;
	uint64_t size;
	int64_t mtime;
};

must_check int edit_stat(struct edit *edit, ext2_ino_t ino, struct edit_stat *ret);

/* *name* in the directory *dir*, symlinks not followed: 0, -ENOENT, -errno. */
must_check int edit_lookup(struct edit *edit, ext2_ino_t dir, const char *name, ext2_ino_t *ret);

/* One step of a path that was resolved: a directory or symlink that was passed, or what is at its
 * end. *path* is the real one, without symlinks. */
struct edit_visitor {
	int (*visit)(void *user, const char *path, const struct edit_stat *st, bool is_end);
	void *user;
};

/* Follows all symlinks. *visitor*, *ret* and *ret_real* may be NULL; *ret_real* is for the caller
 * to free. 0; -ENOENT; -ENOTDIR; -ELOOP; -errno. */
must_check int edit_resolve(struct edit *edit, const char *path, const struct edit_visitor *visitor,
			    struct edit_stat *ret, char **ret_real);

/* The directory that *path*, its last component not followed, lies in, and that component. */
must_check int edit_find_parent(struct edit *edit, const char *path, ext2_ino_t *ret,
				const char **ret_name);
/* What *path*, or *name* in the directory *dir*, names itself, a symlink too. */
must_check int edit_find_in(struct edit *edit, ext2_ino_t dir, const char *name,
			    struct edit_stat *ret);
must_check int edit_find(struct edit *edit, const char *path, struct edit_stat *ret);

/* The names in a directory but for "." and "..", sorted; names that no Linux would take are
 * damage: -EUCLEAN. */
must_check int edit_list(struct edit *edit, ext2_ino_t dir, struct strv *ret);
/* The target of a symlink; the caller frees it. */
must_check int edit_read_link(struct edit *edit, ext2_ino_t ino, char **ret);
/* Copies at most *max* bytes of a file to *fd* at its position. */
must_check int edit_read_file(struct edit *edit, ext2_ino_t ino, uint64_t max, int fd);
/* The same, into an empty file, which gets no blocks where there are but zeroes. */
must_check int edit_copy_file(struct edit *edit, ext2_ino_t ino, uint64_t max, int fd);
/* An extended attribute: -ENODATA where there is none; the caller frees it. */
must_check int edit_read_xattr(struct edit *edit, ext2_ino_t ino, const char *name, void **ret,
			       size_t *ret_size);

/* What an object that is made belongs to. */
struct edit_attributes {
	uint32_t mode; /* permission bits */
	uint32_t uid;
	uint32_t gid;
	const void *capability; /* the security.capability xattr, or NULL */
	size_t capability_size;
};

/* Makes objects under a name that is free. Files: edit_file.h. */
must_check int edit_make_directory(struct edit *edit, ext2_ino_t dir, const char *name,
				   const struct edit_attributes *attributes, ext2_ino_t *ret);
must_check int edit_make_link(struct edit *edit, ext2_ino_t dir, const char *name,
			      const char *target);
/* Owner, mode and capability of what is there. */
must_check int edit_set_attributes(struct edit *edit, ext2_ino_t ino,
				   const struct edit_attributes *attributes);
/* Removes a name, and what has no other; a directory must be empty (-ENOTEMPTY). */
must_check int edit_remove(struct edit *edit, ext2_ino_t dir, const char *name);

/* Blocks that anybody but root may use, and inodes. */
void edit_room(const struct edit *edit, uint64_t *ret_blocks, uint64_t *ret_inodes);
