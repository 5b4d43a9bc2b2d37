/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The outermost layer of a bundle: a row of small zstd frames (frames.c), or one zstd frame or gzip
 * member of any length, that ends where the file ends.
 *
 * libarchive could decompress too, but it skips frames it does not know, joins members, ignores
 * what stands behind them, and takes any window a frame asks for. Here all of that is refused, so
 * that one sequence of bytes has one meaning. The file is read by offset: its position belongs to
 * whoever else holds the descriptor.
 */

#include "bundle/decompress.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "bundle/bundle.h"

#define INPUT_SIZE (128UL * 1024)
/* Of this much at the beginning can be told what the file is: frames are not read from here. */
#define HEAD_SIZE 64UL

struct decompressor {
	struct bytes bytes;
	struct hasher *hasher;
	uint64_t offset;            /* of the file, behind *input* */
	struct digest_table *table; /* of a file of frames */
	struct frames *frames;      /* or */
	ZSTD_DCtx *zstd;            /* or */
	struct inflate_state *gzip; /* one of the three */
	size_t input_at;
	size_t input_size;
	bool is_finished;
	uint8_t input[INPUT_SIZE];
	uint8_t *piece; /* one of: */
	uint8_t pieces[HASHER_BUFFERS][DECOMPRESS_PIECE_SIZE];
	struct hasher_turns piece_turns;
};

static int fill_input(struct decompressor *d, size_t size, struct refusal *reterr_refusal)
{
	size_t n = 0;
	int r;

	r = bytes_read(&d->bytes, d->input, size, d->offset, &n);
	if (r < 0)
		return r;
	d->offset += n;
	d->input_at = 0;
	d->input_size = n;
	if (d->offset > BUNDLE_SIZE_MAX)
		return refuse(reterr_refusal, REFUSAL_BUNDLE_TOO_LARGE,
			      "the bundle file is larger than the %llu bytes it may have",
			      BUNDLE_SIZE_MAX);
	return 0;
}

static int open_zstd(struct decompressor *d)
{
	d->zstd = ZSTD_createDCtx();
	if (!d->zstd)
		return -ENOMEM;
	if (ZSTD_isError(
		    ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, BUNDLE_WINDOW_LOG_MAX)))
		return -EINVAL;
	return 0;
}

static int open_gzip(struct decompressor *d)
{
	d->gzip = malloc(sizeof(*d->gzip));
	if (!d->gzip)
		return -ENOMEM;
	isal_inflate_init(d->gzip);
	d->gzip->crc_flag = ISAL_GZIP;
	return 0;
}

static int open_frames(struct decompressor *d, struct frames **ready)
{
	int r = digest_table_read(&d->bytes, &d->table);

	if (r == 0 && ready)
		d->frames = TAKE_PTR(*ready);
	return r < 0 ? r : frames_open(&d->bytes, d->table->offset, d->hasher, &d->frames);
}

int decompress_open(const struct bytes *bytes, struct hasher *hasher, struct frames **ready,
		    struct decompressor **ret, struct refusal *reterr_refusal)
{
	static const uint8_t zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};
	static const uint8_t gzip_magic[] = {0x1f, 0x8b};
	cleanup_decompressor struct decompressor *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->bytes = *bytes;
	d->hasher = hasher;
	r = fill_input(d, HEAD_SIZE, reterr_refusal);
	if (r != 0)
		return r;
	if (d->input_size >= sizeof(zstd_magic) &&
	    memcmp(d->input, zstd_magic, sizeof(zstd_magic)) == 0)
		r = frames_is_first(d->input, d->input_size) ? open_frames(d, ready) : open_zstd(d);
	else if (d->input_size >= sizeof(gzip_magic) &&
		 memcmp(d->input, gzip_magic, sizeof(gzip_magic)) == 0)
		r = open_gzip(d);
	else
		r = refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
			   "the bundle is neither zstd nor gzip: expected a file that "
			   "'affix build' made");
	if (r != 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

struct decompressor *decompress_close(struct decompressor *d)
{
	if (!d)
		return NULL;
	/* It may be reading our buffers. */
	hasher_wait(d->hasher, hasher_last(d->hasher));
	(void)frames_close(d->frames);
	free(d->table);
	(void)ZSTD_freeDCtx(d->zstd);
	free(d->gzip);
	free(d);
	return NULL;
}

const struct digest_table *decompress_table(const struct decompressor *d)
{
	return d->table && d->table->n > 0 ? d->table : NULL;
}

/* Each step takes input and adds to the piece; the last one of a stream sets is_finished. */
static int step_zstd(struct decompressor *d, size_t *size, struct refusal *reterr_refusal)
{
	ZSTD_inBuffer in = {d->input, d->input_size, d->input_at};
	ZSTD_outBuffer out = {d->piece, DECOMPRESS_PIECE_SIZE, *size};
	size_t n = ZSTD_decompressStream(d->zstd, &out, &in);

	if (ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation)
		return -ENOMEM;
	if (ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_frameParameter_windowTooLarge)
		return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
			      "the bundle needs a zstd window larger than %u MiB: compress it "
			      "without --long or --ultra",
			      1U << (BUNDLE_WINDOW_LOG_MAX - 20));
	if (ZSTD_isError(n))
		return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
			      "the bundle's zstd stream is broken: %s", ZSTD_getErrorName(n));
	d->input_at = in.pos;
	*size = out.pos;
	d->is_finished = n == 0;
	return 0;
}

static int step_gzip(struct decompressor *d, size_t *size, struct refusal *reterr_refusal)
{
	struct inflate_state *state = d->gzip;
	int r;

	state->next_in = d->input + d->input_at;
	state->avail_in = (uint32_t)(d->input_size - d->input_at);
	state->next_out = d->piece + *size;
	state->avail_out = (uint32_t)(DECOMPRESS_PIECE_SIZE - *size);
	r = isal_inflate(state);
	d->input_at = d->input_size - state->avail_in;
	*size = DECOMPRESS_PIECE_SIZE - state->avail_out;
	if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT)
		return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
			      "the bundle's gzip stream is broken: %s",
			      r == ISAL_INCORRECT_CHECKSUM ? "wrong checksum" : "invalid data");
	d->is_finished = state->block_state == ISAL_BLOCK_FINISH;
	return 0;
}

static int check_end_of_file(struct decompressor *d, struct refusal *reterr_refusal)
{
	int r;

	if (d->input_at == d->input_size) {
		r = fill_input(d, INPUT_SIZE, reterr_refusal);
		if (r != 0)
			return r;
	}
	if (d->input_at == d->input_size)
		return 0;
	return refuse(reterr_refusal, REFUSAL_TRAILING_DATA,
		      "the bundle's file goes on behind the end of its compressed stream: expected "
		      "a single %s",
		      d->zstd ? "zstd frame" : "gzip member");
}

int decompress_read(struct decompressor *d, const void **ret, size_t *ret_size,
		    struct refusal *reterr_refusal)
{
	size_t size = 0;
	int r;

	if (d->frames)
		return frames_read(d->frames, ret, ret_size, reterr_refusal);
	d->piece = d->pieces[hasher_turn(d->hasher, &d->piece_turns)];
	while (!d->is_finished && size < DECOMPRESS_PIECE_SIZE) {
		size_t before = size;

		r = d->zstd ? step_zstd(d, &size, reterr_refusal)
			    : step_gzip(d, &size, reterr_refusal);
		if (r != 0)
			return r;
		if (d->is_finished) {
			r = check_end_of_file(d, reterr_refusal);
			if (r != 0)
				return r;
			break;
		}
		if (d->input_at < d->input_size || size > before)
			continue;
		r = fill_input(d, INPUT_SIZE, reterr_refusal);
		if (r != 0)
			return r;
		if (d->input_size == 0)
			return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
				      "the bundle is cut off: its compressed stream does not end "
				      "where the file does");
	}
	*ret = d->piece;
	*ret_size = size;
	return 0;
}
