/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/offer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "opamp/server.h"

static const uint8_t digest[32] = {1, 2, 3};

static struct opamp_package make(const char *name)
{
	return (struct opamp_package){
		.name = name,
		.version = "1.0.0",
		.url = "https://fleet.example/a",
		.content_hash = {digest,   sizeof(digest)},
		.signature = {"signed", 6             },
		.hash = {"h",      1             }
        };
}

/* Offers go through the wire. */
static int offer_it(struct offer *offer, const struct opamp_offer *what)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__ServerToAgent *message = NULL;
	cleanup_free uint8_t *data = NULL;
	size_t size = 0;
	int r = 0;

	assert_int_equal(opamp_offer_compose(what, 0, &data, &size), 0);
	assert_int_equal(opamp_decode_to_agent(data, size, &arena, &message), 0);
	if (message->packages_available)
		r = offer_set_packages(offer, message->packages_available);
	if (r == 0 && message->remote_config)
		r = offer_set_config(offer, message->remote_config);
	return r;
}

static const char *text(const struct offer *offer, const char *id, const char *key)
{
	return json_string_value(json_object_get(
		json_object_get(json_object_get(offer->packages, "items"), id), key));
}

static void a_good_package_is_kept_whole(void **state)
{
	static const struct opamp_header headers[] = {
		{"X-Ticket", "7"}
        };
	cleanup_offer struct offer offer = OFFER_INIT;
	struct opamp_package package = make("probe");
	struct opamp_offer what = {
		.has_packages = true,
		.packages = &package,
		.n_packages = 1,
		.all_packages_hash = {"\xab\xcd", 2}
        };

	(void)state;
	package.headers = headers;
	package.n_headers = 1;
	assert_int_equal(offer_it(&offer, &what), 0);
	assert_string_equal(offer_packages_hash(&offer), "abcd");
	assert_null(offer_packages_problem(&offer));
	assert_string_equal(text(&offer, "probe", "version"), "1.0.0");
	assert_string_equal(text(&offer, "probe", "signature"), "signed");
	assert_memory_equal(text(&offer, "probe", "content_hash"), "01020300", 8);
	assert_null(text(&offer, "probe", "problem"));
}

/* Each change makes the package one that cannot be used, and none lets it vanish. */
static void a_bad_package_stays_with_its_problem(void **state)
{
	static const struct opamp_header injected[] = {
		{"X-A", "b\r\nHost: evil"}
        };
	struct opamp_package bad[9];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = make("probe");
	bad[0].version = "latest";
	bad[1].version = NULL;
	bad[2].url = "file:///etc/shadow";
	bad[3].url = "//evil.example/a";
	bad[4].url = "https://a/ b";
	bad[5].content_hash = (struct opamp_bytes){digest, 20};
	bad[6].signature = (struct opamp_bytes){NULL, 0};
	bad[7].hash = (struct opamp_bytes){NULL, 0};
	bad[8].headers = injected;
	bad[8].n_headers = 1;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_offer struct offer offer = OFFER_INIT;
		struct opamp_offer what = {
			.has_packages = true, .packages = &bad[i], .n_packages = 1};

		assert_int_equal(offer_it(&offer, &what), 0);
		assert_non_null(text(&offer, "probe", "problem"));
		assert_null(text(&offer, "probe", "url"));
	}
}

static void names_that_are_no_ids_are_told_and_left_out(void **state)
{
	static const char *const names[] = {"../x", "Probe", "agent", "a--b", ""};
	struct opamp_package packages[ARRAY_SIZE(names)];
	struct opamp_offer what = {
		.has_packages = true, .packages = packages, .n_packages = ARRAY_SIZE(names)};
	cleanup_offer struct offer offer = OFFER_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		packages[i] = make(names[i]);
	assert_int_equal(offer_it(&offer, &what), 0);
	assert_non_null(offer_packages_problem(&offer));
	assert_int_equal(json_object_size(json_object_get(offer.packages, "items")), 0);
}

static void too_many_addons_leave_the_offer_as_it_was(void **state)
{
	static char names[OFFER_ADDONS_MAX + 1][8];
	static struct opamp_package packages[OFFER_ADDONS_MAX + 1];
	struct opamp_offer what = {.has_packages = true, .packages = packages, .n_packages = 1};
	cleanup_offer struct offer offer = OFFER_INIT;

	(void)state;
	for (size_t i = 0; i <= OFFER_ADDONS_MAX; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "a%zu", i);
		packages[i] = make(names[i]);
	}
	assert_int_equal(offer_it(&offer, &what), 0);
	what.n_packages = OFFER_ADDONS_MAX + 1;
	assert_int_equal(offer_it(&offer, &what), 1);
	assert_int_equal(json_object_size(json_object_get(offer.packages, "items")), 1);
	what.n_packages = OFFER_ADDONS_MAX;
	assert_int_equal(offer_it(&offer, &what), 0);
}

static void configurations_are_objects_and_a_broken_one_keeps_the_former(void **state)
{
	struct opamp_config first[] = {
		{.name = "probe", .body = {"{\"a\":1}", 7}},
		{.name = "other", .body = {"{\"b\":1}", 7}}
        };
	struct opamp_config second[] = {
		{.name = "probe", .body = {"{\"a\":", 5}}
        };
	struct opamp_offer what = {.has_config = true, .configs = first, .n_configs = 2};
	cleanup_offer struct offer offer = OFFER_INIT;
	const json_t *configs;

	(void)state;
	assert_int_equal(offer_it(&offer, &what), 0);
	assert_null(offer_config_problem(&offer));
	assert_false(offer_is_affix(&offer));
	what.configs = second;
	what.n_configs = 1;
	assert_int_equal(offer_it(&offer, &what), 0);
	assert_non_null(strstr(offer_config_problem(&offer), "'probe'"));
	configs = json_object_get(offer.config, "configs");
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(configs, "probe"), "a")), 1);
	assert_null(json_object_get(configs, "other"));
}

static void affixs_own_entry_is_about_all(void **state)
{
	static const char body[] =
		"{\"schema\":1,\"addons\":{\"probe\":{\"enabled\":false}},\"confirm_removal\":[\"x\",7]}";
	struct opamp_config configs[] = {
		{.name = "affix", .body = {body, sizeof(body) - 1}}
        };
	struct opamp_offer what = {.has_config = true, .configs = configs, .n_configs = 1};
	cleanup_offer struct offer offer = OFFER_INIT;

	(void)state;
	assert_int_equal(offer_it(&offer, &what), 0);
	assert_true(offer_is_affix(&offer));
	assert_true(offer_confirms_removal(&offer, "x"));
	assert_false(offer_confirms_removal(&offer, "y"));
	assert_int_equal(json_object_size(json_object_get(offer.config, "configs")), 0);
}

static void what_is_kept_comes_back(void **state)
{
	cleanup_offer struct offer offer = OFFER_INIT;
	cleanup_offer struct offer back = OFFER_INIT;
	struct opamp_package package = make("probe");
	struct opamp_offer what = {
		.has_packages = true, .packages = &package, .n_packages = 1, .has_config = true};
	cleanup_json json_t *json = NULL;
	cleanup_json json_t *wrong = json_pack("{s:i,s:[]}", "schema", 1, "packages");

	(void)state;
	assert_int_equal(offer_it(&offer, &what), 0);
	json = offer_to_json(&offer);
	assert_int_equal(offer_from_json(json, &back), 0);
	assert_true(json_equal(offer.packages, back.packages));
	assert_true(json_equal(offer.config, back.config));
	offer_done(&back);
	assert_int_equal(offer_from_json(wrong, &back), 0);
	(void)json_object_set_new(json, "schema", json_integer(2));
	assert_int_equal(offer_from_json(json, &back), 1);
	(void)json_object_set_new(json, "schema", json_integer(1));
	(void)json_object_set_new(json, "packages", json_pack("{s:[]}", "items"));
	assert_int_equal(offer_from_json(json, &back), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_package_is_kept_whole),
		cmocka_unit_test(a_bad_package_stays_with_its_problem),
		cmocka_unit_test(names_that_are_no_ids_are_told_and_left_out),
		cmocka_unit_test(too_many_addons_leave_the_offer_as_it_was),
		cmocka_unit_test(configurations_are_objects_and_a_broken_one_keeps_the_former),
		cmocka_unit_test(affixs_own_entry_is_about_all),
		cmocka_unit_test(what_is_kept_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
