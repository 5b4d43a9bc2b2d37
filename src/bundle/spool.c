/* SPDX-License-Identifier: Apache-2.0 */

/* Unnamed files: what a killed process leaves of them is nothing. A full disk is found before the
 * first byte where the file system knows, else by the write that fails. Bytes that nobody verified
 * have their room before they come. */

#include "bundle/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

/* Each sync_file_range() keeps this much in flight while the next is being made. */
#define FLUSH_STEP (4ULL << 20)
/* At the end of a file, what is left of that is begun as well, if it is worth a call. */
#define FLUSH_REST (256ULL << 10)
/* What has no more than this, and no name ever, takes no room before: it is written to memory and
 * gone before the file system looks for blocks. To give blocks back takes 2 ms where they are
 * discarded at once, behind all that is being written (measured). */
#define UNRESERVED_MAX (4ULL << 20)
/* How much of a path is shown. */
#define PLACE_MAX 128U

/* Where *dirfd* is, for people: a full disk is not to be guessed among several. */
struct place {
	char text[4 * PLACE_MAX + 4];
};

static struct place place_of(int dirfd)
{
	struct place place = {"?"};
	cleanup_free char *shown = NULL;
	char link[64];
	char path[PLACE_MAX];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
	n = readlink(link, path, sizeof(path));
	if (n > 0)
		shown = str_escape(path, (size_t)n, sizeof(path));
	if (shown)
		(void)snprintf(place.text, sizeof(place.text), "%s", shown);
	return place;
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
		return refuse(
			reterr_refusal, REFUSAL_NO_SPACE,
			"the file system of '%s' is full: %llu KiB are needed and %llu KiB are free; free some space and try again",
			place_of(dirfd).text, (unsigned long long)(expected + 1023) / 1024,
			(unsigned long long)available / 1024);
	if (room.f_files > 0 && room.f_favail == 0)
		return refuse(
			reterr_refusal, REFUSAL_NO_INODES,
			"the file system of '%s' has no inode left; remove some files and try again",
			place_of(dirfd).text);
	return 0;
}

/*
 * Takes the room for *expected* bytes, so that whoever comes at the same time sees what is left. A
 * process of root's gets at blocks that are kept for others than bundles: where nothing is left for
 * everybody, it took those.
 */
static int reserve(int fd, int dirfd, uint64_t expected, struct refusal *reterr_refusal)
{
	int r;

	do
		r = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)expected) < 0 ? -errno : 0;
	while (r == -EINTR);
	if (r == 0)
		return check_room(dirfd, 1, reterr_refusal);
	if (r == -ENOSPC || r == -EDQUOT)
		return refuse(reterr_refusal, REFUSAL_NO_SPACE,
			      "the file system of '%s' has no room for %llu KiB; free some space "
			      "and try again",
			      place_of(dirfd).text, (unsigned long long)(expected + 1023) / 1024);
	return r == -EOPNOTSUPP || r == -ENOSYS ? 0 : r;
}

int spool_open(struct spool *spool, int dirfd, uint64_t expected, int flags,
	       struct refusal *reterr_refusal)
{
	int r = check_room(dirfd, expected, reterr_refusal);

	if (r != 0)
		return r;
	*spool = SPOOL_INIT;
	spool->is_kept = !(flags & O_EXCL);
	spool->fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
	if (spool->fd >= 0)
		return spool->is_kept || expected <= UNRESERVED_MAX
			       ? 0
			       : reserve(spool->fd, dirfd, expected, reterr_refusal);
	if (errno == EOPNOTSUPP || errno == EISDIR)
		return refuse(reterr_refusal, REFUSAL_UNSUPPORTED_FILESYSTEM,
			      "the file system of '%s' has no unnamed files (O_TMPFILE): "
			      "expected ext4, xfs, btrfs, tmpfs or another that has them",
			      place_of(dirfd).text);
	if (errno == EROFS)
		return refuse(reterr_refusal, REFUSAL_UNSUPPORTED_FILESYSTEM,
			      "the file system of '%s' is mounted read-only; remount it writable",
			      place_of(dirfd).text);
	if (errno == ENOSPC)
		return refuse(reterr_refusal, REFUSAL_NO_INODES,
			      "the file system of '%s' has no room for one more file; remove some "
			      "and try again",
			      place_of(dirfd).text);
	return -errno;
}

/* What was written since the last time, if it is at least *least*. A hint only: the sync that must
 * follow reports what went wrong. */
static void flush(struct spool *spool, uint64_t least)
{
	if (!spool->is_kept || spool->size - spool->flushed < least)
		return;
	(void)sync_file_range(spool->fd, (off_t)spool->flushed,
			      (off_t)(spool->size - spool->flushed), SYNC_FILE_RANGE_WRITE);
	spool->flushed = spool->size;
}

int spool_add(struct spool *spool, const void *data, size_t size, struct refusal *reterr_refusal)
{
	int r = fd_write_full(spool->fd, data, size);

	if (r == -ENOSPC || r == -EDQUOT)
		return refuse(reterr_refusal, REFUSAL_NO_SPACE,
			      "the file system of '%s' became full after %llu KiB of a file; free "
			      "some space and try again",
			      place_of(spool->fd).text, (unsigned long long)spool->size / 1024);
	if (r < 0)
		return r;
	spool->size += size;
	flush(spool, FLUSH_STEP);
	return 0;
}

int spool_take(struct spool *spool)
{
	flush(spool, FLUSH_REST);
	return TAKE_FD(spool->fd);
}

void spool_done(struct spool *spool)
{
	spool->fd = fd_close(spool->fd);
}
