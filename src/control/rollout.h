/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/api_problem.h"
#include "control/audit.h"
#include "control/fleet.h"

/*
 * A rollout moves the hosts of one assignment from its version to another, wave by wave. Its state:
 * `running`; `paused` (by an operator) and `halted` (too many failures): nothing moves on; and for
 * good `completed` (the assignment now says the new version), `reverted` (all hosts get the old one
 * again), `aborted` (hosts keep what they were given, until the assignment says something else).
 */
#define ROLLOUT_WAVES_MAX   32U
#define ROLLOUT_SECONDS_MAX 604800U

struct rollout_spec {
	int64_t assignment;
	const char *version;
	/* How many hosts have the new version after each wave, in all: numbers, or "N%" of all. */
	const json_t *waves;
	uint64_t wait_seconds;    /* healthy for so long before it counts */
	uint64_t timeout_seconds; /* not healthy by then is a failure */
	uint64_t max_failures;    /* more than this many stop it */
	bool revert;              /* and give everybody the old version back */
};

/* Each 0; 1 with *reterr*; -errno. Within the caller's transaction. */
must_check int rollout_create(struct fleet *fleet, const struct rollout_spec *spec,
			      const struct audit_actor *actor, int64_t *ret_id,
			      struct api_problem *reterr);
must_check int rollout_pause(struct fleet *fleet, int64_t id, const struct audit_actor *actor,
			     struct api_problem *reterr);
/* Failures so far are accepted: they do not count any more. */
must_check int rollout_resume(struct fleet *fleet, int64_t id, const struct audit_actor *actor,
			      struct api_problem *reterr);
must_check int rollout_abort(struct fleet *fleet, int64_t id, bool revert,
			     const struct audit_actor *actor, struct api_problem *reterr);

/* The assignment says something else now: its rollout, if there is one, is over. 0 or -errno. */
must_check int rollout_supersede(struct fleet *fleet, int64_t assignment,
				 const struct audit_actor *actor);

/* Looks at all running rollouts: outcomes, the next wave, the end. 0 or -errno. */
must_check int rollout_tick(struct fleet *fleet);

/* The object of GET /api/v1/rollouts/ID. 0; 1 where there is none; -errno. */
must_check int rollout_to_json(struct fleet *fleet, int64_t id, json_t **ret);
