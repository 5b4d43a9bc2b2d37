/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "plan/plan.h"
#include "plan/tree.h"
#include "unit/manager.h"

enum health_state {
	HEALTH_WAITING,
	HEALTH_GOOD,
	HEALTH_BAD,
};

/* What was seen of a plan's units. *reason* is a sentence when bad. */
struct health {
	enum health_state state;
	char reason[512];
	char unit[128]; /* the unit at fault */
};

/*
 * Watches *plan*, whose units were just started, until its window has passed (good) or it is known
 * to fail (bad): DESIGN §5. *window_usec* replaces the plan's own window when it is not 0 (a
 * resumed watch). *restarts_before*: NRestarts that do not count. 0 with *ret*, or -errno when the
 * manager cannot be asked.
 */
must_check int health_watch(struct manager *manager, const struct plan *plan,
			    const struct tree *tree, uint64_t window_usec, struct health *ret);

/* One look, without waiting: for status and drift. */
must_check int health_look(struct manager *manager, const struct plan *plan,
			   const struct tree *tree, struct health *ret);
