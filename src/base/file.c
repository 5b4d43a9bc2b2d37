/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Files that are old or new, never half. The temporary file stands beside its target, because a
 * writable directory may be a mount of its own; its name follows from the target's, so that
 * recovery finds leftovers.
 */

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

/* What lies deeper is moved up before it is removed: neither the stack nor the number of open
 * descriptors grows with a tree that somebody else made. */
#define TREE_DEPTH_MAX  32U
#define TREE_MOVED_NAME ".affix-moved-%" PRIu64

char *file_temporary_name(const char *name)
{
	char *temporary = NULL;

	if (strlen(name) + 1 + strlen(FILE_TEMPORARY_SUFFIX) > PATH_NAME_MAX)
		return NULL;
	return str_format(&temporary, ".%s" FILE_TEMPORARY_SUFFIX, name) < 0 ? NULL : temporary;
}

static int write_new(int dirfd, const char *name, const void *data, size_t size,
		     const struct file_attributes *attributes, bool sync)
{
	cleanup_fd int fd = -EBADF;
	int r;

	r = tree_remove(dirfd, name);
	if (r < 0)
		return r;
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, data, size);
	if (r < 0)
		return r;
	if (fchown(fd, attributes->uid, attributes->gid) < 0 || fchmod(fd, attributes->mode) < 0)
		return -errno;
	return sync && fsync(fd) < 0 ? -errno : 0;
}

static int prepare(int dirfd, const char *name, const void *data, size_t size,
		   const struct file_attributes *attributes, bool sync)
{
	cleanup_free char *temporary = file_temporary_name(name);
	int r;

	if (!temporary)
		return -ENAMETOOLONG;
	r = write_new(dirfd, temporary, data, size, attributes, sync);
	if (r < 0)
		(void)unlinkat(dirfd, temporary, 0);
	return r;
}

int file_prepare(int dirfd, const char *name, const void *data, size_t size,
		 const struct file_attributes *attributes)
{
	return prepare(dirfd, name, data, size, attributes, false);
}

int file_prepare_link(int dirfd, const char *name, const char *target)
{
	cleanup_free char *temporary = file_temporary_name(name);
	int r;

	if (!temporary)
		return -ENAMETOOLONG;
	r = tree_remove(dirfd, temporary);
	if (r < 0)
		return r;
	return symlinkat(target, dirfd, temporary) < 0 ? -errno : 0;
}

int file_publish(int dirfd, const char *name)
{
	cleanup_free char *temporary = file_temporary_name(name);

	if (!temporary)
		return -ENAMETOOLONG;
	return renameat(dirfd, temporary, dirfd, name) < 0 ? -errno : 0;
}

int file_forget(int dirfd, const char *name)
{
	cleanup_free char *temporary = file_temporary_name(name);

	if (!temporary)
		return -ENAMETOOLONG;
	return tree_remove(dirfd, temporary);
}

static int publish_or_forget(int dirfd, const char *name)
{
	int r = file_publish(dirfd, name);

	if (r < 0)
		ignore_result(file_forget(dirfd, name));
	return r;
}

int file_replace(int dirfd, const char *name, const void *data, size_t size,
		 const struct file_attributes *attributes)
{
	int r = prepare(dirfd, name, data, size, attributes, !attributes->is_fleeting);

	return r < 0 ? r : publish_or_forget(dirfd, name);
}

int file_replace_link(int dirfd, const char *name, const char *target)
{
	int r = file_prepare_link(dirfd, name, target);

	return r < 0 ? r : publish_or_forget(dirfd, name);
}

int dir_sync(int dirfd)
{
	cleanup_fd int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

int file_remove(int dirfd, const char *name, bool *ret_changed)
{
	bool changed = unlinkat(dirfd, name, 0) == 0;

	if (!changed && errno != ENOENT)
		return -errno;
	if (ret_changed)
		*ret_changed = changed;
	return 0;
}

/* A tree that is being removed. */
struct removal {
	int topfd; /* its top; what is too deep is moved here */
	dev_t device;
	uint64_t moved; /* how much was */
};

static int remove_entry(struct removal *removal, int dirfd, const char *name, unsigned depth);

static int remove_children(struct removal *removal, DIR *dir, unsigned depth)
{
	const struct dirent *entry = NULL;
	int r = 0;

	while (r == 0) {
		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;
		r = remove_entry(removal, dirfd(dir), entry->d_name, depth);
	}
	return r;
}

static int move_up(struct removal *removal, int dirfd, const char *name)
{
	char moved[64];

	for (;;) {
		(void)snprintf(moved, sizeof(moved), TREE_MOVED_NAME, removal->moved++);
		if (renameat2(dirfd, name, removal->topfd, moved, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
}

static int open_tree(int dirfd, const char *name, dev_t device, int *ret_fd)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r;

	r = path_open_unmounted(dirfd, name, O_RDONLY | O_DIRECTORY, &fd);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0 || st.st_dev != device)
		return -EXDEV;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int remove_entry(struct removal *removal, int dirfd, const char *name, unsigned depth)
{
	cleanup_dir DIR *dir = NULL;
	int fd = -EBADF;
	int r;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth == 0)
		return move_up(removal, dirfd, name);
	r = open_tree(dirfd, name, removal->device, &fd);
	if (r == 0)
		r = dir_take(fd, &dir);
	if (r == 0)
		r = remove_children(removal, dir, depth - 1);
	if (r < 0)
		return r;
	return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int tree_remove(int dirfd, const char *name)
{
	cleanup_fd int top = -EBADF;
	struct removal removal = {0};
	uint64_t before;
	struct stat st;
	int r;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	r = open_tree(dirfd, name, st.st_dev, &top);
	if (r < 0)
		return r;
	removal.topfd = top;
	removal.device = st.st_dev;
	/* What was moved may not be seen by the reading that moved it. */
	do {
		cleanup_dir DIR *dir = NULL;

		before = removal.moved;
		r = dir_open(top, &dir);
		if (r == 0)
			r = remove_children(&removal, dir, TREE_DEPTH_MAX);
		if (r < 0)
			return r;
	} while (removal.moved != before);
	return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}
