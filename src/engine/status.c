/* SPDX-License-Identifier: Apache-2.0 */

/* status: what the records say, and what the manager says of it now. affix-updater(8), "Status", is
 * the reference of the fields. */

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "engine/health_service.h"
#include "engine/operation.h"

static int add_time(json_t *object, const char *key, uint64_t seconds)
{
	char text[CLOCK_TEXT_SIZE];

	if (seconds == 0)
		return json_add(object, key, json_null());
	clock_format(seconds, text);
	return json_add_string(object, key, text);
}

static json_t *describe_plan(const struct plan *plan)
{
	cleanup_json json_t *json = json_object();
	char text[DIGEST_TEXT_SIZE];
	struct digest digest;
	int r = json ? plan_digest(plan, &digest) : -ENOMEM;

	if (r == 0)
		r = json_add_string(json, "version", plan->identity.version);
	if (r == 0)
		r = json_add_string(json, "arch", plan->identity.arch);
	if (r == 0)
		r = add_time(json, "created", plan->identity.created);
	if (r == 0)
		r = json_add_string(json, "key", plan->key_id);
	if (r == 0) {
		digest_to_string(&plan->bundle, text);
		r = json_add_string(json, "bundle", text);
	}
	if (r == 0) {
		digest_to_string(&digest, text);
		r = json_add_string(json, "plan", text);
	}
	return r < 0 ? NULL : TAKE_PTR(json);
}

static int add_history(json_t *json, const struct record *record)
{
	json_t *older = json_array();
	int r;

	r = json_add(json, "current",
		     record->current ? describe_plan(record->current) : json_null());
	if (r == 0)
		r = json_add(json, "previous",
			     record->previous ? describe_plan(record->previous) : json_null());
	if (r < 0) {
		json_decref(older);
		return r;
	}
	r = json_add(json, "older", older);
	for (size_t i = 0; r == 0 && i < record->n_older; i++)
		r = json_append(older, describe_plan(record->older[i]));
	return r;
}

static int add_quarantine(json_t *json, const struct record *record)
{
	json_t *list = json_array();
	int r = json_add(json, "quarantine", list);

	for (size_t i = 0; r == 0 && i < record->n_quarantine; i++) {
		const struct record_quarantine *q = &record->quarantine[i];
		char text[DIGEST_TEXT_SIZE];
		json_t *item = json_object();

		digest_to_string(&q->plan, text);
		r = json_append(list, item);
		if (r == 0)
			r = json_add_string(item, "plan", text);
		if (r == 0)
			r = json_add_string(item, "version", q->version);
		if (r == 0)
			r = json_add_string(item, "reason", q->reason);
		if (r == 0)
			r = add_time(item, "since", q->since);
	}
	return r;
}

static int add_floor(json_t *json, const struct record *record)
{
	const struct identity *identity = &record->floor.identity;
	json_t *floor;
	int r;

	if (!record->floor.is_set)
		return json_add(json, "floor", json_null());
	floor = json_object();
	r = json_add(json, "floor", floor);
	if (r == 0)
		r = json_add_uint(floor, "epoch", identity->epoch);
	if (r == 0)
		r = json_add_string(floor, "version", identity->version);
	return r < 0 ? r : add_time(floor, "created", identity->created);
}

static int add_transaction(json_t *json, const struct record *record)
{
	const struct record_transaction *transaction = record->transaction;
	json_t *item;
	int r;

	if (!transaction)
		return json_add(json, "transaction", json_null());
	item = json_object();
	r = json_add(json, "transaction", item);
	if (r == 0)
		r = json_add_string(item, "operation",
				    record_operation_to_string(transaction->operation));
	if (r == 0)
		r = json_add_string(item, "phase", record_phase_to_string(transaction->phase));
	if (r == 0)
		r = json_add_string(item, "version",
				    transaction->to ? transaction->to->identity.version : NULL);
	if (r == 0)
		r = json_add_string(item, "request_id",
				    transaction->request_id[0] ? transaction->request_id : NULL);
	return r;
}

static int add_unit(struct operation *operation, json_t *list, const char *name)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	json_t *item = json_object();
	int r;

	r = json_append(list, item);
	if (r == 0)
		r = json_add_string(item, "name", name);
	if (r == 0)
		r = manager_get_unit(operation->manager, name, &unit);
	if (r == 0)
		r = json_add_string(item, "active_state", unit.active_state);
	if (r == 0)
		r = json_add_string(item, "sub_state", unit.sub_state);
	if (r == 0)
		r = json_add_string(item, "result", unit.result);
	if (r == 0)
		r = json_add_uint(item, "main_pid", (uint64_t)MAX(unit.main_pid, 0));
	if (r == 0)
		r = json_add_uint(item, "restarts", unit.restarts);
	return r;
}

/* "running", "unhealthy", …: one word for a table and a fleet. */
static const char *state_word(const struct operation *operation, const struct record *record,
			      const struct health *health)
{
	if (record->transaction)
		return "changing";
	if (!record->current)
		return "not-installed";
	if (record->is_stopped)
		return "stopped";
	if (!operation->manager)
		return "installed";
	return health->state == HEALTH_GOOD ? "running" : "unhealthy";
}

static int add_running(struct operation *operation, json_t *json, const struct record *record)
{
	struct health health = {.state = HEALTH_GOOD};
	json_t *units = json_array();
	int r;

	r = json_add(json, "units", units);
	if (r == 0 && operation->manager && record->current) {
		for (size_t i = 0; r == 0 && i < record->current->n_units; i++)
			r = add_unit(operation, units, record->current->units[i].name);
		if (r == 0)
			r = health_look(operation->manager, record->current, &operation->tree,
					&health);
	}
	/* One that cannot be looked at is not the end of the answer about all others. */
	if (r < 0 && r != -ENOMEM) {
		health_set(&health, HEALTH_BAD, "", "it cannot be looked at: %s",
			   strerrordesc_np(-r));
		r = 0;
	}
	if (r == 0)
		r = json_add_string(json, "state", state_word(operation, record, &health));
	if (r == 0)
		r = json_add_string(json, "reason", health.reason[0] ? health.reason : NULL);
	return r;
}

static int add_results(struct operation *operation, json_t *json, const struct record *record)
{
	size_t n = json_array_size(record->results);
	cleanup_json json_t *last = NULL;

	if (n == 0)
		return json_add(json, "last_result", json_null());
	last = json_deep_copy(json_array_get(record->results, n - 1));
	if (!last)
		return -ENOMEM;
	if (!operation_carries_logs(operation))
		(void)json_object_del(last, "log");
	return json_add(json, "last_result", TAKE_PTR(last));
}

/* Whose it is; what is not installed, whoever tried, is nobody's. */
static const char *origin(const struct record *record)
{
	if (!record->current)
		return NULL;
	return record->is_local ? "local" : "fleet";
}

static int describe_record(struct operation *operation, const struct record *record, json_t *list)
{
	json_t *json = json_object();
	int r;

	r = json_append(list, json);
	if (r == 0)
		r = json_add_string(json, "id", record->id);
	if (r == 0)
		r = json_add(json, "installed", json_boolean(record->current != NULL));
	if (r == 0)
		r = json_add_string(json, "version",
				    record->current ? record->current->identity.version : NULL);
	if (r == 0)
		r = add_running(operation, json, record);
	if (r == 0)
		r = json_add_string(json, "origin", origin(record));
	if (r == 0)
		r = json_add(json, "held", json_boolean(record->is_held));
	if (r == 0)
		r = json_add_string(json, "hold_reason", record->hold_reason);
	if (r == 0)
		r = add_history(json, record);
	if (r == 0)
		r = add_quarantine(json, record);
	if (r == 0)
		r = add_floor(json, record);
	if (r == 0)
		r = json_add_string(json, "bound_key",
				    record->bound_key[0] ? record->bound_key : NULL);
	if (r == 0)
		r = add_transaction(json, record);
	return r < 0 ? r : add_results(operation, json, record);
}

/* A record that cannot be read is one line of the answer, not the end of it. */
static int describe_broken(const struct operation *operation, const char *id, json_t *list)
{
	json_t *json = json_object();
	int r;

	r = json_append(list, json);
	if (r == 0)
		r = json_add_string(json, "id", id);
	if (r == 0)
		r = json_add_string(json, "state", "bad-record");
	return r < 0 ? r : json_add_string(json, "reason", operation->refusal.text);
}

static int describe_id(struct operation *operation, const char *id, json_t *list)
{
	cleanup_record struct record *record = NULL;
	int r = store_load(&operation->store, id, &record, &operation->refusal);

	if (r > 0)
		return describe_broken(operation, id, list);
	return r < 0 ? r : describe_record(operation, record, list);
}

int operation_status(struct operation *operation)
{
	const char *wanted = operation->call->request->id;
	cleanup_strv struct strv ids = STRV_INIT;
	json_t *list = json_array();
	int r;

	operation->result->data = json_object();
	if (!operation->result->data || json_add(operation->result->data, "addons", list) < 0)
		return -ENOMEM;
	r = store_list(&operation->store, &ids);
	if (r == 0 && wanted[0] && !strv_has(&ids, wanted))
		return operation_refuse_not_installed(operation, wanted);
	for (size_t i = 0; r == 0 && i < ids.count; i++) {
		if (wanted[0] == '\0' || strcmp(wanted, ids.items[i]) == 0)
			r = describe_id(operation, ids.items[i], list);
	}
	return r < 0 ? r
		     : result_set(operation->result, RESULT_DONE, "", "%zu add-on%s",
				  json_array_size(list), json_array_size(list) == 1 ? "" : "s");
}
