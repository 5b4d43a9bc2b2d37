/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/cleanup.h"

/* Behind every temporary name that we ever leave in a directory: `.NAME` + FILE_TEMPORARY_SUFFIX.
 */
#define FILE_TEMPORARY_SUFFIX ".affix-new"

/* The temporary name for *name*; the caller frees it. NULL: no memory, or the result would be too
 * long. */
char *file_temporary_name(const char *name);

struct file_attributes {
	mode_t mode;
	uid_t uid;
	gid_t gid;
	bool is_fleeting; /* file_replace(): it need not outlive the machine's next crash, and is
			     not synced */
};

/*
 * Makes *name* in *dirfd* a regular file with these bytes and attributes: a temporary file beside
 * it, fsync, rename. What stood under the temporary name is replaced; *name* is old or new at any
 * moment. The directory is not synced: fd_sync() it once for all its changes. *dirfd* may be
 * O_PATH.
 */
must_check int file_replace(int dirfd, const char *name, const void *data, size_t size,
			    const struct file_attributes *attributes);

/*
 * The two halves of it, for many files with one sync between: file_prepare() writes the temporary
 * file and leaves syncing to the caller, file_publish() renames it. A published file that was not
 * synced before may be empty after a power cut.
 */
must_check int file_prepare(int dirfd, const char *name, const void *data, size_t size,
			    const struct file_attributes *attributes);
must_check int file_prepare_link(int dirfd, const char *name, const char *target);
must_check int file_publish(int dirfd, const char *name);

/* Removes what a prepare left; 0 if nothing was there. */
must_check int file_forget(int dirfd, const char *name);

/* file_replace() for a symbolic link to *target*. */
must_check int file_replace_link(int dirfd, const char *name, const char *target);

/* fsync() of the directory behind *dirfd* (O_PATH is reopened). */
must_check int dir_sync(int dirfd);

/* Unlinks *name*; 0 if it was not there. *ret_changed* (may be NULL) tells which. */
must_check int file_remove(int dirfd, const char *name, bool *ret_changed);

/* Removes *name* and everything below it, without following links or crossing file systems; 0 if
 * absent, -EBUSY if it is a mount point or one is below it: what is mounted is kept. */
must_check int tree_remove(int dirfd, const char *name);
