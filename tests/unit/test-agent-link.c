/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/link.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/download.h"
#include "agent/download_origin.h"
#include "agent/websocket_answer.h"
#include "base/clock.h"

static void pauses_double_up_to_the_bound_and_half_of_each_is_chance(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 40; n++) {
		uint64_t whole = MIN(n < 20 ? 1ULL << n : 300ULL, 300ULL) * CLOCK_USEC_PER_SEC;

		assert_int_equal(link_pause(n, 300, 0, 0), whole / 2);
		assert_int_equal(link_pause(n, 300, 0, UINT32_MAX), whole);
	}
}

static void what_the_server_asks_for_is_the_least_and_is_spread(void **state)
{
	(void)state;
	assert_int_equal(link_pause(0, 300, 60, 0), 60 * CLOCK_USEC_PER_SEC);
	assert_true(link_pause(0, 300, 60, UINT32_MAX) > 110 * CLOCK_USEC_PER_SEC);
	assert_true(link_pause(0, 300, 60, UINT32_MAX) <= 120 * CLOCK_USEC_PER_SEC);
	/* A longer pause of our own stays. */
	assert_int_equal(link_pause(20, 300, 1, UINT32_MAX), 300 * CLOCK_USEC_PER_SEC);
}

static void a_websocket_key_is_answered_as_the_rfc_says(void **state)
{
	char accept[WEBSOCKET_ACCEPT_SIZE];

	(void)state;
	assert_int_equal(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", accept), 0);
	assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void an_answer_is_read_as_far_as_it_matters(void **state)
{
	struct websocket_answer answer;

	(void)state;
	assert_int_equal(websocket_parse_answer("HTTP/1.1 101 Switching Protocols\r\n"
						"upgrade: websocket\r\n"
						"SEC-WEBSOCKET-ACCEPT:  abc= \r\n\r\n",
						&answer),
			 0);
	assert_int_equal(answer.status, 101);
	assert_string_equal(answer.accept, "abc=");
	assert_int_equal(
		websocket_parse_answer("HTTP/1.1 503 Busy\r\nRetry-After: 17\r\n\r\n", &answer), 0);
	assert_int_equal(answer.status, 503);
	assert_int_equal(answer.retry_after, 17);
	assert_int_equal(
		websocket_parse_answer("HTTP/1.1 503 Busy\r\nRetry-After: 99999999999999999999\r\n",
				       &answer),
		0);
	assert_int_equal(answer.retry_after, 86400);
	assert_int_equal(websocket_parse_answer("HTTP/1.1 503 Busy\r\nRetry-After: Wed, 21 Oct\r\n",
						&answer),
			 0);
	assert_int_equal(answer.retry_after, 0);
}

static void what_is_no_answer_is_refused(void **state)
{
	static const char *const bad[] = {"",          "HTTP/1.0 101 a", "HTTP/2 101",
					  "HTTP/1.1 ", "HTTP/1.1 1x1",   "HTTP/1.1 1011 a",
					  "SSH-2.0-x"};
	char longer[600] = "HTTP/1.1 101 a\r\nSec-WebSocket-Accept: ";
	struct websocket_answer answer;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(websocket_parse_answer(bad[i], &answer), 1);
	memset(longer + strlen(longer), 'a', 500);
	assert_int_equal(websocket_parse_answer(longer, &answer), 0);
	assert_string_equal(answer.accept, "");
}

static void bundles_come_from_the_server_and_from_what_the_administrator_names(void **state)
{
	static const struct {
		const char *url;
		bool is_allowed;
	} cases[] = {
		{"https://fleet:4320/a",             true },
		{"https://FLEET:4320/v1?x",          true },
		{"https://cdn/a",                    true },
		{"https://cdn:443/a",                true },
		{"http://fleet:4320/a",              false},
		{"https://fleet/a",                  true },
		{"https://fleet:9/a",                true },
		{"https://fleet:4320@169.254.1.1/a", false},
		{"https://fleet.evil:4320/a",        false},
		{"https://user@fleet:4320/a",        false},
		{"https://cdn:8443/a",               false},
		{"http://169.254.169.254/a",         false},
		{"file:///etc/passwd",               false},
		{"https://",                         false},
	};

	char *origin = (char *)"https://cdn";
	struct config config = {
		.url = (char *)"https://fleet:4320/v1/opamp",
		.download_origins = {.items = &origin, .count = 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool is_allowed = !cases[i].is_allowed;

		assert_int_equal(download_is_allowed(&config, cases[i].url, &is_allowed), 0);
		if (is_allowed != cases[i].is_allowed)
			fail_msg("%s", cases[i].url);
	}
}

static void another_zone_is_another_origin(void **state)
{
	static const char *const own = "http://[fe80::1%25v0]:1/a";
	static const char *const others[] = {"http://[fe80::1%25v1]:1/a",
					     "http://[fe80::1%25V0]:1/a", "http://[fe80::1]:1/a"};
	const struct config config = {.url = (char *)own};
	bool is_allowed = false;
	bool is_same = false;

	(void)state;
	assert_int_equal(download_is_allowed(&config, own, &is_allowed), 0);
	assert_int_equal(download_is_same_origin(own, own, &is_same), 0);
	assert_true(is_allowed && is_same);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_int_equal(download_is_allowed(&config, others[i], &is_allowed), 0);
		assert_int_equal(download_is_same_origin(own, others[i], &is_same), 0);
		assert_false(is_allowed || is_same);
	}
}

static void a_refusal_names_what_mends_it(void **state)
{
	const struct config config = {.url = (char *)"https://fleet:4320/v1/opamp"};
	char text[DOWNLOAD_ORIGIN_TEXT_MAX];
	static const char *const schemes[] = {"http", "https"};
	static const char *const ends[] = {"to the https address", "what hosts reach it by"};
	char longest[1100];

	(void)state;
	download_refuse_origin(&config, "http://FLEET:80/a?secret", text);
	assert_non_null(strstr(text, "'http://FLEET:80/a', in plain text"));
	assert_non_null(strstr(text, "public_url in affixd.yaml"));
	download_refuse_origin(&config, "https://127.0.0.1:4320/a", text);
	assert_non_null(strstr(text, "downloads.origins"));
	assert_non_null(strstr(text, "public_url in affixd.yaml"));
	download_refuse_origin(&config, "https://fleet:99999/a", text);
	assert_non_null(strstr(text, "'https://fleet:99999/a', which is no address"));
	assert_null(strstr(text, "origins"));
	for (unsigned i = 0; i < ARRAY_SIZE(schemes); i++) {
		(void)snprintf(longest, sizeof(longest), "%s://fleet/%01000d", schemes[i], 0);
		download_refuse_origin(&config, longest, text);
		assert_true(str_ends_with(text, ends[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pauses_double_up_to_the_bound_and_half_of_each_is_chance),
		cmocka_unit_test(what_the_server_asks_for_is_the_least_and_is_spread),
		cmocka_unit_test(a_websocket_key_is_answered_as_the_rfc_says),
		cmocka_unit_test(an_answer_is_read_as_far_as_it_matters),
		cmocka_unit_test(what_is_no_answer_is_refused),
		cmocka_unit_test(
			bundles_come_from_the_server_and_from_what_the_administrator_names),
		cmocka_unit_test(another_zone_is_another_origin),
		cmocka_unit_test(a_refusal_names_what_mends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
