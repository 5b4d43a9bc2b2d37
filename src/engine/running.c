/* SPDX-License-Identifier: Apache-2.0 */

/* What PID 1 makes of a plan, against the plan: which files it reads, and whether what is to run
 * does. */

#include "engine/running.h"

#include <string.h>

#include "base/path.h"
#include "engine/health.h"
#include "engine/units.h"
#include "plan/diff.h"
#include "plan/plan_paths.h"

int running_add_item(json_t *list, const char *kind, const char *path, const char *wanted,
		     const char *found)
{
	json_t *item = json_object();
	int r;

	r = json_append(list, item);
	if (r == 0)
		r = json_add_string(item, "kind", kind);
	if (r == 0)
		r = json_add_string(item, "path", path);
	if (r == 0)
		r = json_add_string(item, "wanted", wanted);
	return r < 0 ? r : json_add_string(item, "found", found);
}

/* A service that ended by itself as it should is not stopped. */
static bool is_stopped(const struct plan *plan, const struct plan_unit *wanted,
		       const struct manager_unit *unit)
{
	return units_is_started(plan, wanted) && !unit->has_job &&
	       strcmp(unit->active_state, "inactive") == 0 &&
	       strcmp(unit->exec_type, "oneshot") != 0;
}

/* Whether somebody stopped or masked the unit. */
static int compare_state(const struct plan *plan, const struct plan_unit *wanted,
			 const struct manager_unit *unit, json_t *list, bool *ret_drifted)
{
	if (strcmp(unit->load_state, "loaded") != 0) {
		*ret_drifted = true;
		return running_add_item(list, "not-loaded", wanted->name, "loaded",
					unit->load_state);
	}
	if (!is_stopped(plan, wanted, unit))
		return 0;
	*ret_drifted = true;
	return running_add_item(list, "stopped", wanted->name, "active", unit->active_state);
}

/* The manager's view of one unit: which file it read, which drop-ins besides, and whether it has
 * read them since. */
static int compare_unit(struct operation *operation, const struct plan *plan,
			const struct plan_unit *wanted, json_t *list, bool *ret_drifted)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	cleanup_free char *path = NULL;
	const char *name = wanted->name;
	int r;

	r = str_format(&path, PLAN_UNIT_BASE "/%s", name);
	if (r == 0)
		r = manager_get_unit(operation->manager, name, &unit);
	if (r == 0)
		r = compare_state(plan, wanted, &unit, list, ret_drifted);
	if (r == 0 && strcmp(unit.fragment_path, path) != 0)
		r = running_add_item(list, "fragment", name, path, unit.fragment_path);
	if (r == 0 && unit.need_daemon_reload)
		r = running_add_item(list, "not-reloaded", name, NULL, NULL);
	for (size_t i = 0; r == 0 && i < unit.drop_in_paths.count; i++) {
		const char *drop_in = unit.drop_in_paths.items[i];

		/* Those of the administrator were found with the files. */
		if (!plan_find(plan, drop_in) && !path_is_below(drop_in, "/etc/systemd") &&
		    !path_is_below(drop_in, "/run/systemd/system"))
			r = running_add_item(list, diff_kind_to_string(DIFF_LOCAL_OVERRIDE),
					     drop_in, NULL, NULL);
	}
	return r;
}

/* Whether the units are to be looked at. While an operation changes the add-on nothing is as it
 * stays. */
static bool is_to_run(const struct operation *operation, const struct record *record)
{
	return operation->manager && record->current && !record->is_stopped && !record->transaction;
}

int running_compare(struct operation *operation, const struct record *record, json_t *list,
		    bool *ret_drifted)
{
	const struct plan *plan = record->current;
	struct health health = {0};
	int r = 0;

	if (!is_to_run(operation, record))
		return 0;
	for (size_t i = 0; r == 0 && i < plan->n_units; i++)
		r = compare_unit(operation, plan, &plan->units[i], list, ret_drifted);
	/* Of what does not run there is no more to say. */
	if (r < 0 || *ret_drifted)
		return r;
	r = health_look(operation->manager, plan, &operation->tree, &health);
	if (r == 0 && health.state != HEALTH_GOOD)
		r = running_add_item(list, "unhealthy", health.unit, NULL, health.reason);
	return r;
}

int running_needs_start(struct operation *operation, const struct record *record, bool *ret)
{
	const struct plan *plan = record->current;
	int r = 0;

	*ret = false;
	for (size_t i = 0; is_to_run(operation, record) && r == 0 && i < plan->n_units; i++) {
		cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;

		r = manager_get_unit(operation->manager, plan->units[i].name, &unit);
		if (r == 0 && (strcmp(unit.load_state, "loaded") != 0 ||
			       strcmp(unit.active_state, "failed") == 0 ||
			       is_stopped(plan, &plan->units[i], &unit)))
			*ret = true;
	}
	return r;
}
