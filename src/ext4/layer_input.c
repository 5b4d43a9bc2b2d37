/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is decompressed comes in blocks that a thread of their own reads and digests ahead: both
 * together would be an eighth of what the thread that decompresses has to do, and more with a
 * digest. What is not compressed is read straight to where it is wanted.
 */

#include "ext4/layer_input.h"

#include "base/fd.h"

static bool make(void *context, unsigned place)
{
	struct layer_input *input = context;
	struct layer_input_block *block = &input->blocks[place];

	block->size = 0;
	block->result = layer_input_read(input, block->data, LAYER_BLOCK_SIZE, &block->size);
	return block->result != 0 || block->size == 0;
}

int layer_input_open(struct layer_input *input, int fd, bool is_digested)
{
	input->fd = fd;
	input->is_digested = is_digested;
	layer_row_init(&input->row, LAYER_INPUT_BLOCKS, make, input);
	return is_digested ? sha256_begin(&input->sha256) : 0;
}

void layer_input_close(struct layer_input *input)
{
	layer_row_done(&input->row);
	sha256_done(&input->sha256);
}

int layer_input_next(struct layer_input *input, struct layer_bytes *ret)
{
	struct layer_input_block *block;

	/* A file of one block needs no help. */
	if (input->row.taken == 1 && input->blocks[0].size == LAYER_BLOCK_SIZE)
		layer_row_start(&input->row);
	block = &input->blocks[layer_row_take(&input->row)];
	*ret = (struct layer_bytes){block->data, block->size, 0};
	return block->result;
}

int layer_input_read(struct layer_input *input, void *buffer, size_t size, size_t *ret_read)
{
	int r = fd_pread_full(input->fd, buffer, size, input->offset, ret_read);

	if (r < 0)
		return r;
	input->offset += *ret_read;
	if (input->is_digested)
		sha256_add(&input->sha256, buffer, *ret_read);
	return 0;
}
