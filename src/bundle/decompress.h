/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "bundle/digest_table.h"
#include "bundle/frames.h"
#include "bundle/hasher.h"
#include "ipc/refusal.h"

/* What a stream of any length is read in: all pieces but the last have this size. */
#define DECOMPRESS_PIECE_SIZE (256UL * 1024)

struct decompressor;

/*
 * Reads the bundle file *bytes*, which must outlive *ret*, from its beginning: zstd or gzip, told
 * apart by their first bytes. *hasher* (borrowed) may digest its pieces, and must
 * outlive *ret*. *ready* is NULL, or what was prepared for it and the hasher, which is taken if the
 * file is a row of frames. 0; refused with REFUSAL_MALFORMED_BUNDLE or REFUSAL_BUNDLE_TOO_LARGE;
 * -errno.
 */
must_check int decompress_open(const struct bytes *bytes, struct hasher *hasher,
			       struct frames **ready, struct decompressor **ret,
			       struct refusal *reterr_refusal);
/* What stands behind the frames; NULL: nothing does. Borrowed. */
const struct digest_table *decompress_table(const struct decompressor *d);
struct decompressor *decompress_close(struct decompressor *d);

DEFINE_CLEANUP(struct decompressor *, decompressor, decompress_close)
#define cleanup_decompressor CLEANUP(cleanup_decompressor)

/*
 * The next piece, all but the last a multiple of tar's block; valid until the next call and, to the
 * hasher, for what is posted to it before that; of size 0 at the end of the stream, which must be
 * the end of the file too. 0; refused with REFUSAL_MALFORMED_BUNDLE (broken, cut off) or
 * REFUSAL_TRAILING_DATA; -errno.
 */
must_check int decompress_read(struct decompressor *d, const void **ret, size_t *ret_size,
			       struct refusal *reterr_refusal);
