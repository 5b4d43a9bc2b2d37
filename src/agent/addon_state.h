/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/desired.h"
#include "agent/host.h"
#include "agent/memory.h"
#include "agent/reconcile.h"

/* What the agent does about an add-on at this moment. */
enum activity {
	ACTIVITY_NONE,
	ACTIVITY_DOWNLOADING,
	ACTIVITY_WORKING, /* the updater is at it */
};

/* One add-on in one word, for people and the fleet. Texts are borrowed. */
struct addon_state {
	const char *word;   /* "running", "degraded", "unhealthy", "restarting", "starting",
			       "stopped", "rolled-back", "quarantined", "unsupported" */
	const char *name;   /* of what is in the way, "" for nothing */
	const char *reason; /* a sentence, "" for none */
	bool is_healthy;
	bool is_failed; /* what is wanted was tried, and failed */
};

/* *wanted*, *addon* and *memory* may be NULL. */
struct addon_state addon_state_judge(const struct step *step, const struct wanted *wanted,
				     const struct host_addon *addon,
				     const struct memory_addon *memory, enum activity activity);
