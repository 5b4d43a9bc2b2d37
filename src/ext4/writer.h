/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/problem.h"
#include "ext4/layer_reader.h"

#define EXT4_UUID_SIZE  16U
#define EXT4_LABEL_MAX  16U
#define EXT4_BLOCK_SIZE 4096U

/* What is done to one file's content on its way into the image. */
struct ext4_edit {
	const char *path; /* as in struct layer_entry; a regular file */
	/* The new content; *old* is NULL where no layer has the file. The caller frees *ret*. 0;
	 * PROBLEM_E_REFUSED; -errno. */
	int (*edit)(void *context, const char *old, size_t old_size, char **ret, size_t *ret_size,
		    struct problem *reterr_problem);
	void *context;
	uint32_t mode; /* of a new file, root's */
};

struct ext4_options {
	uint64_t size;         /* of the image in bytes; 0: what the layers need, and */
	uint64_t spare;        /* so many free bytes more */
	uint64_t later_blocks; /* and, where the size is 0, what is put into it later */
	uint64_t later_inodes;
	uint8_t uuid[EXT4_UUID_SIZE];
	char label[EXT4_LABEL_MAX + 1];
	const struct ext4_edit *edits;
	size_t edit_count;
};

/* The UUID where none is chosen: the same input gives the same bytes. */
extern const uint8_t ext4_default_uuid[EXT4_UUID_SIZE];

struct ext4_summary {
	uint64_t size; /* of the image */
	uint64_t free; /* in it */
	uint64_t inodes;
	uint64_t content; /* bytes of the blocks that files have */
};

/*
 * Writes an ext4 file system of *layers*, lowest first, into *fd*: an empty regular file, open for
 * reading and writing. It is synced. What is in the file after a failure is of no use. 0;
 * PROBLEM_E_REFUSED (bad-layer, bad-digest, image-too-small); -errno.
 */
must_check int ext4_write(int fd, const struct ext4_layer *layers, size_t layer_count,
			  const struct ext4_options *options, struct ext4_summary *ret,
			  struct problem *reterr_problem);
