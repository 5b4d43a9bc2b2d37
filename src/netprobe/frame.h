/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <netprobe.pb-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "opamp/decode.h"

/* netprobe-frame/1: a length of four bytes, big-endian, and so many bytes of a NetprobeFrame. */

#define FRAME_HEAD_SIZE 4U
#define FRAME_SIZE_MAX  (4UL << 20)
/* What stands before a payload: the head, the sequence, the payload's field and length. */
#define FRAME_PREFIX_MAX 32U

enum frame_condition {
	FRAME_E_MORE = 1, /* the frame is not whole yet */
	FRAME_E_TOO_LARGE,
	FRAME_E_MALFORMED,
};

/* A payload as bytes, made once and shared by all who are sent it. */
struct frame {
	unsigned references;
	uint32_t arm; /* its field in NetprobeFrame */
	size_t size;
	uint8_t data[];
};

/* 0, -ENOMEM, or -EMSGSIZE where it could not be sent. */
must_check int frame_new(uint32_t arm, const void *data, size_t size, struct frame **ret);
must_check int frame_encode(uint32_t arm, const void *payload, struct frame **ret);
struct frame *frame_ref(struct frame *frame);
struct frame *frame_unref(struct frame *frame);

DEFINE_CLEANUP(struct frame *, frame, frame_unref)
#define cleanup_frame CLEANUP(cleanup_frame)

/* Adds what stands before the bytes of *frame*, to which *more* bytes are added by the caller.
 * Returns the size of it. */
size_t frame_prefix(const struct frame *frame, uint64_t sequence, size_t more,
		    uint8_t prefix[FRAME_PREFIX_MAX]);

/* The bytes of a connection that are no whole frame yet. */
struct frame_reader {
	struct buffer input;
	size_t used;
};

#define FRAME_READER_INIT     \
	(struct frame_reader) \
	{                     \
	}

void frame_reader_done(struct frame_reader *reader);
#define cleanup_frame_reader CLEANUP(frame_reader_done)

must_check int frame_reader_add(struct frame_reader *reader, const void *data, size_t size);
/* The next body, valid until the reader is used again. 0, FRAME_E_MORE or FRAME_E_TOO_LARGE. */
must_check int frame_reader_next(struct frame_reader *reader, const void **ret_body,
				 size_t *ret_size);
/* Whether an end of the connection now would cut a body short: within the length it does not. */
bool frame_reader_is_cut(const struct frame_reader *reader);
/* Whether some of a frame came, and frame_reader_next() waits for the rest. */
bool frame_reader_has_rest(const struct frame_reader *reader);

/* A body as a message, which lives as long as *ret_arena*. 0, FRAME_E_MALFORMED or -ENOMEM. */
must_check int frame_decode(const void *body, size_t size, struct opamp_arena **ret_arena,
			    const Netprobe__NetprobeFrame **ret);
