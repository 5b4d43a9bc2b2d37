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
		cmocka_unit_test_setup_teardown(a_host_that_polls_is_none_that_takes_turns,
						control_setup, control_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
