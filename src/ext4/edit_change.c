/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Names, directories, links, attributes. ext2fs_link() of e2fsprogs 1.46 and later keeps the index
 * of an indexed directory, and splits its leaves; for the handful of names that an add-on has, its
 * search is fast enough. What it cannot do is to make a directory longer that has no index: that is
 * done here, and the name given once more.
 */

#include <errno.h>
#include <fnmatch.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "ext4/edit.h"
#include "ext4/edit_file.h"
#include "ext4/edit_private.h"

#define CAPABILITY "security.capability"
#define SWEEP_MIN  64U
#define SWEEP_MAX  (1U << 20)

void edit_fill_inode(struct ext2_inode *inode, uint16_t type,
		     const struct edit_attributes *attributes)
{
	inode->i_mode = (uint16_t)(type | (attributes->mode & 07777));
	inode->i_uid = (uint16_t)attributes->uid;
	inode->i_gid = (uint16_t)attributes->gid;
	ext2fs_set_i_uid_high(*inode, (uint16_t)(attributes->uid >> 16));
	ext2fs_set_i_gid_high(*inode, (uint16_t)(attributes->gid >> 16));
}

/* What is to be done again once *dir* is longer. */
static int make_room(struct edit *edit, ext2_ino_t dir, errcode_t *error)
{
	if (*error != EXT2_ET_DIR_NO_SPACE)
		return edit_error(edit, *error);
	*error = ext2fs_expand_dir(edit->fs, dir);
	return *error ? edit_error(edit, *error) : -EAGAIN;
}

/* What is behind the name in a record: nobody's. Records of an index are no names. */
static int clear_slack(struct ext2_dir_entry *dirent, int offset, int blocksize, char *buf,
		       void *user)
{
	const struct edit *edit = user;
	size_t n = (size_t)ext2fs_dirent_name_len(dirent);
	size_t used = offsetof(struct ext2_dir_entry, name) + n;
	unsigned length = 0;
	int changed = 0;

	if (dirent->inode == 0 || (n <= 2 && memcmp(dirent->name, "..", n) == 0) ||
	    ext2fs_get_rec_len(edit->fs, dirent, &length) != 0 || offset + (int)length > blocksize)
		return 0;
	for (size_t i = used; i < length; i++) {
		changed |= buf[(size_t)offset + i] != 0 ? DIRENT_CHANGED : 0;
		buf[(size_t)offset + i] = 0;
	}
	return changed;
}

static int get_size(struct edit *edit, ext2_ino_t dir, uint64_t *ret)
{
	struct ext2_inode inode;
	int r = edit_error(edit, ext2fs_read_inode(edit->fs, dir, &inode));

	if (r == 0)
		*ret = EXT2_I_SIZE(&inode);
	return r;
}

/*
 * Splitting a leaf of an index, libext2fs 1.47 writes memory that it did not clear behind the
 * names: what this process had there would be in the image, and the same input would not give the
 * same bytes. A directory that was split is larger than before.
 */
static int clear_new(struct edit *edit, ext2_ino_t dir, uint64_t old_size)
{
	uint64_t size = 0;
	int r = get_size(edit, dir, &size);

	if (r < 0 || size == old_size)
		return r;
	return edit_error(edit, ext2fs_dir_iterate(edit->fs, dir, 0, NULL, clear_slack, edit));
}

int edit_link(struct edit *edit, ext2_ino_t dir, const char *name, ext2_ino_t ino, int type)
{
	uint64_t size = 0;
	errcode_t error = 0;
	int r = get_size(edit, dir, &size);

	if (r < 0)
		return r;
	error = ext2fs_link(edit->fs, dir, name, ino, type);
	r = make_room(edit, dir, &error);
	if (r == -EAGAIN)
		r = edit_error(edit, ext2fs_link(edit->fs, dir, name, ino, type));
	return r < 0 ? r : clear_new(edit, dir, size);
}

int edit_make_directory(struct edit *edit, ext2_ino_t dir, const char *name,
			const struct edit_attributes *attributes, ext2_ino_t *ret)
{
	uint64_t size = 0;
	errcode_t error = 0;
	int r = get_size(edit, dir, &size);

	if (r < 0)
		return r;
	error = ext2fs_mkdir(edit->fs, dir, 0, name);
	r = make_room(edit, dir, &error);
	if (r == -EAGAIN)
		r = edit_error(edit, ext2fs_mkdir(edit->fs, dir, 0, name));
	if (r == 0)
		r = clear_new(edit, dir, size);
	if (r == 0)
		r = edit_lookup(edit, dir, name, ret);
	return r < 0 ? r : edit_set_attributes(edit, *ret, attributes);
}

int edit_make_link(struct edit *edit, ext2_ino_t dir, const char *name, const char *target)
{
	uint64_t size = 0;
	errcode_t error = 0;
	int r = get_size(edit, dir, &size);

	if (r < 0)
		return r;
	error = ext2fs_symlink(edit->fs, dir, 0, name, target);
	r = make_room(edit, dir, &error);
	if (r == -EAGAIN)
		r = edit_error(edit, ext2fs_symlink(edit->fs, dir, 0, name, target));
	return r < 0 ? r : clear_new(edit, dir, size);
}

static int set_capability(struct edit *edit, ext2_ino_t ino,
			  const struct edit_attributes *attributes)
{
	CLEANUP(edit_close_xattrs) struct ext2_xattr_handle *handle = NULL;
	cleanup_free void *found = NULL;
	size_t size = 0;
	int r = edit_read_xattr(edit, ino, CAPABILITY, &found, &size);

	if (r < 0 && r != -ENODATA)
		return r;
	if (!attributes->capability && r == -ENODATA)
		return 0;
	r = edit_error(edit, ext2fs_xattrs_open(edit->fs, ino, &handle));
	if (r == 0)
		r = edit_error(edit, ext2fs_xattrs_read(handle));
	if (r < 0)
		return r;
	if (!attributes->capability)
		return edit_error(edit, ext2fs_xattr_remove(handle, CAPABILITY));
	return edit_error(edit, ext2fs_xattr_set(handle, CAPABILITY, attributes->capability,
						 attributes->capability_size));
}

int edit_set_attributes(struct edit *edit, ext2_ino_t ino, const struct edit_attributes *attributes)
{
	struct ext2_inode inode;
	int r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));

	if (r < 0)
		return r;
	edit_fill_inode(&inode, inode.i_mode & LINUX_S_IFMT, attributes);
	inode.i_ctime = (uint32_t)clock_repeatable_sec();
	r = edit_error(edit, ext2fs_write_inode(edit->fs, ino, &inode));
	if (r == 0 && LINUX_S_ISREG(inode.i_mode))
		r = set_capability(edit, ino, attributes);
	return r;
}

/* An inode that no name is left for. */
static int free_inode(struct edit *edit, ext2_ino_t ino, bool is_directory)
{
	struct ext2_inode inode;
	int r = edit_error(edit, ext2fs_free_ext_attr(edit->fs, ino, NULL));

	if (r == 0)
		r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));
	if (r == 0 && ext2fs_inode_has_valid_blocks2(edit->fs, &inode))
		r = edit_error(edit, ext2fs_punch(edit->fs, ino, &inode, NULL, 0, ~0ULL));
	if (r < 0)
		return r;
	inode.i_links_count = 0;
	inode.i_dtime = (uint32_t)clock_repeatable_sec();
	ext2fs_inode_alloc_stats2(edit->fs, ino, -1, is_directory);
	return edit_error(edit, ext2fs_write_inode(edit->fs, ino, &inode));
}

static int drop_link(struct edit *edit, ext2_ino_t ino, struct ext2_inode *inode)
{
	inode->i_links_count--;
	inode->i_ctime = (uint32_t)clock_repeatable_sec();
	return edit_error(edit, ext2fs_write_inode(edit->fs, ino, inode));
}

/* The directory that held one more is the target of one ".." less. */
static int leave_parent(struct edit *edit, ext2_ino_t dir)
{
	struct ext2_inode inode;
	int r = edit_error(edit, ext2fs_read_inode(edit->fs, dir, &inode));

	/* 1: more than can be counted. */
	return r < 0 || inode.i_links_count < 3 ? r : drop_link(edit, dir, &inode);
}

int edit_remove(struct edit *edit, ext2_ino_t dir, const char *name)
{
	cleanup_strv struct strv names = STRV_INIT;
	struct ext2_inode inode;
	ext2_ino_t ino = 0;
	bool is_directory;
	int r = edit_lookup(edit, dir, name, &ino);

	if (r == 0)
		r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));
	if (r != 0)
		return r;
	is_directory = LINUX_S_ISDIR(inode.i_mode);
	r = is_directory ? edit_list(edit, ino, &names) : 0;
	if (r == 0 && names.count > 0)
		r = -ENOTEMPTY;
	if (r == 0)
		r = edit_error(edit, ext2fs_unlink(edit->fs, dir, name, ino, 0));
	if (r < 0)
		return r;
	if (!is_directory && inode.i_links_count > 1)
		return drop_link(edit, ino, &inode);
	r = is_directory ? leave_parent(edit, dir) : 0;
	return r < 0 ? r : free_inode(edit, ino, is_directory);
}

struct sweep {
	struct edit *edit;
	const char *pattern;
	struct strv *names;
	ext2_ino_t *inodes; /* of the names, in the order of the directory */
	size_t count;
	size_t n_allocated;
	int result;
};

static void sweep_done(struct sweep *sweep)
{
	free(sweep->inodes);
}

static int keep_inode(struct sweep *sweep, ext2_ino_t ino)
{
	size_t n = MAX(sweep->n_allocated * 2, (size_t)SWEEP_MIN);
	ext2_ino_t *larger;

	if (sweep->count == sweep->n_allocated) {
		larger = sweep->count < SWEEP_MAX ? reallocarray(sweep->inodes, n, sizeof(*larger))
						  : NULL;
		if (!larger)
			return sweep->count < SWEEP_MAX ? -ENOMEM : -EUCLEAN;
		sweep->inodes = larger;
		sweep->n_allocated = n;
	}
	sweep->inodes[sweep->count++] = ino;
	return 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): ext2fs_dir_iterate() gives it so */
static int sweep_name(struct ext2_dir_entry *dirent, int offset, int blocksize, char *buf,
		      void *user)
{
	struct sweep *sweep = user;
	size_t length = (size_t)ext2fs_dirent_name_len(dirent);
	char name[EXT2_NAME_LEN + 1];
	struct edit_stat st;

	(void)offset;
	(void)blocksize;
	(void)buf;
	memcpy(name, dirent->name, length);
	name[length] = '\0';
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	    fnmatch(sweep->pattern, name, FNM_NOESCAPE) != 0)
		return 0;
	sweep->result = strlen(name) == length && length > 0
				? edit_stat(sweep->edit, dirent->inode, &st)
				: -EUCLEAN;
	if (sweep->result == 0 && S_ISDIR(st.mode))
		return 0;
	if (sweep->result == 0)
		sweep->result = keep_inode(sweep, dirent->inode);
	if (sweep->result == 0)
		sweep->result = strv_add(sweep->names, name);
	if (sweep->result < 0)
		return DIRENT_ABORT;
	dirent->inode = 0;
	return DIRENT_CHANGED;
}

/* What has lost a name. */
static int release(struct edit *edit, ext2_ino_t ino)
{
	struct ext2_inode inode = {0};
	struct edit_stat st;
	int r = edit_stat(edit, ino, &st);

	if (r == 0)
		r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));
	if (r < 0)
		return r;
	if (st.links > 1)
		return drop_link(edit, ino, &inode);
	r = S_ISREG(st.mode) ? edit_erase(edit, ino) : 0;
	return r < 0 ? r : free_inode(edit, ino, false);
}

int edit_sweep(struct edit *edit, ext2_ino_t dir, const char *pattern, struct strv *ret)
{
	CLEANUP(sweep_done)
	struct sweep sweep = {.edit = edit, .pattern = pattern, .names = ret};
	int r = edit_error(edit, ext2fs_dir_iterate(edit->fs, dir, 0, NULL, sweep_name, &sweep));

	if (r == 0)
		r = sweep.result;
	for (size_t i = 0; r == 0 && i < sweep.count; i++)
		r = release(edit, sweep.inodes[i]);
	if (r == 0 && ret->count > 1)
		strv_sort(ret);
	return r;
}

void edit_room(const struct edit *edit, uint64_t *ret_blocks, uint64_t *ret_inodes)
{
	uint64_t reserved = ext2fs_r_blocks_count(edit->fs->super);
	uint64_t blocks = ext2fs_free_blocks_count(edit->fs->super);

	*ret_blocks = blocks > reserved ? blocks - reserved : 0;
	*ret_inodes = edit->fs->super->s_free_inodes_count;
}
