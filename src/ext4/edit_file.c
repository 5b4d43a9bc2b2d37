/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Content of files. Blocks are allocated in one go, so that they lie together, and written past
 * ext2fs_file_write(): that reads what a block held before, and would leave it behind the end of
 * the file.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "ext4/edit.h"
#include "ext4/edit_private.h"

#define WRITE_SIZE (1U << 20)

/* How many blocks from *block* on lie together, and where. */
static int find_run(struct edit *edit, ext2_ino_t ino, struct ext2_inode *inode, blk64_t block,
		    uint64_t max, blk64_t *ret_place, uint64_t *ret_run)
{
	blk64_t next = 0;
	uint64_t run = 1;
	int flags = 0;
	int r;

	r = edit_error(edit, ext2fs_bmap2(edit->fs, ino, inode, NULL, 0, block, &flags, ret_place));
	while (r == 0 && run < max) {
		r = edit_error(edit, ext2fs_bmap2(edit->fs, ino, inode, NULL, 0, block + run,
						  &flags, &next));
		if (r < 0 || next != *ret_place + run)
			break;
		run++;
	}
	if (r == 0 && *ret_place == 0)
		r = -EUCLEAN;
	*ret_run = run;
	return r;
}

/* Past the staging, if the blocks were free before: then only what leads to them has to wait. */
static int write_run(struct edit *edit, blk64_t place, uint64_t run, const char *data)
{
	uint64_t size = run * edit->fs->blocksize;

	if (ext2fs_test_block_bitmap_range2(edit->old_blocks, place, (unsigned)run))
		return redo_write_through(edit->redo, place * edit->fs->blocksize, data, size);
	return edit_error(edit, io_channel_write_blk64(edit->fs->io, place, (int)run, data));
}

static int write_blocks(struct edit *edit, ext2_ino_t ino, struct ext2_inode *inode, int fd,
			uint64_t size)
{
	cleanup_free char *buffer = malloc(WRITE_SIZE);
	uint64_t block_size = edit->fs->blocksize;
	uint64_t blocks = (size + block_size - 1) / block_size;
	int r = buffer ? 0 : -ENOMEM;

	for (uint64_t block = 0; r == 0 && block < blocks;) {
		uint64_t run = MIN(blocks - block, WRITE_SIZE / block_size);
		blk64_t place = 0;
		size_t wanted;
		size_t n = 0;

		r = find_run(edit, ino, inode, block, run, &place, &run);
		if (r < 0)
			break;
		wanted = (size_t)MIN(run * block_size, size - block * block_size);
		r = fd_pread_full(fd, buffer, wanted, block * block_size, &n);
		if (r == 0 && n < wanted)
			r = -EIO;
		if (r < 0)
			break;
		memset(buffer + n, 0, (size_t)(run * block_size) - n);
		r = write_run(edit, place, run, buffer);
		block += run;
	}
	return r;
}

/* The inode of an empty file gets the content of *fd*. */
static int store_content(struct edit *edit, ext2_ino_t ino, int fd)
{
	struct ext2_inode inode;
	uint64_t blocks;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	blocks = ((uint64_t)st.st_size + edit->fs->blocksize - 1) / edit->fs->blocksize;
	r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));
	if (r == 0 && blocks > 0)
		r = edit_error(edit, ext2fs_fallocate(edit->fs, EXT2_FALLOCATE_FORCE_INIT, ino,
						      &inode, ~0ULL, 0, blocks));
	if (r == 0)
		r = edit_error(edit, ext2fs_inode_size_set(edit->fs, &inode, st.st_size));
	if (r < 0)
		return r;
	inode.i_mtime = inode.i_ctime = (uint32_t)clock_repeatable_sec();
	r = edit_error(edit, ext2fs_write_inode(edit->fs, ino, &inode));
	return r < 0 ? r : write_blocks(edit, ino, &inode, fd, (uint64_t)st.st_size);
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

int edit_make_file(struct edit *edit, ext2_ino_t dir, const char *name, int fd,
		   const struct edit_attributes *attributes)
{
	ext2_ino_t ino = 0;
	int r = make_inode(edit, dir, attributes, &ino);

	if (r == 0)
		r = store_content(edit, ino, fd);
	if (r == 0)
		r = edit_set_attributes(edit, ino, attributes);
	return r < 0 ? r : edit_link(edit, dir, name, ino, EXT2_FT_REG_FILE);
}

int edit_replace_content(struct edit *edit, ext2_ino_t ino, int fd)
{
	struct ext2_inode inode;
	int r = edit_error(edit, ext2fs_read_inode(edit->fs, ino, &inode));

	if (r == 0 && !LINUX_S_ISREG(inode.i_mode))
		r = -EINVAL;
	if (r == 0 && ext2fs_inode_has_valid_blocks2(edit->fs, &inode))
		r = edit_error(edit, ext2fs_punch(edit->fs, ino, &inode, NULL, 0, ~0ULL));
	return r < 0 ? r : store_content(edit, ino, fd);
}
