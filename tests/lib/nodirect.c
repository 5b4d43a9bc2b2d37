/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A disk that cannot be read past the kernel's memory of it: preloaded, this has such a file not
 * opened (NODIRECT=open), no read of it done, or said that it would be read from that memory.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_refused_at(const char *call)
{
	const char *where = getenv("NODIRECT");

	return where && strcmp(where, call) == 0;
}

int open64(const char *path, int flags, ...)
{
	int (*next)(const char *, int, ...) =
		(int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
	unsigned mode;
	va_list list;

	va_start(list, flags);
	mode = va_arg(list, unsigned);
	va_end(list);
	if ((flags & O_DIRECT) && is_refused_at("open")) {
		errno = EINVAL;
		return -1;
	}
	return next(path, flags, mode);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
	ssize_t (*next)(int, void *, size_t, off64_t) =
		(ssize_t(*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");

	if ((fcntl(fd, F_GETFL) & O_DIRECT) && is_refused_at("read")) {
		errno = EINVAL;
		return -1;
	}
	return next(fd, data, size, offset);
}

int statx(int fd, const char *path, int flags, unsigned mask, struct statx *ret)
{
	int (*next)(int, const char *, int, unsigned, struct statx *) =
		(int (*)(int, const char *, int, unsigned, struct statx *))dlsym(RTLD_NEXT,
										 "statx");
	int r = next(fd, path, flags, mask, ret);

	if (r == 0 && (mask & STATX_DIOALIGN) && is_refused_at("statx")) {
		ret->stx_mask |= STATX_DIOALIGN;
		ret->stx_dio_offset_align = 0;
	}
	return r;
}
