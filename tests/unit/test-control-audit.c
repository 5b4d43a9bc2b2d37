/* SPDX-License-Identifier: Apache-2.0 */

/* How long the audit log is kept. */

#include "base/clock.h"
#include "control_fixture.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, control_setup, control_teardown)
#define DAY        86400U
#define MANY       300U /* more than two batches */

static json_t *entries(struct control *c)
{
	return control_ask(c, 200, "GET", "/api/v1/audit?limit=1000", NULL);
}

static void keep_for(struct control *c, unsigned days)
{
	c->audit_keep_days = days;
	control_reopen(c);
	control_enrol(c, &(struct control_agent){0}, "web1");
}

static void make_tokens(struct control *c, unsigned n)
{
	char body[64];

	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(body, sizeof(body), "{\"name\": \"t%u\"}", i);
		control_do(c, 201, "POST", "/api/v1/join-tokens", body);
	}
}

static void old_entries_go_and_young_ones_stay(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *left = NULL;
	char until[CLOCK_TEXT_SIZE];
	const json_t *prune;

	keep_for(c, 10);
	control_time += 9 * DAY;
	make_tokens(c, 2);
	control_time += 2 * DAY;
	control_tick(c);
	left = entries(c);
	assert_int_equal(control_count(left), 3);
	prune = control_item(left, 0);
	assert_string_equal(control_text(prune, "action"), "prune");
	assert_string_equal(control_text(prune, "who"), "affixd");
	/* The administrator's token, the host's, and its enrolment. */
	assert_int_equal(control_number(json_object_get(prune, "after"), "rows"), 3);
	clock_format(control_time - 10 * DAY, until);
	assert_string_equal(control_text(json_object_get(prune, "after"), "until"), until);
	assert_string_equal(control_text(control_item(left, 1), "action"), "create");
}

static void many_go_in_small_batches_and_are_one_entry(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *half = NULL;
	cleanup_json json_t *left = NULL;

	keep_for(c, 10);
	make_tokens(c, MANY);
	control_time += 11 * DAY;
	control_tick(c);
	half = entries(c);
	assert_in_range(control_count(half), MANY / 4, MANY - 1);
	for (unsigned i = 0; i < 3; i++) {
		control_time += 1;
		control_tick(c);
	}
	left = entries(c);
	assert_int_equal(control_count(left), 1);
	assert_int_equal(control_number(json_object_get(control_item(left, 0), "after"), "rows"),
			 MANY + 3);
}

static void nothing_old_leaves_no_entry(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *before = NULL;
	cleanup_json json_t *after = NULL;

	keep_for(c, 10);
	before = entries(c);
	for (unsigned i = 0; i < 5; i++) {
		control_time += DAY;
		control_tick(c);
	}
	after = entries(c);
	assert_true(json_equal(before, after));
}

static void a_clock_that_jumps_for_a_moment_costs_nothing(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *before = NULL;
	cleanup_json json_t *after = NULL;

	keep_for(c, 10);
	control_tick(c);
	before = entries(c);
	control_time += 3650U * DAY;
	control_tick(c);
	control_time += 1;
	control_tick(c);
	control_time -= 3650U * DAY;
	control_tick(c);
	after = entries(c);
	assert_true(json_equal(before, after));
}

static void zero_keeps_them_for_ever(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *before = NULL;
	cleanup_json json_t *after = NULL;

	keep_for(c, 0);
	before = entries(c);
	control_time += 10000ULL * DAY;
	control_tick(c);
	after = entries(c);
	assert_true(json_equal(before, after));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(old_entries_go_and_young_ones_stay),
		TEST(many_go_in_small_batches_and_are_one_entry),
		TEST(nothing_old_leaves_no_entry),
		TEST(a_clock_that_jumps_for_a_moment_costs_nothing),
		TEST(zero_keeps_them_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
