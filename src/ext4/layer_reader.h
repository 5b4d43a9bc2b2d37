/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/problem.h"

/* Above them a layer is hostile. PATH_MAX is the kernel's; ext4 keeps the attributes of a file in
 * one block. */
#define LAYER_PATH_MAX   4095U
#define LAYER_XATTRS_MAX 4096U
#define LAYER_SIZE_MAX   (UINT32_MAX * 4096ULL) /* of a file in ext4 */

/* A layer's source. All are borrowed. */
struct ext4_layer {
	const char *name;   /* for sentences */
	const char *digest; /* "sha256:…", or NULL where the bytes are known to be right */
	int fd; /* of a blob; of a directory, whose tree is the layer, if is_directory */
	bool is_directory;
	const char *prefix;    /* what stands before each path (of a directory), or NULL */
	bool is_owned_by_root; /* whoever owns the directory's files */
};

/* An extended attribute as tar and getxattr(2) have it. */
struct layer_xattr {
	const char *name;
	const void *value;
	size_t size;
};

/* What a layer says about one path. Strings are valid until the next one is read. */
struct layer_entry {
	char path[LAYER_PATH_MAX +
		  1]; /* components joined by single '/', no ".", ".."; "" the root */
	mode_t mode;  /* with its type; 0: a hard link */
	uint32_t uid;
	uint32_t gid;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	int64_t mtime;
	uint32_t mtime_ns;
	uint64_t size;                   /* of a regular file */
	char target[LAYER_PATH_MAX + 1]; /* of a symbolic link as it is; of a hard link as *path* */
	struct layer_xattr *xattrs;
	size_t xattr_count;
};

struct layer_reader;

/* *layer* is borrowed. 0; PROBLEM_E_REFUSED; -errno. */
must_check int layer_reader_open(const struct ext4_layer *layer, struct layer_reader **ret,
				 struct problem *reterr_problem);
struct layer_reader *layer_reader_close(struct layer_reader *reader);

DEFINE_CLEANUP(struct layer_reader *, layer_reader, layer_reader_close)
#define cleanup_layer_reader CLEANUP(cleanup_layer_reader)

/* The next entry, or NULL at the end, where all of the layer was read and its digest was right. 0;
 * PROBLEM_E_REFUSED; -errno. */
must_check int layer_reader_next(struct layer_reader *reader, const struct layer_entry **ret,
				 struct problem *reterr_problem);

/*
 * The next piece of a regular file's content and its place in it; what lies between pieces is
 * zeroes. Of size 0 at the end. Content that is not wanted need not be read.
 */
must_check int layer_reader_content(struct layer_reader *reader, const void **ret, size_t *ret_size,
				    uint64_t *ret_offset, struct problem *reterr_problem);

/* "layer 'NAME': " in front of a sentence. The entry's path is shown safely. */
must_check int layer_reader_refuse(const struct layer_reader *reader, const char *path,
				   struct problem *reterr_problem, const char *format, ...)
	format_check(4, 5);
