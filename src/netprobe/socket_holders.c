/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A pass over /proc. Descriptors and name of a process are read below one descriptor of its
 * directory, so that they are of one process, not of two that had the same number.
 */

#include "netprobe/socket_holders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "netprobe/procfs.h"

#define FIRST_HOLDINGS 256U

struct holding {
	uint32_t inode;
	uint32_t owner; /* index */
};

struct socket_holders {
	struct probe_owner *owners;
	struct holding *holdings; /* sorted by inode, then by owner */
	size_t owner_count, owner_room, count, room;
};

struct socket_holders *socket_holders_free(struct socket_holders *holders)
{
	if (!holders)
		return NULL;
	free(holders->owners);
	free(holders->holdings);
	free(holders);
	return NULL;
}

static int add_holding(struct socket_holders *holders, uint32_t inode)
{
	if (holders->count == holders->room) {
		size_t room = MAX(holders->room * 2, FIRST_HOLDINGS);
		struct holding *larger = reallocarray(holders->holdings, room, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		holders->holdings = larger;
		holders->room = room;
	}
	holders->holdings[holders->count++] =
		(struct holding){.inode = inode, .owner = (uint32_t)holders->owner_count};
	return 0;
}

/* The sockets of one process. 1: it has some. */
static int add_descriptors(struct socket_holders *holders, int process)
{
	int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = NULL;
	size_t before = holders->count;
	const struct dirent *entry = NULL;

	if (fd < 0 || dir_take(fd, &dir) < 0)
		return 0;
	while (dir_next(dir, &entry) == 0 && entry) {
		char target[64] = {0};
		uint32_t inode = 0;

		if (readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1) < 0)
			continue;
		/* NOLINTNEXTLINE(cert-err34-c): the kernel wrote the number */
		if (sscanf(target, "socket:[%u]", &inode) == 1 && add_holding(holders, inode) < 0)
			return -ENOMEM;
	}
	return holders->count > before ? 1 : 0;
}

static int add_owner(struct socket_holders *holders, uint32_t tgid,
		     const struct procfs_process *process)
{
	struct probe_owner *owner;

	if (holders->owner_count == holders->owner_room) {
		size_t room = MAX(holders->owner_room * 2, FIRST_HOLDINGS);
		struct probe_owner *larger = reallocarray(holders->owners, room, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		holders->owners = larger;
		holders->owner_room = room;
	}
	owner = &holders->owners[holders->owner_count++];
	*owner = (struct probe_owner){
		.start_ns = process->start_ns,
		.tgid = tgid,
		.pid = tgid,
		.uid = process->uid,
		.gid = process->gid,
	};
	memcpy(owner->comm, process->comm, sizeof(owner->comm));
	return 0;
}

static int add_process(struct socket_holders *holders, uint32_t tgid)
{
	cleanup_fd int directory = -EBADF;
	struct procfs_process process;
	size_t before = holders->count;
	int r;

	r = procfs_open(tgid, &directory);
	if (r >= 0)
		r = add_descriptors(holders, directory);
	if (r <= 0)
		return r == -ENOMEM ? r : 0;
	r = procfs_read(directory, &process);
	if (r >= 0 && !process.is_kernel)
		return add_owner(holders, tgid, &process);
	holders->count = before;
	return 0;
}

static int compare(const void *one, const void *other)
{
	const struct holding *a = one;
	const struct holding *b = other;

	if (a->inode != b->inode)
		return a->inode < b->inode ? -1 : 1;
	return a->owner < b->owner ? -1 : a->owner > b->owner;
}

int socket_holders_load(struct socket_holders **ret)
{
	cleanup_socket_holders struct socket_holders *holders = calloc(1, sizeof(*holders));
	cleanup_dir DIR *dir = opendir("/proc");
	const struct dirent *entry = NULL;

	if (!holders)
		return -ENOMEM;
	if (!dir)
		return -errno;
	while (dir_next(dir, &entry) == 0 && entry) {
		char *end = NULL;
		unsigned long number = strtoul(entry->d_name, &end, 10);

		if (*end == '\0' && number > 0 && number <= INT32_MAX &&
		    add_process(holders, (uint32_t)number) < 0)
			return -ENOMEM;
	}
	if (holders->count > 0)
		qsort(holders->holdings, holders->count, sizeof(*holders->holdings), compare);
	*ret = TAKE_PTR(holders);
	return 0;
}

const struct probe_owner *socket_holders_find(const struct socket_holders *holders, uint32_t inode,
					      bool first)
{
	size_t low = 0;
	size_t high = holders->count;
	const struct probe_owner *owner = NULL;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (holders->holdings[middle].inode < inode)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < holders->count && holders->holdings[low].inode == inode; low++) {
		const struct probe_owner *other = &holders->owners[holders->holdings[low].owner];

		if (!owner || (first && other->start_ns < owner->start_ns))
			owner = other;
		else if (!first && other != owner)
			return NULL;
	}
	return owner;
}
