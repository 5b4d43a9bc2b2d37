/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdlib.h>

#include "agent_world_json.h"

/* The agent between them, step by step. */

static inline void world_begin(struct world *world)
{
	*world = (struct world){
		.policy = {.removal_delay = WORLD_DELAY, .mass_removal = WORLD_MASS},
		.now = 1700000000,
		.connection = 1
        };
}

static inline void world_end(struct world *world)
{
	reconcile_result_done(&world->result);
	desired_done(&world->desired);
	offer_done(&world->offer);
	overrides_done(&world->overrides);
	host_done(&world->host);
	memory_done(&world->memory);
}

static inline int world_setup(void **state)
{
	struct world *world = malloc(sizeof(*world));

	assert_non_null(world);
	world_begin(world);
	*state = world;
	return 0;
}

static inline int world_teardown(void **state)
{
	world_end(*state);
	free(*state);
	return 0;
}

/* *seconds* pass, and the agent looks. */
static inline void world_step(struct world *world, uint64_t seconds)
{
	struct reconcile_input input = {
		.offer = &world->offer,
		.desired = &world->desired,
		.host = &world->host,
		.policy = &world->policy,
		.elapsed = seconds,
		.connection = world->connection,
	};

	world->now += seconds;
	input.now = world->now;
	desired_done(&world->desired);
	assert_int_equal(desired_make(&world->offer, &world->overrides, &world->desired), 0);
	reconcile_result_done(&world->result);
	assert_int_equal(reconcile(&input, &world->memory, &world->result), 0);
}

static inline const struct step *world_find(const struct world *world, const char *id)
{
	for (size_t i = 0; i < world->result.count; i++) {
		if (strcmp(world->result.steps[i].id, id) == 0)
			return &world->result.steps[i];
	}
	fail_msg("nothing is known of '%s'", id);
	abort(); /* fail_msg() does not return, which compilers do not know */
}

#define assert_step(world, id, wanted) assert_int_equal(world_find((world), (id))->kind, (wanted))
#define assert_wait(world, id, why)                                           \
	do {                                                                  \
		assert_int_equal(world_find((world), (id))->kind, STEP_WAIT); \
		assert_string_equal(world_find((world), (id))->name, (why));  \
	} while (0)

/* The add-on was installed as it is wanted now, and made this plan. */
static inline void world_applied(struct world *world, const char *id, const char *plan)
{
	const struct wanted *wanted;

	desired_done(&world->desired);
	assert_int_equal(desired_make(&world->offer, &world->overrides, &world->desired), 0);
	wanted = desired_find(&world->desired, id);
	assert_non_null(wanted);
	reconcile_succeeded(memory_get(&world->memory, id), wanted, plan);
}

static inline void world_failed(struct world *world, const char *id,
				struct reconcile_failure failure)
{
	failure.name = failure.name ? failure.name : "test";
	failure.text = failure.text ? failure.text : "it failed";
	reconcile_failed(memory_get(&world->memory, id), desired_find(&world->desired, id),
			 &failure, world->now, 0);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NOTHING   ((const char *const[]){NULL})
