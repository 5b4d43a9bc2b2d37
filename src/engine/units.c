/* SPDX-License-Identifier: Apache-2.0 */

/* Stopping and starting what a plan has, in the order that keeps an old unit from starting a new
 * binary. */

#include "engine/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "plan/plan_paths.h"

/* How long a start of all units is waited for; the watch tells what comes of it after that. */
#define START_TIMEOUT (180 * CLOCK_USEC_PER_SEC)
/* A start that takes longer is looked at, so often. */
#define START_LOOK_USEC (1 * CLOCK_USEC_PER_SEC)
#define LOOK_USEC       (100 * CLOCK_USEC_PER_MSEC)
#define LOOK_MIN_USEC   (5 * CLOCK_USEC_PER_MSEC)
#define RUN_TIMEOUT     (30 * CLOCK_USEC_PER_SEC)

static uint64_t time_until(uint64_t deadline)
{
	uint64_t now = clock_monotonic_usec();

	return now < deadline ? deadline - now : 0;
}

static int stop_unit(struct manager *manager, const char *name, uint64_t deadline)
{
	char job[32] = "";
	int r = manager_stop(manager, name, time_until(deadline), job);

	if (r == -ETIMEDOUT)
		return manager_kill(manager, name);
	return r;
}

int units_stop(struct manager *manager, const struct plan *plan, uint64_t timeout_usec)
{
	uint64_t deadline = clock_monotonic_usec() + timeout_usec;
	int error = 0;

	if (!manager || !plan)
		return 0;
	for (int timers = 1; timers >= 0; timers--) {
		for (size_t i = 0; i < plan->n_units; i++) {
			int r;

			if (plan->units[i].is_timer != (timers == 1))
				continue;
			/* One that does not die keeps none of the others alive. */
			r = stop_unit(manager, plan->units[i].name, deadline);
			if (r < 0 && error == 0)
				error = r;
		}
	}
	return error;
}

bool units_is_started(const struct plan *plan, const struct plan_unit *unit)
{
	if (unit->is_primary)
		return true;
	for (size_t i = 0; i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];

		if (object->type == PLAN_LINK && path_is_below(object->path, PLAN_UNIT_BASE) &&
		    strcmp(path_last_name(object->path), unit->name) == 0)
			return true;
	}
	return false;
}

int units_forget(struct manager *manager, const struct plan *plan)
{
	if (!manager || !plan)
		return 0;
	for (size_t i = 0; i < plan->n_units; i++) {
		int r = manager_reset_failed(manager, plan->units[i].name);

		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

/* A start that failed has its job until the unit has stopped, which may take long: the watch is
 * told enough by the stopping. */
static int start_unit(struct manager *manager, const char *name, uint64_t deadline)
{
	int r = manager_start(manager, name, MIN(time_until(deadline), START_LOOK_USEC), NULL);

	while (r == -ETIMEDOUT) {
		cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;

		r = manager_get_unit(manager, name, &unit);
		if (r < 0 || !unit.has_job || strcmp(unit.active_state, "deactivating") == 0 ||
		    time_until(deadline) == 0)
			return r;
		clock_sleep_usec(LOOK_MIN_USEC);
		r = manager_wait(manager, LOOK_USEC);
		if (r == 0)
			r = -ETIMEDOUT;
	}
	return r;
}

int units_start(struct manager *manager, const struct plan *plan)
{
	uint64_t deadline = clock_monotonic_usec() + START_TIMEOUT;
	bool is_masked = false;
	int error = units_forget(manager, plan);

	if (error < 0 || !manager || !plan)
		return error;
	for (int timers = 0; timers <= 1; timers++) {
		for (size_t i = 0; i < plan->n_units; i++) {
			int r;

			if (plan->units[i].is_timer != (timers == 1) ||
			    !units_is_started(plan, &plan->units[i]))
				continue;
			r = start_unit(manager, plan->units[i].name, deadline);
			if (r < 0 && r != -ESHUTDOWN)
				return r;
			is_masked = is_masked || r == -ESHUTDOWN;
		}
	}
	return is_masked ? -ESHUTDOWN : 0;
}

static int run(struct manager *manager, const char *description, const char *const *argv)
{
	int status = 0;
	int r = manager_run(manager, description, argv, RUN_TIMEOUT, &status);

	if (r < 0)
		return r;
	return status == 0 ? 0 : -EIO;
}

int units_make_user(struct manager *manager, const struct plan *plan)
{
	char line[256];
	const char *argv[] = {"/usr/bin/systemd-sysusers", "--inline", line, NULL};

	if (!manager || !plan_owns_user(plan))
		return 0;
	(void)snprintf(line, sizeof(line), "u %s - \"affix add-on %s\" - -", plan->user,
		       plan->identity.id);
	return run(manager, "affix: make the user of an add-on", argv);
}

int units_make_directories(struct manager *manager, const struct plan *plan)
{
	char path[128];
	const char *argv[] = {"/usr/bin/systemd-tmpfiles", "--create", path, NULL};

	(void)snprintf(path, sizeof(path), PLAN_TMPFILES_BASE "/affix-%s.conf", plan->identity.id);
	if (!manager || !plan_find(plan, path))
		return 0;
	return run(manager, "affix: make the directories of an add-on", argv);
}
