/* SPDX-License-Identifier: Apache-2.0 */

/* The face that redo.h shows to libext2fs. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ext4/redo.h"
#include "ext4/redo_private.h"

/* An io_manager's open() gets a name and nothing else: this says whose it is, during
 * redo_open_fs() only. */
static struct redo *opening;

static errcode_t to_errcode(int r)
{
	if (r == -ERANGE || r == -ENODATA)
		return EXT2_ET_SHORT_READ;
	return -r;
}

/* Blocks, or bytes where *count* is negative. */
static int measure(io_channel channel, unsigned long long block, int count, uint64_t *ret_position,
		   size_t *ret_size)
{
	*ret_size = count < 0 ? (size_t) - (long long)count
			      : (size_t)count * (size_t)channel->block_size;
	return __builtin_mul_overflow(block, (uint64_t)channel->block_size, ret_position) ? -ERANGE
											  : 0;
}

static errcode_t io_read64(io_channel channel, unsigned long long block, int count, void *data)
{
	uint64_t position = 0;
	size_t size = 0;
	int r = measure(channel, block, count, &position, &size);

	if (r == 0)
		r = redo_read(channel->private_data, position, data, size);
	return to_errcode(r);
}

static errcode_t io_write64(io_channel channel, unsigned long long block, int count,
			    const void *data)
{
	uint64_t position = 0;
	size_t size = 0;
	int r = measure(channel, block, count, &position, &size);

	if (r == 0)
		r = redo_write(channel->private_data, position, data, size);
	return to_errcode(r);
}

static errcode_t io_read(io_channel channel, unsigned long block, int count, void *data)
{
	return io_read64(channel, block, count, data);
}

static errcode_t io_write(io_channel channel, unsigned long block, int count, const void *data)
{
	return io_write64(channel, block, count, data);
}

static errcode_t io_write_byte(io_channel channel, unsigned long offset, int size, const void *data)
{
	return size < 0 ? EINVAL
			: to_errcode(redo_write(channel->private_data, offset, data, (size_t)size));
}

static errcode_t io_set_blksize(io_channel channel, int size)
{
	channel->block_size = size;
	return 0;
}

static errcode_t io_flush(io_channel channel)
{
	(void)channel;
	return 0;
}

static errcode_t io_close(io_channel channel)
{
	if (--channel->refcount > 0)
		return 0;
	(void)ext2fs_free_mem(&channel->name);
	(void)ext2fs_free_mem(&channel);
	return 0;
}

static errcode_t io_open(const char *name, int flags, io_channel *ret);

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "affix redo",
	.open = io_open,
	.close = io_close,
	.set_blksize = io_set_blksize,
	.read_blk = io_read,
	.write_blk = io_write,
	.flush = io_flush,
	.write_byte = io_write_byte,
	.read_blk64 = io_read64,
	.write_blk64 = io_write64,
};

static errcode_t io_open(const char *name, int flags, io_channel *ret)
{
	io_channel channel = NULL;
	errcode_t error;

	(void)flags;
	error = ext2fs_get_memzero(sizeof(struct struct_io_channel), &channel);
	if (error)
		return error;
	error = ext2fs_get_mem(strlen(name) + 1, &channel->name);
	if (error) {
		(void)ext2fs_free_mem(&channel);
		return error;
	}
	memcpy(channel->name, name, strlen(name) + 1);
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->manager = &manager;
	channel->block_size = (int)REDO_CELL_SIZE;
	channel->refcount = 1;
	channel->private_data = opening;
	*ret = channel;
	return 0;
}

errcode_t redo_open_fs(struct redo *redo, int flags, ext2_filsys *ret)
{
	errcode_t error;

	opening = redo;
	error = ext2fs_open2("image", NULL, flags, 0, 0, &manager, ret);
	opening = NULL;
	return error;
}
