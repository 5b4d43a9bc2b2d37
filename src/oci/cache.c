/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The cache of blobs. What has its final name was digested as it was written and is on the disk:
 * readers need not digest it again. Who writes, writes to partial/HEX under a lock on that very
 * file, so that two processes that want the same blob do not write into one another's; the second
 * writes an unnamed file of its own instead of waiting for somebody's network.
 */

#include "oci/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"

#define DIRECTORY_MODE 0700
#define FILE_MODE      0600
#define PIECE_SIZE     262144U
#define TRIES_MAX      16U

/* The hexadecimal digits, which are the file's name. */
static const char *name_of(const char *digest)
{
	return digest + strlen(OCI_DIGEST_PREFIX);
}

static int find_path(const char *path, char **ret)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): read before there are threads */
	const char *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	/* NOLINTEND(concurrency-mt-unsafe) */

	if (path)
		return str_format(ret, "%s", path);
	if (cache && *cache == '/')
		return str_format(ret, "%s/affix/oci", cache);
	return str_format(ret, "%s/.cache/affix/oci", home ? home : "");
}

/* mkdir -p of the user's own directories: links are his own too. */
static int make_path(const char *path)
{
	cleanup_free char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *at = copy; *at; at++) {
		if (*at != '/' || at == copy)
			continue;
		*at = '\0';
		if (mkdir(copy, DIRECTORY_MODE) < 0 && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	return mkdir(copy, DIRECTORY_MODE) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_directory(int dirfd, const char *path, int *ret)
{
	if (mkdirat(dirfd, path, DIRECTORY_MODE) < 0 && errno != EEXIST)
		return -errno;
	*ret = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}

static int open_parts(struct oci_cache *cache)
{
	cleanup_fd int blobs = -EBADF;
	int r;

	cache->fd = open(cache->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cache->fd < 0)
		return -errno;
	r = open_directory(cache->fd, "blobs", &blobs);
	if (r == 0)
		r = open_directory(blobs, "sha256", &cache->blobs_fd);
	if (r == 0)
		r = open_directory(cache->fd, "partial", &cache->partial_fd);
	if (r < 0)
		return r;
	cache->lock_fd =
		openat(cache->fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
	return cache->lock_fd < 0 ? -errno : 0;
}

int oci_cache_open(const char *path, struct oci_cache *ret, struct problem *reterr_problem)
{
	cleanup_oci_cache struct oci_cache cache = OCI_CACHE_INIT;
	int r = find_path(path, &cache.path);

	if (r == 0)
		r = make_path(cache.path);
	if (r == 0)
		r = open_parts(&cache);
	if (r == 0 && flock(cache.lock_fd, LOCK_SH | LOCK_NB) < 0)
		r = errno == EWOULDBLOCK
			    ? oci_fail(reterr_problem, OCI_BUSY,
				       "the cache '%s' is being pruned: try again", cache.path)
			    : -errno;
	if (r != 0)
		return r;
	*ret = cache;
	cache = OCI_CACHE_INIT;
	return 0;
}

void oci_cache_close(struct oci_cache *cache)
{
	(void)fd_close(cache->fd);
	(void)fd_close(cache->blobs_fd);
	(void)fd_close(cache->partial_fd);
	(void)fd_close(cache->lock_fd);
	free(cache->path);
	*cache = OCI_CACHE_INIT;
}

int oci_cache_find(const struct oci_cache *cache, const char *digest, uint64_t size, int *ret_fd)
{
	cleanup_fd int fd = openat(cache->blobs_fd, name_of(digest),
				   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* It stays: the size is what somebody's manifest says, and may be the lie of the two. */
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return -ENOENT;
	/* When it was used last; on a file system that is read only it is not needed. */
	(void)futimens(fd, NULL);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Whether *fd* still is what partial/NAME is: another process may have finished it meanwhile. */
static bool is_current(const struct oci_cache *cache, const char *name, int fd)
{
	struct stat mine;
	struct stat named;

	return fstat(fd, &mine) == 0 &&
	       fstatat(cache->partial_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
}

/* partial/NAME, locked; -EWOULDBLOCK where another process has it. */
static int open_partial(const struct oci_cache *cache, const char *name, int *ret)
{
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		cleanup_fd int fd =
			openat(cache->partial_fd, name,
			       O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, FILE_MODE);

		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
			return -errno;
		if (is_current(cache, name, fd)) {
			*ret = TAKE_FD(fd);
			return 0;
		}
	}
	return -EWOULDBLOCK;
}

/* Takes what an earlier attempt left into the digest. */
static int take_over(struct oci_cache_blob *blob)
{
	cleanup_free uint8_t *piece = malloc(PIECE_SIZE);
	struct stat st;
	size_t n = 0;

	if (!piece)
		return -ENOMEM;
	if (fstat(blob->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > blob->size)
		return oci_cache_restart(blob);
	do {
		int r = fd_read_full(blob->fd, piece, PIECE_SIZE, &n);

		if (r < 0)
			return r;
		sha256_add(&blob->hash, piece, n);
		blob->written += n;
	} while (n > 0);
	return 0;
}

/* Whether there is room for what is still to come. Others take of it too: no promise, but a disk is
 * not filled up with what cannot fit. */
static int check_room(const struct oci_cache_blob *blob)
{
	struct statvfs st;

	if (fstatvfs(blob->fd, &st) < 0)
		return -errno;
	/* Some file systems do not tell. */
	if (st.f_blocks == 0)
		return 0;
	return blob->size - blob->written > (uint64_t)st.f_bavail * st.f_frsize ? -ENOSPC : 0;
}

int oci_cache_begin(const struct oci_cache *cache, const char *digest, uint64_t size,
		    struct oci_cache_blob *ret)
{
	cleanup_oci_cache_blob struct oci_cache_blob blob = OCI_CACHE_BLOB_INIT;
	int r;

	blob.cache = cache;
	blob.size = size;
	(void)snprintf(blob.digest, sizeof(blob.digest), "%s", digest);
	r = sha256_begin(&blob.hash);
	if (r < 0)
		return r;
	r = open_partial(cache, name_of(digest), &blob.fd);
	if (r == -EWOULDBLOCK) {
		blob.fd = openat(cache->partial_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, FILE_MODE);
		r = blob.fd < 0 ? -errno : 0;
	} else if (r == 0) {
		blob.is_named = true;
		r = take_over(&blob);
	}
	if (r == 0)
		r = check_room(&blob);
	if (r == -ENOSPC && blob.written == 0)
		oci_cache_discard(&blob);
	if (r < 0)
		return r;
	*ret = blob;
	blob = OCI_CACHE_BLOB_INIT;
	return 0;
}

static void remove_partial(const struct oci_cache_blob *blob)
{
	if (blob->is_named)
		ignore_result(unlinkat(blob->cache->partial_fd, name_of(blob->digest), 0));
}

void oci_cache_discard(struct oci_cache_blob *blob)
{
	if (blob->fd >= 0)
		remove_partial(blob);
	oci_cache_blob_done(blob);
}

int oci_cache_add(struct oci_cache_blob *blob, const void *data, size_t size)
{
	int r;

	if (size > blob->size - blob->written)
		return -EMSGSIZE;
	r = fd_write_full(blob->fd, data, size);
	if (r < 0)
		return r;
	sha256_add(&blob->hash, data, size);
	blob->written += size;
	return 0;
}

int oci_cache_restart(struct oci_cache_blob *blob)
{
	if (ftruncate(blob->fd, 0) < 0 || lseek(blob->fd, 0, SEEK_SET) < 0)
		return -errno;
	blob->written = 0;
	return sha256_begin(&blob->hash);
}

/* The final name, for what is on the disk. */
static int publish(struct oci_cache_blob *blob)
{
	const struct oci_cache *cache = blob->cache;
	const char *name = name_of(blob->digest);
	char self[64];

	if (fdatasync(blob->fd) < 0)
		return -errno;
	if (blob->is_named) {
		if (renameat(cache->partial_fd, name, cache->blobs_fd, name) < 0)
			return -errno;
		return dir_sync(cache->blobs_fd);
	}
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", blob->fd);
	if (linkat(AT_FDCWD, self, cache->blobs_fd, name, AT_SYMLINK_FOLLOW) < 0 && errno != EEXIST)
		return -errno;
	return dir_sync(cache->blobs_fd);
}

int oci_cache_commit(struct oci_cache_blob *blob, int *ret_fd, struct problem *reterr_problem)
{
	char text[SHA256_TEXT_SIZE];
	int r;

	sha256_end(&blob->hash, text);
	if (blob->written != blob->size || strcmp(text, name_of(blob->digest)) != 0) {
		remove_partial(blob);
		return oci_fail(
			reterr_problem, OCI_BAD_DIGEST,
			"the blob %s is not what came: %llu bytes with SHA-256 %s, expected "
			"%llu; the source is damaged, or somebody changed it on the way",
			blob->digest, (unsigned long long)blob->written, text,
			(unsigned long long)blob->size);
	}
	r = publish(blob);
	if (r < 0)
		return r;
	if (lseek(blob->fd, 0, SEEK_SET) < 0)
		return -errno;
	/* Readers get a descriptor that cannot write. */
	return oci_cache_find(blob->cache, blob->digest, blob->size, ret_fd);
}

void oci_cache_blob_done(struct oci_cache_blob *blob)
{
	sha256_done(&blob->hash);
	(void)fd_close(blob->fd);
	*blob = OCI_CACHE_BLOB_INIT;
}

int oci_cache_put(const struct oci_cache *cache, const char *digest, const void *data, size_t size,
		  struct problem *reterr_problem)
{
	cleanup_oci_cache_blob struct oci_cache_blob blob = OCI_CACHE_BLOB_INIT;
	cleanup_fd int fd = -EBADF;
	int r;

	if (oci_cache_find(cache, digest, size, &fd) == 0)
		return 0;
	r = oci_cache_begin(cache, digest, size, &blob);
	if (r == 0)
		r = oci_cache_restart(&blob);
	if (r == 0)
		r = oci_cache_add(&blob, data, size);
	if (r == 0)
		return oci_cache_commit(&blob, &fd, reterr_problem);
	oci_cache_discard(&blob);
	return r;
}
