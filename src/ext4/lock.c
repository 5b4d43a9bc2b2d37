/* SPDX-License-Identifier: Apache-2.0 */

/*
 * flock(), which goes when its process does, and belongs to a file and not to its name. Who
 * replaces an image (replace.h) has the locks of both files; who waited for the old one's finds
 * another file under the name then, and starts again with that.
 */

#include "ext4/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#define LOCK_WAIT (30 * CLOCK_USEC_PER_SEC)
#define LOCK_POLL (CLOCK_USEC_PER_SEC / 20)

int image_has_name(int fd, int dirfd, const char *name, bool *ret)
{
	struct stat found;
	struct stat st;

	*ret = false;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (fstatat(dirfd, name, &found, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	*ret = st.st_dev == found.st_dev && st.st_ino == found.st_ino;
	return 0;
}

/* Readers too: they may have to finish what another left. */
static int wait_for(int fd, uint64_t end, const char *path, struct problem *problem)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (clock_monotonic_usec() >= end)
			return problem_refuse(
				problem, "busy",
				"another process works on '%s'; try again when it is done", path);
		clock_sleep_usec(LOCK_POLL);
	}
	return 0;
}

int image_lock(int dirfd, const char *name, int flags, const char *path, int *ret_fd,
	       struct problem *reterr_problem)
{
	uint64_t end = clock_monotonic_usec() + LOCK_WAIT;
	bool has_name = false;

	while (!has_name) {
		cleanup_fd int fd =
			openat(dirfd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		struct stat st;
		int r;

		if (fd < 0 || fstat(fd, &st) < 0)
			return -errno;
		if (!S_ISREG(st.st_mode))
			return -EINVAL;
		r = wait_for(fd, end, path, reterr_problem);
		if (r == 0)
			r = image_has_name(fd, dirfd, name, &has_name);
		if (r != 0)
			return r;
		if (has_name)
			*ret_fd = TAKE_FD(fd);
	}
	return 0;
}
