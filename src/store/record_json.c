/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Records as JSON. One program writes them and the same program reads them, so every member is
 * always there, `null` where there is nothing, and anything else is a broken record: to guess what
 * is installed would be worse than to ask the administrator.
 */

#include "store/record.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/json_reader.h"
#include "plan/plan_bounds.h"

#define CREATED_MAX 1024U

static json_t *plan_or_null(const struct plan *plan)
{
	return plan ? plan_to_json(plan) : json_null();
}

static json_t *value_or_null(json_t *json)
{
	return json ? json_incref(json) : json_null();
}

static json_t *older_to_json(const struct record *record)
{
	cleanup_json json_t *array = json_array();

	for (size_t i = 0; array && i < record->n_older; i++) {
		if (json_append(array, plan_to_json(record->older[i])) < 0)
			return NULL;
	}
	return TAKE_PTR(array);
}

static json_t *floor_to_json(const struct record_floor *floor)
{
	cleanup_json json_t *json = NULL;

	if (!floor->is_set)
		return json_null();
	json = json_object();
	if (!json || json_add_uint(json, "epoch", floor->identity.epoch) < 0 ||
	    json_add_string(json, "version", floor->identity.version) < 0 ||
	    json_add_uint(json, "created", floor->identity.created) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static json_t *quarantine_entry_to_json(const struct record_quarantine *entry)
{
	cleanup_json json_t *json = json_object();
	char digest[DIGEST_TEXT_SIZE];

	digest_to_string(&entry->plan, digest);
	if (!json || json_add_string(json, "plan", digest) < 0 ||
	    json_add_string(json, "version", entry->version) < 0 ||
	    json_add_uint(json, "since", entry->since) < 0 ||
	    json_add_string(json, "reason", entry->reason) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static json_t *quarantine_to_json(const struct record *record)
{
	cleanup_json json_t *array = json_array();

	for (size_t i = 0; array && i < record->n_quarantine; i++) {
		if (json_append(array, quarantine_entry_to_json(&record->quarantine[i])) < 0)
			return NULL;
	}
	return TAKE_PTR(array);
}

static json_t *transaction_to_json(const struct record_transaction *transaction)
{
	cleanup_json json_t *json = NULL;

	if (!transaction)
		return json_null();
	json = json_object();
	if (!json ||
	    json_add_string(json, "operation", record_operation_to_string(transaction->operation)) <
		    0 ||
	    json_add_string(json, "phase", record_phase_to_string(transaction->phase)) < 0 ||
	    json_add(json, "to", plan_or_null(transaction->to)) < 0 ||
	    json_add(json, "created", json_from_strv(&transaction->created)) < 0 ||
	    json_add_string(json, "request_id", transaction->request_id) < 0 ||
	    json_add_string(json, "boot_id", transaction->boot_id) < 0 ||
	    json_add_string(json, "origin", transaction->is_local ? "local" : "fleet") < 0 ||
	    json_add(json, "purge", json_boolean(transaction->purge)) < 0 ||
	    json_add(json, "config", value_or_null(transaction->config)) < 0 ||
	    json_add(json, "evidence", value_or_null(transaction->evidence)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

json_t *record_to_json(const struct record *record)
{
	cleanup_json json_t *json = json_object();

	if (!json || json_add_uint(json, "schema", 1) < 0 ||
	    json_add_string(json, "id", record->id) < 0 ||
	    json_add_string(json, "origin", record->is_local ? "local" : "fleet") < 0 ||
	    json_add_string(json, "key", record->bound_key) < 0 ||
	    json_add_uint(json, "newest_created", record->newest_created) < 0 ||
	    json_add(json, "floor", floor_to_json(&record->floor)) < 0 ||
	    json_add(json, "held", json_boolean(record->is_held)) < 0 ||
	    json_add(json, "stopped", json_boolean(record->is_stopped)) < 0 ||
	    json_add_string(json, "hold_reason", record->hold_reason) < 0 ||
	    json_add(json, "purging", json_boolean(record->is_purging)) < 0 ||
	    json_add(json, "transaction", transaction_to_json(record->transaction)) < 0 ||
	    json_add(json, "current", plan_or_null(record->current)) < 0 ||
	    json_add(json, "previous", plan_or_null(record->previous)) < 0 ||
	    json_add(json, "older", older_to_json(record)) < 0 ||
	    json_add(json, "config", value_or_null(record->config)) < 0 ||
	    (record->configs && json_add(json, "configs", json_incref(record->configs)) < 0) ||
	    json_add(json, "created", json_from_strv(&record->created)) < 0 ||
	    json_add(json, "quarantine", quarantine_to_json(record)) < 0 ||
	    json_add(json, "results",
		     record->results ? json_incref(record->results) : json_array()) < 0)
		return NULL;
	return TAKE_PTR(json);
}

/* Whether *json* has *key* with another value than null; a missing one is a failure. */
static bool has_value(struct json_reader *reader, const json_t *json, const char *key)
{
	const json_t *value = json_object_get(json, key);

	if (reader->result == 0 && !value)
		json_reader_fail(reader, "'%s' is missing", key);
	return reader->result == 0 && !json_is_null(value);
}

static char *read_string_or_null(struct json_reader *reader, const json_t *json, const char *key)
{
	return has_value(reader, json, key) ? json_reader_copy(reader, json, key) : NULL;
}

static json_t *read_object_or_null(struct json_reader *reader, const json_t *json, const char *key)
{
	return has_value(reader, json, key)
		       ? json_incref((json_t *)json_reader_object(reader, json, key))
		       : NULL;
}

/* A plan of the add-on *id*. */
static struct plan *read_plan(struct json_reader *reader, const json_t *json, const char *id)
{
	struct json_problem problem = {0};
	cleanup_plan struct plan *plan = NULL;
	int r;

	if (reader->result != 0)
		return NULL;
	r = plan_from_json(json, &plan, &problem);
	if (r < 0)
		json_reader_break(reader, r);
	else if (r > 0)
		json_reader_fail(reader, "%.200s", problem.text);
	else if (strcmp(plan->identity.id, id) != 0)
		json_reader_fail_value(reader, "a plan of", plan->identity.id);
	return reader->result == 0 ? TAKE_PTR(plan) : NULL;
}

static struct plan *read_plan_or_null(struct json_reader *reader, const json_t *json,
				      const char *key, const char *id)
{
	struct plan *plan;

	if (!has_value(reader, json, key))
		return NULL;
	reader->where = key;
	plan = read_plan(reader, json_object_get(json, key), id);
	reader->where = NULL;
	return plan;
}

static void read_older(struct json_reader *reader, const json_t *json, struct record *record)
{
	const json_t *array = json_reader_array(reader, json, "older", RECORD_OLDER_MAX);

	if (reader->result != 0 || json_array_size(array) == 0)
		return;
	record->older = calloc(json_array_size(array), sizeof(struct plan *));
	if (!record->older) {
		json_reader_break(reader, -ENOMEM);
		return;
	}
	reader->where = "older";
	while (reader->result == 0 && record->n_older < json_array_size(array)) {
		reader->number = record->n_older + 1;
		record->older[record->n_older] =
			read_plan(reader, json_array_get(array, record->n_older), record->id);
		if (reader->result == 0)
			record->n_older++;
	}
	reader->where = NULL;
	reader->number = 0;
}

/* Directories that are removed again when they are empty. */
static void read_created(struct json_reader *reader, const json_t *json, const char *id,
			 struct strv *list)
{
	json_reader_strings(reader, json, "created", CREATED_MAX, list);
	for (size_t i = 0; reader->result == 0 && i < list->count; i++) {
		if (!plan_bounds_allow_directory(id, list->items[i]))
			json_reader_fail_value(reader, "foreign directory", list->items[i]);
	}
}

static void read_version(struct json_reader *reader, const json_t *json,
			 char version[VERSION_MAX + 1])
{
	json_reader_fill(reader, json, "version", version, VERSION_MAX + 1);
	if (reader->result == 0 && !version_is_valid(version))
		json_reader_fail_value(reader, "bad version", version);
}

static void read_floor(struct json_reader *reader, const json_t *json, struct record *record)
{
	static const char *const known[] = {"epoch", "version", "created", NULL};
	struct identity *identity = &record->floor.identity;
	const json_t *floor;

	if (!has_value(reader, json, "floor"))
		return;
	floor = json_reader_object(reader, json, "floor");
	reader->where = "floor";
	json_reader_keys(reader, floor, known);
	identity->epoch = json_reader_uint(reader, floor, "epoch", INT64_MAX);
	identity->created = json_reader_uint(reader, floor, "created", INT64_MAX);
	read_version(reader, floor, identity->version);
	memcpy(identity->id, record->id, sizeof(identity->id));
	record->floor.is_set = true;
	reader->where = NULL;
}

static void read_quarantine_entry(struct json_reader *reader, const json_t *json,
				  struct record_quarantine *entry)
{
	static const char *const known[] = {"plan", "version", "since", "reason", NULL};

	json_reader_keys(reader, json, known);
	if (digest_from_string(json_reader_string(reader, json, "plan"), &entry->plan) < 0)
		json_reader_fail(reader, "'plan' is not a BLAKE2b-512 digest");
	read_version(reader, json, entry->version);
	entry->since = json_reader_uint(reader, json, "since", INT64_MAX);
	entry->reason = json_reader_copy(reader, json, "reason");
}

static void read_quarantine(struct json_reader *reader, const json_t *json, struct record *record)
{
	const json_t *array = json_reader_array(reader, json, "quarantine", RECORD_QUARANTINE_MAX);

	if (reader->result != 0 || json_array_size(array) == 0)
		return;
	record->quarantine = calloc(json_array_size(array), sizeof(*record->quarantine));
	if (!record->quarantine) {
		json_reader_break(reader, -ENOMEM);
		return;
	}
	reader->where = "quarantine";
	while (reader->result == 0 && record->n_quarantine < json_array_size(array)) {
		size_t i = record->n_quarantine++;

		reader->number = i + 1;
		read_quarantine_entry(reader, json_array_get(array, i), &record->quarantine[i]);
	}
	reader->where = NULL;
	reader->number = 0;
}

static void read_results(struct json_reader *reader, const json_t *json, struct record *record)
{
	const json_t *array = json_reader_array(reader, json, "results", RECORD_RESULTS_MAX);

	for (size_t i = 0; i < json_array_size(array); i++) {
		if (!json_is_object(json_array_get(array, i)))
			json_reader_fail(reader, "'results' holds something that is not an object");
	}
	if (reader->result == 0)
		record->results = json_incref((json_t *)array);
}

/* Records have it where it is needed, and older ones not at all. */
static void read_configs(struct json_reader *reader, const json_t *json, struct record *record)
{
	json_t *configs = json_object_get(json, "configs");
	const json_t *text;
	const char *key;

	if (!configs)
		return;
	configs = (json_t *)json_reader_object(reader, json, "configs");
	json_object_foreach(configs, key, text)
	{
		struct digest digest;

		if (digest_from_string(key, &digest) < 0 || !json_is_string(text))
			json_reader_fail(reader, "'configs' holds what is no configuration");
	}
	if (reader->result == 0)
		record->configs = json_incref(configs);
}

/* The index of *name* among *names*; a failure if it is none. */
static unsigned read_name(struct json_reader *reader, const json_t *json, const char *key,
			  const char *(*to_string)(unsigned), unsigned n)
{
	const char *name = json_reader_string(reader, json, key);

	for (unsigned i = 0; i < n; i++) {
		if (strcmp(name, to_string(i)) == 0)
			return i;
	}
	json_reader_fail(reader, "unknown '%s'", key);
	return 0;
}

static const char *operation_name(unsigned operation)
{
	return record_operation_to_string((enum record_operation)operation);
}

static const char *phase_name(unsigned phase)
{
	return record_phase_to_string((enum record_phase)phase);
}

/* Whether it is the administrator's. */
static bool read_origin(struct json_reader *reader, const json_t *json)
{
	const char *origin = json_reader_string(reader, json, "origin");
	bool is_local = strcmp(origin, "local") == 0;

	if (!is_local && strcmp(origin, "fleet") != 0)
		json_reader_fail_value(reader, "unknown origin", origin);
	return is_local;
}

static void read_transaction(struct json_reader *reader, const json_t *json,
			     struct record_transaction *transaction, const char *id)
{
	static const char *const known[] = {"operation",  "phase",    "to",     "created",
					    "request_id", "boot_id",  "origin", "purge",
					    "config",     "evidence", NULL};

	json_reader_keys(reader, json, known);
	transaction->operation = (enum record_operation)read_name(
		reader, json, "operation", operation_name, RECORD_OPERATION_N);
	transaction->phase =
		(enum record_phase)read_name(reader, json, "phase", phase_name, RECORD_PHASE_N);
	transaction->to = read_plan_or_null(reader, json, "to", id);
	read_created(reader, json, id, &transaction->created);
	transaction->request_id = json_reader_copy(reader, json, "request_id");
	transaction->boot_id = json_reader_copy(reader, json, "boot_id");
	transaction->is_local = read_origin(reader, json);
	transaction->purge = json_reader_bool(reader, json, "purge");
	transaction->config = read_object_or_null(reader, json, "config");
	transaction->evidence = read_object_or_null(reader, json, "evidence");
	if (!transaction->to != (transaction->operation == RECORD_UNINSTALL))
		json_reader_fail(reader, "'to' does not fit the operation");
}

static void read_transaction_or_null(struct json_reader *reader, const json_t *json,
				     struct record *record)
{
	const json_t *value;

	if (!has_value(reader, json, "transaction"))
		return;
	record->transaction = calloc(1, sizeof(*record->transaction));
	if (!record->transaction) {
		json_reader_break(reader, -ENOMEM);
		return;
	}
	value = json_reader_object(reader, json, "transaction");
	if (record->transaction)
		read_transaction(reader, value, record->transaction, record->id);
}

/* Who the add-on is: what everything else is held against. */
static void read_head(struct json_reader *reader, const json_t *json, struct record *record)
{
	json_reader_fill(reader, json, "id", record->id, sizeof(record->id));
	json_reader_fill(reader, json, "key", record->bound_key, sizeof(record->bound_key));
	record->newest_created = json_reader_uint(reader, json, "newest_created", INT64_MAX);
	record->is_local = read_origin(reader, json);
	record->is_held = json_reader_bool(reader, json, "held");
	record->is_stopped = json_reader_bool(reader, json, "stopped");
	record->is_purging = json_reader_bool(reader, json, "purging");
	record->hold_reason = read_string_or_null(reader, json, "hold_reason");
	if (!manifest_id_is_recorded(record->id))
		json_reader_fail_value(reader, "bad id", record->id);
	if (!plan_bounds_is_key_id(record->bound_key))
		json_reader_fail_value(reader, "bad key id", record->bound_key);
}

int record_from_json(const json_t *json, struct record **ret, struct json_problem *reterr)
{
	static const char *const known[] = {
		"schema",      "id",      "origin",     "key",     "newest_created",
		"floor",       "held",    "stopped",    "purging", "hold_reason",
		"transaction", "current", "previous",   "older",   "config",
		"configs",     "created", "quarantine", "results", NULL};
	struct json_reader reader = {.problem = reterr};
	cleanup_record struct record *record = calloc(1, sizeof(*record));

	if (!record)
		return -ENOMEM;
	json_reader_schema(&reader, json);
	json_reader_keys(&reader, json, known);
	read_head(&reader, json, record);
	read_floor(&reader, json, record);
	read_transaction_or_null(&reader, json, record);
	record->current = read_plan_or_null(&reader, json, "current", record->id);
	record->previous = read_plan_or_null(&reader, json, "previous", record->id);
	read_older(&reader, json, record);
	record->config = read_object_or_null(&reader, json, "config");
	read_configs(&reader, json, record);
	read_created(&reader, json, record->id, &record->created);
	read_quarantine(&reader, json, record);
	read_results(&reader, json, record);
	if (reader.result == 0)
		*ret = TAKE_PTR(record);
	return reader.result;
}
