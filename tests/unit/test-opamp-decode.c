/* SPDX-License-Identifier: Apache-2.0 */

#include "opamp/decode.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

/* Bytes as one field of wire type 2. */
static void wrap(struct buffer *buffer, uint8_t tag, const void *data, size_t size)
{
	uint8_t header[6] = {tag};
	size_t n = 1;
	size_t left = size;

	while (left >= 0x80U) {
		header[n++] = (uint8_t)(left | 0x80U);
		left >>= 7U;
	}
	header[n++] = (uint8_t)left;
	assert_int_equal(buffer_add(buffer, header, n), 0);
	if (size > 0)
		assert_int_equal(buffer_add(buffer, data, size), 0);
}

static int decode(const void *data, size_t size)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__AgentToServer *message = NULL;
	int r = opamp_decode_to_server(data, size, &arena, &message);

	assert_int_equal(r == 0, message != NULL);
	assert_int_equal(r == 0, arena != NULL);
	return r;
}

static void a_message_comes_back_as_it_was(void **state)
{
	Opamp__Proto__AgentToServer message = OPAMP__PROTO__AGENT_TO_SERVER__INIT;
	Opamp__Proto__ComponentHealth health = OPAMP__PROTO__COMPONENT_HEALTH__INIT;
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__AgentToServer *decoded = NULL;
	uint8_t uid[16] = "0123456789abcdef";
	cleanup_free uint8_t *data = NULL;
	size_t size = 0;

	(void)state;
	message.instance_uid = (ProtobufCBinaryData){.len = sizeof(uid), .data = uid};
	message.sequence_num = 1ULL << 60U;
	message.health = &health;
	health.healthy = 1;
	health.last_error = (char *)"größer";
	assert_int_equal(opamp_encode(&message, 1, &data, &size), 0);
	assert_int_equal(data[0], 0);
	assert_int_equal(opamp_decode_to_server(data + 1, size - 1, &arena, &decoded), 0);
	assert_int_equal(decoded->sequence_num, 1ULL << 60U);
	assert_memory_equal(decoded->instance_uid.data, uid, sizeof(uid));
	assert_string_equal(decoded->health->last_error, "größer");
	assert_null(decoded->effective_config);
}

static void every_cut_of_a_message_is_an_error_or_a_shorter_message(void **state)
{
	Opamp__Proto__AgentToServer message = OPAMP__PROTO__AGENT_TO_SERVER__INIT;
	Opamp__Proto__ComponentHealth health = OPAMP__PROTO__COMPONENT_HEALTH__INIT;
	cleanup_free uint8_t *data = NULL;
	size_t refused = 0;
	size_t size = 0;

	(void)state;
	message.sequence_num = 300;
	message.health = &health;
	health.status = (char *)"running";
	health.status_time_unix_nano = 7;
	assert_int_equal(opamp_encode(&message, 0, &data, &size), 0);
	for (size_t n = 0; n < size; n++) {
		cleanup_free uint8_t *copy = malloc(n + 1);
		int r;

		memcpy(copy, data, n);
		r = decode(copy, n);
		assert_true(r == 0 || r == OPAMP_E_MALFORMED);
		refused += r != 0;
	}
	assert_true(refused > size / 2);
}

/* health (5) holding component_health_map (6) entries holding a value (2), *pairs* times. */
static void nest(struct buffer *buffer, size_t pairs)
{
	for (size_t i = 0; i < pairs; i++) {
		struct buffer entry = BUFFER_INIT;
		struct buffer outer = BUFFER_INIT;

		wrap(&entry, 0x12, buffer->data, buffer->size);
		wrap(&outer, 0x32, entry.data, entry.size);
		buffer_done(&entry);
		buffer_done(buffer);
		*buffer = outer;
	}
}

static void nesting_is_bounded_before_anything_is_unpacked(void **state)
{
	(void)state;
	for (size_t pairs = 0; pairs < 40; pairs++) {
		cleanup_buffer struct buffer inner = BUFFER_INIT;
		cleanup_buffer struct buffer message = BUFFER_INIT;

		nest(&inner, pairs);
		wrap(&message, 0x2a, inner.data, inner.size);
		/* The message is the first level, its health the second, each pair two more. */
		assert_int_equal(decode(message.data, message.size),
				 2 + 2 * pairs <= OPAMP_DEPTH_MAX ? 0 : OPAMP_E_TOO_DEEP);
	}
}

static void a_hundred_thousand_levels_do_not_reach_the_stack(void **state)
{
	size_t size = 100000UL * 2;
	cleanup_free uint8_t *data = malloc(size);

	(void)state;
	/* Each level claims all that follows, so lengths are wrong at the end: depth is seen first.
	 */
	for (size_t i = 0; i < size; i += 2) {
		data[i] = 0x32;
		data[i + 1] = 0x7e;
	}
	data[0] = 0x2a;
	assert_int_not_equal(decode(data, size), 0);
	{
		cleanup_buffer struct buffer inner = BUFFER_INIT;
		cleanup_buffer struct buffer message = BUFFER_INIT;

		nest(&inner, 1000);
		wrap(&message, 0x2a, inner.data, inner.size);
		assert_int_equal(decode(message.data, message.size), OPAMP_E_TOO_DEEP);
	}
}

static void a_megabyte_of_empty_messages_is_too_many_fields(void **state)
{
	size_t size = OPAMP_TO_SERVER_MAX - 8;
	cleanup_free uint8_t *data = calloc(1, size);
	cleanup_buffer struct buffer message = BUFFER_INIT;

	(void)state;
	for (size_t i = 0; i < size; i += 2)
		data[i] = 0x0a; /* identifying_attributes, empty */
	wrap(&message, 0x1a, data, size);
	assert_int_equal(decode(message.data, message.size), OPAMP_E_TOO_MANY_FIELDS);
	buffer_done(&message);
	message = BUFFER_INIT;
	wrap(&message, 0x1a, data, 2UL * (OPAMP_FIELDS_MAX - 1));
	assert_int_equal(decode(message.data, message.size), 0);
	wrap(&message, 0x0a, NULL, 0);
	assert_int_equal(decode(message.data, message.size), OPAMP_E_TOO_MANY_FIELDS);
}

static void a_message_above_its_size_is_not_looked_at(void **state)
{
	cleanup_free uint8_t *data = calloc(1, OPAMP_TO_AGENT_MAX + 1);
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__ServerToAgent *message = NULL;

	(void)state;
	assert_int_equal(decode(data, OPAMP_TO_SERVER_MAX + 1), OPAMP_E_TOO_LARGE);
	assert_int_equal(opamp_decode_to_agent(data, OPAMP_TO_AGENT_MAX + 1, &arena, &message),
			 OPAMP_E_TOO_LARGE);
}

static void what_needs_more_than_the_arena_is_too_large(void **state)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	cleanup_buffer struct buffer file = BUFFER_INIT;
	cleanup_buffer struct buffer custom = BUFFER_INIT;
	cleanup_free uint8_t *body = calloc(1, OPAMP_TO_AGENT_MAX - 64);
	Opamp__Proto__ServerToAgent *message = NULL;

	(void)state;
	wrap(&custom, 0x1a, body, OPAMP_TO_AGENT_MAX - 64);
	wrap(&file, 0x5a, custom.data, custom.size);
	assert_int_equal(opamp_decode_to_agent(file.data, file.size, &arena, &message),
			 OPAMP_E_TOO_LARGE);
	assert_null(arena);
}

static void text_is_utf8_without_nul(void **state)
{
	cleanup_buffer struct buffer health = BUFFER_INIT;
	cleanup_buffer struct buffer message = BUFFER_INIT;

	(void)state;
	wrap(&health, 0x1a, "a\0b", 3);
	wrap(&message, 0x2a, health.data, health.size);
	assert_int_equal(decode(message.data, message.size), OPAMP_E_MALFORMED);
	buffer_done(&health);
	buffer_done(&message);
	health = BUFFER_INIT;
	message = BUFFER_INIT;
	wrap(&health, 0x1a, "\xff", 1);
	wrap(&message, 0x2a, health.data, health.size);
	assert_int_equal(decode(message.data, message.size), OPAMP_E_MALFORMED);
}

static void a_submessage_comes_once(void **state)
{
	static const uint8_t twice[] = {0x2a, 0x00, 0x2a, 0x00};
	static const uint8_t wrong_wire[] = {0x28, 0x01};
	static const uint8_t field_zero[] = {0x00, 0x00};
	static const uint8_t group[] = {0xfb, 0x01, 0xfc, 0x01};
	static const uint8_t unknown[] = {0xf8, 0x07, 0x01};

	(void)state;
	assert_int_equal(decode(twice, sizeof(twice)), OPAMP_E_MALFORMED);
	assert_int_equal(decode(twice, 2), 0);
	assert_int_equal(decode(wrong_wire, sizeof(wrong_wire)), OPAMP_E_MALFORMED);
	assert_int_equal(decode(field_zero, sizeof(field_zero)), OPAMP_E_MALFORMED);
	assert_int_equal(decode(group, sizeof(group)), OPAMP_E_MALFORMED);
	assert_int_equal(decode(unknown, sizeof(unknown)), 0);
}

static void the_header_of_a_websocket_message_is_a_zero(void **state)
{
	static const uint8_t long_zero[] = {0x80, 0x00, 0x0a};
	size_t offset = 0;

	(void)state;
	assert_int_equal(opamp_skip_header("\0\n", 2, &offset), 0);
	assert_int_equal(offset, 1);
	assert_int_equal(opamp_skip_header(long_zero, sizeof(long_zero), &offset), 0);
	assert_int_equal(offset, 2);
	assert_int_equal(opamp_skip_header("\n\0", 2, &offset), OPAMP_E_MALFORMED);
	assert_int_equal(opamp_skip_header("", 0, &offset), OPAMP_E_MALFORMED);
}

static void each_error_has_a_sentence(void **state)
{
	(void)state;
	for (int i = OPAMP_E_MALFORMED; i < OPAMP_E_TOO_LARGE; i++)
		assert_string_not_equal(opamp_error_to_string(i), opamp_error_to_string(i + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_comes_back_as_it_was),
		cmocka_unit_test(every_cut_of_a_message_is_an_error_or_a_shorter_message),
		cmocka_unit_test(nesting_is_bounded_before_anything_is_unpacked),
		cmocka_unit_test(a_hundred_thousand_levels_do_not_reach_the_stack),
		cmocka_unit_test(a_megabyte_of_empty_messages_is_too_many_fields),
		cmocka_unit_test(a_message_above_its_size_is_not_looked_at),
		cmocka_unit_test(what_needs_more_than_the_arena_is_too_large),
		cmocka_unit_test(text_is_utf8_without_nul),
		cmocka_unit_test(a_submessage_comes_once),
		cmocka_unit_test(the_header_of_a_websocket_message_is_a_zero),
		cmocka_unit_test(each_error_has_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
