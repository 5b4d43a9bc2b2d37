/* SPDX-License-Identifier: Apache-2.0 */

/*
 * gzip for bodies of HTTP, by libisal. Output grows as bytes come out and never above the caller's
 * bound, whatever the header or the compressed bytes promise. The library's states are large (some
 * 100 KiB), so they live on the heap for the length of one call.
 */

#include "opamp/gzip.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <string.h>

#define FIRST_SIZE   (16UL * 1024)
#define GROWTH       2U
#define COMPRESS_MAX (1UL << 30)
/* Stored blocks of 64 KiB with 5 bytes each, header and trailer, and what the library wants. */
#define OVERHEAD 1024U

static size_t minimum(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Room for more output: twice as much, one byte above *max* at most, so that "too much" shows. */
static int grow(uint8_t **data, size_t *capacity, size_t max)
{
	size_t larger = minimum(*capacity == 0 ? FIRST_SIZE : *capacity * GROWTH, max + 1);
	uint8_t *moved = realloc(*data, larger);

	if (!moved)
		return -ENOMEM;
	*data = moved;
	*capacity = larger;
	return 0;
}

int gzip_decompress(const void *data, size_t size, size_t max, uint8_t **ret, size_t *ret_size)
{
	cleanup_free struct inflate_state *state = calloc(1, sizeof(*state));
	cleanup_free uint8_t *out = NULL;
	size_t capacity = 0;
	size_t used = 0;

	if (!state)
		return -ENOMEM;
	if (size > UINT32_MAX)
		return GZIP_E_TOO_LARGE;
	isal_inflate_init(state);
	state->crc_flag = ISAL_GZIP;
	state->next_in = (uint8_t *)data;
	state->avail_in = (uint32_t)size;
	while (state->block_state != ISAL_BLOCK_FINISH) {
		size_t before;

		if (used > max)
			return GZIP_E_TOO_LARGE;
		if (used == capacity && grow(&out, &capacity, max) < 0)
			return -ENOMEM;
		before = minimum(capacity - used, 1UL << 30);
		state->next_out = out + used;
		state->avail_out = (uint32_t)before;
		if (isal_inflate(state) != ISAL_DECOMP_OK)
			return GZIP_E_MALFORMED;
		used += before - state->avail_out;
		/* Nothing more comes in, and room was left: it ends early. */
		if (state->avail_in == 0 && state->avail_out > 0 &&
		    state->block_state != ISAL_BLOCK_FINISH)
			return GZIP_E_MALFORMED;
	}
	if (used > max)
		return GZIP_E_TOO_LARGE;
	if (state->avail_in > 0)
		return GZIP_E_MALFORMED;
	*ret = out ? TAKE_PTR(out) : calloc(1, 1);
	*ret_size = used;
	return *ret ? 0 : -ENOMEM;
}

int gzip_compress(const void *data, size_t size, uint8_t **ret, size_t *ret_size)
{
	cleanup_free struct isal_zstream *stream = calloc(1, sizeof(*stream));
	cleanup_free uint8_t *level = malloc(ISAL_DEF_LVL1_DEFAULT);
	cleanup_free uint8_t *out = NULL;
	size_t capacity;

	if (!stream || !level || size > COMPRESS_MAX)
		return -ENOMEM;
	capacity = size + size / 1024 + OVERHEAD;
	out = malloc(capacity);
	if (!out)
		return -ENOMEM;
	isal_deflate_init(stream);
	stream->gzip_flag = IGZIP_GZIP;
	stream->level = 1;
	stream->level_buf = level;
	stream->level_buf_size = ISAL_DEF_LVL1_DEFAULT;
	stream->end_of_stream = 1;
	stream->next_in = (uint8_t *)data;
	stream->avail_in = (uint32_t)size;
	stream->next_out = out;
	stream->avail_out = (uint32_t)capacity;
	if (isal_deflate(stream) != COMP_OK || stream->internal_state.state != ZSTATE_END)
		return -ENOMEM;
	*ret_size = stream->total_out;
	*ret = TAKE_PTR(out);
	return 0;
}
