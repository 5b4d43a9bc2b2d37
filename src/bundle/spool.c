/* SPDX-License-Identifier: Apache-2.0 */

/* Unnamed files: what a killed process leaves of them is nothing. A full disk is found before the
 * first byte where the file system knows, else by the write that fails. */

#include "bundle/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>

#include "base/fd.h"

/* Each sync_file_range() keeps this much in flight while the next is being made. */
#define FLUSH_STEP (8ULL << 20)

static int refuse_space(uint64_t needed, uint64_t available, struct refusal *reterr_refusal)
{
	return refuse(reterr_refusal, REFUSAL_NO_SPACE,
		      "the file system is full: %llu KiB are needed and %llu KiB are free",
		      (unsigned long long)(needed + 1023) / 1024,
		      (unsigned long long)available / 1024);
}

/* File systems without a fixed number of inodes report none at all. */
static int check_room(int dirfd, uint64_t expected, struct refusal *reterr_refusal)
{
	struct statvfs room;
	uint64_t available;

	if (fstatvfs(dirfd, &room) < 0)
		return -errno;
	if (__builtin_mul_overflow(room.f_bavail, room.f_frsize, &available))
		available = UINT64_MAX;
	if (room.f_blocks > 0 && available < expected)
		return refuse_space(expected, available, reterr_refusal);
	if (room.f_files > 0 && room.f_favail == 0)
		return refuse(reterr_refusal, REFUSAL_NO_INODES,
			      "the file system has no inode left: 1 is needed and 0 are free");
	return 0;
}

int spool_open(struct spool *spool, int dirfd, uint64_t expected, int flags,
	       struct refusal *reterr_refusal)
{
	int r = check_room(dirfd, expected, reterr_refusal);

	if (r != 0)
		return r;
	*spool = SPOOL_INIT;
	spool->fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
	if (spool->fd >= 0)
		return 0;
	if (errno == EOPNOTSUPP || errno == EISDIR)
		return refuse(reterr_refusal, REFUSAL_UNSUPPORTED_FILESYSTEM,
			      "the file system has no unnamed files (O_TMPFILE): expected ext4, "
			      "xfs, btrfs, tmpfs or another that has them");
	if (errno == ENOSPC)
		return refuse(reterr_refusal, REFUSAL_NO_INODES,
			      "the file system has no room for one more file");
	return -errno;
}

int spool_add(struct spool *spool, const void *data, size_t size, struct refusal *reterr_refusal)
{
	int r = fd_write_full(spool->fd, data, size);

	if (r == -ENOSPC || r == -EDQUOT)
		return refuse(reterr_refusal, REFUSAL_NO_SPACE,
			      "the file system became full after %llu KiB of a file",
			      (unsigned long long)spool->size / 1024);
	if (r < 0)
		return r;
	spool->size += size;
	if (spool->size - spool->flushed < FLUSH_STEP)
		return 0;
	/* A hint only: the fsync that must follow reports what went wrong. */
	(void)sync_file_range(spool->fd, (off_t)spool->flushed,
			      (off_t)(spool->size - spool->flushed), SYNC_FILE_RANGE_WRITE);
	spool->flushed = spool->size;
	return 0;
}

void spool_done(struct spool *spool)
{
	spool->fd = fd_close(spool->fd);
}
