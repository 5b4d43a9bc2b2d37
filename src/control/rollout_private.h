/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/fleet_private.h"

/* A row of `rollout`, as far as decisions go. */
struct rollout {
	int64_t id;
	int64_t assignment;
	char *addon;
	char *from_version;
	char *to_version;
	char *state;
	int64_t wave; /* from 1 */
	int64_t n_waves;
	int64_t looked_over; /* the last wave that was held against the gates */
	uint64_t wave_started;
	uint64_t wait_seconds;
	uint64_t timeout_seconds;
	int64_t max_failures;
	bool revert;
};

#define ROLLOUT_INIT     \
	(struct rollout) \
	{                \
	}

/* 0; 1 where there is none; -errno. */
must_check int rollout_load(struct store *store, int64_t id, struct rollout *ret);
void rollout_done(struct rollout *rollout);
#define cleanup_rollout CLEANUP(rollout_done)

/* Writes state and reason, the end of it if it is one, and the audit entry; everything is to be
 * offered anew. *action* is the audit's word. */
must_check int rollout_enter(struct fleet *fleet, const struct rollout *rollout, const char *state,
			     const char *reason, const char *action,
			     const struct audit_actor *actor);
