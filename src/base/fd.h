/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

/* Closes *fd* if it is one, keeps errno; returns -EBADF, so that `fd = fd_close(fd)` forgets it. */
int fd_close(int fd);

static inline void cleanup_fd_value(const int *fd)
{
	(void)fd_close(*fd);
}

#define cleanup_fd CLEANUP(cleanup_fd_value)

#define TAKE_FD(fd)                           \
	({                                    \
		int *take_place = &(fd);      \
		int take_value = *take_place; \
		*take_place = -EBADF;         \
		take_value;                   \
	})

/* Reads until *size* bytes or end of file; *ret_read* is what came. -errno. EINTR is retried. */
must_check int fd_read_full(int fd, void *buffer, size_t size, size_t *ret_read);

/* The same at *offset*, without moving the file position. */
must_check int fd_pread_full(int fd, void *buffer, size_t size, uint64_t offset, size_t *ret_read);

/* Writes all of it, or -errno. A short write without an error is -EIO. */
must_check int fd_write_full(int fd, const void *data, size_t size);

/* The same at *offset*. */
must_check int fd_pwrite_full(int fd, const void *data, size_t size, uint64_t offset);

/*
 * Reads from the current position to the end of the file, at most *max* bytes, into a new buffer
 * with a NUL behind the last byte. -EFBIG where there is more than *max*. The caller frees
 * *ret_data*.
 */
must_check int fd_read_all(int fd, size_t max, char **ret_data, size_t *ret_size);

/* Opens *path*, which the caller trusts, and reads it whole, as fd_read_all(). */
must_check int fd_read_path(const char *path, size_t max, char **ret_data, size_t *ret_size);

/* Opens *name* (one path below *dirfd*, symlinks not followed) and reads it whole, as
 * fd_read_all(). */
must_check int fd_read_file_at(int dirfd, const char *name, size_t max, char **ret_data,
			       size_t *ret_size);

/* How many bytes were read from a TCP connection so far; its end, where it has come, is one of
 * them. 0 or -errno. */
must_check int fd_count_read(int fd, uint64_t *ret);
