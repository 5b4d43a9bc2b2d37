/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The frames of netprobe-frame/1. What is sent is a payload's bytes, which any number of clients
 * share, behind a prefix of a client's own: its sequence and, through the length, whatever the
 * client is told besides. What comes is bounded by its length before it is kept, and by
 * opamp_decode() before anything is unpacked.
 */

#include "netprobe/frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "opamp/varint.h"

#define SEQUENCE_FIELD 1U

/* Room for a payload. */
static int allocate(uint32_t arm, size_t size, struct frame **ret)
{
	struct frame *frame;

	if (size > FRAME_SIZE_MAX - FRAME_PREFIX_MAX)
		return -EMSGSIZE;
	frame = malloc(sizeof(*frame) + size);
	if (!frame)
		return -ENOMEM;
	*frame = (struct frame){.references = 1, .arm = arm, .size = size};
	*ret = frame;
	return 0;
}

int frame_new(uint32_t arm, const void *data, size_t size, struct frame **ret)
{
	int r = allocate(arm, size, ret);

	if (r == 0 && size > 0)
		memcpy((*ret)->data, data, size);
	return r;
}

int frame_encode(uint32_t arm, const void *payload, struct frame **ret)
{
	int r = allocate(arm, protobuf_c_message_get_packed_size(payload), ret);

	if (r == 0)
		(void)protobuf_c_message_pack(payload, (*ret)->data);
	return r;
}

struct frame *frame_ref(struct frame *frame)
{
	frame->references++;
	return frame;
}

struct frame *frame_unref(struct frame *frame)
{
	if (frame && --frame->references == 0)
		free(frame);
	return NULL;
}

size_t frame_prefix(const struct frame *frame, uint64_t sequence, size_t more,
		    uint8_t prefix[FRAME_PREFIX_MAX])
{
	size_t n = FRAME_HEAD_SIZE;
	uint32_t length;

	if (sequence != 0) {
		n += varint_put_key(SEQUENCE_FIELD, VARINT_NUMBER, prefix + n);
		n += varint_put(sequence, prefix + n);
	}
	n += varint_put_key(frame->arm, VARINT_BYTES, prefix + n);
	n += varint_put(frame->size + more, prefix + n);
	length = htonl((uint32_t)(n - FRAME_HEAD_SIZE + frame->size + more));
	memcpy(prefix, &length, FRAME_HEAD_SIZE);
	return n;
}

void frame_reader_done(struct frame_reader *reader)
{
	buffer_done(&reader->input);
	*reader = FRAME_READER_INIT;
}

int frame_reader_add(struct frame_reader *reader, const void *data, size_t size)
{
	if (reader->used == reader->input.size) {
		frame_reader_done(reader);
	} else if (reader->used > 0) {
		memmove(reader->input.data, reader->input.data + reader->used,
			reader->input.size - reader->used);
		reader->input.size -= reader->used;
		reader->used = 0;
	}
	return buffer_add(&reader->input, data, size);
}

int frame_reader_next(struct frame_reader *reader, const void **ret_body, size_t *ret_size)
{
	size_t left = reader->input.size - reader->used;
	const char *at = reader->input.data + reader->used;
	uint32_t length;

	if (left < FRAME_HEAD_SIZE)
		return FRAME_E_MORE;
	memcpy(&length, at, FRAME_HEAD_SIZE);
	length = ntohl(length);
	if (length > FRAME_SIZE_MAX)
		return FRAME_E_TOO_LARGE;
	if (left - FRAME_HEAD_SIZE < length)
		return FRAME_E_MORE;
	*ret_body = at + FRAME_HEAD_SIZE;
	*ret_size = length;
	reader->used += FRAME_HEAD_SIZE + length;
	return 0;
}

bool frame_reader_is_cut(const struct frame_reader *reader)
{
	return reader->input.size - reader->used >= FRAME_HEAD_SIZE;
}

bool frame_reader_has_rest(const struct frame_reader *reader)
{
	return reader->input.size > reader->used;
}

int frame_decode(const void *body, size_t size, struct opamp_arena **ret_arena,
		 const Netprobe__NetprobeFrame **ret)
{
	ProtobufCMessage *message = NULL;
	int r = opamp_decode(&netprobe__netprobe_frame__descriptor, body, size, ret_arena,
			     &message);

	if (r != 0)
		return r < 0 ? r : FRAME_E_MALFORMED;
	*ret = (const Netprobe__NetprobeFrame *)message;
	return 0;
}
