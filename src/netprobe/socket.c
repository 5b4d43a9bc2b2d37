/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Where the daemon is reached. Who may is the directory's business: its group is the socket's, and
 * the mode is read back, because a umask or a file system may have had its own idea.
 */

#include "netprobe/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define BACKLOG 16

static int explain(char why[SOCKET_WHY_MAX], const char *path, int error, const char *what)
{
	(void)snprintf(why, SOCKET_WHY_MAX, "'%s': %s%s%s", path, what, error != 0 ? ": " : "",
		       error != 0 ? strerrordesc_np(error) : "");
	return error != 0 ? -error : -EINVAL;
}

static int make_address(const char *path, struct sockaddr_un *ret, char why[SOCKET_WHY_MAX])
{
	if (*path == '\0' || strlen(path) >= sizeof(ret->sun_path))
		return explain(why, path, ENAMETOOLONG,
			       "a socket's path has at most 107 characters");
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret->sun_path, path, strlen(path) + 1);
	return 0;
}

static int try_connect(const struct sockaddr_un *address, int *ret_fd)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int socket_connect(const char *path, int *ret_fd, char why[SOCKET_WHY_MAX])
{
	struct sockaddr_un address;
	int r = make_address(path, &address, why);

	if (r < 0)
		return r;
	r = try_connect(&address, ret_fd);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return explain(why, path, -r, "no netprobe listens there; is it running?");
	if (r == -EACCES)
		return explain(why, path, -r, "only the group of its directory may connect");
	return r < 0 ? explain(why, path, -r, "cannot be connected to") : 0;
}

/* Takes a socket that nobody listens at out of the way. */
static int clear_way(const char *path, const struct sockaddr_un *address, char why[SOCKET_WHY_MAX])
{
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : explain(why, path, errno, "cannot be looked at");
	if (!S_ISSOCK(st.st_mode))
		return explain(why, path, EEXIST, "is something else than a socket; remove it");
	r = try_connect(address, &fd);
	if (r == 0)
		return explain(why, path, EADDRINUSE,
			       "another netprobe listens there; stop it, or name another --socket");
	if (r != -ECONNREFUSED)
		return explain(why, path, -r, "cannot tell whether somebody listens there");
	if (unlink(path) < 0 && errno != ENOENT)
		return explain(why, path, errno, "cannot be replaced");
	return 0;
}

static int stat_directory(const char *path, struct stat *ret, char why[SOCKET_WHY_MAX])
{
	cleanup_free char *directory = strdup(path);
	char *slash;

	if (!directory)
		return -ENOMEM;
	slash = strrchr(directory, '/');
	if (slash)
		*(slash == directory ? slash + 1 : slash) = '\0';
	if (stat(slash ? directory : ".", ret) < 0)
		return explain(why, path, errno, "its directory cannot be used");
	return 0;
}

/* The mode and group that a socket has to have; and that it has them. */
static int restrict_access(const char *path, gid_t group, char why[SOCKET_WHY_MAX])
{
	struct stat st;

	if (chmod(path, SOCKET_MODE) < 0)
		return explain(why, path, errno, "its mode cannot be set");
	if (lstat(path, &st) < 0)
		return explain(why, path, errno, "cannot be looked at");
	if (st.st_gid != group && lchown(path, (uid_t)-1, group) < 0)
		return explain(why, path, errno, "cannot be given the group of its directory");
	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode) ||
	    (st.st_mode & ALLPERMS) != SOCKET_MODE || st.st_gid != group)
		return explain(why, path, EPERM, "has not the mode 0660 that was asked for");
	return 0;
}

int socket_listen(const char *path, int *ret_fd, char why[SOCKET_WHY_MAX])
{
	cleanup_fd int fd = -EBADF;
	struct sockaddr_un address;
	struct stat directory;
	mode_t mask;
	int r;

	r = make_address(path, &address, why);
	if (r == 0)
		r = stat_directory(path, &directory, why);
	if (r == 0)
		r = clear_way(path, &address, why);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return explain(why, path, errno, "no socket can be made");
	/* Nobody but us, until it has its group. */
	mask = umask(0177);
	r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
	(void)umask(mask);
	if (r != 0)
		return explain(why, path, r, "cannot be bound");
	r = restrict_access(path, directory.st_gid, why);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = explain(why, path, errno, "cannot be listened at");
	if (r < 0) {
		(void)unlink(path);
		return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

void socket_remove(const char *path, int fd)
{
	cleanup_fd int other = -EBADF;
	struct sockaddr_un address;
	char why[SOCKET_WHY_MAX];

	/* Once we listen no more, a socket that still answers is another's. */
	(void)fd_close(fd);
	if (make_address(path, &address, why) == 0 &&
	    try_connect(&address, &other) == -ECONNREFUSED)
		(void)unlink(path);
}
