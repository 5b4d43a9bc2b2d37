/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "bundle/bytes.h"
#include "bundle/hasher.h"
#include "ipc/refusal.h"

/* Whether a file that begins so is a row of frames: its first one says how much it holds, and that
 * is not more than BUNDLE_FRAME_SIZE_MAX. */
bool frames_is_first(const void *head, size_t size);

/* A file of zstd frames of which each but the last holds a multiple of BUNDLE_FRAME_SIZE_UNIT. */
struct frames;

/* Who knows that there will be frames makes threads and memory ready meanwhile. *hasher* is
 * borrowed, and must outlive *ret*. 0; -errno. */
must_check int frames_prepare(struct hasher *hasher, struct frames **ret);
/* *ret* is what was prepared for *hasher*, or NULL. *bytes*, whose frames end at *end*, and
 * *hasher* are borrowed, and what they stand for must outlive *ret*. 0; -errno. */
must_check int frames_open(const struct bytes *bytes, uint64_t end, struct hasher *hasher,
			   struct frames **ret);
struct frames *frames_close(struct frames *frames);

DEFINE_CLEANUP(struct frames *, frames, frames_close)
#define cleanup_frames CLEANUP(cleanup_frames)

/* The content of the next frame, as decompress_read() gives pieces. */
must_check int frames_read(struct frames *frames, const void **ret, size_t *ret_size,
			   struct refusal *reterr_refusal);
