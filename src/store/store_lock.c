/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The locks of the store: open file description locks on empty files in `locks`, so that a lock
 * ends with its holder, however that ends, and can be asked for without being taken.
 *
 * An id has two: the lock itself, and a gate that everybody passes to get at it. Whoever waits
 * without being the administrator lets the gate go between tries; the administrator keeps it. So
 * once the administrator waits, nobody else gets in, and the wait is no longer than the operation
 * that runs. Lock files are never removed: a lock on a removed file would exclude nobody.
 */

#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

#define LOCK_DIRECTORY "locks"
/* No id begins with a dot. */
#define SWITCH_LOCK ".switch"
#define POLL_USEC   (20 * CLOCK_USEC_PER_MSEC)

static int open_lock_file(const struct store *store, const char *name, int *ret_fd)
{
	cleanup_fd int dirfd = -EBADF;
	int r;

	if (mkdirat(store->dirfd, LOCK_DIRECTORY, 0700) < 0 && errno != EEXIST)
		return -errno;
	r = path_open_beneath(store->dirfd, LOCK_DIRECTORY, O_PATH | O_DIRECTORY, 0, &dirfd);
	return r < 0 ? r : path_open_beneath(dirfd, name, O_RDWR | O_CREAT, 0600, ret_fd);
}

static int open_id_file(const struct store *store, const char *id, const char *suffix, int *ret_fd)
{
	cleanup_free char *name = NULL;
	int r;

	if (!manifest_id_is_recorded(id))
		return -EINVAL;
	r = str_format(&name, "%s%s", id, suffix);
	return r < 0 ? r : open_lock_file(store, name, ret_fd);
}

/* 0 with the lock; -EAGAIN where another has it; -errno. */
static int try_lock(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

static int unlock(int fd)
{
	struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/*
 * One try to pass *gate* and take *lock*; the gate is let go but for an administrator who did not
 * get the lock. *has_gate* remembers that between tries.
 */
static int try_pass(int gate, int lock, bool is_admin, bool *has_gate)
{
	int r = *has_gate ? 0 : try_lock(gate);

	if (r < 0)
		return r;
	*has_gate = true;
	r = try_lock(lock);
	if (r < 0 && is_admin)
		return r;
	*has_gate = false;
	return unlock(gate) < 0 ? -EIO : r;
}

int store_lock(const struct store *store, const char *id, bool is_admin, uint64_t wait_usec,
	       int *ret_fd, struct refusal *reterr_refusal)
{
	uint64_t end = clock_monotonic_usec() + wait_usec;
	cleanup_fd int gate = -EBADF;
	cleanup_fd int lock = -EBADF;
	bool has_gate = false;
	int r;

	r = open_id_file(store, id, ".gate", &gate);
	if (r == 0)
		r = open_id_file(store, id, ".lock", &lock);
	if (r < 0)
		return r;
	for (;;) {
		uint64_t now;

		r = try_pass(gate, lock, is_admin, &has_gate);
		now = clock_monotonic_usec();
		if (r != -EAGAIN || now >= end)
			break;
		clock_sleep_usec(MIN(POLL_USEC, end - now));
	}
	if (r == -EAGAIN)
		return refuse(
			reterr_refusal, REFUSAL_BUSY,
			"another operation on '%s' is going on; try again when it is done, 'affix status %s' shows it",
			id, id);
	if (r == 0)
		*ret_fd = TAKE_FD(lock);
	return r;
}

int store_is_locked(const struct store *store, const char *id, bool *ret)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	cleanup_free char *path = NULL;
	cleanup_fd int fd = -EBADF;
	int r;

	if (!manifest_id_is_recorded(id))
		return -EINVAL;
	r = str_format(&path, LOCK_DIRECTORY "/%s.lock", id);
	if (r == 0)
		r = path_open_beneath(store->dirfd, path, O_RDONLY, 0, &fd);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	*ret = r == 0 && lock.l_type != F_UNLCK;
	return 0;
}

int store_lock_switch(const struct store *store, int *ret_fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	cleanup_fd int fd = -EBADF;
	int r;

	r = open_lock_file(store, SWITCH_LOCK, &fd);
	if (r < 0)
		return r;
	do
		r = fcntl(fd, F_OFD_SETLKW, &lock);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
