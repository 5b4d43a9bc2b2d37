/* SPDX-License-Identifier: Apache-2.0 */

#include "store/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/path.h"
#include "sample_plan.h"

#define DAY 86400U
#define NOW 2000000000U

static struct digest digest_number(unsigned number)
{
	struct digest digest;

	digest_of(&number, sizeof(number), &digest);
	return digest;
}

static struct record *new_record(void)
{
	struct record *record = NULL;

	assert_int_equal(record_new("foo", &record), 0);
	return record;
}

static void add(struct record *record, unsigned number, const char *version, uint64_t when)
{
	struct digest digest = digest_number(number);

	assert_int_equal(record_add_quarantine(record, &digest, version, "did not start", when), 0);
}

static int check(const struct record *record, unsigned number, const char *version, uint64_t now)
{
	struct digest digest = digest_number(number);

	return record_check_quarantine(record, &digest, version, now, NULL);
}

static void assert_refused(const char *pointer, const char *value, const char *expected)
{
	cleanup_json json_t *json = sample_record_json();
	struct json_problem problem = {0};
	struct record *record = NULL;
	int r;

	sample_set(json, pointer, value);
	r = record_from_json(json, &record, &problem);
	if (r != 1 || record || !strstr(problem.text, expected))
		fail_msg("%s = %s: %d, '%s', expected '%s'", pointer, value ? value : "(nothing)",
			 r, problem.text, expected);
}

static void record_that_was_read_writes_the_same_json(void **state)
{
	cleanup_json json_t *json = sample_record_json();
	cleanup_record struct record *record = NULL;
	cleanup_json json_t *again = NULL;

	(void)state;
	assert_int_equal(record_from_json(json, &record, NULL), 0);
	again = record_to_json(record);
	assert_true(json_equal(json, again));
}

static void members_reach_their_fields(void **state)
{
	cleanup_json json_t *json = sample_record_json();
	cleanup_record struct record *record = NULL;

	(void)state;
	assert_int_equal(record_from_json(json, &record, NULL), 0);
	assert_string_equal(record->id, "node-exporter");
	assert_string_equal(record->bound_key, "0123456789ABCDEF");
	assert_true(record->floor.is_set);
	assert_int_equal(record->floor.identity.epoch, 3);
	assert_string_equal(record->floor.identity.version, "1.4.0");
	assert_string_equal(record->floor.identity.id, "node-exporter");
	assert_false(record->is_local);
	assert_true(record->is_held);
	assert_false(record->is_stopped);
	assert_false(record->is_purging);
	assert_string_equal(record->hold_reason, "until monday");
	assert_int_equal(record->n_older, 2);
	assert_int_equal(record->n_quarantine, 1);
	assert_string_equal(record->quarantine[0].reason, "did not start");
	assert_int_equal(record->transaction->operation, RECORD_INSTALL);
	assert_int_equal(record->transaction->phase, RECORD_WATCHING);
	assert_string_equal(record->transaction->to->identity.id, "node-exporter");
	assert_true(record->transaction->is_local);
	assert_string_equal(record->transaction->created.items[0], "/opt/affix/node-exporter");
	assert_null(record->transaction->evidence);
}

static void empty_record_reads_back(void **state)
{
	cleanup_record struct record *record = new_record();
	cleanup_json json_t *json = record_to_json(record);
	cleanup_record struct record *again = NULL;

	(void)state;
	assert_int_equal(record_from_json(json, &again, NULL), 0);
	assert_string_equal(again->id, "foo");
	assert_null(again->current);
	assert_null(again->transaction);
	assert_false(again->floor.is_set);
	assert_string_equal(again->bound_key, "");
	assert_int_equal(json_array_size(again->results), 0);
}

static void configurations_of_versions_before_are_texts_by_bundle(void **state)
{
	cleanup_json json_t *json = sample_record_json();
	cleanup_record struct record *record = NULL;
	cleanup_json json_t *again = NULL;
	char configs[DIGEST_TEXT_SIZE + 32];
	char text[DIGEST_TEXT_SIZE];
	struct digest digest = digest_number(1);

	(void)state;
	digest_to_string(&digest, text);
	(void)snprintf(configs, sizeof(configs), "{\"%s\": \"{}\"}", text);
	sample_set(json, "configs", configs);
	assert_int_equal(record_from_json(json, &record, NULL), 0);
	assert_int_equal(json_object_size(record->configs), 1);
	again = record_to_json(record);
	assert_true(json_equal(json, again));
	assert_refused("configs", "[]", "configs");
	assert_refused("configs", "{\"1.0.0\": \"{}\"}", "configs");
	(void)snprintf(configs, sizeof(configs), "{\"%s\": {}}", text);
	assert_refused("configs", configs, "configs");
}

static void every_operation_and_phase_reads_back(void **state)
{
	static const char *const operations[] = {"install", "rollback", "configure", "repair"};
	static const char *const phases[] = {"staging", "switching", "watching", "reverting",
					     "restored"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(operations) * ARRAY_SIZE(phases); i++) {
		cleanup_json json_t *json = sample_record_json();
		cleanup_record struct record *record = NULL;
		cleanup_json json_t *again = NULL;
		json_t *transaction = json_object_get(json, "transaction");

		json_object_set_new(transaction, "operation",
				    json_string(operations[i % ARRAY_SIZE(operations)]));
		json_object_set_new(transaction, "phase",
				    json_string(phases[i / ARRAY_SIZE(operations)]));
		assert_int_equal(record_from_json(json, &record, NULL), 0);
		again = record_to_json(record);
		assert_true(json_equal(json, again));
	}
}

static void uninstall_has_no_plan_to_go_to_and_others_have_one(void **state)
{
	cleanup_json json_t *json = sample_record_json();
	cleanup_record struct record *record = NULL;

	(void)state;
	assert_refused("transaction/operation", "\"uninstall\"", "does not fit");
	assert_refused("transaction/to", "null", "does not fit");
	sample_set(json, "transaction/operation", "\"uninstall\"");
	sample_set(json, "transaction/to", "null");
	sample_set(json, "transaction/purge", "true");
	assert_int_equal(record_from_json(json, &record, NULL), 0);
	assert_true(record->transaction->purge);
}

static void every_member_is_demanded(void **state)
{
	static const char *const members[] = {"schema",
					      "id",
					      "origin",
					      "key",
					      "newest_created",
					      "floor",
					      "held",
					      "stopped",
					      "purging",
					      "hold_reason",
					      "transaction",
					      "current",
					      "previous",
					      "older",
					      "config",
					      "created",
					      "quarantine",
					      "results",
					      "floor/epoch",
					      "floor/version",
					      "floor/created",
					      "transaction/operation",
					      "transaction/phase",
					      "transaction/to",
					      "transaction/created",
					      "transaction/request_id",
					      "transaction/boot_id",
					      "transaction/origin",
					      "transaction/purge",
					      "transaction/config",
					      "transaction/evidence",
					      "quarantine/0/plan",
					      "quarantine/0/version",
					      "quarantine/0/since",
					      "quarantine/0/reason",
					      "current/user",
					      "older/1/user"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		assert_refused(members[i], NULL, path_last_name(members[i]));
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		assert_refused(members[i], "[7,[]]", "");
}

static void what_is_not_written_is_refused(void **state)
{
	static const char *const cases[][3] = {
		{"schema",                "2",                              "written by a newer affix"                 },
		{"more",                  "1",			      "unknown key 'more'"                       },
		{"floor/more",            "1",                              "floor: unknown key 'more'"                },
		{"transaction/more",      "1",                              "unknown key 'more'"                       },
		{"quarantine/0/more",     "1",                              "quarantine 1: unknown key 'more'"         },
		{"id",                    "\"Other\"",                      "bad id 'Other'"                           },
		{"id",                    "\"other\"",                      "a plan of 'node-exporter'"                },
		{"id",                    "\"abcdefghijklmnopqrstuvwxyz\"", "longer than 25"                           },
		{"origin",                "\"moon\"",                       "unknown origin 'moon'"                    },
		{"key",                   "\"x\"",                          "bad key id 'x'"                           },
		{"floor/version",         "\"1\"",                          "floor: bad version '1'"                   },
		{"quarantine/0/plan",     "\"12\"",                         "BLAKE2b-512"                              },
		{"quarantine/0/version",  "\"v1\"",                         "quarantine 1: bad version"                },
		{"created/0",             "\"/etc/ssh\"",                   "foreign directory '/etc/ssh'"             },
		{"transaction/created/0", "\"/etc/ssh\"",                   "foreign directory '/etc/ssh'"             },
		{"transaction/operation", "\"format\"",                     "unknown 'operation'"                      },
		{"transaction/phase",     "\"full-moon\"",                  "unknown 'phase'"                          },
		{"current/addon/id",      "\"other\"",                      "current:"                                 },
		{"older/1/addon/version", "\"x\"",                          "older 2: bad version"                     },
		{"results/0",             "1",                              "'results' holds something"                },
		{"newest_created",        "-1",                             "'newest_created' is not a number in range"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(cases[i][0], cases[i][1], cases[i][2]);
}

static void lists_are_bounded(void **state)
{
	static const char *const lists[] = {"older", "quarantine", "results"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		cleanup_json json_t *json = sample_record_json();
		json_t *list = json_object_get(json, lists[i]);
		struct json_problem problem = {0};
		struct record *record = NULL;

		while (json_array_size(list) <= RECORD_QUARANTINE_MAX)
			assert_int_equal(json_array_append(list, json_array_get(list, 0)), 0);
		assert_int_equal(record_from_json(json, &record, &problem), 1);
		assert_non_null(strstr(problem.text, "items, more than"));
	}
}

static void new_record_takes_no_overlong_id(void **state)
{
	struct record *record = NULL;

	(void)state;
	assert_int_equal(record_new("abcdefghijklmnopqrstuvwxyz", &record), -EINVAL);
	assert_null(record);
}

static void quarantined_plan_is_refused_with_its_reason(void **state)
{
	cleanup_record struct record *record = new_record();
	struct digest digest = digest_number(1);
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	add(record, 1, "1.0.0", NOW);
	assert_int_equal(record_check_quarantine(record, &digest, "1.0.0", NOW, &refusal),
			 REFUSAL_QUARANTINED);
	assert_non_null(strstr(refusal.text, "'foo' 1.0.0"));
	assert_non_null(strstr(refusal.text, "did not start"));
	assert_non_null(strstr(refusal.text, "affix clear-quarantine foo"));
	/* For good, not for a day. */
	assert_int_equal(check(record, 1, "1.0.0", NOW + 1000U * DAY), REFUSAL_QUARANTINED);
	assert_int_equal(check(record, 2, "1.0.0", NOW), 0);
}

static void third_plan_of_a_version_in_a_day_bars_the_version(void **state)
{
	cleanup_record struct record *record = new_record();

	(void)state;
	add(record, 1, "1.0.0", NOW);
	add(record, 2, "1.0.0", NOW + 10);
	add(record, 3, "2.0.0", NOW + 10);
	assert_int_equal(check(record, 9, "1.0.0", NOW + 20), 0);
	add(record, 4, "1.0.0", NOW + 20);
	assert_int_equal(check(record, 9, "1.0.0", NOW + 20), REFUSAL_VERSION_BARRED);
	assert_int_equal(check(record, 9, "2.0.0", NOW + 20), 0);
	/* The day is over for the first of them. */
	assert_int_equal(check(record, 9, "1.0.0", NOW + DAY - 1), REFUSAL_VERSION_BARRED);
	assert_int_equal(check(record, 9, "1.0.0", NOW + DAY), 0);
}

static void same_plan_three_times_bars_no_version(void **state)
{
	cleanup_record struct record *record = new_record();

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		add(record, 1, "1.0.0", NOW + i);
	assert_int_equal(record->n_quarantine, 1);
	assert_int_equal(record->quarantine[0].since, NOW + 2);
	assert_int_equal(check(record, 9, "1.0.0", NOW), 0);
}

static void clock_that_was_set_back_lifts_no_bar(void **state)
{
	cleanup_record struct record *record = new_record();

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		add(record, i, "1.0.0", NOW);
	assert_int_equal(check(record, 9, "1.0.0", 0), REFUSAL_VERSION_BARRED);
}

static void full_quarantine_drops_its_oldest(void **state)
{
	cleanup_record struct record *record = new_record();

	(void)state;
	for (unsigned i = 0; i <= RECORD_QUARANTINE_MAX; i++)
		add(record, i, "1.0.0", NOW + i);
	assert_int_equal(record->n_quarantine, RECORD_QUARANTINE_MAX);
	assert_int_equal(check(record, 0, "2.0.0", NOW), 0);
	assert_int_equal(check(record, 1, "2.0.0", NOW), REFUSAL_QUARANTINED);
	assert_int_equal(check(record, RECORD_QUARANTINE_MAX, "2.0.0", NOW), REFUSAL_QUARANTINED);
}

static void reason_is_escaped_and_bounded(void **state)
{
	cleanup_record struct record *record = new_record();
	struct digest digest = digest_number(1);
	char reason[2000];

	(void)state;
	memset(reason, 'x', sizeof(reason) - 1);
	reason[sizeof(reason) - 1] = '\0';
	reason[0] = '\n';
	assert_int_equal(record_add_quarantine(record, &digest, "1.0.0", reason, NOW), 0);
	assert_memory_equal(record->quarantine[0].reason, "\\x0ax", 5);
	assert_true(strlen(record->quarantine[0].reason) < 600);
}

static void names_of_operations_and_phases_are_stable(void **state)
{
	(void)state;
	assert_string_equal(record_operation_to_string(RECORD_UNINSTALL), "uninstall");
	assert_string_equal(record_phase_to_string(RECORD_SWITCHING), "switching");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_that_was_read_writes_the_same_json),
		cmocka_unit_test(members_reach_their_fields),
		cmocka_unit_test(empty_record_reads_back),
		cmocka_unit_test(configurations_of_versions_before_are_texts_by_bundle),
		cmocka_unit_test(every_operation_and_phase_reads_back),
		cmocka_unit_test(uninstall_has_no_plan_to_go_to_and_others_have_one),
		cmocka_unit_test(every_member_is_demanded),
		cmocka_unit_test(what_is_not_written_is_refused),
		cmocka_unit_test(lists_are_bounded),
		cmocka_unit_test(new_record_takes_no_overlong_id),
		cmocka_unit_test(quarantined_plan_is_refused_with_its_reason),
		cmocka_unit_test(third_plan_of_a_version_in_a_day_bars_the_version),
		cmocka_unit_test(same_plan_three_times_bars_no_version),
		cmocka_unit_test(clock_that_was_set_back_lifts_no_bar),
		cmocka_unit_test(full_quarantine_drops_its_oldest),
		cmocka_unit_test(reason_is_escaped_and_bounded),
		cmocka_unit_test(names_of_operations_and_phases_are_stable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
