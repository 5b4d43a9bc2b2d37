/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "plan/plan.h"
#include "plan/tree.h"
#include "unit/manager.h"

#define HEALTH_REASON_MAX 512U

enum health_state {
	HEALTH_WAITING,
	HEALTH_GOOD,
	HEALTH_BAD,
};

/* What was seen of a plan's units. *reason* is a sentence, without a full stop, unless good. */
struct health {
	enum health_state state;
	char reason[HEALTH_REASON_MAX];
	char unit[128]; /* the unit at fault */
};

/*
 * Watches *plan*, whose units were just started, until its window has passed (good) or it is known
 * to fail (bad): DESIGN §5. *window_usec* replaces the plan's own window when it is not 0 (a
 * resumed watch). 0 with *ret*, or -errno when the manager cannot be asked.
 *
 * A service has its own start timeout to become active. Its ready_socket has the window's length,
 * at least 10 s, from then on to accept for the first time: then the window begins. From there on
 * the socket is tried once a second, and all is looked at again at the very end. Restarts are those
 * that systemd counts (NRestarts): reset-failed before the start makes it forget older ones.
 *
 * A timer must have a next elapse. Where the plan says run_once, its service is started, once, and
 * must succeed within its start timeout, at most 15 minutes; then the window begins.
 */
must_check int health_watch(struct manager *manager, const struct plan *plan,
			    const struct tree *tree, uint64_t window_usec, struct health *ret);

/*
 * One look for status and drift: nothing is started, restarts are not judged, and only a
 * ready_socket that is slow to accept is waited for, half a second. HEALTH_WAITING: it is still
 * starting.
 */
must_check int health_look(struct manager *manager, const struct plan *plan,
			   const struct tree *tree, struct health *ret);
