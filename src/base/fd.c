/* SPDX-License-Identifier: Apache-2.0 */

/* Whole reads and whole writes on descriptors: a short one is never left to the caller. */

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/path.h"

/* The first buffer of fd_read_all(); most files that we read whole are smaller. */
#define READ_ALL_START 4096U

int fd_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;

		(void)close(fd);
		errno = saved;
	}
	return -EBADF;
}

int fd_read_full(int fd, void *buffer, size_t size, size_t *ret_read)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, (char *)buffer + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*ret_read = done;
	return 0;
}

int fd_pread_full(int fd, void *buffer, size_t size, uint64_t offset, size_t *ret_read)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)buffer + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*ret_read = done;
	return 0;
}

int fd_write_full(int fd, const void *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = write(fd, (const char *)data + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

int fd_pwrite_full(int fd, const void *data, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n =
			pwrite(fd, (const char *)data + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

int fd_read_all(int fd, size_t max, char **ret_data, size_t *ret_size)
{
	cleanup_free char *data = NULL;
	size_t capacity = MIN(max, (size_t)READ_ALL_START);
	size_t size = 0;

	for (;;) {
		size_t n = 0;
		char *larger;
		int r;

		/* One byte more than may be kept shows a file that is too long; one is for the NUL.
		 */
		larger = realloc(data, capacity + 2);
		if (!larger)
			return -ENOMEM;
		data = larger;
		r = fd_read_full(fd, data + size, capacity + 1 - size, &n);
		if (r < 0)
			return r;
		size += n;
		if (size <= capacity)
			break;
		if (capacity >= max)
			return -EFBIG;
		capacity = capacity > max / 4 ? max : capacity * 4;
	}
	data[size] = '\0';
	*ret_data = TAKE_PTR(data);
	if (ret_size)
		*ret_size = size;
	return 0;
}

int fd_read_path(const char *path, size_t max, char **ret_data, size_t *ret_size)
{
	/* NONBLOCK, so that nobody waits for the other end of a FIFO. */
	cleanup_fd int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	return fd < 0 ? -errno : fd_read_all(fd, max, ret_data, ret_size);
}

int fd_read_file_at(int dirfd, const char *name, size_t max, char **ret_data, size_t *ret_size)
{
	cleanup_fd int fd = -EBADF;
	int r;

	r = path_open_beneath(dirfd, name, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0, &fd);
	if (r < 0)
		return r;
	return fd_read_all(fd, max, ret_data, ret_size);
}

int fd_count_read(int fd, uint64_t *ret)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);
	int unread = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ||
	    ioctl(fd, FIONREAD, &unread) < 0)
		return -errno;
	if (size <
	    offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received))
		return -EOPNOTSUPP;
	*ret = info.tcpi_bytes_received - (uint64_t)unread;
	return 0;
}
