/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The watch: looks, one after the other, until a verdict. It begins with a subject (the primary
 * service or timer) that has to become good; from then on the window passes, in which every look
 * must be good or on its way back to it (a restart that is allowed); at its end a last look, begun
 * after the end, decides.
 *
 * Looks are cheap and frequent: whatever PID 1 reports ends the wait between them, and a tenth of a
 * second is the longest wait there is, so that what dies at once is known at once.
 */

#include "engine/health.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine/health_service.h"
#include "engine/health_timer.h"

/* Between looks: at most, while a socket is tried, at least. */
#define LOOK_MAX_USEC   (100 * CLOCK_USEC_PER_MSEC)
#define LOOK_PROBE_USEC (10 * CLOCK_USEC_PER_MSEC)
#define LOOK_MIN_USEC   (5 * CLOCK_USEC_PER_MSEC)
/* The units beside the primary one. */
#define LOOK_OTHERS_USEC CLOCK_USEC_PER_SEC

/* A daemon that does not accept for so long hangs. */
#define ACCEPT_USEC      (2 * CLOCK_USEC_PER_SEC)
#define ACCEPT_LOOK_USEC (CLOCK_USEC_PER_SEC / 2)
/* The least that it may take to accept for the first time. */
#define READY_MIN_USEC (10 * CLOCK_USEC_PER_SEC)
/* The last look may find it in a restart that is allowed. */
#define LAST_LOOK_USEC (30 * CLOCK_USEC_PER_SEC)

struct subject {
	bool is_timer;
	struct health_service service;
	struct health_timer timer;
};

static void subject_init(struct subject *subject, struct manager *manager, const struct plan *plan,
			 const struct tree *tree, bool is_watch)
{
	const struct plan_unit *primary = plan_primary(plan);
	uint64_t window_usec = plan->health.window_seconds * CLOCK_USEC_PER_SEC;

	*subject = (struct subject){
		.is_timer = primary->is_timer,
		.service = HEALTH_SERVICE_INIT,
		.timer = HEALTH_TIMER_INIT,
	};
	if (primary->is_timer) {
		subject->timer.manager = manager;
		subject->timer.plan = plan;
		subject->timer.tree = tree;
		subject->timer.unit = primary->name;
		subject->timer.run_once = is_watch && plan->health.run_once;
		return;
	}
	subject->service.manager = manager;
	subject->service.plan = plan;
	subject->service.tree = tree;
	subject->service.unit = primary->name;
	subject->service.begin_usec = clock_monotonic_usec();
	subject->service.max_restarts = is_watch ? plan->health.max_restarts : UINT_MAX;
	subject->service.accept_usec = is_watch ? ACCEPT_USEC : ACCEPT_LOOK_USEC;
	subject->service.ready_usec =
		is_watch ? MAX(window_usec, (uint64_t)READY_MIN_USEC) : ACCEPT_LOOK_USEC;
}

static void subject_done(struct subject *subject)
{
	health_service_done(&subject->service);
}

static int subject_look(struct subject *subject, struct health *ret)
{
	return subject->is_timer ? health_timer_look(&subject->timer, ret)
				 : health_service_look(&subject->service, ret);
}

/* Units that nobody waits for still must not fail. */
static int look_others(struct manager *manager, const struct plan *plan, struct health *ret)
{
	for (size_t i = 0; i < plan->n_units; i++) {
		cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
		char end[HEALTH_REASON_MAX];
		int r;

		if (plan->units[i].is_primary)
			continue;
		r = manager_get_unit(manager, plan->units[i].name, &unit);
		if (r < 0)
			return r;
		if (strcmp(unit.active_state, "failed") != 0)
			continue;
		health_service_describe_end(&unit, end);
		health_set(ret, HEALTH_BAD, plan->units[i].name, "'%s' failed: %.300s",
			   plan->units[i].name, end);
		return 0;
	}
	return 0;
}

/* The time of a watch. */
struct watch {
	uint64_t window_usec;
	uint64_t end;         /* of the window; 0: it has not begun */
	uint64_t next_others; /* when the other units are looked at again */
};

/* Good only when everything was looked at after the window's end. */
static int watch_look(struct watch *watch, struct subject *subject, struct manager *manager,
		      const struct plan *plan, struct health *ret)
{
	uint64_t now = clock_monotonic_usec();
	bool is_last = watch->end != 0 && now >= watch->end;
	int r;

	if (is_last)
		subject->service.probes_since = watch->end;
	r = subject_look(subject, ret);
	if (r < 0 || ret->state == HEALTH_BAD)
		return r;
	if (ret->state == HEALTH_WAITING && is_last && now >= watch->end + LAST_LOOK_USEC) {
		ret->state = HEALTH_BAD;
		return 0;
	}
	if (is_last || now >= watch->next_others) {
		watch->next_others = now + LOOK_OTHERS_USEC;
		r = look_others(manager, plan, ret);
		if (r < 0 || ret->state == HEALTH_BAD)
			return r;
	}
	if (ret->state == HEALTH_GOOD && watch->end == 0)
		watch->end = clock_monotonic_usec() + watch->window_usec;
	if (!is_last)
		ret->state = HEALTH_WAITING;
	return 0;
}

static int watch_wait(const struct watch *watch, const struct subject *subject,
		      struct manager *manager)
{
	uint64_t now = clock_monotonic_usec();
	uint64_t usec = LOOK_MAX_USEC;
	uint64_t passed;
	int r;

	if (health_service_is_probing(&subject->service))
		usec = LOOK_PROBE_USEC;
	if (watch->end > now)
		usec = MIN(usec, watch->end - now);
	r = manager_wait(manager, usec);
	if (r < 0)
		return r;
	/* A host where much happens wakes us all the time. */
	passed = clock_monotonic_usec() - now;
	if (passed < LOOK_MIN_USEC)
		clock_sleep_usec(LOOK_MIN_USEC - passed);
	return 0;
}

int health_watch(struct manager *manager, const struct plan *plan, const struct tree *tree,
		 uint64_t window_usec, struct health *ret)
{
	CLEANUP(subject_done) struct subject subject;
	struct health health = {.state = HEALTH_WAITING};
	struct watch watch = {
		.window_usec = window_usec ? window_usec
					   : plan->health.window_seconds * CLOCK_USEC_PER_SEC,
	};
	int r;

	subject_init(&subject, manager, plan, tree, true);
	for (;;) {
		r = watch_look(&watch, &subject, manager, plan, &health);
		if (r < 0)
			return r;
		if (health.state != HEALTH_WAITING)
			break;
		r = watch_wait(&watch, &subject, manager);
		if (r < 0)
			return r;
	}
	*ret = health;
	return 0;
}

int health_look(struct manager *manager, const struct plan *plan, const struct tree *tree,
		struct health *ret)
{
	CLEANUP(subject_done) struct subject subject = {.is_timer = false};
	struct health health = {.state = HEALTH_WAITING};
	int r;

	/* A plan of affix itself has nothing that is watched. */
	if (plan->n_units == 0) {
		ret->state = HEALTH_GOOD;
		return 0;
	}
	subject_init(&subject, manager, plan, tree, false);
	for (;;) {
		r = subject_look(&subject, &health);
		if (r < 0)
			return r;
		/* Only for the socket; it has its own limit. */
		if (!health_service_is_probing(&subject.service))
			break;
		clock_sleep_usec(LOOK_MIN_USEC);
	}
	if (health.state == HEALTH_GOOD) {
		r = look_others(manager, plan, &health);
		if (r < 0)
			return r;
	}
	*ret = health;
	return 0;
}
