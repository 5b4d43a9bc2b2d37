/* SPDX-License-Identifier: Apache-2.0 */

/* How what hosts say and what is wanted become states and drift. */

#include "control/status.h"

#include "control_fixture.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, control_setup, control_teardown)

static void our_own_message_comes_before_packages_and_health(void **state)
{
	const struct status_report all = {
		.said_state = "quarantined",
		.has_health = true,
		.is_healthy = true,
		.has_package = true,
		.package_version = "1.0.0",
	};
	struct status_report some = all;

	(void)state;
	assert_int_equal(status_resolve(&all), STATUS_QUARANTINED);
	some.said_state = NULL;
	assert_int_equal(status_resolve(&some), STATUS_RUNNING);
	some.package_status = 4; /* downloading */
	assert_int_equal(status_resolve(&some), STATUS_STARTING);
	some.package_status = 3; /* failed, and something else is there */
	assert_int_equal(status_resolve(&some), STATUS_ROLLED_BACK);
	some.package_version = "";
	assert_int_equal(status_resolve(&some), STATUS_UNHEALTHY);
	some.package_status = 0;
	some.package_version = "1.0.0";
	some.is_healthy = false;
	assert_int_equal(status_resolve(&some), STATUS_UNHEALTHY);
	some.health_status = "degraded";
	assert_int_equal(status_resolve(&some), STATUS_DEGRADED);
}

static void every_name_is_read_as_it_is_written(void **state)
{
	(void)state;
	for (unsigned i = 0; i < STATUS_STATE_N; i++)
		assert_int_equal(status_state_from_string(status_state_to_string(i)), i);
	for (unsigned i = 0; i < STATUS_DRIFT_N; i++)
		assert_int_equal(status_drift_from_string(status_drift_to_string(i)), i);
	assert_int_equal(status_state_from_string("fine"), STATUS_STATE_INVALID);
	assert_int_equal(status_state_from_string(NULL), STATUS_STATE_INVALID);
}

/* The only add-on of the only host: its state, and its drift as "a b". */
static void expect(struct control *c, const char *state, const char *drift)
{
	cleanup_json json_t *list = control_ask(c, 200, "GET", "/api/v1/status", NULL);
	const json_t *entry = control_item(list, 0);
	const json_t *item;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	size_t i;

	assert_int_equal(control_count(list), 1);
	json_array_foreach(json_object_get(entry, "drift"), i, item)
	{
		assert_int_equal(
			buffer_format(&text, "%s%s", i > 0 ? " " : "", json_string_value(item)), 0);
	}
	assert_string_equal(control_text(entry, "state"), state);
	assert_string_equal(text.data ? text.data : "", drift);
}

static void assign(struct control *c, const char *version)
{
	char body[128];

	(void)snprintf(body, sizeof(body),
		       "{\"addon\": \"demo\", \"version\": \"%s\", \"selector\": \"\", "
		       "\"config\": {\"level\": 1}}",
		       version);
	control_do(c, 201, "POST", "/api/v1/assignments", body);
}

static void drift_is_what_differs_from_what_is_wanted(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	control_package(c, "1.0.0");
	control_package(c, "2.0.0");
	control_enrol(c, &agent, "web1");
	assign(c, "1.0.0");
	expect(c, "stopped", "assigned-not-installed");
	control_say_status(c, &agent, "1.0.0", "running");
	expect(c, "running", "");
	control_say_status(c, &agent, "1.0.0", "unhealthy");
	expect(c, "unhealthy", "unhealthy");
	control_say_status(c, &agent, "1.0.0", "running");
	assign(c, "2.0.0");
	expect(c, "running", "version");
	control_do(c, 204, "DELETE", "/api/v1/assignments/2", NULL);
	control_do(c, 204, "DELETE", "/api/v1/assignments/1", NULL);
	expect(c, "running", "observed-but-unassigned");
	control_time += 100;
	expect(c, "stale", "stale");
}

static void say(struct control *c, struct control_agent *agent, const char *rest)
{
	char text[256];

	(void)snprintf(text, sizeof(text),
		       "{\"id\": \"demo\", \"state\": \"running\", \"version\": \"1.0.0\", %s}",
		       rest);
	control_say(c, agent, text);
}

static void what_the_host_found_changed_is_drift(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	assign(c, "1.0.0");
	say(c, &agent, "\"drift\": [\"bytes\", \"units\", \"nonsense\", 5, \"bytes\"]");
	expect(c, "running", "bytes units");
	say(c, &agent, "\"drift\": [\"capabilities\"], \"held\": true");
	expect(c, "running", "capabilities held");
	say(c, &agent, "\"drift\": \"bytes\"");
	expect(c, "running", "");
}

static void what_came_from_the_host_itself_is_no_drift(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	control_enrol(c, &agent, "web1");
	say(c, &agent, "\"origin\": \"local\"");
	expect(c, "running", "");
	say(c, &agent, "\"origin\": \"fleet\"");
	expect(c, "running", "observed-but-unassigned");
}

static void a_configuration_that_failed_is_drift(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	struct fleet_report report = {
		.has_config_status = true, .config_status = 3, .config_error = "no"};

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	assign(c, "1.0.0");
	say(c, &agent, "\"drift\": []");
	control_report(c, &agent, &report);
	expect(c, "running", "config");
}

static void a_host_that_cannot_have_it_is_unsupported_not_drifted(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.arch = "arm64"};

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	assign(c, "1.0.0");
	expect(c, "unsupported", "");
}

static void any_opamp_client_has_a_status(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	const struct fleet_package_status package = {
		.name = "demo", .has_version = "1.0.0", .status = 2, .offered_version = "2.0.0"};
	const struct fleet_health health[] = {
		{"",           true,  "",         NULL,           0},
		{"demo",       false, "whatever", "it fell over", 0},
		{"Not an id!", true,  "",         NULL,           0},
	};
	struct fleet_report report = {.has_packages = true, .packages = &package, .n_packages = 1};
	struct fleet_report sick = {.has_health = true, .health = health, .n_health = 3};
	struct fleet_report nothing = {.has_packages = true};
	struct fleet_report well = {.has_health = true};
	cleanup_json json_t *list = NULL;
	struct fleet_package_status installed = package;

	control_enrol(c, &agent, "web1");
	control_report(c, &agent, &report);
	expect(c, "starting", "observed-but-unassigned");
	installed.status = 0;
	report.packages = &installed;
	control_report(c, &agent, &report);
	control_report(c, &agent, &sick);
	expect(c, "unhealthy", "observed-but-unassigned unhealthy");
	/* What no place speaks of any more is gone. */
	control_report(c, &agent, &nothing);
	control_report(c, &agent, &well);
	list = control_ask(c, 200, "GET", "/api/v1/status", NULL);
	assert_int_equal(control_count(list), 0);
}

static void drift_and_status_can_be_filtered(void **state)
{
	struct control *c = *state;
	struct control_agent first = {0};
	struct control_agent second = {.env = "test"};
	cleanup_json json_t *unassigned = NULL;
	cleanup_json json_t *stopped = NULL;
	cleanup_json json_t *test = NULL;

	control_package(c, "1.0.0");
	control_enrol(c, &first, "web1");
	control_enrol(c, &second, "web2");
	assign(c, "1.0.0");
	control_say_status(c, &first, "1.0.0", "running");
	unassigned = control_ask(c, 200, "GET", "/api/v1/drift?kind=assigned-not-installed", NULL);
	assert_int_equal(control_count(unassigned), 1);
	assert_string_equal(control_text(control_item(unassigned, 0), "host_name"), "web2");
	stopped = control_ask(c, 200, "GET", "/api/v1/status?state=running&addon=demo", NULL);
	assert_int_equal(control_count(stopped), 1);
	test = control_ask(c, 200, "GET", "/api/v1/status?selector=env%3Dtest", NULL);
	assert_int_equal(control_count(test), 1);
	control_refused(c, 400, "bad-request", "GET", "/api/v1/status?state=fine", NULL);
	control_refused(c, 400, "bad-request", "GET", "/api/v1/drift?kind=slow", NULL);
}

static void effective_configuration_is_kept_as_the_host_said_it(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	const struct fleet_config_entry entry = {
		"demo", "application/json", {"{\"level\":1}", 11}
        };
	struct fleet_report report = {
		.has_effective_config = true, .effective_config = &entry, .n_effective_config = 1};
	cleanup_json json_t *list = NULL;

	control_enrol(c, &agent, "web1");
	control_report(c, &agent, &report);
	list = control_ask(c, 200, "GET", "/api/v1/hosts/1/config", NULL);
	assert_string_equal(control_text(control_item(list, 0), "body"), "{\"level\":1}");
}

static void hosts_make_up_no_labels_of_addons(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_json json_t *text = NULL;
	const char *metrics;

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	control_say(c, &agent,
		    "{\"id\": \"demo\", \"version\": \"1.0.0\", \"state\": \"running\"}, "
		    "{\"id\": \"made\", \"version\": \"1.0.0\", \"state\": \"running\"}, "
		    "{\"id\": \"up\", \"version\": \"1.0.0\", \"state\": \"running\"}");
	text = control_ask(c, 200, "GET", "/metrics", NULL);
	metrics = json_string_value(text);
	assert_non_null(strstr(metrics, "\naffixd_addons{addon=\"demo\",state=\"running\"} 1\n"));
	assert_non_null(
		strstr(metrics, "\naffixd_addons{addon=\"(other)\",state=\"running\"} 2\n"));
	assert_null(strstr(metrics, "made"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hosts_make_up_no_labels_of_addons),
		cmocka_unit_test(our_own_message_comes_before_packages_and_health),
		cmocka_unit_test(every_name_is_read_as_it_is_written),
		TEST(drift_is_what_differs_from_what_is_wanted),
		TEST(what_the_host_found_changed_is_drift),
		TEST(what_came_from_the_host_itself_is_no_drift),
		TEST(a_configuration_that_failed_is_drift),
		TEST(a_host_that_cannot_have_it_is_unsupported_not_drifted),
		TEST(any_opamp_client_has_a_status),
		TEST(drift_and_status_can_be_filtered),
		TEST(effective_configuration_is_kept_as_the_host_said_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
