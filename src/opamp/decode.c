/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From bytes to messages. protobuf-c unpacks by recursion and may need 45 times a message's size in
 * memory, so hostile bytes meet a scan first: it walks the wire format along the message
 * descriptors, counts fields and depth, and knows nothing of allocation. What it lets pass is
 * unpacked into an arena of bounded size, whose exhaustion is a property of the message and no lack
 * of memory.
 */

#include "opamp/decode.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/str.h"

#define VARINT_MAX    10U
#define ALIGNMENT     16U
#define CHUNK_SIZE    (16UL * 1024)
#define SEEN_MAX      64U
#define TAG_WIRE_MASK 7U
#define TAG_SHIFT     3U

enum wire {
	WIRE_VARINT = 0,
	WIRE_64BIT = 1,
	WIRE_BYTES = 2,
	WIRE_32BIT = 5,
};

struct chunk {
	struct chunk *next;
	size_t size;
	size_t used;
	_Alignas(ALIGNMENT) uint8_t data[];
};

struct opamp_arena {
	ProtobufCAllocator allocator;
	struct chunk *chunks;
	size_t total;
	bool is_exhausted;
};

struct opamp_arena *opamp_arena_free(struct opamp_arena *arena)
{
	if (!arena)
		return NULL;
	while (arena->chunks) {
		struct chunk *next = arena->chunks->next;

		free(arena->chunks);
		arena->chunks = next;
	}
	free(arena);
	return NULL;
}

/* protobuf-c's allocator: NULL once the bound is met, which ends the unpacking. */
static void *arena_allocate(void *data, size_t size)
{
	struct opamp_arena *arena = data;
	struct chunk *chunk = arena->chunks;
	size_t padded;

	if (size > OPAMP_ARENA_MAX) {
		arena->is_exhausted = true;
		return NULL;
	}
	padded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (!chunk || chunk->size - chunk->used < padded) {
		size_t space = MAX(padded, CHUNK_SIZE);

		if (arena->total + space > OPAMP_ARENA_MAX) {
			arena->is_exhausted = true;
			return NULL;
		}
		chunk = malloc(sizeof(*chunk) + space);
		if (!chunk)
			return NULL;
		*chunk = (struct chunk){.next = arena->chunks, .size = space};
		arena->chunks = chunk;
		arena->total += space;
	}
	chunk->used += padded;
	return chunk->data + chunk->used - padded;
}

static void arena_release(void *data, void *pointer)
{
	(void)data;
	(void)pointer;
}

static struct opamp_arena *arena_new(void)
{
	struct opamp_arena *arena = calloc(1, sizeof(*arena));

	if (arena)
		arena->allocator = (ProtobufCAllocator){
			.alloc = arena_allocate, .free = arena_release, .allocator_data = arena};
	return arena;
}

struct reader {
	const uint8_t *data;
	size_t left;
};

static bool read_varint(struct reader *reader, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < VARINT_MAX && i < reader->left; i++) {
		uint8_t byte = reader->data[i];

		value |= (uint64_t)(byte & 0x7fU) << (7U * i);
		if ((byte & 0x80U) == 0) {
			reader->data += i + 1;
			reader->left -= i + 1;
			*ret = value;
			return true;
		}
	}
	return false;
}

static bool skip(struct reader *reader, uint64_t size)
{
	if (size > reader->left)
		return false;
	reader->data += size;
	reader->left -= (size_t)size;
	return true;
}

/* Whether a field of this type is written in this way; scalars may be packed. */
static bool fits(const ProtobufCFieldDescriptor *field, unsigned wire)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return wire == WIRE_BYTES;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return wire == WIRE_64BIT ||
		       (wire == WIRE_BYTES && field->label == PROTOBUF_C_LABEL_REPEATED);
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return wire == WIRE_32BIT ||
		       (wire == WIRE_BYTES && field->label == PROTOBUF_C_LABEL_REPEATED);
	default:
		return wire == WIRE_VARINT ||
		       (wire == WIRE_BYTES && field->label == PROTOBUF_C_LABEL_REPEATED);
	}
}

static int scan_message(const ProtobufCMessageDescriptor *type, struct reader reader,
			unsigned depth, size_t *fields);

/* *seen*: the singular sub-messages that came already. protobuf-c would merge a second one, at a
 * cost that grows with each. */
static int scan_bytes(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field,
		      struct reader body, unsigned depth, size_t *fields, uint64_t *seen)
{
	size_t index;

	if (!field)
		return 0;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return str_is_utf8((const char *)body.data, body.left) ? 0 : OPAMP_E_MALFORMED;
	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return 0;
	index = (size_t)(field - type->fields);
	if (field->label != PROTOBUF_C_LABEL_REPEATED && index < SEEN_MAX) {
		if ((*seen & (1ULL << index)) != 0)
			return OPAMP_E_MALFORMED;
		*seen |= 1ULL << index;
	}
	return scan_message(field->descriptor, body, depth + 1, fields);
}

static int scan_field(const ProtobufCMessageDescriptor *type, struct reader *reader, unsigned depth,
		      size_t *fields, uint64_t *seen)
{
	const ProtobufCFieldDescriptor *field;
	struct reader body;
	uint64_t value;
	uint64_t tag;
	unsigned wire;

	if (!read_varint(reader, &tag) || tag >> TAG_SHIFT == 0 || tag > UINT32_MAX)
		return OPAMP_E_MALFORMED;
	wire = (unsigned)(tag & TAG_WIRE_MASK);
	field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> TAG_SHIFT));
	if (field && !fits(field, wire))
		return OPAMP_E_MALFORMED;
	switch (wire) {
	case WIRE_VARINT:
		return read_varint(reader, &value) ? 0 : OPAMP_E_MALFORMED;
	case WIRE_64BIT:
		return skip(reader, sizeof(uint64_t)) ? 0 : OPAMP_E_MALFORMED;
	case WIRE_32BIT:
		return skip(reader, sizeof(uint32_t)) ? 0 : OPAMP_E_MALFORMED;
	case WIRE_BYTES:
		if (!read_varint(reader, &value))
			return OPAMP_E_MALFORMED;
		body = *reader;
		if (!skip(reader, value))
			return OPAMP_E_MALFORMED;
		body.left = (size_t)value;
		return scan_bytes(type, field, body, depth, fields, seen);
	default:
		return OPAMP_E_MALFORMED;
	}
}

static int scan_message(const ProtobufCMessageDescriptor *type, struct reader reader,
			unsigned depth, size_t *fields)
{
	uint64_t seen = 0;

	if (depth > OPAMP_DEPTH_MAX)
		return OPAMP_E_TOO_DEEP;
	while (reader.left > 0) {
		int r;

		if (++*fields > OPAMP_FIELDS_MAX)
			return OPAMP_E_TOO_MANY_FIELDS;
		r = scan_field(type, &reader, depth, fields, &seen);
		if (r != 0)
			return r;
	}
	return 0;
}

int opamp_decode(const ProtobufCMessageDescriptor *type, const void *data, size_t size,
		 struct opamp_arena **ret_arena, ProtobufCMessage **ret)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	ProtobufCMessage *message;
	size_t fields = 0;
	int r;

	r = scan_message(type, (struct reader){.data = data, .left = size}, 1, &fields);
	if (r != 0)
		return r;
	arena = arena_new();
	if (!arena)
		return -ENOMEM;
	message = protobuf_c_message_unpack(type, &arena->allocator, size, data);
	if (!message)
		return arena->is_exhausted ? OPAMP_E_TOO_LARGE : OPAMP_E_MALFORMED;
	*ret_arena = TAKE_PTR(arena);
	*ret = message;
	return 0;
}

int opamp_decode_to_server(const void *data, size_t size, struct opamp_arena **ret_arena,
			   Opamp__Proto__AgentToServer **ret)
{
	ProtobufCMessage *message = NULL;
	int r;

	if (size > OPAMP_TO_SERVER_MAX)
		return OPAMP_E_TOO_LARGE;
	r = opamp_decode(&opamp__proto__agent_to_server__descriptor, data, size, ret_arena,
			 &message);
	if (r == 0)
		*ret = (Opamp__Proto__AgentToServer *)message;
	return r;
}

int opamp_decode_to_agent(const void *data, size_t size, struct opamp_arena **ret_arena,
			  Opamp__Proto__ServerToAgent **ret)
{
	ProtobufCMessage *message = NULL;
	int r;

	if (size > OPAMP_TO_AGENT_MAX)
		return OPAMP_E_TOO_LARGE;
	r = opamp_decode(&opamp__proto__server_to_agent__descriptor, data, size, ret_arena,
			 &message);
	if (r == 0)
		*ret = (Opamp__Proto__ServerToAgent *)message;
	return r;
}

int opamp_encode(const void *message, size_t prefix, uint8_t **ret, size_t *ret_size)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *data = calloc(1, prefix + size + 1);

	if (!data)
		return -ENOMEM;
	(void)protobuf_c_message_pack(message, data + prefix);
	*ret = data;
	*ret_size = prefix + size;
	return 0;
}

int opamp_skip_header(const void *data, size_t size, size_t *ret_offset)
{
	struct reader reader = {.data = data, .left = size};
	uint64_t header;

	if (!read_varint(&reader, &header) || header != 0)
		return OPAMP_E_MALFORMED;
	*ret_offset = size - reader.left;
	return 0;
}

const char *opamp_error_to_string(int error)
{
	switch (error) {
	case OPAMP_E_TOO_DEEP:
		return "the message nests deeper than 32 levels";
	case OPAMP_E_TOO_MANY_FIELDS:
		return "the message has more than 16384 fields";
	case OPAMP_E_TOO_LARGE:
		return "the message is too large";
	default:
		return "the message is malformed";
	}
}
