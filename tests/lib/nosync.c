/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The control run of powercut: preloaded, this makes a program believe that its data are on disk.
 * A harness that does not catch a program so deceived proves nothing about one that is not.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int fsync(int fd)
{
	(void)fd;
	return 0;
}

int fdatasync(int fd)
{
	(void)fd;
	return 0;
}

int syncfs(int fd)
{
	(void)fd;
	return 0;
}

void sync(void)
{
}

int sync_file_range(int fd, off64_t offset, off64_t count, unsigned int flags)
{
	(void)fd;
	(void)offset;
	(void)count;
	(void)flags;
	return 0;
}

int msync(void *address, size_t length, int flags)
{
	(void)address;
	(void)length;
	(void)flags;
	return 0;
}
