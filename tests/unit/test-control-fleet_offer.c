/* SPDX-License-Identifier: Apache-2.0 */

/* Who is offered what, and when it is made anew. */

#include "control_fixture.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, control_setup, control_teardown)

/* The version of demo that was offered last: "" none, NULL nothing was said of packages. */
static const char *offered(const struct control *c, const struct control_agent *agent,
			   struct opamp_arena **ret_arena)
{
	const struct control_said *said = control_last(c, agent);
	const Opamp__Proto__PackagesAvailable *offer =
		said ? control_decode(said, ret_arena)->packages_available : NULL;

	if (!offer)
		return NULL;
	return offer->n_packages > 0 ? offer->packages[0]->value->version : "";
}

static void assert_offered(const struct control *c, const struct control_agent *agent,
			   const char *version)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	const char *found = offered(c, agent, &arena);

	assert_non_null(found);
	assert_string_equal(found, version);
}

static void assert_nothing_new(const struct control *c, const struct control_agent *agent)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;

	assert_null(offered(c, agent, &arena));
}

static void assign(struct control *c, const char *version)
{
	char body[128];

	(void)snprintf(body, sizeof(body),
		       "{\"addon\": \"demo\", \"version\": \"%s\", \"selector\": \"\"}", version);
	control_do(c, 201, "POST", "/api/v1/assignments", body);
	control_forget(c);
	control_tick(c);
}

static void what_is_new_is_said_first_to_hosts_that_poll(void **state)
{
	struct control *c = *state;
	struct control_agent socket = {0};
	struct control_agent poller = {.is_polling = true};

	control_package(c, "1.0.0");
	control_enrol(c, &socket, "web1");
	control_enrol(c, &poller, "web2");
	assign(c, "1.0.0");
	assert_int_equal(c->n_said, 2);
	assert_int_equal(c->said[0].connection, poller.connection);
	assert_offered(c, &poller, "1.0.0");
	assert_offered(c, &socket, "1.0.0");
}

static void a_report_brings_no_offer_that_the_host_has(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	assign(c, "1.0.0");
	control_say_status(c, &agent, "1.0.0", "running");
	assert_nothing_new(c, &agent);
	assign(c, "1.0.0");
	assert_null(control_last(c, &agent));
}

static void another_description_brings_another_offer(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.env = "lab"};

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"env=prod\"}");
	control_tick(c);
	agent.env = "prod";
	control_describe(c, &agent);
	assert_offered(c, &agent, "1.0.0");
	agent.env = "lab";
	control_describe(c, &agent);
	assert_offered(c, &agent, "");
}

static void what_a_host_runs_brings_another_offer_where_that_hangs_on_it(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	control_package(c, "1.0.0");
	control_package(c, "2.0.0");
	control_enrol(c, &agent, "web1");
	control_do(c, 200, "POST", "/api/v1/packages/demo/2.0.0/revoke", "{}");
	assign(c, "latest");
	assert_offered(c, &agent, "1.0.0");
	control_say_status(c, &agent, "2.0.0", "running");
	assert_offered(c, &agent, "2.0.0");
	control_say_status(c, &agent, "1.0.0", "running");
	assert_offered(c, &agent, "1.0.0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_new_is_said_first_to_hosts_that_poll),
		TEST(a_report_brings_no_offer_that_the_host_has),
		TEST(another_description_brings_another_offer),
		TEST(what_a_host_runs_brings_another_offer_where_that_hangs_on_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
