/* SPDX-License-Identifier: Apache-2.0 */

/* Hosts that come by more than one connection. */

#include "control_fixture.h"

static unsigned refusal_of(struct control *c, struct control_agent *agent)
{
	const struct control_said *said;

	assert_int_equal(fleet_flush(c->fleet), 0);
	said = control_last(c, agent);
	return said ? said->status : 0;
}

static void of_two_that_take_turns_one_stays_and_the_host_is_a_duplicate(void **state)
{
	struct control *c = *state;
	struct control_agent agents[2] = {0};
	cleanup_json json_t *audit = NULL;
	cleanup_json json_t *host = NULL;
	cleanup_json json_t *later = NULL;

	control_enrol(c, &agents[0], "web1");
	agents[1] = agents[0];
	/* To come with the new credential was the first. */
	for (unsigned i = 1; i <= 3; i++) {
		control_forget(c);
		control_time += 2;
		control_hello(c, &agents[i % 2]);
		assert_int_equal(refusal_of(c, &agents[(i + 1) % 2]), 409);
		assert_int_equal(refusal_of(c, &agents[i % 2]), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		control_forget(c);
		control_hello(c, &agents[0]);
		assert_int_equal(refusal_of(c, &agents[0]), 409);
		assert_int_equal(control_last(c, &agents[0])->retry_after, 60);
		assert_null(control_last(c, &agents[1]));
	}
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(host, "presence"), "duplicate");
	audit = control_ask(c, 200, "GET", "/api/v1/audit?object=host+1", NULL);
	assert_string_equal(control_text(control_item(audit, 0), "action"), "duplicate");
	assert_int_equal(control_count(audit), 2);
	/* Who is not heard any more keeps nobody out. */
	control_time += 600;
	control_hello(c, &agents[0]);
	assert_int_equal(refusal_of(c, &agents[0]), 0);
	later = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(later, "presence"), "connected");
}

static void a_copy_that_polls_is_found_as_one_that_is_connected_is(void **state)
{
	struct control *c = *state;
	struct control_agent agents[2] = {0};
	cleanup_json json_t *host = NULL;

	control_enrol(c, &agents[0], "web1");
	agents[1] = agents[0];
	agents[1].is_polling = true;
	for (unsigned i = 1; i <= 3; i++) {
		control_forget(c);
		control_time += 2;
		control_hello(c, &agents[i % 2]);
		assert_int_equal(refusal_of(c, &agents[i % 2]), 0);
	}
	/* The polls of one host come by many connections. */
	for (unsigned i = 0; i < 5; i++) {
		control_forget(c);
		control_time += 2;
		control_hello(c, &agents[1]);
		assert_int_equal(refusal_of(c, &agents[1]), 0);
	}
	control_forget(c);
	control_hello(c, &agents[0]);
	assert_int_equal(refusal_of(c, &agents[0]), 409);
	assert_int_equal(control_last(c, &agents[0])->retry_after, 60);
	/* Who stays goes on to. */
	control_forget(c);
	control_hello(c, &agents[1]);
	assert_int_equal(refusal_of(c, &agents[1]), 0);
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(host, "presence"), "duplicate");
}

/* A poll by a connection of its own, or by the one that it shares; how it was refused, or 0. */
static unsigned poll_with(struct control *c, struct control_agent *agent, uint64_t sequence,
			  bool is_shared)
{
	struct fleet_report report = {0};

	control_time += 5;
	if (!is_shared)
		control_hello(c, agent);
	agent->sequence = sequence - 1;
	control_report(c, agent, &report);
	return refusal_of(c, agent);
}

/* Two that poll, *lead* messages apart, until one is told to go; the other stays. */
static void two_poll(struct control *c, uint64_t lead, bool is_shared)
{
	struct control_agent first = {.is_polling = true};
	struct control_agent copy;
	cleanup_json json_t *audit = NULL;
	cleanup_json json_t *host = NULL;
	cleanup_json json_t *later = NULL;
	uint64_t n = 10;

	control_enrol(c, &first, "web1");
	copy = first;
	control_time += 600;
	for (unsigned i = 0; i < 4; i++, n++) {
		assert_int_equal(poll_with(c, &first, n + lead, is_shared), 0);
		assert_int_equal(poll_with(c, &copy, n, is_shared), 0);
	}
	assert_int_equal(poll_with(c, &first, n + lead, is_shared), 0);
	assert_int_equal(poll_with(c, &copy, n, is_shared), 409);
	assert_int_equal(control_last(c, &copy)->retry_after, 60);
	audit = control_ask(c, 200, "GET", "/api/v1/audit?object=host+1", NULL);
	assert_string_equal(control_text(control_item(audit, 0), "action"), "duplicate");
	assert_string_equal(control_text(control_item(audit, 0), "peer"), "192.0.2.7");
	/* The front forgets a connection with the refusal. */
	assert_int_equal(poll_with(c, &first, ++n + lead, false), 0);
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(host, "presence"), "duplicate");
	/* Who has gone keeps nobody out, however often the other asks, and is heard, meanwhile. */
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(poll_with(c, &copy, n - 5, false), 409);
		control_time += 5;
		assert_int_equal(fleet_seen(c->fleet, &copy.connection, 1), 0);
	}
	control_time += 20;
	assert_int_equal(poll_with(c, &copy, n - 4, false), 0);
	control_time += 600;
	assert_int_equal(poll_with(c, &copy, n - 3, false), 0);
	later = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(later, "presence"), "connected");
}

static void of_two_that_both_poll_one_stays(void **state)
{
	two_poll(*state, 40, false);
}

static void of_two_that_poll_in_step_one_stays(void **state)
{
	two_poll(*state, 0, false);
}

static void of_two_that_poll_the_same_front_one_stays(void **state)
{
	two_poll(*state, 40, true);
}

static void a_host_that_polls_and_begins_anew_is_no_copy(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.is_polling = true};
	cleanup_json json_t *host = NULL;

	control_enrol(c, &agent, "web1");
	for (unsigned start = 0; start < 20; start++) {
		for (uint64_t n = 1; n < 40; n++)
			assert_int_equal(poll_with(c, &agent, n, start % 2), 0);
	}
	/* Nor is one whose client does not count at all. */
	control_time += 900;
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(poll_with(c, &agent, 0, i % 2), 0);
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(host, "presence"), "connected");
}

/* The first poll of an agent that was started, by another connection or the one that it had. */
static unsigned start_polling(struct control *c, struct control_agent *agent, bool is_shared)
{
	control_time += 5;
	if (!is_shared)
		control_hello(c, agent);
	agent->sequence = 0;
	control_describe(c, agent);
	return refusal_of(c, agent);
}

static void an_agent_that_polls_and_crashes_all_the_time_is_no_copy(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.is_polling = true};
	cleanup_json json_t *host = NULL;

	control_enrol(c, &agent, "web1");
	for (uint64_t start = 0; start < 20; start++) {
		assert_int_equal(start_polling(c, &agent, start % 2), 0);
		/* A front keeps the heartbeats between to itself: numbers are left out. */
		for (uint64_t n = 2; n < 2 + start % 5 * 3; n += 3)
			assert_int_equal(poll_with(c, &agent, n, true), 0);
	}
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(host, "presence"), "connected");
}

/* A copy that crashes all the time beside one that goes on. */
static void crash_beside_another(struct control *c, bool is_shared)
{
	struct control_agent first = {.is_polling = true};
	struct control_agent copy;
	cleanup_json json_t *host = NULL;

	control_enrol(c, &first, "web1");
	copy = first;
	assert_int_equal(poll_with(c, &first, 40, is_shared), 0);
	for (uint64_t n = 41; n <= 44; n++) {
		struct fleet_report report = {.is_after_gap = is_shared};

		assert_int_equal(start_polling(c, &copy, is_shared), 0);
		if (!is_shared)
			control_hello(c, &first);
		first.sequence = n - 1;
		control_report(c, &first, &report);
		assert_int_equal(refusal_of(c, &first), 0);
	}
	assert_int_equal(start_polling(c, &copy, is_shared), 409);
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(host, "presence"), "duplicate");
}

static void a_copy_that_crashes_all_the_time_is_found_by_the_numbers_that_go_on(void **state)
{
	crash_beside_another(*state, false);
}

static void a_copy_that_crashes_at_the_same_front_is_found(void **state)
{
	crash_beside_another(*state, true);
}

static void a_host_that_polls_is_none_that_takes_turns(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.is_polling = true};
	cleanup_json json_t *host = NULL;

	control_enrol(c, &agent, "web1");
	for (unsigned i = 0; i < 9; i++) {
		control_forget(c);
		control_time += 2;
		control_hello(c, &agent);
		assert_int_equal(refusal_of(c, &agent), 0);
	}
	agent.is_polling = false;
	control_hello(c, &agent);
	assert_int_equal(refusal_of(c, &agent), 0);
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(host, "presence"), "connected");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			of_two_that_take_turns_one_stays_and_the_host_is_a_duplicate, control_setup,
			control_teardown),
		cmocka_unit_test_setup_teardown(
			a_copy_that_polls_is_found_as_one_that_is_connected_is, control_setup,
			control_teardown),
		cmocka_unit_test_setup_teardown(of_two_that_both_poll_one_stays, control_setup,
						control_teardown),
		cmocka_unit_test_setup_teardown(of_two_that_poll_in_step_one_stays, control_setup,
						control_teardown),
		cmocka_unit_test_setup_teardown(of_two_that_poll_the_same_front_one_stays,
						control_setup, control_teardown),
		cmocka_unit_test_setup_teardown(a_host_that_polls_and_begins_anew_is_no_copy,
						control_setup, control_teardown),
		cmocka_unit_test_setup_teardown(
			an_agent_that_polls_and_crashes_all_the_time_is_no_copy, control_setup,
			control_teardown),
		cmocka_unit_test_setup_teardown(
			a_copy_that_crashes_all_the_time_is_found_by_the_numbers_that_go_on,
			control_setup, control_teardown),
		cmocka_unit_test_setup_teardown(a_copy_that_crashes_at_the_same_front_is_found,
						control_setup, control_teardown),
		cmocka_unit_test_setup_teardown(a_host_that_polls_is_none_that_takes_turns,
						control_setup, control_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
