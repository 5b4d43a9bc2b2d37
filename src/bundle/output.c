/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Files that are there whole or not at all: without a name (O_TMPFILE) until they are synced, where
 * the file system can; else under a temporary name. Temporary names are nobody else's, so that two
 * processes that make the same file do not take it from each other; and what gets the final name is
 * looked at once more, whoever may write into the directory.
 *
 * Who has a temporary name holds a lock on the file: one that nobody has locked was left by a
 * process that was killed, and goes before the next is made.
 */

#include "bundle/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/str.h"

#define NUMBER_DIGITS 16U
#define TRIES_MAX     8U

/* Whether *entry* is a temporary name of *name*: `.NAME.NUMBER` and the suffix. */
static bool is_temporary(const char *entry, const char *name)
{
	size_t length = strlen(name);
	const char *number = entry + length + 2;

	return strlen(entry) == length + 2 + NUMBER_DIGITS + strlen(FILE_TEMPORARY_SUFFIX) &&
	       entry[0] == '.' && memcmp(entry + 1, name, length) == 0 &&
	       entry[length + 1] == '.' && strspn(number, "0123456789abcdef") == NUMBER_DIGITS &&
	       strcmp(number + NUMBER_DIGITS, FILE_TEMPORARY_SUFFIX) == 0;
}

/* Ours, and not locked by anybody: nobody will need it. Whether it is locked is known of the file
 * that was opened, so that is the one which must have the name. */
static void remove_stale(int dirfd, const char *entry)
{
	cleanup_fd int fd = openat(dirfd, entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat named;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 &&
	    fstatat(dirfd, entry, &named, AT_SYMLINK_NOFOLLOW) == 0 && named.st_ino == st.st_ino &&
	    named.st_dev == st.st_dev)
		(void)unlinkat(dirfd, entry, 0);
}

/* That it is not done is no reason to do nothing. */
static void remove_all_stale(int dirfd, const char *name)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;

	if (dir_open(dirfd, &dir) < 0)
		return;
	while (dir_next(dir, &entry) == 0 && entry) {
		if (is_temporary(entry->d_name, name))
			remove_stale(dirfd, entry->d_name);
	}
}

static int find_temporary(const char *name, char **ret)
{
	cleanup_free char *unique = NULL;
	uint64_t number = 0;

	if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
		return -EIO;
	if (str_format(&unique, "%s.%016llx", name, (unsigned long long)number) < 0)
		return -ENOMEM;
	*ret = file_temporary_name(unique);
	return *ret ? 0 : -ENAMETOOLONG;
}

/* -EAGAIN: before it was locked it was taken for one that nobody needs. */
static int try_named(struct output *output, const char *name, mode_t mode)
{
	cleanup_free char *temporary = NULL;
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r = find_temporary(name, &temporary);

	if (r < 0)
		return r;
	fd = openat(output->dirfd, temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		    mode);
	if (fd < 0)
		return -errno;
	/* Where there are no locks, nobody takes it for such a one. */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return -EAGAIN;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_nlink == 0)
		return -EAGAIN;
	output->fd = TAKE_FD(fd);
	output->temporary = TAKE_PTR(temporary);
	return 0;
}

static int open_named(struct output *output, const char *name, mode_t mode)
{
	int r = -EAGAIN;

	remove_all_stale(output->dirfd, name);
	for (unsigned i = 0; r == -EAGAIN && i < TRIES_MAX; i++)
		r = try_named(output, name, mode);
	return r;
}

int output_open(struct output *output, int dirfd, const char *name, mode_t mode)
{
	*output = OUTPUT_INIT;
	/* Its own: to go away it needs the directory, whoever closes theirs before. */
	output->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	if (output->dirfd < 0)
		return -errno;
	output->fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	if (output->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		int r = open_named(output, name, mode);

		if (r < 0)
			return r;
	}
	if (output->fd < 0 || fchmod(output->fd, mode) < 0)
		return -errno;
	return 0;
}

/* Names the unnamed file; a name that is taken is only taken over by rename(). */
static int link_file(struct output *output, const char *name)
{
	cleanup_free char *temporary = NULL;
	char self[64];
	int r;

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", output->fd);
	if (linkat(AT_FDCWD, self, output->dirfd, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	remove_all_stale(output->dirfd, name);
	(void)flock(output->fd, LOCK_EX | LOCK_NB);
	r = find_temporary(name, &temporary);
	if (r < 0)
		return r;
	if (linkat(AT_FDCWD, self, output->dirfd, temporary, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	output->temporary = TAKE_PTR(temporary);
	return 0;
}

/* From the temporary name to *name*; *ret_is_new*: nothing had it. */
static int move_file(struct output *output, const char *name, bool *ret_is_new)
{
	int dirfd = output->dirfd;
	struct stat mine;
	struct stat named;

	if (fstat(output->fd, &mine) < 0 ||
	    fstatat(dirfd, output->temporary, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (mine.st_ino != named.st_ino || mine.st_dev != named.st_dev)
		return -ESTALE;
	*ret_is_new = renameat2(dirfd, output->temporary, dirfd, name, RENAME_NOREPLACE) == 0;
	/* EINVAL: a file system that cannot tell. */
	if (!*ret_is_new && ((errno != EEXIST && errno != EINVAL) ||
			     renameat(dirfd, output->temporary, dirfd, name) < 0))
		return -errno;
	free(output->temporary);
	output->temporary = NULL;
	return 0;
}

int output_sync(const struct output *output)
{
	return fsync(output->fd) < 0 ? -errno : 0;
}

int output_publish(struct output *output, const char *name)
{
	cleanup_free char *published = strdup(name);
	bool is_new = true;
	int r = published ? output_sync(output) : -ENOMEM;

	if (r == 0 && !output->temporary)
		r = link_file(output, name);
	if (r == 0 && output->temporary)
		r = move_file(output, name, &is_new);
	if (r == 0 && is_new)
		output->published = TAKE_PTR(published);
	return r;
}

void output_retract(struct output *output)
{
	if (output->published)
		(void)unlinkat(output->dirfd, output->published, 0);
}

void output_done(struct output *output)
{
	if (output->temporary)
		(void)unlinkat(output->dirfd, output->temporary, 0);
	free(output->temporary);
	free(output->published);
	(void)fd_close(output->fd);
	(void)fd_close(output->dirfd);
	*output = OUTPUT_INIT;
}
