/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/problem.h"

/*
 * One process at a time works on the image file *name* of directory *dirfd*: who has its lock.
 * Opens it (*flags*; symlinks are not followed), waits for the lock, and sees to it that what was
 * locked has that name still: what is renamed over an image meanwhile is another, with a lock of
 * its own. *path* is for messages. The lock goes with the descriptor. 0; PROBLEM_E_REFUSED "busy";
 * -EINVAL for what is no regular file; -errno.
 */
must_check int image_lock(int dirfd, const char *name, int flags, const char *path, int *ret_fd,
			  struct problem *reterr_problem);

/* Whether *name* is the file that *fd* is open for. 0 or -errno. */
must_check int image_has_name(int fd, int dirfd, const char *name, bool *ret);
