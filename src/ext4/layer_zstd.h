/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct layer_bytes;

/* Any number of zstd frames, and of frames to be skipped. */
struct layer_zstd;

/* What came out, and what is left to look at: the checksum of a long frame. */
struct layer_zstd_piece {
	uint8_t *data;
	size_t size;
	bool is_summed; /* of such a frame, as all of its pieces */
	bool is_begin;
	bool is_end; /* and *checksum* is what the frame says */
	uint32_t checksum;
};

/* *reterr_why* says what is wrong with the frames. */
#define LAYER_ZSTD_E_BROKEN 1

must_check int layer_zstd_open(struct layer_zstd **ret);
struct layer_zstd *layer_zstd_close(struct layer_zstd *zstd);

DEFINE_CLEANUP(struct layer_zstd *, layer_zstd, layer_zstd_close)
#define cleanup_layer_zstd CLEANUP(cleanup_layer_zstd)

/* Whether the file may end here. */
bool layer_zstd_is_between(const struct layer_zstd *zstd);

/* Uses some of *input*, which is not empty, and adds to a piece with room for *piece_max* bytes.
 * *ret_is_full*: no more may be added to it. 0; LAYER_ZSTD_E_BROKEN; -ENOMEM. */
must_check int layer_zstd_step(struct layer_zstd *zstd, struct layer_bytes *input,
			       struct layer_zstd_piece *piece, size_t piece_max, bool *ret_is_full,
			       const char **reterr_why);

/* For whoever gets the pieces, also in another thread: each of them, in their order. 0;
 * LAYER_ZSTD_E_BROKEN. */
must_check int layer_zstd_check(struct layer_zstd *zstd, const struct layer_zstd_piece *piece,
				const char **reterr_why);
