/* SPDX-License-Identifier: Apache-2.0 */

/* What hosts keep, and what stops rollouts, where a version cannot be had any more. */

#include "rollout_fixture.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, control_setup, control_teardown)

static void explained(struct control *c, const char *verdict, const char *wanted)
{
	cleanup_json json_t *json =
		control_ask(c, 200, "GET", "/api/v1/hosts/1/explain/demo", NULL);

	assert_string_equal(control_text(json, "verdict"), verdict);
	assert_string_equal(control_text(json, "wanted"), wanted);
}

static void a_host_keeps_what_it_runs_where_it_cannot_have_what_is_assigned(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	const Opamp__Proto__ServerToAgent *message;

	control_package(c, "1.0.0");
	control_package(c, "2.0.0");
	control_enrol(c, &agent, "web1");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"2.0.0\", \"selector\": \"\"}");
	control_say_status(c, &agent, "1.0.0", "rolled-back");
	control_do(c, 200, "POST", "/api/v1/packages/demo/2.0.0/revoke", "{}");
	control_forget(c);
	control_tick(c);
	message = control_decode(control_last(c, &agent), &arena);
	assert_int_equal(message->packages_available->n_packages, 1);
	assert_string_equal(message->packages_available->packages[0]->value->version, "1.0.0");
	explained(c, "revoked", "1.0.0");
	/* Also what is revoked itself. */
	control_do(c, 200, "POST", "/api/v1/packages/demo/1.0.0/revoke", "{}");
	explained(c, "revoked", "1.0.0");
	control_say_status(c, &agent, "", "stopped");
	explained(c, "revoked", "");
}

/* Version 2.0.0, which has another configuration. */
static void import_other_schema(struct control *c)
{
	struct bundle_maker maker;
	char manifest[512];

	bundle_maker_init(&maker);
	control_manifest(manifest, sizeof(manifest), "2.0.0", "");
	bundle_maker_set_text(&maker, "addon.yaml", manifest);
	bundle_maker_set_text(&maker, "config.schema.json",
			      "{\"type\": \"object\", \"additionalProperties\": false, "
			      "\"properties\": {\"grade\": {\"type\": \"integer\"}}}");
	json_decref(control_upload(c, 201, &maker, "2.0.0", "amd64"));
	control_do(c, 200, "POST", "/api/v1/packages/demo/2.0.0/approve", "{}");
}

/* What the host was told last of version and configuration. */
static void was_told(struct control *c, struct control_agent *agent, const char *config)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	const Opamp__Proto__ServerToAgent *message;
	const Opamp__Proto__AgentConfigMap *map;
	const Opamp__Proto__AgentConfigFile *file = NULL;

	message = control_decode(control_last(c, agent), &arena);
	assert_non_null(message->remote_config);
	map = message->remote_config->config;
	for (size_t i = 0; i < map->n_config_map; i++) {
		if (strcmp(map->config_map[i]->key, "demo") == 0)
			file = map->config_map[i]->value;
	}
	assert_non_null(file);
	/* A line. */
	assert_int_equal(file->body.len, strlen(config) + 1);
	assert_memory_equal(file->body.data, config, strlen(config));
}

static void told(struct control *c, struct control_agent *agent, const char *config)
{
	control_tick(c);
	was_told(c, agent, config);
}

static void what_a_host_keeps_it_keeps_with_the_configuration_that_fits(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	control_package(c, "1.0.0");
	import_other_schema(c);
	control_enrol(c, &agent, "web1");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\", "
		   "\"config\": {\"level\": 3}}");
	control_say_status(c, &agent, "1.0.0", "running");
	told(c, &agent, "{\"level\":3}");
	control_do(c, 200, "PATCH", "/api/v1/assignments/1",
		   "{\"version\": \"2.0.0\", \"config\": {\"grade\": 1}}");
	told(c, &agent, "{\"grade\":1}");
	control_do(c, 200, "POST", "/api/v1/packages/demo/2.0.0/revoke", "{}");
	told(c, &agent, "{\"level\":3}");
	control_do(c, 200, "PATCH", "/api/v1/assignments/1",
		   "{\"version\": \"1.0.0\", \"config\": {\"level\": 4}}");
	told(c, &agent, "{\"level\":4}");
}

static void each_of_many_assignments_keeps_its_own(void **state)
{
	struct control *c = *state;
	struct control_agent agents[3] = {0};
	char target[64];
	char text[160];

	control_package(c, "1.0.0");
	import_other_schema(c);
	for (unsigned i = 0; i < ARRAY_SIZE(agents); i++) {
		(void)snprintf(text, sizeof(text), "web%u", i + 1);
		control_enrol(c, &agents[i], text);
		/* The first of them wins by its priority: their order is not that of numbers. */
		(void)snprintf(text, sizeof(text),
			       "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"host\": %u, "
			       "\"config\": {\"level\": %u}, \"priority\": %u}",
			       i + 1, i + 5, 9 - i);
		control_do(c, 201, "POST", "/api/v1/assignments", text);
		control_say_status(c, &agents[i], "1.0.0", "running");
	}
	for (unsigned i = 0; i < ARRAY_SIZE(agents); i++) {
		(void)snprintf(target, sizeof(target), "/api/v1/assignments/%u", i + 1);
		control_do(c, 200, "PATCH", target,
			   "{\"version\": \"2.0.0\", \"config\": {\"grade\": 1}}");
	}
	control_tick(c);
	control_do(c, 200, "POST", "/api/v1/packages/demo/2.0.0/revoke", "{}");
	control_tick(c);
	for (unsigned i = 0; i < ARRAY_SIZE(agents); i++) {
		(void)snprintf(text, sizeof(text), "{\"level\":%u}", i + 5);
		was_told(c, &agents[i], text);
	}
}

static void an_old_version_gets_what_is_said_now_however_many_came_after_it(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	struct control_agent other = {0};
	char version[32];

	control_package(c, "1.0.0");
	control_package(c, "1.0.1");
	control_enrol(c, &agent, "web1");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\", "
		   "\"config\": {\"level\": 3}}");
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"config\": {\"level\": 4}}");
	for (unsigned i = 1; i <= 16; i++) {
		(void)snprintf(version, sizeof(version), "1.1.%u", i);
		control_package(c, version);
	}
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"config\": {\"level\": 5}}");
	told(c, &agent, "{\"level\":5}");
	/* What was not looked at does not say what was said before either. */
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"version\": \"1.1.16\"}");
	control_do(c, 200, "POST", "/api/v1/packages/demo/1.1.16/revoke", "{}");
	control_enrol(c, &other, "web2");
	control_say_status(c, &other, "1.0.1", "running");
	told(c, &other, "{\"level\":5}");
}

static void what_could_not_be_assigned_any_more_can_be_disabled(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *assignment = NULL;

	control_package(c, "1.0.0");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
	control_do(c, 200, "POST", "/api/v1/packages/demo/1.0.0/revoke", "{}");
	control_refused(c, 409, "not-approved", "PATCH", "/api/v1/assignments/1",
			"{\"enabled\": false, \"priority\": 1}");
	assignment = control_ask(c, 200, "PATCH", "/api/v1/assignments/1", "{\"enabled\": false}");
	assert_true(json_is_false(json_object_get(assignment, "enabled")));
	control_refused(c, 409, "not-approved", "PATCH", "/api/v1/assignments/1",
			"{\"enabled\": true}");
}

static void a_bundle_that_joins_an_approved_package_waits_for_its_own_approval(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.arch = "aarch64"};
	struct bundle_maker maker;
	char manifest[512];

	bundle_maker_init(&maker);
	control_manifest(manifest, sizeof(manifest), "1.0.0", "");
	bundle_maker_set_text(&maker, "addon.yaml", manifest);
	json_decref(control_upload(c, 201, &maker, "1.0.0", "amd64"));
	control_do(c, 200, "POST", "/api/v1/packages/demo/1.0.0/approve", "{}");
	bundle_maker_elf(maker.binary, EM_AARCH64);
	json_decref(control_upload(c, 201, &maker, "1.0.0", "arm64"));
	control_enrol(c, &agent, "web1");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"latest\", \"selector\": \"\"}");
	explained(c, "not-approved", "");
	control_do(c, 200, "POST", "/api/v1/packages/demo/1.0.0/approve", "{}");
	explained(c, "offered", "1.0.0");
}

static void a_pre_release_is_the_latest_only_where_it_runs(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	control_package(c, "2.0.0-rc.1");
	control_enrol(c, &agent, "web1");
	control_refused(c, 409, "not-approved", "POST", "/api/v1/assignments",
			"{\"addon\": \"demo\", \"version\": \"latest\", \"selector\": \"\"}");
	control_package(c, "1.0.0");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"latest\", \"selector\": \"\"}");
	explained(c, "offered", "1.0.0");
	control_say_status(c, &agent, "2.0.0-rc.1", "running");
	explained(c, "offered", "2.0.0-rc.1");
	control_package(c, "2.0.0");
	explained(c, "offered", "2.0.0");
}

static void where_the_new_version_is_revoked_the_old_one_is_offered(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	control_say_status(c, &rollout_agents[0], "", "stopped");
	rollout_start(c, "\"waves\": [\"100%\"]");
	assert_int_equal(rollout_count_wanted(c, "2.0.0"), ROLLOUT_HOSTS);
	control_do(c, 200, "POST", "/api/v1/packages/demo/2.0.0/revoke", "{}");
	assert_int_equal(rollout_count_wanted(c, "1.0.0"), ROLLOUT_HOSTS);
}

static void revoking_the_new_version_stops_it(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *assignment = NULL;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [2], \"revert\": true");
	rollout_follow(c, "2.0.0", "running");
	control_do(c, 200, "POST", "/api/v1/packages/demo/2.0.0/revoke", "{}");
	rollout_live_for(c, 5);
	rollout_is(c, "reverted", 1);
	assignment = control_ask(c, 200, "GET", "/api/v1/assignments/1", NULL);
	assert_string_equal(control_text(assignment, "version"), "1.0.0");
}

static void disabling_the_assignment_halts_it(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [2]");
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"enabled\": false}");
	rollout_live_for(c, 100);
	rollout_is(c, "halted", 1);
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"enabled\": true}");
	control_do(c, 200, "POST", "/api/v1/rollouts/1/resume", NULL);
	rollout_follow(c, "2.0.0", "running");
	rollout_live_for(c, 20);
	rollout_is(c, "running", 2);
}

static void a_wave_of_hosts_that_were_all_left_out_proves_nothing(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	for (size_t i = 0; i < ROLLOUT_HOSTS; i++) {
		rollout_agents[i].arch = "arm64";
		control_describe(c, &rollout_agents[i]);
	}
	rollout_start(c, "\"waves\": [2]");
	rollout_live_for(c, 5);
	rollout_is(c, "halted", 1);
	/* An operator may know better. */
	control_do(c, 200, "POST", "/api/v1/rollouts/1/resume", NULL);
	rollout_live_for(c, 10);
	rollout_is(c, "completed", 2);
}

static void a_wave_of_hosts_that_all_failed_as_they_may_proves_nothing(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1], \"max_failures\": 1");
	rollout_follow(c, "1.0.0", "rolled-back");
	rollout_live_for(c, 5);
	rollout_is(c, "halted", 1);
	control_do(c, 200, "POST", "/api/v1/rollouts/1/resume", NULL);
	rollout_live_for(c, 5);
	rollout_is(c, "running", 2);
}

static void who_failed_has_failed_although_a_gate_keeps_it_from_the_version_since(void **state)
{
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [\"100%\"], \"max_failures\": 3");
	rollout_follow(c, "2.0.0", "quarantined");
	for (size_t i = 0; i < ROLLOUT_HOSTS; i++) {
		rollout_agents[i].arch = "arm64";
		control_describe(c, &rollout_agents[i]);
	}
	rollout_live_for(c, 5);
	rollout_is(c, "halted", 1);
}

static void an_assignment_stays_with_its_addon_while_it_has_a_rollout(void **state)
{
	static const char other[] = "{\"addon\": \"other\"}";
	struct control *c = *state;

	rollout_make_hosts(c);
	rollout_start(c, "\"waves\": [1]");
	control_refused(c, 409, "rollout-active", "PATCH", "/api/v1/assignments/1", other);
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"addon\": \"demo\"}");
	control_do(c, 200, "POST", "/api/v1/rollouts/1/abort", "{}");
	control_refused(c, 409, "rollout-active", "PATCH", "/api/v1/assignments/1", other);
	/* What is there to find then is the package. */
	control_do(c, 200, "POST", "/api/v1/rollouts/1/abort", "{\"revert\": true}");
	control_refused(c, 409, "not-approved", "PATCH", "/api/v1/assignments/1", other);
}

static bool is_confirmed(struct control *c, struct control_agent *agent)
{
	const struct control_said *said;

	control_forget(c);
	control_tick(c);
	said = control_last(c, agent);
	assert_non_null(said);
	return memmem(said->data, said->size, "confirm_removal", strlen("confirm_removal")) != NULL;
}

static void a_confirmed_removal_is_none_when_its_offer_comes_back(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	control_say_status(c, &agent, "1.0.0", "running");
	control_do(c, 200, "POST", "/api/v1/hosts/1/confirm-removal", "{}");
	assert_true(is_confirmed(c, &agent));
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
	assert_false(is_confirmed(c, &agent));
	control_do(c, 204, "DELETE", "/api/v1/assignments/1", NULL);
	assert_false(is_confirmed(c, &agent));
	/* And is one again when it is confirmed again. */
	control_do(c, 200, "POST", "/api/v1/hosts/1/confirm-removal", "{}");
	assert_true(is_confirmed(c, &agent));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_host_keeps_what_it_runs_where_it_cannot_have_what_is_assigned),
		TEST(what_a_host_keeps_it_keeps_with_the_configuration_that_fits),
		TEST(each_of_many_assignments_keeps_its_own),
		TEST(an_old_version_gets_what_is_said_now_however_many_came_after_it),
		TEST(what_could_not_be_assigned_any_more_can_be_disabled),
		TEST(a_bundle_that_joins_an_approved_package_waits_for_its_own_approval),
		TEST(a_pre_release_is_the_latest_only_where_it_runs),
		TEST(where_the_new_version_is_revoked_the_old_one_is_offered),
		TEST(revoking_the_new_version_stops_it),
		TEST(disabling_the_assignment_halts_it),
		TEST(a_wave_of_hosts_that_were_all_left_out_proves_nothing),
		TEST(a_wave_of_hosts_that_all_failed_as_they_may_proves_nothing),
		TEST(who_failed_has_failed_although_a_gate_keeps_it_from_the_version_since),
		TEST(an_assignment_stays_with_its_addon_while_it_has_a_rollout),
		TEST(a_confirmed_removal_is_none_when_its_offer_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
