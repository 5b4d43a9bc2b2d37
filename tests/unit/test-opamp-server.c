/* SPDX-License-Identifier: Apache-2.0 */

#include "opamp/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Opamp__Proto__ServerToAgent *sent(const struct opamp_offer *offer,
					 struct opamp_arena **ret_arena)
{
	Opamp__Proto__ServerToAgent *message = NULL;
	cleanup_free uint8_t *data = NULL;
	size_t size = 0;

	assert_int_equal(opamp_offer_compose(offer, 0, &data, &size), 0);
	assert_int_equal(opamp_decode_to_agent(data, size, ret_arena, &message), 0);
	return message;
}

static void packages_and_configurations_arrive_whole(void **state)
{
	static const struct opamp_header headers[] = {
		{"X-A", "1"},
                {"X-B", "2"}
        };
	static const struct opamp_package packages[] = {
		{.name = "one",
		 .version = "1.0.0",
		 .url = "/v1/artifacts/1",
		 .content_hash = {"hash", 4},
		 .signature = {"sig", 3},
		 .hash = {"package", 7},
		 .headers = headers,
		 .n_headers = 2},
		{.name = "two", .version = "2.0.0"},
	};
	static const struct opamp_config configs[] = {
		{.name = "one", .content_type = "application/json", .body = {"{}", 2}},
		{.name = "affix",             .body = {"{\"schema\":1}", 12}                                },
	};
	struct opamp_offer offer = {
		.uid = {"0123456789abcdef", 16},
		.capabilities = 0x2b,
		.has_packages = true,
		.packages = packages,
		.n_packages = 2,
		.all_packages_hash = {"all",              3 },
		.has_config = true,
		.configs = configs,
		.n_configs = 2,
		.config_hash = {"cfg",              3 }
        };
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__ServerToAgent *message = sent(&offer, &arena);
	Opamp__Proto__PackageAvailable *one = message->packages_available->packages[0]->value;

	(void)state;
	assert_int_equal(message->packages_available->n_packages, 2);
	assert_string_equal(message->packages_available->packages[0]->key, "one");
	assert_int_equal(one->type, OPAMP__PROTO__PACKAGE_TYPE__PackageType_Addon);
	assert_string_equal(one->version, "1.0.0");
	assert_string_equal(one->file->download_url, "/v1/artifacts/1");
	assert_memory_equal(one->file->signature.data, "sig", 3);
	assert_int_equal(one->file->headers->n_headers, 2);
	assert_string_equal(one->file->headers->headers[1]->value, "2");
	assert_null(message->packages_available->packages[1]->value->file->headers);
	assert_int_equal(message->remote_config->config->n_config_map, 2);
	assert_string_equal(message->remote_config->config->config_map[1]->key, "affix");
	assert_memory_equal(message->remote_config->config->config_map[0]->value->body.data, "{}",
			    2);
	assert_null(message->connection_settings);
	assert_null(message->error_response);
}

static void no_packages_and_an_absent_field_are_two_things(void **state)
{
	struct opamp_offer offer = OPAMP_OFFER_INIT;
	cleanup_opamp_arena struct opamp_arena *absent = NULL;
	cleanup_opamp_arena struct opamp_arena *empty = NULL;

	(void)state;
	assert_null(sent(&offer, &absent)->packages_available);
	offer.has_packages = true;
	assert_non_null(sent(&offer, &empty)->packages_available);
}

static void a_credential_travels_as_a_header(void **state)
{
	struct opamp_settings settings = {
		.hash = {"h", 1},
                  .authorization = "Bearer x", .heartbeat_seconds = 30
        };
	struct opamp_offer offer = {.settings = &settings};
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__OpAMPConnectionSettings *opamp =
		sent(&offer, &arena)->connection_settings->opamp;

	(void)state;
	assert_string_equal(opamp->headers->headers[0]->key, "Authorization");
	assert_string_equal(opamp->headers->headers[0]->value, "Bearer x");
	assert_int_equal(opamp->heartbeat_interval_seconds, 30);
}

static void a_failure_has_nothing_beside_it(void **state)
{
	struct opamp_failure failure = {
		.type = OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_Unavailable,
		.message = "busy",
		.retry_after_seconds = 3};
	struct opamp_offer offer = {.failure = &failure, .has_packages = true, .capabilities = 1};
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__ServerToAgent *message = sent(&offer, &arena);

	(void)state;
	assert_string_equal(message->error_response->error_message, "busy");
	assert_int_equal(message->error_response->retry_info->retry_after_nanoseconds,
			 3000000000ULL);
	assert_null(message->packages_available);
	assert_int_equal(message->capabilities, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packages_and_configurations_arrive_whole),
		cmocka_unit_test(no_packages_and_an_absent_field_are_two_things),
		cmocka_unit_test(a_credential_travels_as_a_header),
		cmocka_unit_test(a_failure_has_nothing_beside_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
