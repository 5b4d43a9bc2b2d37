/* SPDX-License-Identifier: Apache-2.0 */

/* Rollouts over a handful of hosts, with the clock in the test's hand. */

#include "base/clock.h"
#include "rollout_fixture.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, control_setup, control_teardown)

static void waves_follow_each_other_when_hosts_were_healthy_for_long_enough(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *assignment = NULL;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1, \"50%\"]");
	assert_int_equal(rollout_count_wanted(c, "2.0.0"), 1);
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 15);
	rollout_is(c, "running", 1);
	rollout_live_for(c, 5);
	rollout_is(c, "running", 2);
	assert_int_equal(rollout_count_wanted(c, "2.0.0"), 2);
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 20);
	rollout_is(c, "running", 3);
	assert_int_equal(rollout_count_wanted(c, "2.0.0"), 4);
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 20);
	rollout_is(c, "completed", 3);
	assignment = control_ask(c, 200, "GET", "/api/v1/assignments/1", NULL);
	assert_string_equal(control_text(assignment, "version"), "2.0.0");
	assert_true(json_is_null(json_object_get(assignment, "rollout")));
}

static void what_it_does_by_itself_is_in_the_audit_log(void **state)
{
	static const char *const actions[] = {"complete", "wave", "create"};
	struct control *c = *state;
	cleanup_json json_t *audit = NULL;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1]");
	for (unsigned wave = 0; wave < 2; wave++) {
		rollout_follow(c, "2.0.0", "running");
		rollout_live_for(c, 20);
	}
	audit = control_ask(c, 200, "GET", "/api/v1/audit?object=rollout+1", NULL);
	assert_int_equal(control_count(audit), ARRAY_SIZE(actions));
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		assert_string_equal(control_text(control_item(audit, i), "action"), actions[i]);
	assert_string_equal(control_text(control_item(audit, 1), "who"), "affixd");
	assert_int_equal(control_number(json_object_get(control_item(audit, 1), "after"), "wave"),
			 2);
}

static void a_failure_halts_it_and_the_others_keep_the_old_version(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [2]");
	rollout_follow(c, "1.0.0", "rolled-back");
	rollout_live_for(c, 5);
	rollout_is(c, "halted", 1);
	assert_int_equal(rollout_count_wanted(c, "1.0.0"), 2);
	rollout_live_for(c, 200);
	rollout_is(c, "halted", 1);
}

static void a_failure_can_give_everybody_the_old_version_back(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [2], \"revert\": true");
	rollout_follow(c, "1.0.0", "quarantined");
	rollout_live_for(c, 5);
	rollout_is(c, "reverted", 1);
	assert_int_equal(rollout_count_wanted(c, "1.0.0"), 4);
}

static void as_many_may_fail_as_were_allowed(void **state)
{
	struct control *c = *state;
	char text[16];
	bool is_first = true;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [2], \"max_failures\": 1");
	for (size_t i = 0; i < ROLLOUT_HOSTS; i++) {
		rollout_wanted(c, i, text);
		if (strcmp(text, "2.0.0") != 0)
			continue;
		control_say_status(c, &rollout_agents[i], is_first ? "1.0.0" : "2.0.0",
				   is_first ? "rolled-back" : "running");
		is_first = false;
	}
	rollout_live_for(c, 20);
	rollout_is(c, "running", 2);
}

static void who_says_nothing_of_the_new_version_fails_in_the_end(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *hosts = NULL;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1]");
	rollout_live_for(c, 55);
	rollout_is(c, "running", 1);
	rollout_live_for(c, 5);
	rollout_is(c, "halted", 1);
	hosts = control_ask(c, 200, "GET", "/api/v1/rollouts/1/hosts?outcome=failed", NULL);
	assert_int_equal(control_count(hosts), 1);
	assert_string_equal(control_text(control_item(hosts, 0), "reason"),
			    "it did not become healthy in time");
}

static void a_host_that_goes_silent_fails(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *hosts = NULL;

	rollout_make_hosts(c);
	control_do(c, 201, "POST", "/api/v1/rollouts",
		   "{\"assignment\": 1, \"version\": \"2.0.0\", \"wait_seconds\": 1000, "
		   "\"timeout_seconds\": 2000, \"waves\": [\"100%\"]}");
	rollout_follow(c, "2.0.0", "running");
	control_time += 60;
	control_tick(c);
	rollout_is(c, "running", 1);
	control_time += 40;
	control_tick(c);
	rollout_is(c, "halted", 1);
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

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1]");
	rollout_follow(c, "1.0.0", "rolled-back");
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
	for (size_t i = 0; i < ROLLOUT_HOSTS; i++) {
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

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1]");
	rollout_follow(c, "2.0.0", "degraded");
	rollout_live_for(c, 20);
	rollout_is(c, "running", 2);
}

static void an_addon_that_does_not_talk_to_its_agent_is_not_healthy(void **state)
{
	struct control *c = *state;
	char version[16];

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1]");
	for (size_t i = 0; i < ROLLOUT_HOSTS; i++) {
		rollout_wanted(c, i, version);
		if (strcmp(version, "2.0.0") == 0)
			control_say(c, &rollout_agents[i],
				    "{\"id\":\"demo\",\"version\":\"2.0.0\","
				    "\"state\":\"degraded\",\"name\":\"ipc\","
				    "\"reason\":\"it does not answer pings\","
				    "\"origin\":\"fleet\",\"restarts\":0,\"drift\":[]}");
	}
	rollout_live_for(c, 40);
	rollout_is(c, "running", 1);
	/* It has its time for that, no more. */
	rollout_live_for(c, 20);
	rollout_is(c, "halted", 1);
}

static void a_host_that_was_healthy_may_fail_later(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1, 2]");
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 20);
	rollout_is(c, "running", 2);
	rollout_follow(c, "2.0.0", "unhealthy");
	rollout_live_for(c, 5);
	rollout_is(c, "halted", 2);
}

static void it_survives_a_restart_in_the_middle(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1, 2]");
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 20);
	rollout_is(c, "running", 2);
	control_reopen(c);
	rollout_is(c, "running", 2);
	assert_int_equal(rollout_count_wanted(c, "2.0.0"), 2);
	for (size_t i = 0; i < ROLLOUT_HOSTS; i++) {
		control_hello(c, &rollout_agents[i]);
		control_describe(c, &rollout_agents[i]);
	}
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 20);
	rollout_is(c, "running", 3);
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
	for (size_t i = 0; i < ROLLOUT_HOSTS; i++) {
		control_hello(c, &rollout_agents[i]);
		control_describe(c, &rollout_agents[i]);
	}
}

static void time_in_which_affixd_was_down_is_no_silence_of_hosts(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [\"100%\"]");
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 10);
	down_for_an_hour(c);
	/* Nor does anybody become healthy of whom nothing is known. */
	rollout_is(c, "running", 1);
	control_time += 250;
	control_tick(c);
	rollout_is(c, "running", 1);
	come_back(c);
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 20);
	rollout_is(c, "completed", 1);
}

static void hosts_have_their_time_again_after_affixd_was_down(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [\"100%\"]");
	rollout_live_for(c, 10);
	down_for_an_hour(c);
	come_back(c);
	rollout_live_for(c, 55);
	rollout_is(c, "running", 1);
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 20);
	rollout_is(c, "completed", 1);
}

static void who_does_not_come_back_to_a_restarted_affixd_fails(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *hosts = NULL;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [\"100%\"]");
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 10);
	down_for_an_hour(c);
	for (unsigned i = 0; i < 71; i++) {
		control_time += 5;
		control_tick(c);
	}
	rollout_is(c, "running", 1);
	control_time += 10;
	control_tick(c);
	rollout_is(c, "halted", 1);
	hosts = control_ask(c, 200, "GET", "/api/v1/rollouts/1/hosts?outcome=failed", NULL);
	assert_int_equal(control_count(hosts), 4);
	assert_string_equal(control_text(control_item(hosts, 0), "reason"),
			    "it was not heard of since affixd started");
}

static void a_clock_that_jumps_makes_nobody_silent_or_late(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [\"100%\"]");
	rollout_live_for(c, 10);
	control_time += 10 * 365 * 86400;
	control_tick(c);
	rollout_is(c, "running", 1);
	control_time -= 10 * 365 * 86400;
	control_tick(c);
	rollout_is(c, "running", 1);
	rollout_live_for(c, 10);
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 20);
	rollout_is(c, "completed", 1);
}

static void a_clock_that_jumps_makes_nobody_healthy(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1]");
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 5);
	control_time += 3600;
	control_tick(c);
	rollout_is(c, "running", 1);
	rollout_live_for(c, 15);
	rollout_is(c, "running", 1);
	rollout_live_for(c, 5);
	rollout_is(c, "running", 2);
}

static void a_clock_that_is_set_back_holds_up_nothing(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1, 2]");
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 5);
	control_time -= 86400;
	control_tick(c);
	rollout_live_for(c, 20);
	rollout_is(c, "running", 2);
	/* Also for who is late. */
	rollout_live_for(c, 5);
	control_time -= 86400;
	control_tick(c);
	rollout_live_for(c, 370);
	rollout_is(c, "halted", 2);
}

static void pause_resume_and_abort(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1, 2]");
	rollout_follow(c, "2.0.0", "running");
	control_do(c, 200, "POST", "/api/v1/rollouts/1/pause", NULL);
	rollout_live_for(c, 200);
	rollout_is(c, "paused", 1);
	control_refused(c, 409, "bad-state", "POST", "/api/v1/rollouts/1/pause", NULL);
	control_do(c, 200, "POST", "/api/v1/rollouts/1/resume", NULL);
	rollout_live_for(c, 20);
	rollout_is(c, "running", 2);
	/* Who has it keeps it, the others keep what they have. */
	control_do(c, 200, "POST", "/api/v1/rollouts/1/abort", "{}");
	rollout_live_for(c, 100);
	rollout_is(c, "aborted", 2);
	assert_int_equal(rollout_count_wanted(c, "2.0.0"), 2);
	assert_int_equal(rollout_count_wanted(c, "1.0.0"), 2);
	control_do(c, 200, "POST", "/api/v1/rollouts/1/abort", "{\"revert\": true}");
	assert_int_equal(rollout_count_wanted(c, "1.0.0"), 4);
	control_refused(c, 409, "bad-state", "POST", "/api/v1/rollouts/1/resume", NULL);
}

static void resuming_a_halted_one_accepts_the_failures_so_far(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *rollout = NULL;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1, 2]");
	rollout_follow(c, "1.0.0", "rolled-back");
	rollout_live_for(c, 5);
	rollout_is(c, "halted", 1);
	control_do(c, 200, "POST", "/api/v1/rollouts/1/resume", NULL);
	rollout_live_for(c, 5);
	rollout_is(c, "running", 2);
	rollout = control_ask(c, 200, "GET", "/api/v1/rollouts/1", NULL);
	assert_int_equal(control_number(json_object_get(rollout, "hosts"), "accepted"), 1);
}

static void a_new_version_of_the_assignment_ends_it(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1]");
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"version\": \"2.0.0\"}");
	rollout_is(c, "aborted", 1);
	assert_int_equal(rollout_count_wanted(c, "2.0.0"), 4);
}

static void configuration_must_fit_both_versions_while_it_runs(void **state)
{
	struct control *c = *state;
	struct bundle_maker maker;
	char manifest[512];

	rollout_make_hosts(c);
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

	rollout_make_hosts(c);
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"host\": 2}");
	rollout_start(c, "");
	hosts = control_ask(c, 200, "GET", "/api/v1/rollouts/1/hosts", NULL);
	assert_int_equal(control_count(hosts), 3);
}

static void a_host_that_cannot_have_the_new_version_is_left_out(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *hosts = NULL;

	rollout_make_hosts(c);
	rollout_agents[1].arch = "arm64";
	control_describe(c, &rollout_agents[1]);
	rollout_start(c, "\"waves\": [\"100%\"]");
	hosts = control_ask(c, 200, "GET", "/api/v1/rollouts/1/hosts?outcome=skipped", NULL);
	assert_int_equal(control_count(hosts), 1);
	assert_string_equal(control_text(control_item(hosts, 0), "host_name"), "web2");
	assert_non_null(strstr(control_text(control_item(hosts, 0), "reason"), "linux/arm64"));
	/* And so is one that goes another way while its wave runs. */
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"host\": 3}");
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 60);
	rollout_is(c, "completed", 1);
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

	rollout_make_hosts(c);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		control_refused(c, bad[i].status, bad[i].name, "POST", "/api/v1/rollouts",
				bad[i].body);
	rollout_start(c, "");
	control_refused(c, 409, "rollout-active", "POST", "/api/v1/rollouts",
			"{\"assignment\": 1, \"version\": \"2.0.0\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(waves_follow_each_other_when_hosts_were_healthy_for_long_enough),
		TEST(what_it_does_by_itself_is_in_the_audit_log),
		TEST(a_failure_halts_it_and_the_others_keep_the_old_version),
		TEST(a_failure_can_give_everybody_the_old_version_back),
		TEST(as_many_may_fail_as_were_allowed),
		TEST(who_says_nothing_of_the_new_version_fails_in_the_end),
		TEST(a_host_that_goes_silent_fails),
		TEST(its_hosts_are_listed_with_wave_state_reason_and_since),
		TEST(a_degraded_addon_runs),
		TEST(an_addon_that_does_not_talk_to_its_agent_is_not_healthy),
		TEST(a_host_that_was_healthy_may_fail_later),
		TEST(it_survives_a_restart_in_the_middle),
		TEST(time_in_which_affixd_was_down_is_no_silence_of_hosts),
		TEST(hosts_have_their_time_again_after_affixd_was_down),
		TEST(who_does_not_come_back_to_a_restarted_affixd_fails),
		TEST(a_clock_that_jumps_makes_nobody_silent_or_late),
		TEST(a_clock_that_jumps_makes_nobody_healthy),
		TEST(a_clock_that_is_set_back_holds_up_nothing),
		TEST(pause_resume_and_abort),
		TEST(resuming_a_halted_one_accepts_the_failures_so_far),
		TEST(a_new_version_of_the_assignment_ends_it),
		TEST(configuration_must_fit_both_versions_while_it_runs),
		TEST(hosts_by_another_assignment_are_not_in_it),
		TEST(a_host_that_cannot_have_the_new_version_is_left_out),
		TEST(a_rollout_that_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
