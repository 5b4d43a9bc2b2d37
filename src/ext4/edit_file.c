/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Content of files. Blocks are allocated in one go, so that they lie together, and written past
 * ext2fs_file_write(): that reads what a block held before, and would leave it behind the end of
 * the file.
 */

#include "ext4/edit_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ext4/edit_private.h"

/* What lies in pieces that are shorter takes a disk too many questions, one after the other. */
#define SHRED_SIZE ((size_t)65536)

static void close_extents(ext2_extent_handle_t *handle)
{
	if (*handle)
		ext2fs_extent_free(*handle);
}

/* What lies together from *block* on is what is left of its extent. */
static int find_in_extents(struct edit *edit, ext2_ino_t ino, struct ext2_inode *inode,
			   blk64_t block, blk64_t *ret_place, uint64_t *ret_run)
{
	CLEANUP(close_extents) ext2_extent_handle_t handle = NULL;
	struct ext2fs_extent extent = {0};
	int r = edit_error(edit, ext2fs_extent_open2(edit->fs, ino, inode, &handle));

	if (r == 0)
		r = edit_error(edit, ext2fs_extent_goto(handle, block));
	if (r == 0)
		r = edit_error(edit, ext2fs_extent_get(handle, EXT2_EXTENT_CURRENT, &extent));
	if (r < 0)
		return r;
	if (block < extent.e_lblk || block - extent.e_lblk >= extent.e_len ||
	    (extent.e_flags & EXT2_EXTENT_FLAGS_UNINIT))
		return -EUCLEAN;
	*ret_place = extent.e_pblk + (block - extent.e_lblk);
	*ret_run = extent.e_len - (block - extent.e_lblk);
	return 0;
}

static int find_in_map(struct edit *edit, ext2_ino_t ino, struct ext2_inode *inode, blk64_t block,
		       uint64_t max, blk64_t *ret_place, uint64_t *ret_run)
{
	blk64_t next = 0;
	uint64_t run = 1;
	int r;

	r = edit_error(edit, ext2fs_bmap2(edit->fs, ino, inode, NULL, 0, block, NULL, ret_place));
	while (r == 0 && run < max) {
		r = edit_error(edit, ext2fs_bmap2(edit->fs, ino, inode, NULL, 0, block + run, NULL,
						  &next));
		if (r < 0 || next != *ret_place + run)
			break;
		run++;
	}
	*ret_run = run;
	return r;
}

/* How many blocks from *block* on, *max* at most, lie together, and where. */
static int find_run(struct edit *edit, ext2_ino_t ino, struct ext2_inode *inode, blk64_t block,
		    uint64_t max, blk64_t *ret_place, uint64_t *ret_run)
{
	int r = inode->i_flags & EXT4_EXTENTS_FL
			? find_in_extents(edit, ino, inode, block, ret_place, ret_run)
			: find_in_map(edit, ino, inode, block, max, ret_place, ret_run);

	if (r == 0 && *ret_place == 0)
		r = -EUCLEAN;
	if (r == 0)
		*ret_run = MIN(*ret_run, max);
	return r;
}

/* Past the staging, if the blocks were free before: then only what leads to them has to wait. */
static int write_run(struct edit *edit, blk64_t place, uint64_t run, void *data)
{
	uint64_t position = place * edit->fs->blocksize;
	uint64_t size = run * edit->fs->blocksize;
	int r = 0;

	if (!ext2fs_test_block_bitmap_range2(edit->old_blocks, place, (unsigned)run))
		return edit_error(edit,
				  io_channel_write_blk64(edit->fs->io, place, (int)run, data));
	if (edit->redo_name)
		r = holes_note(&edit->holes, edit->fd, edit->place.offset + position, size);
	if (r == 0)
		r = redo_note_holes(edit->redo, &edit->holes);
	return r < 0 ? r : redo_write_through(edit->redo, position, data, size);
}

static int read_run(struct edit *edit, blk64_t place, uint64_t run, void *data)
{
	uint64_t size = run * edit->fs->blocksize;

	if (ext2fs_test_block_bitmap_range2(edit->old_blocks, place, (unsigned)run))
		return redo_read_back(edit->redo, place * edit->fs->blocksize, data, size);
	return edit_error(edit, io_channel_read_blk64(edit->fs->io, place, (int)run, data));
}

static int want_run(struct edit *edit, blk64_t place, uint64_t run, void *data)
{
	(void)data;
	return redo_want(edit->redo, place * edit->fs->blocksize, run * edit->fs->blocksize);
}

/* Between *data* and the blocks of *size* bytes from *offset* on. */
static int move_blocks(struct edit *edit, ext2_ino_t ino, uint64_t offset, char *data, size_t size,
		       int (*move)(struct edit *edit, blk64_t place, uint64_t run, void *data))
{
	uint64_t block_size = edit->fs->blocksize;
	uint64_t blocks = (size + block_size - 1) / block_size;
	struct ext2_inode inode;
	int r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));

	for (uint64_t i = 0; r == 0 && i < blocks;) {
		blk64_t place = 0;
		uint64_t run = 0;

		r = find_run(edit, ino, &inode, offset / block_size + i, blocks - i, &place, &run);
		if (r == 0)
			r = move(edit, place, run, data ? data + i * block_size : NULL);
		i += run;
	}
	return r;
}

int edit_write_blocks(struct edit *edit, ext2_ino_t ino, uint64_t offset, void *data, size_t size)
{
	size_t rest = size % edit->fs->blocksize;

	if (rest > 0)
		memset((char *)data + size, 0, edit->fs->blocksize - rest);
	return move_blocks(edit, ino, offset, data, size, write_run);
}

int edit_read_blocks(struct edit *edit, ext2_ino_t ino, uint64_t offset, void *data, size_t size)
{
	return move_blocks(edit, ino, offset, data, size, read_run);
}

int edit_want_blocks(struct edit *edit, ext2_ino_t ino, uint64_t offset, size_t size)
{
	return move_blocks(edit, ino, offset, NULL, size, want_run);
}

void edit_fetch_blocks(struct edit *edit)
{
	redo_fetch(edit->redo);
}

int edit_find_place(struct edit *edit, ext2_ino_t ino, uint64_t offset, size_t size,
		    struct edit_place *ret)
{
	uint64_t block_size = edit->fs->blocksize;
	struct ext2_inode inode;
	blk64_t place = 0;
	uint64_t run = 0;
	int r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));

	if (r == 0)
		r = find_run(edit, ino, &inode, offset / block_size,
			     (size + block_size - 1) / block_size, &place, &run);
	if (r < 0)
		return r;
	ret->size = (size_t)(run * block_size);
	ret->fd =
		ret->size >= MIN(size, SHRED_SIZE) &&
				ext2fs_test_block_bitmap_range2(edit->old_blocks, place,
								(unsigned)run)
			? redo_find_direct(edit->redo, place * block_size, ret->size, &ret->offset)
			: -EBADF;
	return ret->fd < 0 ? -EOPNOTSUPP : 0;
}

/* The inode of an empty file gets blocks. */
static int take_blocks(struct edit *edit, ext2_ino_t ino, uint64_t size)
{
	uint64_t blocks = (size + edit->fs->blocksize - 1) / edit->fs->blocksize;
	struct ext2_inode inode;
	int r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));

	if (r == 0 && blocks > 0)
		r = edit_error(edit, ext2fs_fallocate(edit->fs, EXT2_FALLOCATE_FORCE_INIT, ino,
						      &inode, ~0ULL, 0, blocks));
	if (r == 0)
		r = edit_error(edit, ext2fs_inode_size_set(edit->fs, &inode, (ext2_off64_t)size));
	if (r < 0)
		return r;
	inode.i_mtime = inode.i_ctime = (uint32_t)clock_repeatable_sec();
	return edit_error(edit, ext2fs_write_inode(edit->fs, ino, &inode));
}

/* An inode without blocks; with the feature, its extents begin here. */
static int make_inode(struct edit *edit, ext2_ino_t dir, const struct edit_attributes *attributes,
		      ext2_ino_t *ret)
{
	struct ext2_inode inode = {0};
	ext2_extent_handle_t handle = NULL;
	int r;

	r = edit_error(edit, ext2fs_new_inode(edit->fs, dir, LINUX_S_IFREG | 0600, NULL, ret));
	if (r < 0)
		return r;
	edit_fill_inode(&inode, LINUX_S_IFREG, attributes);
	inode.i_links_count = 1;
	inode.i_atime = inode.i_ctime = inode.i_mtime = (uint32_t)clock_repeatable_sec();
	if (ext2fs_has_feature_extents(edit->fs->super)) {
		r = edit_error(edit, ext2fs_extent_open2(edit->fs, *ret, &inode, &handle));
		if (r < 0)
			return r;
		ext2fs_extent_free(handle);
	}
	r = edit_error(edit, ext2fs_write_new_inode(edit->fs, *ret, &inode));
	if (r == 0)
		ext2fs_inode_alloc_stats2(edit->fs, *ret, 1, 0);
	return r;
}

int edit_make_file(struct edit *edit, ext2_ino_t dir, const char *name, uint64_t size,
		   const struct edit_attributes *attributes, ext2_ino_t *ret)
{
	int r = make_inode(edit, dir, attributes, ret);

	if (r == 0)
		r = take_blocks(edit, *ret, size);
	return r < 0 ? r : edit_name_file(edit, dir, name, *ret, attributes);
}

int edit_take_file(struct edit *edit, uint64_t size, ext2_ino_t *ret)
{
	int r = make_inode(edit, EXT2_ROOT_INO, &(struct edit_attributes){.mode = 0600}, ret);

	return r < 0 ? r : take_blocks(edit, *ret, size);
}

int edit_name_file(struct edit *edit, ext2_ino_t dir, const char *name, ext2_ino_t ino,
		   const struct edit_attributes *attributes)
{
	int r = edit_set_attributes(edit, ino, attributes);

	return r < 0 ? r : edit_link(edit, dir, name, ino, EXT2_FT_REG_FILE);
}

int edit_replace_content(struct edit *edit, ext2_ino_t ino, uint64_t size)
{
	struct ext2_inode inode;
	int r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));

	if (r == 0 && !LINUX_S_ISREG(inode.i_mode))
		r = -EINVAL;
	if (r == 0 && ext2fs_inode_has_valid_blocks2(edit->fs, &inode))
		r = edit_error(edit, ext2fs_punch(edit->fs, ino, &inode, NULL, 0, ~0ULL));
	return r < 0 ? r : take_blocks(edit, ino, size);
}

struct erasure {
	struct edit *edit;
	const void *zeroes; /* a block */
	int result;
};

/* NOLINTNEXTLINE(readability-non-const-parameter): ext2fs_block_iterate3() gives it so */
static int erase_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t number, blk64_t holder,
		       int offset, void *user)
{
	struct erasure *erasure = user;

	(void)number;
	(void)holder;
	(void)offset;
	if (*block <= fs->super->s_first_data_block || *block >= ext2fs_blocks_count(fs->super))
		erasure->result = -EUCLEAN;
	else
		erasure->result = edit_error(
			erasure->edit, io_channel_write_blk64(fs->io, *block, 1, erasure->zeroes));
	return erasure->result < 0 ? BLOCK_ABORT : 0;
}

int edit_erase(struct edit *edit, ext2_ino_t ino)
{
	cleanup_free void *zeroes = calloc(1, edit->fs->blocksize);
	struct erasure erasure = {.edit = edit, .zeroes = zeroes};
	struct ext2_inode inode;
	int r = zeroes ? 0 : -ENOMEM;

	if (r == 0)
		r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));
	if (r < 0)
		return r;
	if (!LINUX_S_ISREG(inode.i_mode) || inode.i_links_count != 1)
		return -EINVAL;
	r = edit_error(edit, ext2fs_block_iterate3(edit->fs, ino,
						   BLOCK_FLAG_DATA_ONLY | BLOCK_FLAG_READ_ONLY,
						   NULL, erase_block, &erasure));
	return r < 0 ? r : erasure.result;
}
