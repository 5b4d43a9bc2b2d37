/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Finding the serial port. udev would make a link of its name, but images that were containers
 * often have none; the kernel says the name in /sys, and makes the device itself.
 */

#include "guest/port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/str.h"
#include "ipc/guest.h"

#define CLASS_PATH "/sys/class/virtio-ports"
#define NAME_SIZE  128U

/* Whether the port at an entry of the class is ours. */
static bool is_ours(int class, const char *entry)
{
	cleanup_free char *name_path = NULL;
	cleanup_free char *name = NULL;
	cleanup_fd int fd = -EBADF;
	size_t size = 0;

	if (str_format(&name_path, "%s/name", entry) < 0)
		return false;
	fd = openat(class, name_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fd_read_all(fd, NAME_SIZE, &name, &size) < 0)
		return false;
	name[strcspn(name, "\n")] = '\0';
	return strcmp(name, GUEST_PORT_NAME) == 0;
}

/* 0 or -ENOENT. */
static int find(char ret_path[PORT_PATH_MAX])
{
	cleanup_dir DIR *dir = opendir(CLASS_PATH);
	const struct dirent *entry = NULL;

	while (dir && dir_next(dir, &entry) == 0 && entry) {
		if (entry->d_name[0] == '.' || !is_ours(dirfd(dir), entry->d_name))
			continue;
		(void)snprintf(ret_path, PORT_PATH_MAX, "/dev/%s", entry->d_name);
		return 0;
	}
	return -ENOENT;
}

int port_open(const char *path, char ret_path[PORT_PATH_MAX], int *ret_fd)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;

	if (!path && find(ret_path) < 0)
		return -ENOENT;
	if (path && strlen(path) >= PORT_PATH_MAX)
		return -ENAMETOOLONG;
	if (path)
		memcpy(ret_path, path, strlen(path) + 1);
	fd = open(ret_path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* Nothing else may be there, or answers would be written into it. */
	if (!S_ISCHR(st.st_mode))
		return -ENODEV;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
