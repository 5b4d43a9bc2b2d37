/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *text, struct guest_request *ret, struct refusal *refusal)
{
	return guest_request_parse(text, strlen(text), ret, refusal);
}

static void refused(const char *text, enum refusal_code code, const char *id)
{
	struct guest_request request = GUEST_REQUEST_INIT;
	struct refusal refusal = REFUSAL_INIT;

	assert_int_equal(parse(text, &request, &refusal), code);
	assert_int_equal(refusal.code, code);
	assert_string_equal(request.request_id, id);
	assert_true(strlen(refusal.text) > 0);
}

static void every_verb_reads_back_as_it_was_written(void **state)
{
	(void)state;
	for (int i = 0; i < GUEST_VERB_N; i++) {
		const struct guest_request written = {.verb = (enum guest_verb)i,
						      .request_id = "Aa0._-"};
		struct guest_request read = GUEST_REQUEST_INIT;
		struct refusal refusal = REFUSAL_INIT;
		cleanup_free char *text = NULL;

		assert_int_equal(guest_request_format(&written, &text), 0);
		/* One line, whatever is in it. */
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
		assert_true(strlen(text) <= GUEST_REQUEST_MAX);
		assert_int_equal(parse(text, &read, &refusal), 0);
		assert_int_equal(read.verb, written.verb);
		assert_string_equal(read.request_id, written.request_id);
	}
}

static void a_request_needs_no_id(void **state)
{
	struct guest_request request = {.request_id = "old"};
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	assert_int_equal(parse("{\"schema\":1,\"verb\":\"health\"}", &request, &refusal), 0);
	assert_int_equal(request.verb, GUEST_HEALTH);
	assert_string_equal(request.request_id, "");
}

static void what_is_no_request_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"ping",
		"[]",
		"{}",
		"{\"schema\":1}",
		"{\"verb\":\"ping\"}",
		"{\"schema\":2,\"verb\":\"ping\"}",
		"{\"schema\":\"1\",\"verb\":\"ping\"}",
		"{\"schema\":1,\"verb\":1}",
		"{\"schema\":1,\"verb\":\"ping\",\"verb\":\"shutdown\"}",
		"{\"schema\":1,\"verb\":\"ping\",\"command\":\"true\"}",
		"{\"schema\":1,\"verb\":\"ping\"} {}",
		"{\"schema\":1,\"verb\":\"ping\",\"request_id\":\"\"}",
		"{\"schema\":1,\"verb\":\"ping\",\"request_id\":\"a b\"}",
		"{\"schema\":1,\"verb\":\"ping\",\"request_id\":null}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		refused(texts[i], REFUSAL_BAD_REQUEST, "");
}

static void an_id_of_more_than_64_bytes_is_refused(void **state)
{
	char text[256];

	(void)state;
	(void)snprintf(text, sizeof(text),
		       "{\"schema\":1,\"verb\":\"ping\",\"request_id\":\"%065d\"}", 0);
	refused(text, REFUSAL_BAD_REQUEST, "");
}

static void a_refusal_has_the_id_of_what_is_refused(void **state)
{
	(void)state;
	refused("{\"schema\":1,\"verb\":\"exec\",\"request_id\":\"x\"}", REFUSAL_UNKNOWN_VERB, "x");
	refused("{\"schema\":1,\"verb\":\"Ping\",\"request_id\":\"x\"}", REFUSAL_UNKNOWN_VERB, "x");
	refused("{\"schema\":9,\"verb\":\"ping\",\"request_id\":\"x\"}", REFUSAL_BAD_REQUEST, "x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verb_reads_back_as_it_was_written),
		cmocka_unit_test(a_request_needs_no_id),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(an_id_of_more_than_64_bytes_is_refused),
		cmocka_unit_test(a_refusal_has_the_id_of_what_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
