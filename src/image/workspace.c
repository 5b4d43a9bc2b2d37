/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whoever removes such a directory has its lock, from before it looks whether the name is still
 * that directory's until it is gone; whoever makes one takes the lock and looks once more, since
 * somebody may have cleared it away in between. On file systems that cannot lock directories,
 * nothing of others is removed.
 */

#include "image/workspace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "ext4/lock.h"

#define TRIES_MAX 100U

static int open_own(int basefd, const char *name, int *ret)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r = path_open_beneath(basefd, name, O_RDONLY | O_DIRECTORY, 0, &fd);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid())
		return -EPERM;
	*ret = TAKE_FD(fd);
	return 0;
}

/* *is_ours*: the name is; who has the lock is only clearing it away. */
static int remove_left(int basefd, const char *name, bool is_ours)
{
	cleanup_fd int fd = -EBADF;
	bool has_name = false;
	int r = open_own(basefd, name, &fd);

	if (r < 0)
		return r;
	if (flock(fd, LOCK_EX | (is_ours ? 0 : LOCK_NB)) < 0 && !is_ours)
		return -errno;
	r = image_has_name(fd, basefd, name, &has_name);
	return r < 0 || !has_name ? r : tree_remove(basefd, name);
}

static void remove_all_left(int basefd, const char *prefix)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;

	if (dir_open(basefd, &dir) < 0)
		return;
	while (dir_next(dir, &entry) == 0 && entry) {
		if (str_starts_with(entry->d_name, prefix))
			ignore_result(remove_left(basefd, entry->d_name, false));
	}
}

static int make(int basefd, const char *name, int *ret_fd)
{
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		cleanup_fd int fd = -EBADF;
		bool has_name = false;
		int r = mkdirat(basefd, name, 0700) < 0 ? -errno : 0;

		if (r == -EEXIST)
			r = remove_left(basefd, name, true);
		else if (r == 0)
			r = open_own(basefd, name, &fd);
		if (r == 0 && fd >= 0) {
			ignore_result(flock(fd, LOCK_EX));
			r = image_has_name(fd, basefd, name, &has_name);
		}
		if (r < 0 && r != -ENOENT)
			return r;
		if (!has_name)
			continue;
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	return -EBUSY;
}

const char *workspace_base(void)
{
	const char *base = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe): read only */

	return str_is_empty(base) ? "/tmp" : base;
}

int workspace_make(const char *base, const char *suffix, char **ret_path, int *ret_fd)
{
	cleanup_fd int basefd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_free char *prefix = NULL;
	cleanup_free char *name = NULL;
	cleanup_free char *path = NULL;
	int r;

	if (basefd < 0)
		return -errno;
	r = str_format(&prefix, "affix-image-%u-", geteuid());
	if (r == 0)
		r = str_format(&name, "%s%s", prefix, suffix);
	if (r == 0)
		r = str_format(&path, "%s/%s", base, name);
	if (r < 0 || !prefix || !name)
		return r < 0 ? r : -ENOMEM;
	remove_all_left(basefd, prefix);
	r = make(basefd, name, ret_fd);
	if (r == 0)
		*ret_path = TAKE_PTR(path);
	return r;
}

void workspace_remove(const char *path, int fd)
{
	cleanup_free char *base = strndup(path, (size_t)(path_last_name(path) - path));
	cleanup_fd int basefd = base ? open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;

	if (basefd >= 0)
		ignore_result(tree_remove(basefd, path_last_name(path)));
	(void)fd_close(fd);
}
