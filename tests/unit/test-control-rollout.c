/* SPDX-License-Identifier: Apache-2.0 */

/* Rollouts over a handful of hosts, with the clock in the test's hand. */

#include "base/clock.h"
#include "control_fixture.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, control_setup, control_teardown)
#define HOSTS      4U

static struct control_agent agents[HOSTS];

/* Four hosts that run 1.0.0 by assignment 1; 2.0.0 is approved. */
static void make_hosts(struct control *c)
{
	static const char *const names[HOSTS] = {"web1", "web2", "web3", "web4"};

	control_package(c, "1.0.0");
	control_package(c, "2.0.0");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
	memset(agents, 0, sizeof(agents));
	for (size_t i = 0; i < HOSTS; i++) {
		control_enrol(c, &agents[i], names[i]);
		control_say_status(c, &agents[i], "1.0.0", "running");
	}
	control_time += 10;
}

static void start(struct control *c, const char *rest)
{
	char body[256];

	(void)snprintf(body, sizeof(body),
		       "{\"assignment\": 1, \"version\": \"2.0.0\", \"wait_seconds\": 20, "
		       "\"timeout_seconds\": 60%s%s}",
		       *rest ? ", " : "", rest);
	control_do(c, 201, "POST", "/api/v1/rollouts", body);
	control_tick(c);
}

static void is_state(struct control *c, const char *state, int64_t wave)
{
	cleanup_json json_t *rollout = control_ask(c, 200, "GET", "/api/v1/rollouts/1", NULL);

	assert_string_equal(control_text(rollout, "state"), state);
	assert_int_equal(control_number(rollout, "wave"), wave);
}

/* What a host is to run now. */
static void wanted(struct control *c, size_t i, char ret[16])
{
	char target[64];
	cleanup_json json_t *json = NULL;

	(void)snprintf(target, sizeof(target), "/api/v1/hosts/%lld/explain/demo",
		       (long long)agents[i].host);
	json = control_ask(c, 200, "GET", target, NULL);
	(void)snprintf(ret, 16, "%s", control_text(json, "wanted"));
}

static unsigned count_wanted(struct control *c, const char *version)
{
	unsigned n = 0;
	char text[16];

	for (size_t i = 0; i < HOSTS; i++) {
		wanted(c, i, text);
		n += strcmp(text, version) == 0;
	}
	return n;
}

/* All hosts that are to run 2.0.0 say that they are in *state* with *version*; others live on. */
static void follow(struct control *c, const char *version, const char *state)
{
	char text[16];

	for (size_t i = 0; i < HOSTS; i++) {
		wanted(c, i, text);
		if (strcmp(text, "2.0.0") == 0)
			control_say_status(c, &agents[i], version, state);
		else
			assert_int_equal(fleet_seen(c->fleet, &agents[i].connection, 1), 0);
	}
}

static void live_for(struct control *c, unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i += 5) {
		control_time += 5;
		for (size_t k = 0; k < HOSTS; k++)
			assert_int_equal(fleet_seen(c->fleet, &agents[k].connection, 1), 0);
		control_forget(c);
		control_tick(c);
	}
}

static void waves_follow_each_other_when_hosts_were_healthy_for_long_enough(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *assignment = NULL;

	make_hosts(c);
	start(c, "\"waves\": [1, \"50%\"]");
	assert_int_equal(count_wanted(c, "2.0.0"), 1);
	follow(c, "2.0.0", "running");
	live_for(c, 15);
	is_state(c, "running", 1);
	live_for(c, 5);
	is_state(c, "running", 2);
	assert_int_equal(count_wanted(c, "2.0.0"), 2);
	follow(c, "2.0.0", "running");
	live_for(c, 20);
	is_state(c, "running", 3);
	assert_int_equal(count_wanted(c, "2.0.0"), 4);
	follow(c, "2.0.0", "running");
	live_for(c, 20);
	is_state(c, "completed", 3);
	assignment = control_ask(c, 200, "GET", "/api/v1/assignments/1", NULL);
	assert_string_equal(control_text(assignment, "version"), "2.0.0");
	assert_true(json_is_null(json_object_get(assignment, "rollout")));
}

static void a_failure_halts_it_and_the_others_keep_the_old_version(void **state)
{
	struct control *c = *state;

	make_hosts(c);
	start(c, "\"waves\": [2]");
	follow(c, "1.0.0", "rolled-back");
	live_for(c, 5);
	is_state(c, "halted", 1);
	assert_int_equal(count_wanted(c, "1.0.0"), 2);
	live_for(c, 200);
	is_state(c, "halted", 1);
}

static void a_failure_can_give_everybody_the_old_version_back(void **state)
{
	struct control *c = *state;

	make_hosts(c);
	start(c, "\"waves\": [2], \"revert\": true");
	follow(c, "1.0.0", "quarantined");
	live_for(c, 5);
	is_state(c, "reverted", 1);
	assert_int_equal(count_wanted(c, "1.0.0"), 4);
}

static void as_many_may_fail_as_were_allowed(void **state)
{
	struct control *c = *state;
	char text[16];
	bool is_first = true;

	make_hosts(c);
	start(c, "\"waves\": [2], \"max_failures\": 1");
	for (size_t i = 0; i < HOSTS; i++) {
		wanted(c, i, text);
		if (strcmp(text, "2.0.0") != 0)
			continue;
		control_say_status(c, &agents[i], is_first ? "1.0.0" : "2.0.0",
				   is_first ? "rolled-back" : "running");
		is_first = false;
	}
	live_for(c, 20);
	is_state(c, "running", 2);
}

static void who_says_nothing_of_the_new_version_fails_in_the_end(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *hosts = NULL;

	make_hosts(c);
	start(c, "\"waves\": [1]");
	live_for(c, 55);
	is_state(c, "running", 1);
	live_for(c, 5);
	is_state(c, "halted", 1);
	hosts = control_ask(c, 200, "GET", "/api/v1/rollouts/1/hosts?outcome=failed", NULL);
	assert_int_equal(control_count(hosts), 1);
	assert_string_equal(control_text(control_item(hosts, 0), "reason"),
			    "it did not become healthy in time");
}

static void a_host_that_goes_silent_fails(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *hosts = NULL;

	make_hosts(c);
	control_do(c, 201, "POST", "/api/v1/rollouts",
		   "{\"assignment\": 1, \"version\": \"2.0.0\", \"wait_seconds\": 1000, "
		   "\"timeout_seconds\": 2000, \"waves\": [\"100%\"]}");
	follow(c, "2.0.0", "running");
	control_time += 60;
	control_tick(c);
	is_state(c, "running", 1);
	control_time += 40;
	control_tick(c);
	is_state(c, "halted", 1);
	hosts = control_ask(c, 200, "GET", "/api/v1/rollouts/1/hosts?outcome=failed", NULL);
	assert_int_equal(control_count(hosts), 4);
	assert_string_equal(control_text(control_item(hosts, 0), "reason"), "the host went silent");
}

static void its_hosts_are_listed_with_wave_state_reason_and_since(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *first = NULL;
	cleanup_json json_t *second = NULL;
	unsigned begun = 0;

	make_hosts(c);
	start(c, "\"waves\": [1]");
	follow(c, "1.0.0", "rolled-back");
	control_time += 7;
	control_tick(c);
	first = control_ask(c, 200, "GET", "/api/v1/rollouts/1/hosts?limit=3", NULL);
	assert_int_equal(control_count(first), 3);
	second = control_ask(c, 200, "GET", "/api/v1/rollouts/1/hosts?limit=3&after=3", NULL);
	assert_int_equal(control_count(second), 1);
	assert_true(json_is_null(json_object_get(second, "next")));
	assert_int_equal(json_array_extend(json_object_get(first, "items"),
					   json_object_get(second, "items")),
			 0);
	for (size_t i = 0; i < HOSTS; i++) {
		const json_t *host = control_item(first, i);
		bool is_first = control_number(host, "wave") == 1;
		char now[CLOCK_TEXT_SIZE];

		clock_format(control_time, now);
		assert_string_equal(control_text(host, "running"), "1.0.0");
		assert_string_equal(control_text(host, "outcome"), is_first ? "failed" : "waiting");
		assert_string_equal(control_text(host, "state"),
				    is_first ? "rolled-back" : "running");
		assert_string_equal(control_text(host, "reason"), is_first ? "rolled-back" : "");
		if (is_first)
			assert_string_equal(control_text(host, "since"), now);
		else
			assert_true(json_is_null(json_object_get(host, "since")));
		begun += is_first;
	}
	assert_int_equal(begun, 1);
	control_refused(c, 404, "not-found", "GET", "/api/v1/rollouts/2/hosts", NULL);
}

static void a_degraded_addon_runs(void **state)
{
	struct control *c = *state;

	make_hosts(c);
	start(c, "\"waves\": [1]");
	follow(c, "2.0.0", "degraded");
	live_for(c, 20);
	is_state(c, "running", 2);
}

static void a_host_that_was_healthy_may_fail_later(void **state)
{
	struct control *c = *state;

	make_hosts(c);
	start(c, "\"waves\": [1, 2]");
	follow(c, "2.0.0", "running");
	live_for(c, 20);
	is_state(c, "running", 2);
	follow(c, "2.0.0", "unhealthy");
	live_for(c, 5);
	is_state(c, "halted", 2);
}

static void it_survives_a_restart_in_the_middle(void **state)
{
	struct control *c = *state;

	make_hosts(c);
	start(c, "\"waves\": [1, 2]");
	follow(c, "2.0.0", "running");
	live_for(c, 20);
	is_state(c, "running", 2);
	control_reopen(c);
	is_state(c, "running", 2);
	assert_int_equal(count_wanted(c, "2.0.0"), 2);
	for (size_t i = 0; i < HOSTS; i++) {
		control_hello(c, &agents[i]);
		control_describe(c, &agents[i]);
	}
	follow(c, "2.0.0", "running");
	live_for(c, 20);
	is_state(c, "running", 3);
}

/* affixd is away for an hour. */
static void down_for_an_hour(struct control *c)
{
	c->fleet = fleet_free(c->fleet);
	control_time += 3600;
	control_reopen(c);
	control_tick(c);
}

static void come_back(struct control *c)
{
	for (size_t i = 0; i < HOSTS; i++) {
		control_hello(c, &agents[i]);
		control_describe(c, &agents[i]);
	}
}

static void time_in_which_affixd_was_down_is_no_silence_of_hosts(void **state)
{
	struct control *c = *state;

	make_hosts(c);
	start(c, "\"waves\": [\"100%\"]");
	follow(c, "2.0.0", "running");
	live_for(c, 10);
	down_for_an_hour(c);
	/* Nor does anybody become healthy of whom nothing is known. */
	is_state(c, "running", 1);
	control_time += 250;
	control_tick(c);
	is_state(c, "running", 1);
	come_back(c);
	follow(c, "2.0.0", "running");
	live_for(c, 20);
	is_state(c, "completed", 1);
}

static void hosts_have_their_time_again_after_affixd_was_down(void **state)
{
	struct control *c = *state;

	make_hosts(c);
	start(c, "\"waves\": [\"100%\"]");
	live_for(c, 10);
	down_for_an_hour(c);
	come_back(c);
	live_for(c, 55);
	is_state(c, "running", 1);
	follow(c, "2.0.0", "running");
	live_for(c, 20);
	is_state(c, "completed", 1);
}

static void who_does_not_come_back_to_a_restarted_affixd_fails(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *hosts = NULL;

	make_hosts(c);
	start(c, "\"waves\": [\"100%\"]");
	follow(c, "2.0.0", "running");
	live_for(c, 10);
	down_for_an_hour(c);
	for (unsigned i = 0; i < 71; i++) {
		control_time += 5;
		control_tick(c);
	}
	is_state(c, "running", 1);
	control_time += 10;
	control_tick(c);
	is_state(c, "halted", 1);
	hosts = control_ask(c, 200, "GET", "/api/v1/rollouts/1/hosts?outcome=failed", NULL);
	assert_int_equal(control_count(hosts), 4);
	assert_string_equal(control_text(control_item(hosts, 0), "reason"),
			    "it was not heard of since affixd started");
}

static void a_clock_that_jumps_makes_nobody_silent_or_late(void **state)
{
	struct control *c = *state;

	make_hosts(c);
	start(c, "\"waves\": [\"100%\"]");
	live_for(c, 10);
	control_time += 10 * 365 * 86400;
	control_tick(c);
	is_state(c, "running", 1);
	control_time -= 10 * 365 * 86400;
	control_tick(c);
	is_state(c, "running", 1);
	live_for(c, 10);
	follow(c, "2.0.0", "running");
	live_for(c, 20);
	is_state(c, "completed", 1);
}

static void pause_resume_and_abort(void **state)
{
	struct control *c = *state;

	make_hosts(c);
	start(c, "\"waves\": [1, 2]");
	follow(c, "2.0.0", "running");
	control_do(c, 200, "POST", "/api/v1/rollouts/1/pause", NULL);
	live_for(c, 200);
	is_state(c, "paused", 1);
	control_refused(c, 409, "bad-state", "POST", "/api/v1/rollouts/1/pause", NULL);
	control_do(c, 200, "POST", "/api/v1/rollouts/1/resume", NULL);
	live_for(c, 20);
	is_state(c, "running", 2);
	/* Who has it keeps it, the others keep what they have. */
	control_do(c, 200, "POST", "/api/v1/rollouts/1/abort", "{}");
	live_for(c, 100);
	is_state(c, "aborted", 2);
	assert_int_equal(count_wanted(c, "2.0.0"), 2);
	assert_int_equal(count_wanted(c, "1.0.0"), 2);
	control_do(c, 200, "POST", "/api/v1/rollouts/1/abort", "{\"revert\": true}");
	assert_int_equal(count_wanted(c, "1.0.0"), 4);
	control_refused(c, 409, "bad-state", "POST", "/api/v1/rollouts/1/resume", NULL);
}

static void resuming_a_halted_one_accepts_the_failures_so_far(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *rollout = NULL;

	make_hosts(c);
	start(c, "\"waves\": [1, 2]");
	follow(c, "1.0.0", "rolled-back");
	live_for(c, 5);
	is_state(c, "halted", 1);
	control_do(c, 200, "POST", "/api/v1/rollouts/1/resume", NULL);
	live_for(c, 5);
	is_state(c, "running", 2);
	rollout = control_ask(c, 200, "GET", "/api/v1/rollouts/1", NULL);
	assert_int_equal(control_number(json_object_get(rollout, "hosts"), "accepted"), 1);
}

static void a_new_version_of_the_assignment_ends_it(void **state)
{
	struct control *c = *state;

	make_hosts(c);
	start(c, "\"waves\": [1]");
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"version\": \"2.0.0\"}");
	is_state(c, "aborted", 1);
	assert_int_equal(count_wanted(c, "2.0.0"), 4);
}

static void configuration_must_fit_both_versions_while_it_runs(void **state)
{
	struct control *c = *state;
	struct bundle_maker maker;
	char manifest[512];

	make_hosts(c);
	bundle_maker_init(&maker);
	control_manifest(manifest, sizeof(manifest), "3.0.0", "");
	bundle_maker_set_text(&maker, "addon.yaml", manifest);
	bundle_maker_set_text(&maker, "config.schema.json",
			      "{\"type\": \"object\", \"properties\": {\"level\": "
			      "{\"type\": \"integer\", \"maximum\": 5}}}");
	json_decref(control_upload(c, 201, &maker, "3.0.0", "amd64"));
	control_do(c, 200, "POST", "/api/v1/packages/demo/3.0.0/approve", "{}");
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"config\": {\"level\": 9}}");
	control_refused(c, 422, "bad-config", "POST", "/api/v1/rollouts",
			"{\"assignment\": 1, \"version\": \"3.0.0\"}");
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"config\": {\"level\": 2}}");
	control_do(c, 201, "POST", "/api/v1/rollouts",
		   "{\"assignment\": 1, \"version\": \"3.0.0\"}");
	control_refused(c, 422, "bad-config", "PATCH", "/api/v1/assignments/1",
			"{\"config\": {\"level\": 9}}");
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"config\": {\"level\": 3}}");
}

static void hosts_by_another_assignment_are_not_in_it(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *hosts = NULL;

	make_hosts(c);
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"host\": 2}");
	start(c, "");
	hosts = control_ask(c, 200, "GET", "/api/v1/rollouts/1/hosts", NULL);
	assert_int_equal(control_count(hosts), 3);
}

static void a_host_that_cannot_have_the_new_version_is_left_out(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *hosts = NULL;

	make_hosts(c);
	agents[1].arch = "arm64";
	control_describe(c, &agents[1]);
	start(c, "\"waves\": [\"100%\"]");
	hosts = control_ask(c, 200, "GET", "/api/v1/rollouts/1/hosts?outcome=skipped", NULL);
	assert_int_equal(control_count(hosts), 1);
	assert_string_equal(control_text(control_item(hosts, 0), "host_name"), "web2");
	assert_non_null(strstr(control_text(control_item(hosts, 0), "reason"), "linux/arm64"));
	/* And so is one that goes another way while its wave runs. */
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"host\": 3}");
	follow(c, "2.0.0", "running");
	live_for(c, 60);
	is_state(c, "completed", 1);
}

static void where_the_new_version_is_revoked_the_old_one_is_offered(void **state)
{
	struct control *c = *state;

	make_hosts(c);
	control_say_status(c, &agents[0], "", "stopped");
	start(c, "\"waves\": [\"100%\"]");
	assert_int_equal(count_wanted(c, "2.0.0"), HOSTS);
	control_do(c, 200, "POST", "/api/v1/packages/demo/2.0.0/revoke", "{}");
	assert_int_equal(count_wanted(c, "1.0.0"), HOSTS);
}

static void a_rollout_that_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *body;
		unsigned status;
		const char *name;
	} bad[] = {
		{"{\"assignment\": 9, \"version\": \"2.0.0\"}",                        404, "not-found"   },
		{"{\"assignment\": 1, \"version\": \"1.0.0\"}",                        409, "bad-rollout" },
		{"{\"assignment\": 1, \"version\": \"3.0.0\"}",                        409, "not-approved"},
		{"{\"assignment\": 1}",						400, "bad-request" },
		{"{\"assignment\": 1, \"version\": \"2.0.0\", \"waves\": []}",         400, "bad-rollout" },
		{"{\"assignment\": 1, \"version\": \"2.0.0\", \"waves\": [0]}",        400, "bad-rollout" },
		{"{\"assignment\": 1, \"version\": \"2.0.0\", \"waves\": [\"101%\"]}", 400,
		 "bad-rollout"									    },
		{"{\"assignment\": 1, \"version\": \"2.0.0\", \"waves\": [\"x\"]}",    400,
		 "bad-rollout"									    },
		{"{\"assignment\": 1, \"version\": \"2.0.0\", \"wait_seconds\": 60, "
		 "\"timeout_seconds\": 60}",			  400, "bad-rollout" },
	};
	struct control *c = *state;

	make_hosts(c);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		control_refused(c, bad[i].status, bad[i].name, "POST", "/api/v1/rollouts",
				bad[i].body);
	start(c, "");
	control_refused(c, 409, "rollout-active", "POST", "/api/v1/rollouts",
			"{\"assignment\": 1, \"version\": \"2.0.0\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(waves_follow_each_other_when_hosts_were_healthy_for_long_enough),
		TEST(a_failure_halts_it_and_the_others_keep_the_old_version),
		TEST(a_failure_can_give_everybody_the_old_version_back),
		TEST(as_many_may_fail_as_were_allowed),
		TEST(who_says_nothing_of_the_new_version_fails_in_the_end),
		TEST(a_host_that_goes_silent_fails),
		TEST(its_hosts_are_listed_with_wave_state_reason_and_since),
		TEST(a_degraded_addon_runs),
		TEST(a_host_that_was_healthy_may_fail_later),
		TEST(it_survives_a_restart_in_the_middle),
		TEST(time_in_which_affixd_was_down_is_no_silence_of_hosts),
		TEST(hosts_have_their_time_again_after_affixd_was_down),
		TEST(who_does_not_come_back_to_a_restarted_affixd_fails),
		TEST(a_clock_that_jumps_makes_nobody_silent_or_late),
		TEST(pause_resume_and_abort),
		TEST(resuming_a_halted_one_accepts_the_failures_so_far),
		TEST(a_new_version_of_the_assignment_ends_it),
		TEST(configuration_must_fit_both_versions_while_it_runs),
		TEST(hosts_by_another_assignment_are_not_in_it),
		TEST(a_host_that_cannot_have_the_new_version_is_left_out),
		TEST(where_the_new_version_is_revoked_the_old_one_is_offered),
		TEST(a_rollout_that_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
