/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/* The longest single name that a file system of ours takes, in bytes. */
#define PATH_NAME_MAX 255U

/*
 * A single path segment that is safe to print and to create: 1 to PATH_NAME_MAX bytes of printable
 * ASCII without '/', '\' and without a leading '-'; neither "." nor "..".
 */
bool path_is_safe_name(const char *name);

/* An absolute path without empty, "." or ".." components, without control bytes, no '/' at the end.
 */
bool path_is_normal_absolute(const char *path);

/* Whether *path* is *prefix* or lies below it. Both normal and absolute. */
bool path_is_below(const char *path, const char *prefix);

/* The part of *path* behind its last '/', or *path*. */
const char *path_last_name(const char *path);

/*
 * Opens *path* below *dirfd*: never above it, through no symlink at all and no magic link;
 * O_CLOEXEC is added. A leading '/' of *path* is skipped. -errno: -ELOOP a symlink in the way,
 * -EXDEV an escape.
 */
must_check int path_open_beneath(int dirfd, const char *path, int flags, mode_t mode, int *ret_fd);

/* The same for what stands below *dirfd* under one *name*; -EBUSY where that is a mount point, also
 * of the same file system. */
must_check int path_open_unmounted(int dirfd, const char *name, int flags, int *ret_fd);

/* Whether *name* in *dirfd*, or *dirfd* itself where that is "", is a mount point. */
must_check int path_is_mount(int dirfd, const char *name, bool *ret);

/* Whether an open failed because there is nothing, or a file or link in the way, at *path*. */
static inline bool path_leads_nowhere(int r)
{
	return r == -ENOENT || r == -ENOTDIR || r == -ELOOP;
}

/* Opens *path* with *rootfd* as its root directory: symlinks are followed but resolve inside it. */
must_check int path_open_in_root(int rootfd, const char *path, int flags, mode_t mode, int *ret_fd);
