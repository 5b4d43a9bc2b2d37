/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Directories. A disk that fails in the middle looks like the end to whoever does not ask errno,
 * and "the rest is not there" is how what should be kept is removed: so it is asked here, for all.
 */

#include "base/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"

DIR *dir_close(DIR *dir)
{
	if (dir)
		(void)closedir(dir);
	return NULL;
}

int dir_take(int fd, DIR **ret)
{
	DIR *dir = fdopendir(fd);
	int r = -errno;

	if (!dir) {
		(void)fd_close(fd);
		return r;
	}
	*ret = dir;
	return 0;
}

int dir_open(int dirfd, DIR **ret)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : dir_take(fd, ret);
}

int dir_next(DIR *dir, const struct dirent **ret)
{
	const struct dirent *entry;

	do {
		errno = 0;
		entry = readdir(dir); /* NOLINT(concurrency-mt-unsafe): a stream of one thread */
		if (!entry && errno != 0)
			return -errno;
	} while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
	*ret = entry;
	return 0;
}
