/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

static void a_result_reads_back_as_itself(void **state)
{
	cleanup_result struct result result = RESULT_INIT;
	cleanup_result struct result again = RESULT_INIT;
	cleanup_json json_t *json = NULL;
	cleanup_json json_t *json_again = NULL;

	(void)state;
	assert_int_equal(result_set(&result, RESULT_ROLLED_BACK, "unhealthy", "%s died", "a"), 0);
	result.id = strdup("a");
	result.version = strdup("1.2.3");
	result.time = 1700000000;
	result.log = json_pack("[s, s]", "one", "two");
	json = result_to_json(&result);
	assert_non_null(json);
	assert_int_equal(result_from_json(json, &again), 0);
	assert_int_equal(again.outcome, RESULT_ROLLED_BACK);
	assert_string_equal(again.message, "a died");
	assert_null(again.request_id);
	assert_null(again.data);
	json_again = result_to_json(&again);
	assert_true(json_equal(json, json_again));
}

static void every_member_is_always_there(void **state)
{
	static const char *const keys[] = {"schema",     "outcome", "name", "message",
					   "request_id", "verb",    "id",   "version",
					   "plan",       "time",    "log",  "data"};
	const struct result empty = RESULT_INIT;
	cleanup_json json_t *json = result_to_json(&empty);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_non_null(json_object_get(json, keys[i]));
	assert_int_equal(json_object_size(json), ARRAY_SIZE(keys));
}

static void what_result_to_json_does_not_write_is_not_read(void **state)
{
	const struct result empty = RESULT_INIT;
	cleanup_result struct result out = RESULT_INIT;
	cleanup_json json_t *json = result_to_json(&empty);
	const char *key;
	json_t *value;

	(void)state;
	assert_int_equal(result_from_json(json, &out), 0);
	json_object_foreach(json, key, value)
	{
		cleanup_json json_t *less = json_copy(json);
		cleanup_json json_t *wrong = json_copy(json);

		assert_int_equal(json_object_del(less, key), 0);
		assert_int_equal(result_from_json(less, &out), 1);
		if (strcmp(key, "data") == 0)
			continue;
		assert_int_equal(json_object_set_new(wrong, key, json_true()), 0);
		assert_int_equal(result_from_json(wrong, &out), 1);
	}
	assert_int_equal(json_object_set_new(json, "more", json_null()), 0);
	assert_int_equal(result_from_json(json, &out), 1);
}

static void exit_codes_follow_from_outcome_and_name(void **state)
{
	static const struct {
		enum result_outcome outcome;
		const char *name;
		int code;
	} cases[] = {
		{RESULT_DONE,        "",              0},
		{RESULT_REFUSED,     "bad-signature", 1},
		{RESULT_REFUSED,     "busy",          4},
		{RESULT_REFUSED,     "timeout",       4},
		{RESULT_ROLLED_BACK, "unhealthy",     3},
		{RESULT_FAILED,      "error",         3},
		{RESULT_INTERRUPTED, "interrupted",   3},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_result struct result result = RESULT_INIT;

		assert_int_equal(result_set(&result, cases[i].outcome, cases[i].name, "x"), 0);
		assert_int_equal(result_exit_code(&result), cases[i].code);
	}
}

static void a_sentence_cut_inside_a_character_can_still_be_sent(void **state)
{
	cleanup_result struct result result = RESULT_INIT;
	cleanup_json json_t *json = NULL;
	struct refusal refusal = {.code = REFUSAL_BAD_ENTRY_NAME, .text = "bad '\xc3"};

	(void)state;
	assert_int_equal(result_set_refusal(&result, &refusal), 0);
	assert_int_equal(result.outcome, RESULT_REFUSED);
	assert_string_equal(result.name, "bad-entry-name");
	assert_string_equal(result.message, "bad '\\xc3");
	json = result_to_json(&result);
	assert_non_null(json);
	assert_int_equal(result_set(&result, RESULT_FAILED, "error", "%s", "a\x1b[2J\n\xff"), 0);
	assert_string_equal(result.message, "a\\x1b[2J\\x0a\\xff");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_result_reads_back_as_itself),
		cmocka_unit_test(every_member_is_always_there),
		cmocka_unit_test(what_result_to_json_does_not_write_is_not_read),
		cmocka_unit_test(exit_codes_follow_from_outcome_and_name),
		cmocka_unit_test(a_sentence_cut_inside_a_character_can_still_be_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
