/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Where content goes: to the lowest blocks that are free, in the order in which it comes, so that
 * every file lies in one piece as far as the file system's own tables let it. Blocks are taken from
 * the bitmaps in long runs, and written around libext2fs's cache, which is for single blocks.
 */

#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "ext4/writer_private.h"

#define RUN_BLOCKS   8192U
#define FLUSH_BLOCKS 2048U

/* The disk is at it while more is made, or all of it would wait for the sync at the end: a hint,
 * that sync says what went wrong. */
static void begin_flush(struct writer *w, blk64_t end)
{
	if (end < w->flushed_to + FLUSH_BLOCKS)
		return;
	(void)sync_file_range(w->fd, (off_t)(w->flushed_to * EXT4_BLOCK_SIZE),
			      (off_t)((end - w->flushed_to) * EXT4_BLOCK_SIZE),
			      SYNC_FILE_RANGE_WRITE);
	w->flushed_to = end;
}

static int write_blocks(struct writer *w, blk64_t block, const void *data, uint32_t count)
{
	int r = fd_pwrite_full(w->fd, data, (size_t)count * EXT4_BLOCK_SIZE,
			       block * EXT4_BLOCK_SIZE);

	if (r == 0)
		begin_flush(w, block + count);
	return r;
}

static int flush(struct writer *w)
{
	int r = w->buffer_count > 0 ? write_blocks(w, w->buffer_block, w->buffer, w->buffer_count)
				    : 0;

	w->buffer_count = 0;
	return r;
}

static int take_run(struct writer *w)
{
	blk64_t last = ext2fs_blocks_count(w->fs->super) - 1;
	blk64_t begin = 0;
	blk64_t end = 0;

	if (w->cursor > last ||
	    ext2fs_find_first_zero_block_bitmap2(w->fs->block_map, w->cursor, last, &begin) != 0)
		return writer_too_small(w, "blocks");
	last = MIN(last, begin + RUN_BLOCKS - 1);
	if (ext2fs_find_first_set_block_bitmap2(w->fs->block_map, begin, last, &end) != 0)
		end = last + 1;
	ext2fs_block_alloc_stats_range(w->fs, begin, (blk_t)(end - begin), +1);
	w->run_at = begin;
	w->run_end = end;
	w->cursor = end;
	return 0;
}

static int put_blocks(struct writer *w, blk64_t block, const void *data, uint32_t count)
{
	int r = 0;

	if (w->buffer_count > 0 && (w->buffer_block + w->buffer_count != block ||
				    count > WRITER_BUFFER_BLOCKS - w->buffer_count))
		r = flush(w);
	if (r < 0)
		return r;
	if (count > WRITER_BUFFER_BLOCKS / 2)
		return write_blocks(w, block, data, count);
	if (w->buffer_count == 0)
		w->buffer_block = block;
	memcpy(w->buffer + (size_t)w->buffer_count * EXT4_BLOCK_SIZE, data,
	       (size_t)count * EXT4_BLOCK_SIZE);
	w->buffer_count += count;
	return 0;
}

int writer_blocks_add(struct writer *w, struct tree_extents *extents, uint32_t logical,
		      const void *data, uint32_t count)
{
	const uint8_t *at = data;

	w->need.blocks += count;
	w->need.extents++;
	while (count > 0 && w->fs) {
		uint32_t n;
		int r = w->run_at == w->run_end ? take_run(w) : 0;

		if (r != 0)
			return r;
		n = (uint32_t)MIN((blk64_t)count, w->run_end - w->run_at);
		r = tree_extent_add(extents, w->run_at, logical, n);
		if (r == 0)
			r = put_blocks(w, w->run_at, at, n);
		if (r < 0)
			return r;
		w->run_at += n;
		logical += n;
		at += (size_t)n * EXT4_BLOCK_SIZE;
		count -= n;
	}
	return 0;
}

static bool is_zero(const uint8_t *block)
{
	uint64_t head = 0;

	memcpy(&head, block, sizeof(head));
	return head == 0 &&
	       memcmp(block, block + sizeof(head), EXT4_BLOCK_SIZE - sizeof(head)) == 0;
}

/* Whole blocks: those that are not zeroes, in rows as long as can be. */
static int add_whole(struct writer *w, struct tree_inode *inode, uint32_t logical,
		     const uint8_t *data, uint32_t count)
{
	int r = 0;

	for (uint32_t i = 0; i < count && r == 0;) {
		uint32_t n = 0;

		while (i + n < count && !is_zero(data + (size_t)(i + n) * EXT4_BLOCK_SIZE))
			n++;
		if (n > 0)
			r = writer_blocks_add(w, &inode->extents, logical + i,
					      data + (size_t)i * EXT4_BLOCK_SIZE, n);
		i += n + 1;
	}
	return r;
}

int writer_content_end(struct writer *w, struct tree_inode *inode)
{
	if (!w->has_partial)
		return 0;
	w->has_partial = false;
	return add_whole(w, inode, w->partial_logical, w->partial, 1);
}

static int add_partial(struct writer *w, struct tree_inode *inode, uint32_t logical, size_t within,
		       const uint8_t *data, size_t size)
{
	int r = 0;

	if (w->has_partial && w->partial_logical != logical)
		r = writer_content_end(w, inode);
	if (r != 0)
		return r;
	if (!w->has_partial)
		memset(w->partial, 0, sizeof(w->partial));
	w->has_partial = true;
	w->partial_logical = logical;
	memcpy(w->partial + within, data, size);
	return within + size == EXT4_BLOCK_SIZE ? writer_content_end(w, inode) : 0;
}

int writer_content_add(struct writer *w, struct tree_inode *inode, const void *data, size_t size,
		       uint64_t offset)
{
	const uint8_t *at = data;

	while (size > 0) {
		size_t within = offset % EXT4_BLOCK_SIZE;
		uint64_t logical = offset / EXT4_BLOCK_SIZE;
		size_t n = MIN(size, EXT4_BLOCK_SIZE - within);
		int r;

		if (logical >= UINT32_MAX)
			return problem_refuse(
				w->problem, "bad-layer",
				"the layers have a file of more than 16 TiB: ext4 can "
				"have none");
		if (within == 0 && size >= EXT4_BLOCK_SIZE) {
			n = size - size % EXT4_BLOCK_SIZE;
			r = writer_content_end(w, inode);
			if (r == 0)
				r = add_whole(w, inode, (uint32_t)logical, at,
					      (uint32_t)(n / EXT4_BLOCK_SIZE));
		} else {
			r = add_partial(w, inode, (uint32_t)logical, within, at, n);
		}
		if (r != 0)
			return r;
		at += n;
		size -= n;
		offset += n;
	}
	return 0;
}

int writer_blocks_end(struct writer *w)
{
	int r = flush(w);

	if (w->run_end > w->run_at) {
		ext2fs_block_alloc_stats_range(w->fs, w->run_at, (blk_t)(w->run_end - w->run_at),
					       -1);
		w->cursor = w->run_at;
	}
	w->run_at = 0;
	w->run_end = 0;
	return r;
}
