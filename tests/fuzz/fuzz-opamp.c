/* SPDX-License-Identifier: Apache-2.0 */

/* OpAMP from strangers: the first byte says which message, or gzip, or a WebSocket's header before
 * it. What is decoded is encoded and decoded again, to the same bytes. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "opamp/client.h"
#include "opamp/decode.h"
#include "opamp/gzip.h"

#define SMALL_MAX 65536U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* Encodes *message* and decodes that: it must be the same message. */
static void again(const ProtobufCMessage *message)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	cleanup_free uint8_t *first = NULL;
	cleanup_free uint8_t *second = NULL;
	ProtobufCMessage *decoded = NULL;
	size_t first_size = 0;
	size_t second_size = 0;
	int r;

	must(opamp_encode(message, 0, &first, &first_size) == 0);
	r = opamp_decode(message->descriptor, first, first_size, &arena, &decoded);
	/* What was omitted may be written out, and then be too much. */
	must(r == 0 || r == OPAMP_E_TOO_MANY_FIELDS || r == OPAMP_E_TOO_LARGE);
	if (r != 0)
		return;
	must(opamp_encode(decoded, 0, &second, &second_size) == 0);
	must(first_size == second_size && memcmp(first, second, first_size) == 0);
}

/* What the client says after that is a message, with what changed and then without. */
static void answer(struct opamp_client *client, const Opamp__Proto__ServerToAgent *message)
{
	for (unsigned i = 0; i < 3; i++) {
		cleanup_opamp_arena struct opamp_arena *arena = NULL;
		Opamp__Proto__AgentToServer *said = NULL;
		cleanup_free uint8_t *data = NULL;
		size_t size = 0;
		bool is_news;

		if (message->custom_message)
			must(opamp_client_set(client, OPAMP_PART_CUSTOM_MESSAGE,
					      message->custom_message) == 0);
		is_news = opamp_client_has_news(client);
		must((i < 2 ? opamp_client_compose(client, 0, &data, &size)
			    : opamp_client_compose_disconnect(client, 0, &data, &size)) == 0);
		if (opamp_decode_to_server(data, size, &arena, &said) != 0) {
			must(size > OPAMP_TO_SERVER_MAX / 2);
			return;
		}
		must(said->sequence_num == i + 1 && (said->agent_disconnect != NULL) == (i == 2));
		must((said->custom_message != NULL) == is_news);
		must(memcmp(said->instance_uid.data, opamp_client_uid(client), OPAMP_UID_SIZE) ==
		     0);
	}
}

static void to_agent(const uint8_t *data, size_t size)
{
	static const uint8_t uid[OPAMP_UID_SIZE] = "0123456789abcdef";
	cleanup_opamp_client struct opamp_client *client = opamp_client_new(uid, 1);
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__ServerToAgent *message = NULL;
	bool is_changed;

	if (opamp_decode_to_agent(data, size, &arena, &message) != 0)
		return;
	again(&message->base);
	if (opamp_client_handle(client, message, &is_changed) == 0)
		answer(client, message);
}

static void to_server(const uint8_t *data, size_t size)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__AgentToServer *message = NULL;
	int r = opamp_decode_to_server(data, size, &arena, &message);

	must((r == 0) == (message != NULL) && opamp_error_to_string(r) != NULL);
	if (r == 0)
		again(&message->base);
}

static void compressed(const uint8_t *data, size_t size)
{
	cleanup_free uint8_t *out = NULL;
	cleanup_free uint8_t *packed = NULL;
	cleanup_free uint8_t *back = NULL;
	size_t packed_size = 0;
	size_t out_size = 0;
	size_t back_size = 0;

	must(gzip_compress(data, size, &packed, &packed_size) == 0);
	must(gzip_decompress(packed, packed_size, size, &back, &back_size) == 0);
	must(back_size == size && (size == 0 || memcmp(back, data, size) == 0));
	if (gzip_decompress(data, size, SMALL_MAX, &out, &out_size) == 0) {
		must(out_size <= SMALL_MAX);
		to_server(out, out_size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t offset = 0;

	if (size == 0)
		return 0;
	switch (data[0]) {
	case 'a':
		to_agent(data + 1, size - 1);
		break;
	case 'z':
		compressed(data + 1, size - 1);
		break;
	case 'w':
		if (opamp_skip_header(data + 1, size - 1, &offset) == 0)
			to_server(data + 1 + offset, size - 1 - offset);
		break;
	default:
		to_server(data + 1, size - 1);
		break;
	}
	return 0;
}
