/* SPDX-License-Identifier: Apache-2.0 */

#include "agent_world.h"

static void the_only_addon_goes_after_the_delay_and_two_connections(void **state)
{
	struct world *world = *state;

	world_host(world, LIST("probe 1.0.0 p1"));
	world_offer(world, NOTHING);
	world_step(world, 0);
	assert_wait(world, "probe", "removal-delay");
	assert_int_equal(world->result.wake, WORLD_DELAY);
	assert_false(world->result.wants_reconnect);
	world_step(world, WORLD_DELAY - 1);
	assert_wait(world, "probe", "removal-delay");
	world_step(world, 1);
	assert_wait(world, "probe", "removal-delay");
	assert_true(world->result.wants_reconnect);
	/* Reconnected, and not offered anything yet. */
	world->connection = 0;
	world_step(world, 1);
	assert_step(world, "probe", STEP_WAIT);
	world->connection = 2;
	world_step(world, 1);
	assert_step(world, "probe", STEP_UNINSTALL);
}

static void a_server_that_repeats_itself_does_not_get_through_sooner(void **state)
{
	struct world *world = *state;

	world_host(world, LIST("probe 1.0.0 p1"));
	for (unsigned i = 0; i < 100; i++) {
		world_offer(world, NOTHING);
		world->connection = i + 1;
		world_step(world, 0);
		assert_step(world, "probe", STEP_WAIT);
	}
	world_step(world, WORLD_DELAY);
	assert_step(world, "probe", STEP_UNINSTALL);
}

static void the_delay_begins_anew_when_it_was_offered_in_between(void **state)
{
	struct world *world = *state;

	world_host(world, LIST("probe 1.0.0 p1"));
	world_offer(world, NOTHING);
	world_step(world, 0);
	world_step(world, WORLD_DELAY - 1);
	world_offer(world, LIST("probe"));
	world_step(world, 1);
	world->connection = 2;
	world_offer(world, NOTHING);
	world_step(world, 1);
	world->connection = 3;
	world_step(world, WORLD_DELAY - 1);
	assert_step(world, "probe", STEP_WAIT);
	world_step(world, 1);
	assert_step(world, "probe", STEP_UNINSTALL);
}

static void the_delay_is_counted_over_a_restart_and_not_by_the_wall_clock(void **state)
{
	struct world *world = *state;
	struct memory again = MEMORY_INIT;
	json_t *json;

	world_host(world, LIST("probe 1.0.0 p1"));
	world_offer(world, NOTHING);
	world_step(world, 0);
	world_step(world, 600);
	json = memory_to_json(&world->memory);
	assert_int_equal(memory_from_json(json, &again), 0);
	json_decref(json);
	memory_done(&world->memory);
	world->memory = again;
	world->now += 10UL * 86400;
	world->connection = 7;
	world_step(world, 0);
	assert_wait(world, "probe", "removal-delay");
	assert_int_equal(world->result.wake, 300);
	world_step(world, 300);
	assert_step(world, "probe", STEP_UNINSTALL);
}

static void an_absent_packages_field_removes_nothing(void **state)
{
	struct world *world = *state;

	world_host(world, LIST("probe 1.0.0 p1"));
	world_step(world, 0);
	world->connection = 2;
	world_step(world, 10 * WORLD_MASS);
	assert_step(world, "probe", STEP_NONE);
}

static void all_but_one_waits_for_a_confirmation(void **state)
{
	struct world *world = *state;

	world_settings(world, "{\"configs\":{},\"is_affix\":true}");
	world_host(world, LIST("one 1.0.0 p1", "two 1.0.0 p2", "three 1.0.0 p3"));
	world_offer(world, LIST("one"));
	world_step(world, 0);
	world->connection = 2;
	world_step(world, 10 * WORLD_MASS);
	assert_wait(world, "two", "mass-removal");
	assert_wait(world, "three", "mass-removal");
	world_settings(
		world,
		"{\"configs\":{},\"is_affix\":true,\"confirm_removal\":[\"two\",\"three\"]}");
	world_step(world, 0);
	assert_step(world, "two", STEP_UNINSTALL);
	assert_step(world, "three", STEP_UNINSTALL);
}

#define AFFIXD(more)   "{\"configs\":{},\"is_affix\":true" more "}"
#define CONFIRMED_BOTH AFFIXD(",\"confirm_removal\":[\"one\",\"two\"]")

static const struct removal {
	const char *what;
	const char *settings; /* NULL: another server than affixd */
	bool ignores_confirmation;
	const char *has[3];
	const char *offered[2];
	uint64_t after; /* seconds: then *goes* does, and not before */
	const char *why;
	const char *goes[2];
	const char *stays;
} removals[] = {
	{
         .what = "a confirmation does not shorten the delay",
         .settings = CONFIRMED_BOTH,
         .has = {"one 1.0.0 p1", "two 1.0.0 p2"},
         .after = WORLD_DELAY,
         .why = "mass-removal",
         .goes = {"one", "two"},
	 },
	{
         .what = "a mass removal by another server waits a day",
         .has = {"one 1.0.0 p1", "two 1.0.0 p2"},
         .after = WORLD_MASS,
         .why = "mass-removal",
         .goes = {"one", "two"},
	 },
	{
         .what = "so does a confirmed one, where the server's word does not count",
         .settings = CONFIRMED_BOTH,
         .ignores_confirmation = true,
         .has = {"one 1.0.0 p1", "two 1.0.0 p2"},
         .after = WORLD_MASS,
         .why = "mass-removal",
         .goes = {"one", "two"},
	 },
	{
         .what = "half of two is no mass removal",
         .settings = AFFIXD(""),
         .has = {"one 1.0.0 p1", "two 1.0.0 p2"},
         .offered = {"one"},
         .after = WORLD_DELAY,
         .why = "removal-delay",
         .goes = {"two"},
	 },
	{
         .what = "what the administrator installed is neither removed nor counted",
         .settings = AFFIXD(""),
         .has = {"mine 1.0.0 p1 {\"origin\":\"local\"}", "theirs 1.0.0 p2"},
         .after = WORLD_DELAY,
         .why = "removal-delay",
         .goes = {"theirs"},
         .stays = "mine",
	 },
};

static void what_is_not_offered_goes_in_its_time(void **state)
{
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(removals); i++) {
		const struct removal *removal = &removals[i];

		print_message("%s\n", removal->what);
		world_end(world);
		world_begin(world);
		world->policy.ignores_confirmation = removal->ignores_confirmation;
		if (removal->settings)
			world_settings(world, removal->settings);
		world_host(world, removal->has);
		world_offer(world, removal->offered);
		world_step(world, 0);
		world->connection = 2;
		world_step(world, removal->after - 1);
		for (size_t k = 0; k < ARRAY_SIZE(removal->goes) && removal->goes[k]; k++)
			assert_wait(world, removal->goes[k], removal->why);
		assert_int_equal(world->result.wake, 1);
		world_step(world, 1);
		for (size_t k = 0; k < ARRAY_SIZE(removal->goes) && removal->goes[k]; k++)
			assert_step(world, removal->goes[k], STEP_UNINSTALL);
		if (removal->stays)
			assert_step(world, removal->stays, STEP_NONE);
	}
}

static void disabled_by_the_server_is_as_unassigned(void **state)
{
	struct world *world = *state;

	world_host(world, LIST("probe 1.0.0 p1"));
	world_offer(world, LIST("probe"));
	world_applied(world, "probe", "p1");
	world_settings(world, "{\"configs\":{},\"addons\":{\"probe\":{\"enabled\":false}}}");
	world_step(world, 0);
	assert_wait(world, "probe", "removal-delay");
	world->connection = 2;
	world_step(world, WORLD_DELAY);
	assert_step(world, "probe", STEP_UNINSTALL);
}

static void a_broken_offer_removes_nothing(void **state)
{
	struct world *world = *state;

	world_host(world, LIST("probe 1.0.0 p1"));
	world->offer.packages =
		world_json("{\"hash\":\"\",\"items\":{\"probe\":{\"problem\":\"no file\"}}}");
	world_step(world, 0);
	world->connection = 2;
	world_step(world, 10 * WORLD_MASS);
	assert_wait(world, "probe", "bad-offer");
}

static void the_administrator_switches_off_at_once_and_keeps_for_ever(void **state)
{
	struct world *world = *state;

	world_host(world, LIST("off 1.0.0 p1", "on 1.0.0 p2"));
	world_offer(world, LIST("off"));
	world_override(
		world,
		"{\"schema\":1,\"addons\":{\"off\":{\"enabled\":false},\"on\":{\"enabled\":true}}}");
	world_step(world, 0);
	assert_step(world, "off", STEP_UNINSTALL);
	assert_step(world, "on", STEP_NONE);
	world->connection = 2;
	world_step(world, 10 * WORLD_MASS);
	assert_step(world, "on", STEP_NONE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_only_addon_goes_after_the_delay_and_two_connections),
		TEST(a_server_that_repeats_itself_does_not_get_through_sooner),
		TEST(the_delay_begins_anew_when_it_was_offered_in_between),
		TEST(the_delay_is_counted_over_a_restart_and_not_by_the_wall_clock),
		TEST(an_absent_packages_field_removes_nothing),
		TEST(all_but_one_waits_for_a_confirmation),
		TEST(what_is_not_offered_goes_in_its_time),
		TEST(disabled_by_the_server_is_as_unassigned),
		TEST(a_broken_offer_removes_nothing),
		TEST(the_administrator_switches_off_at_once_and_keeps_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
