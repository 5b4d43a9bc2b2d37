/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Inodes on disk. Extents that fit are put into the inode; for others libext2fs builds the tree.
 * Extended attributes are the library's altogether: it knows where they go, and the form that ext4
 * has for access control lists.
 */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "ext4/writer_private.h"

#define EXTENTS_INLINE 4U
#define XATTRS_INLINE  80U /* less than what an inode of 256 bytes has room for */
#define LINKS_TOLD_MAX 65000U

static void put_time(const struct tree_inode *from, uint32_t *ret, uint32_t *ret_extra)
{
	/* 34 bits, from 1901 to 2446. */
	int64_t seconds = MIN(MAX(from->mtime, (int64_t)INT32_MIN), (int64_t)0x37fffffff);
	int64_t epoch = (seconds - (int32_t)(uint32_t)seconds) >> 32;

	*ret = (uint32_t)seconds;
	*ret_extra = (uint32_t)(epoch & EXT4_EPOCH_MASK) | from->mtime_ns << EXT4_EPOCH_BITS;
}

static void put_times(const struct tree_inode *from, struct ext2_inode_large *to)
{
	put_time(from, &to->i_mtime, &to->i_mtime_extra);
	put_time(from, &to->i_ctime, &to->i_ctime_extra);
	put_time(from, &to->i_atime, &to->i_atime_extra);
	put_time(from, &to->i_crtime, &to->i_crtime_extra);
}

static void put_device(const struct tree_inode *from, struct ext2_inode_large *to)
{
	if (from->rdev_major < 256 && from->rdev_minor < 256)
		to->i_block[0] = from->rdev_major << 8 | from->rdev_minor;
	else
		to->i_block[1] = (from->rdev_minor & 0xff) | from->rdev_major << 8 |
				 (from->rdev_minor & ~0xffU) << 12;
}

static void put_extents(const struct tree_extents *extents, struct ext2_inode_large *to)
{
	struct ext3_extent_header *header = (void *)to->i_block;
	struct ext3_extent *rows = EXT_FIRST_EXTENT(header);
	const struct tree_extent *items = tree_extent_items(extents);

	to->i_flags |= EXT4_EXTENTS_FL;
	header->eh_magic = EXT3_EXT_MAGIC;
	header->eh_max = EXTENTS_INLINE;
	if (extents->count > EXTENTS_INLINE)
		return;
	header->eh_entries = (uint16_t)extents->count;
	for (uint32_t i = 0; i < extents->count; i++) {
		rows[i].ee_block = items[i].logical;
		rows[i].ee_len = (uint16_t)items[i].count;
		rows[i].ee_start = (uint32_t)items[i].block;
		rows[i].ee_start_hi = (uint16_t)(items[i].block >> 32);
	}
}

static int put_tree(struct writer *w, const struct tree_inode *from, struct ext2_inode_large *to)
{
	const struct tree_extent *items = tree_extent_items(&from->extents);
	ext2_extent_handle_t handle = NULL;
	errcode_t error =
		ext2fs_extent_open2(w->fs, from->number, (struct ext2_inode *)to, &handle);

	for (uint32_t i = 0; i < from->extents.count && error == 0; i++) {
		struct ext2fs_extent extent = {.e_pblk = items[i].block,
					       .e_lblk = items[i].logical,
					       .e_len = items[i].count};

		error = ext2fs_extent_insert(handle, EXT2_EXTENT_INSERT_AFTER, &extent);
	}
	if (error == 0)
		error = ext2fs_extent_fix_parents(handle);
	ext2fs_extent_free(handle);
	return error == 0 ? 0 : writer_error(error);
}

static int put_symlink(struct writer *w, struct tree_inode *from, struct ext2_inode_large *to)
{
	uint8_t block[EXT4_BLOCK_SIZE] = {0};
	struct tree_extents extents = {0};
	int r;

	if (from->size < sizeof(to->i_block)) {
		memcpy(to->i_block, from->target, from->size);
		return 0;
	}
	memcpy(block, from->target, from->size);
	r = writer_blocks_add(w, &extents, 0, block, 1);
	/* The library takes blocks too. */
	if (r == 0)
		r = writer_blocks_end(w);
	if (r != 0)
		return r;
	put_extents(&extents, to);
	ext2fs_iblk_set(w->fs, (struct ext2_inode *)to, 1);
	return 0;
}

static int fill(struct writer *w, struct tree_inode *from, struct ext2_inode_large *to)
{
	uint64_t blocks = 0;

	to->i_mode = from->mode;
	to->i_uid = (uint16_t)from->uid;
	to->osd2.linux2.l_i_uid_high = (uint16_t)(from->uid >> 16);
	to->i_gid = (uint16_t)from->gid;
	to->osd2.linux2.l_i_gid_high = (uint16_t)(from->gid >> 16);
	to->i_links_count = (uint16_t)(from->links > LINKS_TOLD_MAX ? 1 : from->links);
	to->i_size = (uint32_t)from->size;
	to->i_size_high = (uint32_t)(from->size >> 32);
	to->i_extra_isize = sizeof(*to) - EXT2_GOOD_OLD_INODE_SIZE;
	put_times(from, to);
	if (S_ISLNK(from->mode))
		return put_symlink(w, from, to);
	if (S_ISCHR(from->mode) || S_ISBLK(from->mode))
		put_device(from, to);
	if (!S_ISREG(from->mode) && !S_ISDIR(from->mode))
		return 0;
	for (uint32_t i = 0; i < from->extents.count; i++)
		blocks += tree_extent_items(&from->extents)[i].count;
	put_extents(&from->extents, to);
	if (S_ISDIR(from->mode) && from->size > EXT4_BLOCK_SIZE)
		to->i_flags |= EXT2_INDEX_FL;
	ext2fs_iblk_set(w->fs, (struct ext2_inode *)to, blocks);
	return 0;
}

static int put_xattr(struct writer *w, struct ext2_xattr_handle *handle, const char *name,
		     const void *value, uint32_t size)
{
	errcode_t error = ext2fs_xattr_set(handle, name, value, size);

	if (error == EXT2_ET_EA_NO_SPACE || error == EXT2_ET_EA_KEY_NOT_FOUND ||
	    error == EXT2_ET_BAD_EA_BLOCK_NUM || error == EINVAL)
		return problem_refuse(
			w->problem, "bad-layer",
			"an extended attribute '%.100s' of %u bytes does not fit into "
			"ext4: expected less than 4 KiB for all of a file's, and lists "
			"that are valid",
			name, size);
	return error == 0 ? 0 : writer_error(error);
}

static int put_xattrs(struct writer *w, const struct tree_inode *from)
{
	struct ext2_xattr_handle *handle = NULL;
	const uint8_t *at = from->xattrs->bytes;
	errcode_t error = ext2fs_xattrs_open(w->fs, from->number, &handle);
	int r = 0;

	if (error != 0)
		return writer_error(error);
	for (uint32_t i = 0; i < from->xattrs->count && r == 0; i++) {
		const char *name = (const char *)at;
		uint32_t size = 0;

		at += strlen(name) + 1;
		memcpy(&size, at, sizeof(size));
		at += sizeof(size);
		r = put_xattr(w, handle, name, at, size);
		at += size;
	}
	error = ext2fs_xattrs_close(&handle);
	return r != 0 || error == 0 ? r : writer_error(error);
}

int writer_inode(struct writer *w, struct tree_inode *inode)
{
	struct {
		struct ext2_inode_large inode;
		uint8_t rest[EXT2_GOOD_OLD_INODE_SIZE * 2 - sizeof(struct ext2_inode_large)];
	} to = {0};

	errcode_t error;
	int r = fill(w, inode, &to.inode);

	if (r != 0)
		return r;
	ext2fs_inode_alloc_stats2(w->fs, inode->number, +1, S_ISDIR(inode->mode));
	error = ext2fs_write_inode_full(w->fs, inode->number, (struct ext2_inode *)&to.inode,
					sizeof(to));
	if (error != 0)
		return writer_error(error);
	if ((S_ISREG(inode->mode) || S_ISDIR(inode->mode)) && inode->extents.count > EXTENTS_INLINE)
		r = put_tree(w, inode, &to.inode);
	return r == 0 && inode->xattrs ? put_xattrs(w, inode) : r;
}

uint64_t writer_inode_need(const struct tree_inode *inode)
{
	uint64_t blocks = 0;

	if (S_ISLNK(inode->mode) && inode->size >= sizeof(((struct ext2_inode *)NULL)->i_block))
		blocks++;
	if (inode->xattrs &&
	    inode->xattrs->size > XATTRS_INLINE - 16 * MIN(inode->xattrs->count, 4U))
		blocks++;
	return blocks;
}
