/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A disk that cannot be read past the kernel's memory of it: preloaded, this has such a file not
 * opened (NODIRECT=open), or no read of it done.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
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
