/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"
#include "base/problem.h"

/*
 * An image file that is about to get the name of another. Nobody works on either meanwhile, and
 * what an interrupted change of the old one left beside it goes with the old one.
 */
struct image_replace {
	int dirfd; /* borrowed */
	int old;   /* what has the name now, locked; -EBADF where nothing has it */
	int redo;  /* its redo file; -EBADF where there is none */
	char *redo_name;
};

#define IMAGE_REPLACE_INIT                    \
	(struct image_replace)                \
	{                                     \
		.old = -EBADF, .redo = -EBADF \
	}

/*
 * Before the new image *fd*, whose name nobody knows yet, is called *name* in *dirfd*. *path* is
 * for messages. 0; PROBLEM_E_REFUSED; -errno.
 */
must_check int image_replace_begin(int dirfd, const char *name, const char *path, int fd,
				   struct image_replace *ret, struct problem *reterr_problem);
/* When it has it. The directory is the caller's to sync. 0 or -errno. */
must_check int image_replace_end(struct image_replace *replace);
void image_replace_done(struct image_replace *replace);
#define cleanup_image_replace CLEANUP(image_replace_done)
