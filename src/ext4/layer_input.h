/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "crypto/sha256.h"
#include "ext4/layer_row.h"

#define LAYER_BLOCK_SIZE   (128UL * 1024)
#define LAYER_INPUT_BLOCKS 4U

struct layer_input_block {
	size_t size;
	int result;
	uint8_t data[LAYER_BLOCK_SIZE];
};

/* Some of the file, of which what lies before *at* was used. */
struct layer_bytes {
	uint8_t *data;
	size_t size;
	size_t at;
};

/* A layer's file, read once by offset and digested on the way. */
struct layer_input {
	int fd; /* borrowed */
	bool is_digested;
	struct sha256 sha256;
	uint64_t offset; /* of the file: behind what was read */
	struct layer_row row;
	struct layer_input_block blocks[LAYER_INPUT_BLOCKS];
};

/* All but the blocks is zero before. 0 or -ENOMEM. */
must_check int layer_input_open(struct layer_input *input, int fd, bool is_digested);
void layer_input_close(struct layer_input *input);

/* The next block, valid until the call after this one; all but the last are full, behind it comes
 * one of size 0. From the second one on another thread reads ahead. 0 or -errno. */
must_check int layer_input_next(struct layer_input *input, struct layer_bytes *ret);

/* What comes next, straight to the caller; there are no blocks any more then. 0 or -errno. */
must_check int layer_input_read(struct layer_input *input, void *buffer, size_t size,
				size_t *ret_read);
