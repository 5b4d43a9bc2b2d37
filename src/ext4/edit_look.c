/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reading a file system. What it holds is foreign: every walk is bounded, nothing recurses.
 * libext2fs's own ext2fs_namei_follow() recurses on symlinks, eight deep where Linux follows
 * forty, and does not tell what it passed.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "ext4/edit.h"
#include "ext4/edit_private.h"

#define NAMES_MAX  (1U << 20) /* in one directory */
#define LINK_MAX   4096U
#define READ_SIZE  (1U << 20)
#define PATH_LIMIT 4096U

int edit_stat(struct edit *edit, ext2_ino_t ino, struct edit_stat *ret)
{
	struct ext2_inode inode;
	int r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));

	if (r < 0)
		return r;
	if (inode.i_links_count == 0)
		return -EUCLEAN;
	*ret = (struct edit_stat){
		.ino = ino,
		.mode = inode.i_mode,
		.uid = inode_uid(inode),
		.gid = inode_gid(inode),
		.links = inode.i_links_count,
		.size = EXT2_I_SIZE(&inode),
		.mtime = inode.i_mtime,
	};
	return 0;
}

int edit_lookup(struct edit *edit, ext2_ino_t dir, const char *name, ext2_ino_t *ret)
{
	size_t length = strlen(name);

	if (length > PATH_NAME_MAX)
		return -ENAMETOOLONG;
	return edit_error(edit, ext2fs_lookup(edit->fs, dir, name, (int)length, NULL, ret));
}

/* A path on its way: the directories passed, their names together, and what is still to go. */
struct walk {
	struct edit *edit;
	const struct edit_visitor *visitor;
	ext2_ino_t dirs[EDIT_DEPTH_MAX]; /* from the root on */
	size_t depth;                    /* of the last of them; 0: the root */
	char real[PATH_LIMIT];           /* "" for the root */
	char *rest;
	unsigned hops;
	struct edit_stat st; /* of what was reached last */
};

static void walk_done(struct walk *walk)
{
	free(walk->rest);
}

static int push_name(struct walk *walk, const char *name)
{
	size_t length = strlen(walk->real);
	size_t n = strlen(name);

	if (length + n + 2 > sizeof(walk->real))
		return -ENAMETOOLONG;
	walk->real[length] = '/';
	memcpy(walk->real + length + 1, name, n + 1);
	return 0;
}

static void pop_name(struct walk *walk)
{
	char *slash = strrchr(walk->real, '/');

	if (slash)
		*slash = '\0';
}

static int visit(struct walk *walk, bool is_end)
{
	if (!walk->visitor)
		return 0;
	return walk->visitor->visit(walk->visitor->user, walk->real, &walk->st, is_end);
}

/* Takes the next component off the rest, which is left without leading slashes. */
static int take_component(struct walk *walk, char name[PATH_NAME_MAX + 1])
{
	const char *begin = walk->rest + strspn(walk->rest, "/");
	size_t length = strcspn(begin, "/");
	const char *next = begin + length + strspn(begin + length, "/");

	if (length > PATH_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, begin, length);
	name[length] = '\0';
	memmove(walk->rest, next, strlen(next) + 1);
	return 0;
}

/* The link that `real` names: its target goes in front of the rest. */
static int follow(struct walk *walk)
{
	cleanup_free char *target = NULL;
	char *rest = NULL;
	int r;

	if (++walk->hops > EDIT_SYMLINKS_MAX)
		return -ELOOP;
	r = edit_read_link(walk->edit, walk->st.ino, &target);
	if (r == 0)
		r = visit(walk, false);
	if (r == 0)
		r = str_format(&rest, "%s/%s", target, walk->rest);
	if (r < 0 || !target || !rest)
		return r < 0 ? r : -ENOMEM;
	free(walk->rest);
	walk->rest = rest;
	pop_name(walk);
	if (target[0] == '/') {
		walk->depth = 0;
		walk->real[0] = '\0';
	}
	return strlen(rest) > PATH_LIMIT ? -ENAMETOOLONG : 0;
}

static int step(struct walk *walk, const char *name)
{
	ext2_ino_t ino = 0;
	int r;

	if (!S_ISDIR(walk->st.mode))
		return -ENOTDIR;
	if (name[0] == '\0' || strcmp(name, ".") == 0)
		return 0;
	if (strcmp(name, "..") == 0) {
		walk->depth -= walk->depth > 0;
		pop_name(walk);
		return edit_stat(walk->edit, walk->dirs[walk->depth], &walk->st);
	}
	r = edit_lookup(walk->edit, walk->dirs[walk->depth], name, &ino);
	if (r == 0)
		r = push_name(walk, name);
	if (r == 0)
		r = edit_stat(walk->edit, ino, &walk->st);
	if (r < 0)
		return r;
	if (S_ISLNK(walk->st.mode)) {
		r = follow(walk);
		return r < 0 ? r : edit_stat(walk->edit, walk->dirs[walk->depth], &walk->st);
	}
	if (S_ISDIR(walk->st.mode)) {
		if (walk->depth + 1 >= EDIT_DEPTH_MAX)
			return -ENAMETOOLONG;
		walk->dirs[++walk->depth] = ino;
	}
	return walk->rest[0] != '\0' && S_ISDIR(walk->st.mode) ? visit(walk, false) : 0;
}

int edit_resolve(struct edit *edit, const char *path, const struct edit_visitor *visitor,
		 struct edit_stat *ret, char **ret_real)
{
	CLEANUP(walk_done) struct walk walk = {.edit = edit, .visitor = visitor};
	char name[PATH_NAME_MAX + 1];
	int r;

	walk.dirs[0] = EXT2_ROOT_INO;
	walk.rest = strdup(path);
	if (!walk.rest)
		return -ENOMEM;
	r = edit_stat(edit, EXT2_ROOT_INO, &walk.st);
	while (r == 0 && walk.rest[0] != '\0') {
		r = take_component(&walk, name);
		if (r == 0)
			r = step(&walk, name);
	}
	if (r == 0)
		r = visit(&walk, true);
	if (r < 0)
		return r;
	if (ret_real) {
		*ret_real = strdup(walk.real[0] ? walk.real : "/");
		if (!*ret_real)
			return -ENOMEM;
	}
	if (ret)
		*ret = walk.st;
	return 0;
}

int edit_find_parent(struct edit *edit, const char *path, ext2_ino_t *ret, const char **ret_name)
{
	cleanup_free char *directory = strndup(path, (size_t)(path_last_name(path) - path));
	struct edit_stat st;
	int r = directory ? 0 : -ENOMEM;

	if (r == 0)
		r = edit_resolve(edit, directory, NULL, &st, NULL);
	if (r < 0)
		return r;
	*ret = st.ino;
	*ret_name = path_last_name(path);
	return S_ISDIR(st.mode) ? 0 : -ENOTDIR;
}

int edit_find_in(struct edit *edit, ext2_ino_t dir, const char *name, struct edit_stat *ret)
{
	ext2_ino_t ino = 0;
	int r = edit_lookup(edit, dir, name, &ino);

	return r < 0 ? r : edit_stat(edit, ino, ret);
}

int edit_find(struct edit *edit, const char *path, struct edit_stat *ret)
{
	const char *name = NULL;
	ext2_ino_t dir = 0;
	int r = edit_find_parent(edit, path, &dir, &name);

	return r < 0 ? r : edit_find_in(edit, dir, name, ret);
}

struct listing {
	struct strv *names;
	int result;
};

/* NOLINTNEXTLINE(readability-non-const-parameter): ext2fs_dir_iterate() gives it so */
static int add_name(struct ext2_dir_entry *entry, int offset, int block_size, char *buffer,
		    void *user)
{
	struct listing *listing = user;
	size_t length = (size_t)ext2fs_dirent_name_len(entry);
	char name[EXT2_NAME_LEN + 1];

	(void)offset;
	(void)block_size;
	(void)buffer;
	memcpy(name, entry->name, length);
	name[length] = '\0';
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (length == 0 || strlen(name) != length || strchr(name, '/') ||
	    listing->names->count >= NAMES_MAX)
		listing->result = -EUCLEAN;
	else
		listing->result = strv_add(listing->names, name);
	return listing->result < 0 ? DIRENT_ABORT : 0;
}

int edit_list(struct edit *edit, ext2_ino_t dir, struct strv *ret)
{
	struct listing listing = {.names = ret};
	int r = edit_error(edit, ext2fs_dir_iterate(edit->fs, dir, 0, NULL, add_name, &listing));

	if (r == 0)
		r = listing.result;
	if (r == 0 && ret->count > 1)
		strv_sort(ret);
	return r;
}

static void close_file(ext2_file_t *file)
{
	if (*file)
		ignore_result(ext2fs_file_close(*file));
}

static int read_part(struct edit *edit, ext2_file_t file, char *buffer, size_t size, size_t *ret)
{
	unsigned n = 0;
	int r = edit_error(edit, ext2fs_file_read(file, buffer, (unsigned)size, &n));

	*ret = n;
	return r;
}

static int read_long_link(struct edit *edit, ext2_ino_t ino, char *target, size_t size)
{
	CLEANUP(close_file) ext2_file_t file = NULL;
	size_t n = 0;
	int r = edit_error(edit, ext2fs_file_open(edit->fs, ino, 0, &file));

	if (r == 0)
		r = read_part(edit, file, target, size, &n);
	return r < 0 ? r : (n == size ? 0 : -EUCLEAN);
}

int edit_read_link(struct edit *edit, ext2_ino_t ino, char **ret)
{
	cleanup_free char *target = NULL;
	struct ext2_inode inode;
	size_t size;
	int r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));

	if (r < 0)
		return r;
	size = (size_t)EXT2_I_SIZE(&inode);
	if (!LINUX_S_ISLNK(inode.i_mode) || size == 0 || size >= LINK_MAX)
		return -EUCLEAN;
	if (inode.i_flags & EXT4_ENCRYPT_FL)
		return -EOPNOTSUPP;
	target = calloc(1, size + 1);
	if (!target)
		return -ENOMEM;
	if (!ext2fs_is_fast_symlink(&inode) || (inode.i_flags & EXT4_INLINE_DATA_FL))
		r = read_long_link(edit, ino, target, size);
	else if (size < sizeof(inode.i_block))
		memcpy(target, inode.i_block, size);
	else
		r = -EUCLEAN;
	if (r == 0 && strlen(target) != size)
		r = -EUCLEAN;
	if (r == 0)
		*ret = TAKE_PTR(target);
	return r;
}

static bool is_zero(const char *data, size_t size)
{
	return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* Gives bytes to *fd*; or to *fd*, a file, where they are not zero. */
static int give(const char *data, size_t size, int fd, bool keep_holes)
{
	if (keep_holes && is_zero(data, size))
		return lseek(fd, (off_t)size, SEEK_CUR) < 0 ? -errno : 0;
	return fd_write_full(fd, data, size);
}

static int read_file(struct edit *edit, ext2_ino_t ino, uint64_t max, int fd, bool keep_holes)
{
	CLEANUP(close_file) ext2_file_t file = NULL;
	cleanup_free char *buffer = malloc(READ_SIZE);
	int r;

	if (!buffer)
		return -ENOMEM;
	r = edit_error(edit, ext2fs_file_open(edit->fs, ino, 0, &file));
	while (r == 0 && max > 0) {
		size_t n = 0;

		r = read_part(edit, file, buffer, (size_t)MIN(max, (uint64_t)READ_SIZE), &n);
		if (r < 0 || n == 0)
			break;
		r = give(buffer, n, fd, keep_holes);
		max -= n;
	}
	return r;
}

int edit_read_file(struct edit *edit, ext2_ino_t ino, uint64_t max, int fd)
{
	return read_file(edit, ino, max, fd, false);
}

int edit_copy_file(struct edit *edit, ext2_ino_t ino, uint64_t max, int fd)
{
	int r = read_file(edit, ino, max, fd, true);

	return r < 0 ? r : (ftruncate(fd, lseek(fd, 0, SEEK_CUR)) < 0 ? -errno : 0);
}

void edit_close_xattrs(struct ext2_xattr_handle **handle)
{
	if (*handle)
		ignore_result(ext2fs_xattrs_close(handle));
}

int edit_read_xattr(struct edit *edit, ext2_ino_t ino, const char *name, void **ret,
		    size_t *ret_size)
{
	CLEANUP(edit_close_xattrs) struct ext2_xattr_handle *handle = NULL;
	void *value = NULL;
	size_t size = 0;
	int r = edit_error(edit, ext2fs_xattrs_open(edit->fs, ino, &handle));

	if (r == 0)
		r = edit_error(edit, ext2fs_xattrs_read(handle));
	if (r == 0)
		r = edit_error(edit, ext2fs_xattr_get(handle, name, &value, &size));
	if (r < 0)
		return r == -EOPNOTSUPP ? -ENODATA : r;
	*ret = value;
	*ret_size = size;
	return 0;
}
