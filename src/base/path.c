/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Paths as descriptors. A path string is only ever resolved by openat2() below a directory
 * descriptor that the caller holds; nothing in affix decides by comparing path strings of existing
 * files.
 *
 * Every kernel that affix is for has openat2(), yet it may answer ENOSYS: in a sandbox that says
 * RestrictSUIDSGID=yes (a filter of system calls cannot see the mode in its argument, so systemd
 * takes the call away), and in emulators of user space (qemu 7.2, valgrind 3.19). Then a path is
 * resolved step by step, each component below the descriptor of the one before and none of them a
 * link: as safe, and it refuses the same, and every "..". Links that are to be followed inside
 * another root are the kernel's to resolve; there is no such way for them but in the process's own
 * root.
 */

#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

bool path_is_safe_name(const char *name)
{
	size_t length = strnlen(name, PATH_NAME_MAX + 1);

	if (length == 0 || length > PATH_NAME_MAX || name[0] == '-')
		return false;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (name[i] <= ' ' || name[i] > '~' || name[i] == '/' || name[i] == '\\')
			return false;
	}
	return true;
}

static bool component_is_normal(const char *component, size_t length)
{
	if (length == 0 || length > PATH_NAME_MAX)
		return false;
	if (component[0] == '.' && (length == 1 || (length == 2 && component[1] == '.')))
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)component[i];

		if (c < ' ' || c == 0x7f)
			return false;
	}
	return true;
}

bool path_is_normal_absolute(const char *path)
{
	const char *at = path;

	if (*at != '/')
		return false;
	while (*at == '/') {
		size_t length = strcspn(at + 1, "/");

		if (!component_is_normal(at + 1, length))
			return false;
		at += 1 + length;
	}
	return at - path < 4096;
}

bool path_is_below(const char *path, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(path, prefix, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

const char *path_last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int open_how(int dirfd, const char *path, const struct open_how *how, int *ret_fd)
{
	long fd;

	while (*path == '/')
		path++;
	do
		fd = syscall(SYS_openat2, dirfd, *path ? path : ".", how, sizeof(*how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	if (fd < 0)
		return -errno;
	*ret_fd = (int)fd;
	return 0;
}

/* The last step: a link is refused as openat2() refuses it, also where O_PATH would open the link
 * itself, and where O_DIRECTORY would call it "not a directory". */
static int open_last(int dirfd, const char *name, int flags, mode_t mode, int *ret_fd)
{
	cleanup_fd int fd = openat(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	struct stat st;
	int r = fd < 0 ? -errno : 0;

	if (r == -ENOTDIR && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISLNK(st.st_mode))
		return -ELOOP;
	if (r < 0)
		return r;
	if ((flags & O_PATH) && !(flags & O_NOFOLLOW)) {
		if (fstat(fd, &st) < 0)
			return -errno;
		if (S_ISLNK(st.st_mode))
			return -ELOOP;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* One directory on the way. A link there is -ELOOP for openat2(); O_DIRECTORY alone would say
 * -ENOTDIR. */
static int open_step(int dirfd, const char *name, int *ret_fd)
{
	cleanup_fd int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return S_ISLNK(st.st_mode) ? -ELOOP : -ENOTDIR;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_by_steps(int dirfd, const char *path, int flags, mode_t mode, int *ret_fd)
{
	cleanup_fd int at = -EBADF;

	for (;;) {
		char name[PATH_NAME_MAX + 1];
		size_t length;
		int next = -EBADF;
		int r;

		path += strspn(path, "/");
		length = strcspn(path, "/");
		if (length > PATH_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, length > 0 ? path : ".", length > 0 ? length : 1);
		name[length > 0 ? length : 1] = '\0';
		if (strcmp(name, "..") == 0)
			return -EXDEV;
		if (path[length] == '\0')
			return open_last(at >= 0 ? at : dirfd, name, flags, mode, ret_fd);
		r = open_step(at >= 0 ? at : dirfd, name, &next);
		if (r < 0)
			return r;
		(void)fd_close(at);
		at = next;
		path += length;
	}
}

int path_open_beneath(int dirfd, const char *path, int flags, mode_t mode, int *ret_fd)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	int r = open_how(dirfd, path, &how, ret_fd);

	return r == -ENOSYS ? open_by_steps(dirfd, path, flags, mode, ret_fd) : r;
}

int path_is_mount(int dirfd, const char *name, bool *ret)
{
	const int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
	struct statx stx;

	if (statx(dirfd, name, flags, STATX_TYPE, &stx) < 0)
		return -errno;
	*ret = (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
	return 0;
}

int path_open_unmounted(int dirfd, const char *name, int flags, int *ret_fd)
{
	cleanup_fd int fd = -EBADF;
	bool is_mount = false;
	int r;

	r = path_open_beneath(dirfd, name, flags, 0, &fd);
	if (r == 0)
		r = path_is_mount(fd, "", &is_mount);
	if (r != 0 || is_mount)
		return r != 0 ? r : -EBUSY;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* In the process's own root directory, ordinary resolution is resolution inside it. */
static int open_in_own_root(int rootfd, const char *path, int flags, mode_t mode, int *ret_fd)
{
	struct stat own;
	struct stat st;
	int fd;

	if (stat("/", &own) < 0 || fstat(rootfd, &st) < 0)
		return -errno;
	if (own.st_dev != st.st_dev || own.st_ino != st.st_ino)
		return -ENOSYS;
	path += strspn(path, "/");
	fd = openat(rootfd, *path ? path : ".", flags | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int path_open_in_root(int rootfd, const char *path, int flags, mode_t mode, int *ret_fd)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int r = open_how(rootfd, path, &how, ret_fd);

	return r == -ENOSYS ? open_in_own_root(rootfd, path, flags, mode, ret_fd) : r;
}
