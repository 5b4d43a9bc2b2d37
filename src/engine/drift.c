/* SPDX-License-Identifier: Apache-2.0 */

/*
 * drift: the tree against the plans; what PID 1 runs is running.c's. plan: what an install would
 * make of a bundle. Both only read.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/delivery.h"
#include "engine/operation.h"
#include "engine/running.h"
#include "engine/stopped.h"
#include "plan/diff.h"
#include "plan/plan_paths.h"

/* What the machine lacks for a moment says nothing of an add-on. */
static bool is_passing(int error)
{
	return error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

/* *ret_is_seen: its files were looked at. What fails behind that is not the add-on's doing. */
static int compare_record(struct operation *operation, const struct record *record, json_t *addons,
			  bool *ret_is_seen)
{
	cleanup_diff struct diff diff = DIFF_INIT;
	json_t *json = json_object();
	json_t *items = json_array();
	bool drifted = false;
	int r;

	r = json_append(addons, json);
	if (r < 0) {
		json_decref(items);
		return r;
	}
	r = json_add(json, "items", items);
	if (r == 0)
		r = json_add_string(json, "id", record->id);
	if (r == 0)
		r = json_add_string(json, "version", record->current->identity.version);
	if (r == 0)
		r = json_add(json, "held", json_boolean(record->is_held));
	if (r == 0)
		r = plan_diff(record->current, &operation->tree, &diff);
	*ret_is_seen = r == 0;
	for (size_t i = 0; r == 0 && i < diff.count; i++)
		r = stopped_is_intended(record, &diff.items[i])
			    ? 0
			    : running_add_item(items, diff_kind_to_string(diff.items[i].kind),
					       diff.items[i].path, diff.items[i].wanted,
					       diff.items[i].found);
	if (r == 0)
		r = running_compare(operation, record, items, &drifted);
	drifted = drifted || stopped_count_damage(record, &diff) > 0;
	return r < 0 ? r : json_add(json, "drifted", json_boolean(drifted));
}

/* One that cannot be looked at, or whose record cannot be read (*record* is NULL), is one line of
 * the answer, not the end of it. */
static int add_unseen(const char *id, const struct record *record, const char *why, json_t *addons)
{
	json_t *json = json_object();
	json_t *items = json_array();
	char path[128];
	int r;

	r = json_append(addons, json);
	if (r < 0) {
		json_decref(items);
		return r;
	}
	(void)snprintf(path, sizeof(path),
		       record ? PLAN_OPT_BASE "/%s" : RECORD_DIRECTORY "/%s.json", id);
	r = json_add(json, "items", items);
	if (r == 0)
		r = json_add_string(json, "id", id);
	if (r == 0)
		r = json_add_string(json, "version",
				    record ? record->current->identity.version : NULL);
	if (r == 0)
		r = json_add(json, "held", json_boolean(record && record->is_held));
	if (r == 0)
		r = json_add(json, "drifted", record ? json_null() : json_true());
	return r < 0 ? r
		     : running_add_item(items, record ? "unseen" : "bad-record", path, NULL, why);
}

/* Who asks for one add-on is told why it cannot be looked at; of all of them, the others are. */
static int compare_id(struct operation *operation, const char *id, json_t *addons)
{
	cleanup_record struct record *record = NULL;
	size_t n = json_array_size(addons);
	bool is_seen = false;
	int r = store_load(&operation->store, id, &record, &operation->refusal);

	if (r > 0)
		return add_unseen(id, NULL, operation->refusal.text, addons);
	if (r == 0 && !record->current)
		return 0;
	if (r == 0)
		r = compare_record(operation, record, addons, &is_seen);
	if (r == 0 || is_seen || is_passing(r) || operation->call->request->id[0])
		return r;
	/* What was found of it is not all. */
	while (json_array_size(addons) > n)
		(void)json_array_remove(addons, n);
	return add_unseen(id, record, strerrordesc_np(-r), addons);
}

int operation_drift(struct operation *operation)
{
	const char *wanted = operation->call->request->id;
	cleanup_strv struct strv ids = STRV_INIT;
	json_t *addons = json_array();
	int r;

	operation->result->data = json_object();
	if (!operation->result->data || json_add(operation->result->data, "addons", addons) < 0)
		return -ENOMEM;
	r = store_list(&operation->store, &ids);
	for (size_t i = 0; r == 0 && i < ids.count; i++) {
		if (wanted[0] == '\0' || strcmp(wanted, ids.items[i]) == 0)
			r = compare_id(operation, ids.items[i], addons);
	}
	if (r == 0 && wanted[0] && json_array_size(addons) == 0)
		return operation_refuse_not_installed(operation, wanted);
	return r != 0 ? r
		      : result_set(operation->result, RESULT_DONE, "", "%zu add-on%s compared",
				   json_array_size(addons),
				   json_array_size(addons) == 1 ? "" : "s");
}

/* What the administrator's drop-ins would change of the units. */
static int add_overrides(struct operation *operation, const struct plan *plan)
{
	cleanup_diff struct diff diff = DIFF_INIT;
	json_t *list = json_array();
	int r = json_add(operation->result->data, "overrides", list);

	if (r == 0)
		r = plan_find_overrides(plan, &operation->tree, &diff);
	for (size_t i = 0; i < diff.count && r == 0; i++)
		r = json_append(list, json_string(diff.items[i].path));
	return r;
}

/* What only root can read of the files that the plan makes, the configuration with the
 * administrator's own keys, is for the administrator. */
static void withhold(json_t *plan)
{
	json_t *object;
	size_t i;

	json_array_foreach(json_object_get(plan, "objects"), i, object)
	{
		const char *mode = json_string_value(json_object_get(object, "mode"));

		if (mode && json_object_get(object, "content") && !str_ends_with(mode, "4"))
			(void)json_object_del(object, "content");
	}
}

int operation_plan(struct operation *operation)
{
	cleanup_delivery struct delivery delivery = DELIVERY_INIT;
	cleanup_record struct record *record = NULL;
	cleanup_plan struct plan *plan = NULL;
	json_t *json;
	int r;

	r = delivery_receive(operation, false, &delivery);
	if (r == 0)
		r = store_load(&operation->store, delivery.bundle->identity.id, &record,
			       &operation->refusal);
	if (r == -ENOENT)
		r = 0;
	if (r == 0)
		r = delivery_make_plan(operation, &delivery, record ? record->config : NULL, &plan);
	if (r != 0)
		return r;
	json = plan_to_json(plan);
	if (!operation->call->is_admin)
		withhold(json);
	operation->result->data = json_object();
	if (!operation->result->data || json_add(operation->result->data, "plan", json) < 0 ||
	    json_add(operation->result->data, "verified", json_true()) < 0)
		return -ENOMEM;
	r = add_overrides(operation, plan);
	if (r < 0)
		return r;
	return result_set(operation->result, RESULT_DONE, "", "the plan of '%s' %s: %zu objects",
			  plan->identity.id, plan->identity.version, plan->n_objects);
}
