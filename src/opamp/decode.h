/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <opamp.pb-c.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* What one message may be, whatever its size in bytes. */
#define OPAMP_DEPTH_MAX  32U
#define OPAMP_FIELDS_MAX 16384U
#define OPAMP_ARENA_MAX  (4UL << 20)

/* The largest message of each direction, before and after decompression. */
#define OPAMP_TO_SERVER_MAX (1UL << 20)
#define OPAMP_TO_AGENT_MAX  (4UL << 20)

/* Why bytes are no message that we take. */
enum opamp_error {
	OPAMP_E_MALFORMED =
		1, /* no protobuf, text that is not UTF-8, or a sub-message given twice */
	OPAMP_E_TOO_DEEP,
	OPAMP_E_TOO_MANY_FIELDS,
	OPAMP_E_TOO_LARGE, /* in bytes, or in memory once decoded */
};

/* One sentence for people. */
const char *opamp_error_to_string(int error);

/* The memory that a decoded message stands in. */
struct opamp_arena;

struct opamp_arena *opamp_arena_free(struct opamp_arena *arena);

DEFINE_CLEANUP(struct opamp_arena *, opamp_arena, opamp_arena_free)
#define cleanup_opamp_arena CLEANUP(cleanup_opamp_arena)

/*
 * Decodes *size* bytes as a message of *type*. Nothing is unpacked before a scan has bounded depth
 * and number of fields, and all that unpacking allocates lies in *ret_arena*. Texts are UTF-8
 * without NUL; a value of a map may be NULL where it is a message. 0; enum opamp_error; -ENOMEM.
 * The message dies with the arena.
 */
must_check int opamp_decode(const ProtobufCMessageDescriptor *type, const void *data, size_t size,
			    struct opamp_arena **ret_arena, ProtobufCMessage **ret);

/* The same for the two messages of the protocol, with the size that each may have. */
must_check int opamp_decode_to_server(const void *data, size_t size, struct opamp_arena **ret_arena,
				      Opamp__Proto__AgentToServer **ret);
must_check int opamp_decode_to_agent(const void *data, size_t size, struct opamp_arena **ret_arena,
				     Opamp__Proto__ServerToAgent **ret);

/* A message's bytes behind *prefix* zero bytes (1 is the header of a WebSocket message). 0 or
 * -ENOMEM; the caller frees *ret*. */
must_check int opamp_encode(const void *message, size_t prefix, uint8_t **ret, size_t *ret_size);

/* Where the message begins in what came as one WebSocket message: behind a header that must be a
 * varint of 0. 0 or OPAMP_E_MALFORMED. */
must_check int opamp_skip_header(const void *data, size_t size, size_t *ret_offset);
