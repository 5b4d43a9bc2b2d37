/* SPDX-License-Identifier: Apache-2.0 */

#include "agent_world.h"

static void what_is_offered_is_installed_once(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe"));
	world_host(world, NOTHING);
	world_step(world, 0);
	assert_step(world, "probe", STEP_INSTALL);
	world_applied(world, "probe", "p1");
	world_host(world, LIST("probe 1.0.0 p1"));
	world_step(world, 10);
	assert_step(world, "probe", STEP_NONE);
	assert_true(world->result.wake == UINT64_MAX);
}

static void nothing_is_done_before_the_updater_answers(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe"));
	world_step(world, 0);
	assert_int_equal(world->result.count, 0);
}

static void a_lost_memory_costs_a_request_and_nothing_else(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe"));
	world_host(world, LIST("probe 1.0.0 p1"));
	world_step(world, 0);
	assert_step(world, "probe", STEP_INSTALL);
}

static void another_version_is_installed_and_another_configuration_configured(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe"));
	world_applied(world, "probe", "p1");
	world_host(world, LIST("probe 1.0.0 p1"));
	world_settings(world, "{\"configs\":{\"probe\":{\"a\":1}}}");
	world_step(world, 1);
	assert_step(world, "probe", STEP_CONFIGURE);
	world_offer(world, LIST("probe=1.1.0"));
	world_step(world, 1);
	assert_step(world, "probe", STEP_INSTALL);
}

/* From 1.0.0, which has the hash p1, to 1.1.0, which has p2. */
static void upgrade_probe(struct world *world)
{
	world_offer(world, LIST("probe"));
	world_applied(world, "probe", "p1");
	world_offer(world, LIST("probe=1.1.0"));
	world_applied(world, "probe", "p2");
}

static void what_ran_before_is_gone_back_to_and_then_configured(void **state)
{
	struct world *world = *state;
	const char *upgraded = "probe 1.1.0 p2 {\"previous\":{\"version\":\"1.0.0\"}}";
	const struct memory_addon *memory;

	upgrade_probe(world);
	world_host(world, LIST(upgraded));
	world_step(world, 1);
	assert_step(world, "probe", STEP_NONE);
	world_offer(world, LIST("probe"));
	world_step(world, 1);
	assert_step(world, "probe", STEP_ROLLBACK);
	reconcile_rolled_back(memory_get(&world->memory, "probe"),
			      desired_find(&world->desired, "probe"), "p1");
	world_host(world, LIST("probe 1.0.0 p1 {\"previous\":{\"version\":\"1.1.0\"}}"));
	world_step(world, 1);
	assert_step(world, "probe", STEP_CONFIGURE);
	world_applied(world, "probe", "p1");
	world_step(world, 1);
	assert_step(world, "probe", STEP_NONE);
	memory = memory_find(&world->memory, "probe");
	assert_string_equal(memory->content_hash, "probe1.0.0");
	assert_string_equal(memory->previous_hash, "probe1.1.0");
	/* Forth is an installation. */
	world_offer(world, LIST("probe=1.1.0"));
	world_step(world, 1);
	assert_step(world, "probe", STEP_INSTALL);
}

static void what_is_gone_back_to_keeps_its_rights_and_that_is_not_hidden(void **state)
{
	struct world *world = *state;

	upgrade_probe(world);
	world_offer(world, LIST("probe"));
	world_settings(world, "{\"configs\":{},\"addons\":{\"probe\":{\"capabilities\":[]}}}");
	world_host(world, LIST("probe 1.1.0 p2 {\"previous\":{\"version\":\"1.0.0\"}}"));
	world_step(world, 1);
	assert_step(world, "probe", STEP_ROLLBACK);
	reconcile_rolled_back(memory_get(&world->memory, "probe"),
			      desired_find(&world->desired, "probe"), "p1");
	world_host(world, LIST("probe 1.0.0 p1 {\"previous\":{\"version\":\"1.1.0\"}}"));
	world_step(world, 1);
	assert_step(world, "probe", STEP_INSTALL);
}

static void nothing_but_the_version_before_is_gone_back_to(void **state)
{
	struct world *world = *state;

	upgrade_probe(world);
	/* The updater has it no more, or another one. */
	world_offer(world, LIST("probe"));
	world_host(world, LIST("probe 1.1.0 p2 {\"previous\":null}"));
	world_step(world, 1);
	assert_step(world, "probe", STEP_INSTALL);
	world_host(world, LIST("probe 1.1.0 p2 {\"previous\":{\"version\":\"0.9.0\"}}"));
	world_step(world, 1);
	assert_step(world, "probe", STEP_INSTALL);
	/* Another bundle of the same version. */
	world_host(world, LIST("probe 1.1.0 p2 {\"previous\":{\"version\":\"1.0.0\"}}"));
	(void)snprintf(memory_get(&world->memory, "probe")->previous_hash, DESIRED_KEY_SIZE,
		       "other");
	world_step(world, 1);
	assert_step(world, "probe", STEP_INSTALL);
}

static void what_ran_before_is_gone_back_to_where_the_updater_calls_it_older(void **state)
{
	struct world *world = *state;

	/* 2.0.0, and then 1.0.0 of a later epoch. */
	world_offer(world, LIST("probe=2.0.0"));
	world_applied(world, "probe", "p2");
	world_offer(world, LIST("probe"));
	world_applied(world, "probe", "p1");
	world_host(world, LIST("probe 1.0.0 p1 {\"previous\":{\"version\":\"2.0.0\"}}"));
	world_offer(world, LIST("probe=2.0.0"));
	world_step(world, 1);
	assert_step(world, "probe", STEP_INSTALL);
	world_failed(world, "probe",
		     (struct reconcile_failure){.kind = MEMORY_PERMANENT, .name = "downgrade"});
	world_step(world, 1);
	assert_step(world, "probe", STEP_ROLLBACK);
	world_failed(world, "probe",
		     (struct reconcile_failure){.kind = MEMORY_PERMANENT, .name = "no-previous"});
	world_step(world, 1);
	assert_wait(world, "probe", "no-previous");
}

static void a_rollback_that_is_refused_is_not_tried_again(void **state)
{
	struct world *world = *state;

	upgrade_probe(world);
	world_offer(world, LIST("probe"));
	world_host(world, LIST("probe 1.1.0 p2 {\"previous\":{\"version\":\"1.0.0\"}}"));
	world_step(world, 1);
	world_failed(world, "probe",
		     (struct reconcile_failure){.kind = MEMORY_PERMANENT,
						.name = "rollback-impossible"});
	world_step(world, 10UL * 86400);
	assert_wait(world, "probe", "rollback-impossible");
}

static void narrower_capabilities_and_limits_need_an_installation(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe"));
	world_applied(world, "probe", "p1");
	world_host(world, LIST("probe 1.0.0 p1"));
	world_settings(world, "{\"configs\":{},\"addons\":{\"probe\":{\"capabilities\":[]}}}");
	world_step(world, 1);
	assert_step(world, "probe", STEP_INSTALL);
	world_applied(world, "probe", "p1");
	world_step(world, 1);
	assert_step(world, "probe", STEP_NONE);
	world_settings(world,
		       "{\"configs\":{},\"addons\":{\"probe\":{\"limits\":{\"tasks_max\":5}}}}");
	world_step(world, 1);
	assert_step(world, "probe", STEP_INSTALL);
}

static void what_somebody_changed_on_the_host_is_put_back(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe"));
	world_applied(world, "probe", "p1");
	world_host(world, LIST("probe 0.9.0 p0"));
	world_step(world, 1);
	assert_step(world, "probe", STEP_INSTALL);
}

static void what_is_held_or_changing_is_left_alone(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe", "other"));
	world_host(world, LIST("probe 0.9.0 p0 {\"held\":true,\"hold_reason\":\"mine\"}",
			       "other 0.9.0 p0 {\"transaction\":{}}"));
	world_step(world, 1);
	assert_wait(world, "probe", "held");
	assert_string_equal(world_find(world, "probe")->reason, "mine");
	assert_wait(world, "other", "changing");
}

static void an_override_patches_the_configuration(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe"));
	world_settings(world, "{\"configs\":{\"probe\":{\"a\":1,\"b\":{\"c\":2,\"d\":3}}}}");
	world_override(
		world,
		"{\"schema\":1,\"addons\":{\"probe\":{\"enabled\":null,\"config\":{\"b\":{\"c\":null,\"e\":4},\"a\":5}}}}");
	world_host(world, NOTHING);
	world_step(world, 0);
	{
		json_t *wanted = world_json("{\"a\":5,\"b\":{\"d\":3,\"e\":4}}");
		const struct wanted *found = desired_find(&world->desired, "probe");

		assert_true(json_equal(found->config, wanted));
		assert_true(found->is_overridden && found->is_enabled && !found->is_forced);
		json_decref(wanted);
	}
}

static void a_transient_failure_backs_off_and_doubles(void **state)
{
	struct world *world = *state;
	uint64_t before = 0;

	world_offer(world, LIST("probe"));
	world_host(world, NOTHING);
	for (unsigned i = 0; i < 12; i++) {
		world_step(world, 0);
		assert_step(world, "probe", STEP_INSTALL);
		world_failed(world, "probe",
			     (struct reconcile_failure){.kind = MEMORY_TRANSIENT, .name = "http"});
		world_step(world, 0);
		assert_wait(world, "probe", "http");
		assert_true(world->result.wake >= before && world->result.wake <= 3600);
		before = world->result.wake;
		world_step(world, before - 1);
		assert_step(world, "probe", STEP_WAIT);
		world_step(world, 1);
	}
	assert_int_equal(before, 3600);
}

static void retry_after_is_honoured(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe"));
	world_host(world, NOTHING);
	world_step(world, 0);
	world_failed(world, "probe",
		     (struct reconcile_failure){.kind = MEMORY_TRANSIENT, .retry_after = 500});
	world_step(world, 499);
	assert_step(world, "probe", STEP_WAIT);
	world_step(world, 1);
	assert_step(world, "probe", STEP_INSTALL);
}

static void a_permanent_failure_waits_for_another_offer_or_the_administrator(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe"));
	world_host(world, NOTHING);
	world_step(world, 0);
	world_failed(world, "probe",
		     (struct reconcile_failure){.kind = MEMORY_PERMANENT, .name = "bad-signature"});
	world_step(world, 10UL * 86400);
	assert_wait(world, "probe", "bad-signature");
	memory_clear_named_failures(&world->memory, "other-origin");
	world_step(world, 0);
	assert_wait(world, "probe", "bad-signature");
	memory_clear_named_failures(&world->memory, "bad-signature");
	world_step(world, 0);
	assert_step(world, "probe", STEP_INSTALL);
	world_failed(world, "probe",
		     (struct reconcile_failure){.kind = MEMORY_PERMANENT, .name = "bad-signature"});
	memory_clear_failures(&world->memory);
	world_step(world, 0);
	assert_step(world, "probe", STEP_INSTALL);
	world_failed(world, "probe",
		     (struct reconcile_failure){.kind = MEMORY_PERMANENT, .name = "bad-signature"});
	world_offer(world, LIST("probe=1.0.1"));
	world_step(world, 0);
	assert_step(world, "probe", STEP_INSTALL);
}

static void a_refused_download_asks_for_a_fresh_offer_and_takes_its_url(void **state)
{
	struct world *world = *state;
	json_t *item;

	world_offer(world, LIST("probe"));
	world_host(world, NOTHING);
	world_step(world, 0);
	world_failed(world, "probe",
		     (struct reconcile_failure){.kind = MEMORY_FRESH_OFFER, .is_url = true});
	world_step(world, 3600);
	assert_step(world, "probe", STEP_WAIT);
	assert_true(world->result.wants_fresh_offer);
	item = json_object_get(json_object_get(world->offer.packages, "items"), "probe");
	(void)json_object_set_new(item, "url", json_string("/a/other"));
	world_step(world, 0);
	assert_step(world, "probe", STEP_INSTALL);
	assert_false(world->result.wants_fresh_offer);
}

static void a_quarantined_plan_is_not_tried_until_it_is_cleared_or_another(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe=2.0.0"));
	world_host(world, LIST("probe 1.0.0 p1"));
	world_step(world, 0);
	world_failed(world, "probe",
		     (struct reconcile_failure){
			     .kind = MEMORY_QUARANTINED, .name = "unhealthy", .plan = "p2"});
	world_host(
		world,
		LIST("probe 1.0.0 p1 {\"quarantine\":[{\"plan\":\"p2\",\"version\":\"2.0.0\"}]}"));
	world_step(world, 100UL * 86400);
	assert_wait(world, "probe", "unhealthy");
	/* Cleared by the administrator. */
	world_host(world, LIST("probe 1.0.0 p1"));
	world_step(world, 0);
	assert_step(world, "probe", STEP_INSTALL);
	/* Another configuration makes another plan. */
	world_host(
		world,
		LIST("probe 1.0.0 p1 {\"quarantine\":[{\"plan\":\"p2\",\"version\":\"2.0.0\"}]}"));
	world_settings(world, "{\"configs\":{\"probe\":{\"a\":1}}}");
	world_step(world, 0);
	assert_step(world, "probe", STEP_INSTALL);
}

static void a_rollback_without_quarantine_does_not_loop(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe=2.0.0"));
	world_host(world, LIST("probe 1.0.0 p1"));
	world_step(world, 0);
	world_failed(world, "probe",
		     (struct reconcile_failure){
			     .kind = MEMORY_QUARANTINED, .name = "unhealthy", .plan = "p2"});
	world_step(world, 0);
	assert_step(world, "probe", STEP_WAIT);
	assert_true(world->result.wake >= 30);
}

static void a_clock_set_back_does_not_make_a_wait_long(void **state)
{
	struct world *world = *state;

	world_offer(world, LIST("probe"));
	world_host(world, NOTHING);
	world_step(world, 0);
	world_failed(world, "probe", (struct reconcile_failure){.kind = MEMORY_TRANSIENT});
	world->now -= 10UL * 86400;
	world_step(world, 0);
	assert_step(world, "probe", STEP_INSTALL);
}

static void a_revoked_package_stays_and_is_not_installed_anew(void **state)
{
	struct world *world = *state;

	world_settings(
		world,
		"{\"configs\":{},\"addons\":{\"here\":{\"revoked\":true},\"new\":{\"revoked\":true}}}");
	world_offer(world, LIST("here", "new"));
	world_host(world, LIST("here 1.0.0 p1"));
	world_step(world, 0);
	assert_step(world, "here", STEP_NONE);
	assert_wait(world, "new", "revoked");
}

static void drift_is_repaired_when_the_policy_says_so(void **state)
{
	struct world *world = *state;
	json_t *status = world_json(
		"{\"addons\":[{\"id\":\"probe\",\"version\":\"1.0.0\",\"installed\":true,\"state\":\"running\",\"origin\":\"fleet\",\"current\":{\"plan\":\"p1\"}}]}");
	json_t *drift = world_json(
		"{\"addons\":[{\"id\":\"probe\",\"drifted\":true,\"items\":[{\"kind\":\"mode\"}]}]}");

	world_offer(world, LIST("probe"));
	world_applied(world, "probe", "p1");
	assert_int_equal(host_read(status, drift, &world->host), 0);
	json_decref(status);
	json_decref(drift);
	world_step(world, 0);
	assert_step(world, "probe", STEP_NONE);
	world->policy.repair = true;
	world_step(world, 0);
	assert_step(world, "probe", STEP_REPAIR);
}

static void what_could_not_be_looked_at_is_no_drift(void **state)
{
	struct world *world = *state;
	json_t *status = world_json(
		"{\"addons\":[{\"id\":\"probe\",\"version\":\"1.0.0\",\"installed\":true,\"state\":\"running\",\"origin\":\"fleet\",\"current\":{\"plan\":\"p1\"}}]}");
	json_t *drift = world_json(
		"{\"addons\":[{\"id\":\"probe\",\"drifted\":null,\"items\":[{\"kind\":\"unseen\"}]}]}");

	world_offer(world, LIST("probe"));
	world_applied(world, "probe", "p1");
	world->policy.repair = true;
	assert_int_equal(host_read(status, drift, &world->host), 0);
	json_decref(status);
	json_decref(drift);
	assert_null(world->host.items[0].drift);
	world_step(world, 0);
	assert_step(world, "probe", STEP_NONE);
}

static void a_removal_that_fails_is_tried_again_later(void **state)
{
	struct world *world = *state;
	struct reconcile_failure failure = {
		.kind = MEMORY_PERMANENT, .name = "protected", .text = "it is protected"};

	world_host(world, LIST("probe 1.0.0 p1"));
	world_offer(world, NOTHING);
	world_step(world, 0);
	world->connection = 2;
	world_step(world, WORLD_DELAY);
	assert_step(world, "probe", STEP_UNINSTALL);
	reconcile_failed(memory_get(&world->memory, "probe"), NULL, &failure, world->now, 0);
	world_step(world, 1);
	assert_wait(world, "probe", "protected");
	world_step(world, 3600);
	assert_step(world, "probe", STEP_UNINSTALL);
}

static void the_updaters_answers_are_sorted(void **state)
{
	struct result result = {.outcome = RESULT_REFUSED};

	(void)state;
	(void)snprintf(result.name, sizeof(result.name), "busy");
	assert_int_equal(reconcile_judge_result(&result), MEMORY_TRANSIENT);
	(void)snprintf(result.name, sizeof(result.name), "no-space");
	assert_int_equal(reconcile_judge_result(&result), MEMORY_TRANSIENT);
	(void)snprintf(result.name, sizeof(result.name), "bad-signature");
	assert_int_equal(reconcile_judge_result(&result), MEMORY_PERMANENT);
	(void)snprintf(result.name, sizeof(result.name), "quarantined");
	assert_int_equal(reconcile_judge_result(&result), MEMORY_QUARANTINED);
	result.outcome = RESULT_ROLLED_BACK;
	assert_int_equal(reconcile_judge_result(&result), MEMORY_QUARANTINED);
	/* Masked by its administrator meanwhile. */
	(void)snprintf(result.name, sizeof(result.name), "held");
	assert_int_equal(reconcile_judge_result(&result), MEMORY_TRANSIENT);
	result.outcome = RESULT_INTERRUPTED;
	assert_int_equal(reconcile_judge_result(&result), MEMORY_TRANSIENT);
	result.outcome = RESULT_FAILED; /* the host is at fault: nothing against the add-on */
	assert_int_equal(reconcile_judge_result(&result), MEMORY_TRANSIENT);
	result.outcome = RESULT_DONE;
	assert_int_equal(reconcile_judge_result(&result), MEMORY_NO_FAILURE);
}

static void http_statuses_are_sorted(void **state)
{
	static const long permanent[] = {400, 404, 410, 451};
	static const long transient[] = {408, 425, 429, 500, 502, 503, 504};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(permanent); i++)
		assert_int_equal(reconcile_judge_status(permanent[i]), MEMORY_PERMANENT);
	for (size_t i = 0; i < ARRAY_SIZE(transient); i++)
		assert_int_equal(reconcile_judge_status(transient[i]), MEMORY_TRANSIENT);
	assert_int_equal(reconcile_judge_status(401), MEMORY_FRESH_OFFER);
	assert_int_equal(reconcile_judge_status(403), MEMORY_FRESH_OFFER);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_offered_is_installed_once),
		TEST(nothing_is_done_before_the_updater_answers),
		TEST(a_lost_memory_costs_a_request_and_nothing_else),
		TEST(another_version_is_installed_and_another_configuration_configured),
		TEST(what_ran_before_is_gone_back_to_and_then_configured),
		TEST(what_is_gone_back_to_keeps_its_rights_and_that_is_not_hidden),
		TEST(nothing_but_the_version_before_is_gone_back_to),
		TEST(what_ran_before_is_gone_back_to_where_the_updater_calls_it_older),
		TEST(a_rollback_that_is_refused_is_not_tried_again),
		TEST(narrower_capabilities_and_limits_need_an_installation),
		TEST(what_somebody_changed_on_the_host_is_put_back),
		TEST(what_is_held_or_changing_is_left_alone),
		TEST(an_override_patches_the_configuration),
		TEST(a_transient_failure_backs_off_and_doubles),
		TEST(retry_after_is_honoured),
		TEST(a_permanent_failure_waits_for_another_offer_or_the_administrator),
		TEST(a_refused_download_asks_for_a_fresh_offer_and_takes_its_url),
		TEST(a_quarantined_plan_is_not_tried_until_it_is_cleared_or_another),
		TEST(a_rollback_without_quarantine_does_not_loop),
		TEST(a_clock_set_back_does_not_make_a_wait_long),
		TEST(a_revoked_package_stays_and_is_not_installed_anew),
		TEST(drift_is_repaired_when_the_policy_says_so),
		TEST(what_could_not_be_looked_at_is_no_drift),
		TEST(a_removal_that_fails_is_tried_again_later),
		cmocka_unit_test(the_updaters_answers_are_sorted),
		cmocka_unit_test(http_statuses_are_sorted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
