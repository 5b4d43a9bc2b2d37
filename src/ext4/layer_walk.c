/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A directory as a layer. Everything is opened by name below a held descriptor and never through a
 * link, and asked of that descriptor; so what changes meanwhile may be missed or refused, but leads
 * nowhere else. Names are sorted: the order in which a file system lists them is no property of the
 * tree. libarchive walks directories too, but in that order, and changes the working directory.
 */

#include "ext4/layer_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/str.h"

#define PIECE_SIZE (256UL * 1024)
#define DEPTH_MAX  512U
#define VALUES_MAX 65536U

struct walk_level {
	int fd;
	struct strv names;
	size_t at;
	size_t path_size; /* of the path of this directory */
};

/* Where a file of several names was seen first. */
struct walk_link {
	dev_t dev;
	ino_t ino;
	char *path;
	struct walk_link *next;
};

#define LINK_BUCKETS 4096U

struct layer_walk {
	const struct ext4_layer *layer;
	struct walk_level levels[DEPTH_MAX];
	size_t depth;
	bool is_begun;
	int file; /* whose content may be read */
	uint64_t file_at;
	uint64_t file_size;
	size_t values_size;
	char values[VALUES_MAX];
	char names[VALUES_MAX];
	struct walk_link *links[LINK_BUCKETS];
	uint8_t piece[PIECE_SIZE];
};

int layer_walk_open(const struct ext4_layer *layer, struct layer_walk **ret)
{
	struct layer_walk *walk = calloc(1, sizeof(*walk));

	if (!walk)
		return -ENOMEM;
	walk->layer = layer;
	walk->file = -EBADF;
	*ret = walk;
	return 0;
}

static void leave_level(struct layer_walk *walk)
{
	struct walk_level *level = &walk->levels[--walk->depth];

	(void)fd_close(level->fd);
	strv_done(&level->names);
}

struct layer_walk *layer_walk_close(struct layer_walk *walk)
{
	if (!walk)
		return NULL;
	while (walk->depth > 0)
		leave_level(walk);
	for (size_t i = 0; i < LINK_BUCKETS; i++) {
		while (walk->links[i]) {
			struct walk_link *link = walk->links[i];

			walk->links[i] = link->next;
			free(link->path);
			free(link);
		}
	}
	(void)fd_close(walk->file);
	free(walk);
	return NULL;
}

static int list_names(int fd, struct strv *names)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;
	int r = dir_open(fd, &dir);

	while (r == 0) {
		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;
		r = strv_add(names, entry->d_name);
	}
	if (r == 0)
		strv_sort(names);
	return r;
}

static int enter_level(struct layer_walk *walk, int fd, size_t path_size)
{
	struct walk_level *level = &walk->levels[walk->depth];
	int r;

	if (walk->depth == DEPTH_MAX)
		return -ELOOP;
	*level = (struct walk_level){.fd = fd, .path_size = path_size};
	walk->depth++;
	r = list_names(fd, &level->names);
	return r;
}

static int take_link(struct layer_walk *walk, const struct stat *st, struct layer_entry *entry)
{
	struct walk_link **bucket = &walk->links[(st->st_ino ^ st->st_dev) % LINK_BUCKETS];
	struct walk_link *link = *bucket;

	while (link && (link->dev != st->st_dev || link->ino != st->st_ino))
		link = link->next;
	if (link) {
		entry->mode = 0;
		(void)snprintf(entry->target, sizeof(entry->target), "%s", link->path);
		return 0;
	}
	link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	link->path = strdup(entry->path);
	if (!link->path) {
		free(link);
		return -ENOMEM;
	}
	link->dev = st->st_dev;
	link->ino = st->st_ino;
	link->next = *bucket;
	*bucket = link;
	return 0;
}

static int take_xattr(struct layer_walk *walk, const char *self, const char *name,
		      struct layer_entry *entry)
{
	ssize_t n = getxattr(self, name, walk->values + walk->values_size,
			     VALUES_MAX - walk->values_size);

	if (n < 0)
		return errno == ENODATA ? 0 : -errno;
	entry->xattrs[entry->xattr_count++] =
		(struct layer_xattr){name, walk->values + walk->values_size, (size_t)n};
	walk->values_size += (size_t)n;
	return 0;
}

static int take_xattrs(struct layer_walk *walk, int fd, size_t max, struct layer_entry *entry)
{
	char self[64];
	ssize_t size;

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	size = listxattr(self, walk->names, sizeof(walk->names));
	if (size < 0)
		return errno == EOPNOTSUPP ? 0 : -errno;
	walk->values_size = 0;
	for (const char *name = walk->names; name < walk->names + size; name += strlen(name) + 1) {
		int r;

		/* Others are a file system's own. */
		if ((!str_starts_with(name, "user.") && !str_starts_with(name, "security.") &&
		     !str_starts_with(name, "system.posix_acl_")) ||
		    str_starts_with(name, "user.overlay."))
			continue;
		if (entry->xattr_count == max)
			return -E2BIG;
		r = take_xattr(walk, self, name, entry);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_target(int fd, struct layer_entry *entry)
{
	ssize_t n = readlinkat(fd, "", entry->target, LAYER_PATH_MAX);

	if (n < 0)
		return -errno;
	entry->target[n] = '\0';
	return 0;
}

static void take_stat(const struct layer_walk *walk, const struct stat *st,
		      struct layer_entry *entry)
{
	entry->mode = st->st_mode;
	entry->uid = walk->layer->is_owned_by_root ? 0 : st->st_uid;
	entry->gid = walk->layer->is_owned_by_root ? 0 : st->st_gid;
	entry->mtime = st->st_mtim.tv_sec;
	entry->mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
	entry->rdev_major = major(st->st_rdev);
	entry->rdev_minor = minor(st->st_rdev);
	entry->size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
	entry->target[0] = '\0';
	entry->xattr_count = 0;
}

static int open_content(struct layer_walk *walk, int fd, const struct layer_entry *entry)
{
	char self[64];

	if (!S_ISREG(entry->mode))
		return 0;
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	walk->file = open(self, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	walk->file_at = 0;
	walk->file_size = entry->size;
	return walk->file < 0 ? -errno : 0;
}

/* What *fd*, of which only the name is open, is. */
static int look_at(struct layer_walk *walk, int fd, size_t xattrs_max, struct layer_entry *entry)
{
	struct stat st;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	take_stat(walk, &st, entry);
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
		r = take_link(walk, &st, entry);
		if (r < 0 || entry->mode == 0)
			return r;
	}
	if (S_ISLNK(st.st_mode))
		r = take_target(fd, entry);
	if (r == 0)
		r = take_xattrs(walk, fd, xattrs_max, entry);
	return r == 0 ? open_content(walk, fd, entry) : r;
}

static int begin(struct layer_walk *walk, size_t xattrs_max, struct layer_entry *entry)
{
	const char *prefix = walk->layer->prefix ? walk->layer->prefix : "";
	int fd = openat(walk->layer->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	walk->is_begun = true;
	if (fd < 0)
		return -errno;
	(void)snprintf(entry->path, sizeof(entry->path), "%s", prefix);
	r = enter_level(walk, fd, strlen(entry->path));
	return r == 0 ? look_at(walk, fd, xattrs_max, entry) : r;
}

static int add_name(struct layer_entry *entry, size_t path_size, const char *name)
{
	size_t length = strlen(name);

	if (path_size + length + 1 > LAYER_PATH_MAX)
		return -ENAMETOOLONG;
	if (path_size > 0)
		entry->path[path_size++] = '/';
	memcpy(entry->path + path_size, name, length + 1);
	return 0;
}

static int step(struct layer_walk *walk, const char *name, size_t xattrs_max,
		struct layer_entry *entry)
{
	struct walk_level *level = &walk->levels[walk->depth - 1];
	cleanup_fd int fd = openat(level->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int directory;
	int r;

	if (fd < 0)
		return -errno;
	r = add_name(entry, level->path_size, name);
	if (r == 0)
		r = look_at(walk, fd, xattrs_max, entry);
	if (r < 0 || !S_ISDIR(entry->mode))
		return r;
	directory = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return directory < 0 ? -errno : enter_level(walk, directory, strlen(entry->path));
}

int layer_walk_next(struct layer_walk *walk, struct layer_entry *entry, size_t xattrs_max,
		    bool *ret_is_end, struct problem *reterr_problem)
{
	const char *name = ".";
	int r;

	walk->file = fd_close(walk->file);
	while (walk->depth > 0 &&
	       walk->levels[walk->depth - 1].at == walk->levels[walk->depth - 1].names.count)
		leave_level(walk);
	*ret_is_end = walk->is_begun && walk->depth == 0;
	if (*ret_is_end)
		return 0;
	if (walk->is_begun) {
		struct walk_level *level = &walk->levels[walk->depth - 1];

		name = level->names.items[level->at++];
		r = step(walk, name, xattrs_max, entry);
	} else {
		r = begin(walk, xattrs_max, entry);
	}
	if (r == -ENOMEM || r == 0)
		return r;
	return problem_refuse(reterr_problem, "bad-layer",
			      "directory '%s' cannot be read at '%.200s': %s", walk->layer->name,
			      name, strerrordesc_np(-r));
}

int layer_walk_content(struct layer_walk *walk, const void **ret, size_t *ret_size,
		       uint64_t *ret_offset)
{
	off_t data = lseek(walk->file, (off_t)walk->file_at, SEEK_DATA);
	size_t wanted;
	int r;

	*ret_size = 0;
	if (data >= 0)
		walk->file_at = (uint64_t)data;
	else if (errno == ENXIO)
		return 0;
	/* A file that grows is as long as it was when it was looked at. */
	if (walk->file_at >= walk->file_size)
		return 0;
	wanted = (size_t)MIN((uint64_t)PIECE_SIZE, walk->file_size - walk->file_at);
	r = fd_pread_full(walk->file, walk->piece, wanted, walk->file_at, ret_size);
	if (r < 0)
		return r;
	*ret = walk->piece;
	*ret_offset = walk->file_at;
	walk->file_at += *ret_size;
	return 0;
}
