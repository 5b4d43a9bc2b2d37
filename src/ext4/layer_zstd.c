/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The thread that decompresses is the bound of an image of zstd layers, so it does nothing else.
 * The checksum of a frame of more than a piece is left to the reader of the pieces, who has time: a
 * tenth of the work (0.72 s of 0.79, 673 MiB). Such a frame shares no piece with others. The
 * library looks at the checksums of short frames, and where a frame's header is not whole in a
 * block.
 *
 * The library's interface without buffers, which decompresses into the caller's ring, was measured
 * too: it saves a copy from one cache into the same, and then the other thread reads the lines in
 * which this one looks back. The same time, and its rules for hostile frames would be ours.
 */

#define ZSTD_STATIC_LINKING_ONLY
#define XXH_INLINE_ALL
#include "ext4/layer_zstd.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "ext4/layer_input.h"

#define WINDOW_LOG 27 /* what the command line tool takes too: 128 MiB */
#define SUM_SIZE   4U
/* The frame header's descriptor, behind the magic number (RFC 8878, 3.1.1.1.1). */
#define DESCRIPTOR_AT  4U
#define DESCRIPTOR_SUM (1U << 2)

struct layer_zstd {
	ZSTD_DCtx *context;
	bool is_within;         /* a frame */
	bool is_summed;         /* by the reader */
	bool is_begin;          /* nothing of it was in a piece yet */
	uint8_t tail[SUM_SIZE]; /* what was taken last */
	XXH64_state_t sum;      /* the reader's */
};

int layer_zstd_open(struct layer_zstd **ret)
{
	cleanup_layer_zstd struct layer_zstd *z = calloc(1, sizeof(*z));

	if (!z)
		return -ENOMEM;
	z->context = ZSTD_createDCtx();
	if (!z->context ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(z->context, ZSTD_d_windowLogMax, WINDOW_LOG)))
		return -ENOMEM;
	*ret = TAKE_PTR(z);
	return 0;
}

struct layer_zstd *layer_zstd_close(struct layer_zstd *z)
{
	if (!z)
		return NULL;
	(void)ZSTD_freeDCtx(z->context);
	free(z);
	return NULL;
}

bool layer_zstd_is_between(const struct layer_zstd *z)
{
	return !z->is_within;
}

static int broken(const char **reterr_why, size_t result)
{
	if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
		return -ENOMEM;
	*reterr_why = ZSTD_getErrorName(result);
	return LAYER_ZSTD_E_BROKEN;
}

/* Whether a frame begins here that ends with a checksum and says that it is longer than a piece, or
 * not how long. */
static bool is_long_and_summed(const uint8_t *head, size_t size, size_t piece_max)
{
	unsigned long long content = ZSTD_getFrameContentSize(head, size);

	return content != ZSTD_CONTENTSIZE_ERROR && content > piece_max && size > DESCRIPTOR_AT &&
	       XXH_readLE32(head) == ZSTD_MAGICNUMBER && (head[DESCRIPTOR_AT] & DESCRIPTOR_SUM);
}

/* Who looks at the checksum of the frame that begins here. */
static int begin_frame(struct layer_zstd *z, const struct layer_bytes *input, size_t piece_max,
		       const char **reterr_why)
{
	bool was_summed = z->is_summed;
	size_t n;

	z->is_summed =
		is_long_and_summed(input->data + input->at, input->size - input->at, piece_max);
	z->is_begin = z->is_summed;
	if (z->is_summed == was_summed)
		return 0;
	n = ZSTD_DCtx_setParameter(z->context, ZSTD_d_forceIgnoreChecksum,
				   z->is_summed ? ZSTD_d_ignoreChecksum : ZSTD_d_validateChecksum);
	if (!ZSTD_isError(n))
		return 0;
	/* A library that cannot leave it to the reader looks at it. */
	z->is_summed = false;
	z->is_begin = false;
	return was_summed ? broken(reterr_why, n) : 0;
}

static void keep_tail(struct layer_zstd *z, const uint8_t *taken, size_t size)
{
	size_t n = MIN(size, (size_t)SUM_SIZE);

	memmove(z->tail, z->tail + n, SUM_SIZE - n);
	memcpy(z->tail + SUM_SIZE - n, taken + size - n, n);
}

static int step(struct layer_zstd *z, struct layer_bytes *input, struct layer_zstd_piece *piece,
		size_t piece_max, const char **reterr_why)
{
	ZSTD_inBuffer in = {input->data, input->size, input->at};
	ZSTD_outBuffer out = {piece->data, piece_max, piece->size};
	size_t n = ZSTD_decompressStream(z->context, &out, &in);

	if (ZSTD_isError(n))
		return broken(reterr_why, n);
	keep_tail(z, input->data + input->at, in.pos - input->at);
	input->at = in.pos;
	piece->size = out.pos;
	z->is_within = n != 0;
	return 0;
}

int layer_zstd_step(struct layer_zstd *z, struct layer_bytes *input, struct layer_zstd_piece *piece,
		    size_t piece_max, bool *ret_is_full, const char **reterr_why)
{
	int r = z->is_within ? 0 : begin_frame(z, input, piece_max, reterr_why);

	*ret_is_full = !z->is_within && z->is_summed && piece->size > 0;
	if (r != 0 || *ret_is_full)
		return r;
	r = step(z, input, piece, piece_max, reterr_why);
	if (r != 0)
		return r;
	if (z->is_summed) {
		piece->is_summed = true;
		piece->is_begin = piece->is_begin || z->is_begin;
		piece->is_end = !z->is_within;
		piece->checksum = XXH_readLE32(z->tail);
		z->is_begin = false;
	}
	*ret_is_full = piece->is_end || piece->size == piece_max;
	return 0;
}

int layer_zstd_check(struct layer_zstd *z, const struct layer_zstd_piece *piece,
		     const char **reterr_why)
{
	if (!piece->is_summed)
		return 0;
	if (piece->is_begin)
		(void)XXH64_reset(&z->sum, 0);
	(void)XXH64_update(&z->sum, piece->data, piece->size);
	if (!piece->is_end || (uint32_t)XXH64_digest(&z->sum) == piece->checksum)
		return 0;
	*reterr_why = ZSTD_getErrorString(ZSTD_error_checksum_wrong);
	return LAYER_ZSTD_E_BROKEN;
}
