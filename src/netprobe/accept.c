/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A connection that cannot be taken stays at the listener, which is then readable for ever: the
 * event loop would do nothing else. So one descriptor is kept for that case, with which the
 * connection is taken and closed.
 */

#include "netprobe/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/fd.h"

int accept_spare(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -EBADF : fd;
}

int accept_one(int listener, int *spare, int *ret_fd)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int error = fd < 0 ? errno : 0;

	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	if (error != EMFILE && error != ENFILE)
		return -error;
	*spare = fd_close(*spare);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	(void)fd_close(fd);
	*spare = accept_spare();
	return -error;
}
