/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A timer under watch: it is active, it will elapse again, and the service that it starts works.
 * The service is started by us, once, so that a broken one is found now and not tonight.
 */

#include "engine/health_timer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine/health_process.h"
#include "engine/health_service.h"

/* A run whose start takes no time is over then; others are looked at while they run. */
#define QUEUE_USEC (20 * CLOCK_USEC_PER_MSEC)
/* PID 1 ends a run that takes too long; it has the first word. */
#define RUN_SLACK_USEC (5 * CLOCK_USEC_PER_SEC)

static bool is_state(const struct manager_unit *unit, const char *state)
{
	return strcmp(unit->active_state, state) == 0;
}

static void look_timer(const struct health_timer *timer, const struct manager_unit *unit,
		       struct health *ret)
{
	if (strcmp(unit->load_state, "loaded") != 0)
		health_set(ret, HEALTH_BAD, timer->unit, "'%s' cannot be loaded by systemd (%s)",
			   timer->unit, unit->load_state);
	else if (!is_state(unit, "active") && unit->has_job)
		health_set(ret, HEALTH_WAITING, timer->unit, "'%s' is %s", timer->unit,
			   unit->active_state);
	else if (!is_state(unit, "active"))
		health_set(ret, HEALTH_BAD, timer->unit, "'%s' is not active but %s", timer->unit,
			   unit->active_state);
	/* While its service runs, a timer may not know yet: it counts from the end. */
	else if (!unit->timer_is_finite && strcmp(unit->sub_state, "running") != 0)
		health_set(ret, HEALTH_BAD, timer->unit, "'%s' will never elapse again",
			   timer->unit);
	else
		health_set(ret, HEALTH_GOOD, "", "%s", "");
}

/* Queues the run; what becomes of it is seen by looking. */
static int start_run(struct health_timer *timer, const char *service, struct health *ret)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	int r;

	r = manager_get_unit(timer->manager, service, &unit);
	if (r < 0)
		return r;
	timer->is_run = true;
	timer->run_end =
		clock_monotonic_usec() + health_service_start_timeout(&unit) + RUN_SLACK_USEC;
	/* The timer may have been quicker: then that run is the one. */
	if (is_state(&unit, "inactive") || is_state(&unit, "failed"))
		(void)memcpy(timer->before, unit.invocation_id, sizeof(timer->before));
	r = manager_start(timer->manager, service, QUEUE_USEC, NULL);
	if (r == -ENOENT || r == -ENOEXEC || r == -ESHUTDOWN) {
		health_set(ret, HEALTH_BAD, service, "'%s' cannot be started: %.300s", service,
			   manager_error(timer->manager));
		return 0;
	}
	return r == -ETIMEDOUT ? 0 : r;
}

/* A run that is long enough to be seen is held against what was granted. */
static int look_process(const struct health_timer *timer, const char *service,
			const struct manager_unit *unit, struct health *ret)
{
	char reason[HEALTH_REASON_MAX] = "";
	int r;

	if (unit->main_pid == 0)
		return 0;
	r = health_process_check(timer->plan, timer->tree, unit->main_pid, reason);
	if (r < 0)
		return r;
	if (r == HEALTH_PROCESS_E_WRONG)
		health_set(ret, HEALTH_BAD, service, "'%s': %.400s", service, reason);
	return 0;
}

static void judge_failure(const char *service, const struct manager_unit *unit, struct health *ret)
{
	char end[HEALTH_REASON_MAX];

	health_service_describe_end(unit, end);
	health_set(ret, HEALTH_BAD, service, "'%s' failed: %.300s", service, end);
}

/* It has ended, or never began. */
static void judge_run(struct health_timer *timer, const char *service,
		      const struct manager_unit *unit, struct health *ret)
{
	if (unit->exec_main_code == 0 || strcmp(unit->invocation_id, timer->before) == 0) {
		health_set(ret, HEALTH_BAD, service,
			   "'%s' was started but did not run: a condition of it does not hold",
			   service);
		return;
	}
	timer->has_succeeded = true;
}

static bool has_ended(const struct manager_unit *unit)
{
	if (unit->has_job)
		return false;
	/* RemainAfterExit=. */
	if (is_state(unit, "active"))
		return strcmp(unit->sub_state, "exited") == 0;
	return is_state(unit, "inactive");
}

static int look_service(struct health_timer *timer, const char *service, struct health *ret)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	unsigned restarts;
	int r;

	r = manager_get_unit(timer->manager, service, &unit);
	if (r < 0)
		return r;
	/* A run that systemd repeats has failed. */
	restarts = unit.restarts + (strcmp(unit.sub_state, "auto-restart") == 0 && !unit.has_job);
	if (is_state(&unit, "failed") ||
	    (timer->run_once && restarts > timer->plan->health.max_restarts)) {
		judge_failure(service, &unit, ret);
		return 0;
	}
	r = look_process(timer, service, &unit, ret);
	if (r < 0 || ret->state == HEALTH_BAD || !timer->run_once || timer->has_succeeded)
		return r;
	if (has_ended(&unit)) {
		judge_run(timer, service, &unit, ret);
		return 0;
	}
	if (clock_monotonic_usec() >= timer->run_end)
		health_set(ret, HEALTH_BAD, service, "'%s' did not end in time: it is %s (%s)",
			   service, unit.active_state, unit.sub_state);
	else
		health_set(ret, HEALTH_WAITING, service, "'%s' runs", service);
	return 0;
}

int health_timer_look(struct health_timer *timer, struct health *ret)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	int r;

	r = manager_get_unit(timer->manager, timer->unit, &unit);
	if (r < 0)
		return r;
	look_timer(timer, &unit, ret);
	if (ret->state != HEALTH_GOOD)
		return 0;
	if (timer->run_once && !timer->is_run)
		r = start_run(timer, unit.triggers, ret);
	if (r < 0 || ret->state != HEALTH_GOOD)
		return r;
	return look_service(timer, unit.triggers, ret);
}
