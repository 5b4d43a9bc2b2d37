/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ext4/edit.h"

/*
 * A directory that holds the parts of an image that the engine looks at and changes: real bytes
 * under real names, symlinks among them, but everything the caller's own. What the engine did to it
 * is found by comparing it with the entries (replay.h).
 */

/* How an object was copied. */
enum excerpt_kind {
	EXCERPT_DIRECTORY,
	EXCERPT_FILE,
	EXCERPT_LINK,
	EXCERPT_NAME, /* an empty file that stands for something that is not looked into */
};

struct excerpt_entry {
	char *path; /* real, absolute */
	enum excerpt_kind kind;
	struct edit_stat st; /* in the image */
	uint64_t copy_ino;   /* of the copy as it was made, in the file system that it is in */
	int64_t copy_sec;
	int64_t copy_nsec;
	bool is_seen; /* replay.c: the copy is still there */
};

struct excerpt {
	struct edit *edit; /* borrowed */
	char *path;        /* of the directory */
	int fd;
	struct excerpt_entry *entries; /* sorted by path once it is complete */
	size_t count;
	size_t allocated;
	uint64_t size;       /* bytes copied */
	uint64_t small_size; /* of them, those that are not in versions */
};

#define EXCERPT_INIT         \
	(struct excerpt)     \
	{                    \
		.fd = -EBADF \
	}

/*
 * Copies what the engine needs to work on the add-ons *ids*; all that are installed where it is
 * empty. Made below $TMPDIR or /tmp, one for each image (workspace.h). 0; PROBLEM_E_REFUSED;
 * -errno.
 */
must_check int excerpt_make(struct edit *edit, const struct strv *ids, struct excerpt *ret,
			    struct problem *reterr_problem);
/* Removes the directory; what is known of it stays. */
void excerpt_remove(struct excerpt *excerpt);
/* All of it. */
void excerpt_done(struct excerpt *excerpt);
#define cleanup_excerpt CLEANUP(excerpt_done)

/* The entry of a real path, or NULL. */
struct excerpt_entry *excerpt_find(const struct excerpt *excerpt, const char *path);
