/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <dirent.h>

#include "base/cleanup.h"

/* What is in a directory, read by one thread from a stream of its own. */

/* Returns NULL. */
DIR *dir_close(DIR *dir);

DEFINE_CLEANUP(DIR *, dir, dir_close)
#define cleanup_dir CLEANUP(cleanup_dir)

/* From the beginning, whatever was read of *dirfd*, which stays the caller's. 0 or -errno. */
must_check int dir_open(int dirfd, DIR **ret);
/* Takes *fd* over, also where it fails. 0 or -errno. */
must_check int dir_take(int fd, DIR **ret);
/* The next entry but "." and "..", which is the stream's until it is asked again; NULL at the end.
 * 0 or -errno. */
must_check int dir_next(DIR *dir, const struct dirent **ret);
