/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Plans as JSON: what `affix plan --json` prints, what records hold and what quarantine digests.
 *
 * There is one spelling of a plan: members with their default are absent, lists of capabilities go
 * by number. So a plan that was read writes the bytes it was read from. What was read is also held
 * against what a plan of that id may be (plan_bounds.h): the record is the updater's own, but a
 * forged one must not become a way to write or remove files elsewhere.
 */

#include "plan/plan.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/str.h"
#include "manifest/names.h"
#include "plan/json_reader.h"
#include "plan/plan_bounds.h"

#define PLAN_OBJECTS_MAX 1024U
#define PLAN_UNITS_MAX   BUNDLE_ENTRIES_MAX
#define CAPABILITIES_MAX 64 /* bits of a mask */

static const char *const object_types[] = {
	[PLAN_DIRECTORY] = "directory",
	[PLAN_FILE] = "file",
	[PLAN_LINK] = "link",
};
static_assert(ARRAY_SIZE(object_types) == PLAN_OBJECT_N, "every type of object has a name");

static json_t *capabilities_to_json(uint64_t mask)
{
	cleanup_json json_t *array = json_array();

	for (int bit = 0; array && bit < CAPABILITIES_MAX; bit++) {
		if (mask & 1ULL << bit &&
		    json_append(array, json_string(manifest_capability_to_string(bit))) < 0)
			return NULL;
	}
	return TAKE_PTR(array);
}

static int add_digest(json_t *json, const char *key, const struct digest *digest)
{
	char text[DIGEST_TEXT_SIZE];

	digest_to_string(digest, text);
	return json_add_string(json, key, text);
}

static int add_time(json_t *json, const char *key, uint64_t seconds)
{
	char text[CLOCK_TEXT_SIZE];

	clock_format(seconds, text);
	return json_add_string(json, key, text);
}

static json_t *addon_to_json(const struct plan *plan)
{
	const struct identity *identity = &plan->identity;
	cleanup_json json_t *json = json_object();

	if (!json || json_add_string(json, "id", identity->id) < 0 ||
	    json_add_string(json, "version", identity->version) < 0 ||
	    json_add_string(json, "os", identity->os) < 0 ||
	    json_add_string(json, "arch", identity->arch) < 0 ||
	    add_time(json, "created", identity->created) < 0 ||
	    (identity->expires > 0 && add_time(json, "expires", identity->expires) < 0) ||
	    json_add_uint(json, "epoch", identity->epoch) < 0 ||
	    add_digest(json, "bundle", &plan->bundle) < 0 ||
	    json_add_string(json, "key", plan->key_id) < 0 ||
	    json_add_string(json, "supervision",
			    manifest_supervision_to_string(plan->supervision)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static json_t *health_to_json(const struct manifest_health *health)
{
	cleanup_json json_t *json = json_object();

	if (!json || json_add_uint(json, "window_seconds", health->window_seconds) < 0 ||
	    json_add_uint(json, "max_restarts", health->max_restarts) < 0 ||
	    (health->ready_socket &&
	     json_add_string(json, "ready_socket", health->ready_socket) < 0) ||
	    json_add(json, "run_once", json_boolean(health->run_once)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

/* The order of struct manifest_limits. */
#define N_LIMITS 4U
static const char *const limit_names[] = {"cpu_max_percent", "memory_high_bytes",
					  "memory_max_bytes", "tasks_max", NULL};

static int add_limits(json_t *json, const struct manifest_limits *limits)
{
	const uint64_t values[N_LIMITS] = {limits->cpu_max_percent, limits->memory_high_bytes,
					   limits->memory_max_bytes, limits->tasks_max};
	cleanup_json json_t *object = json_object();

	for (size_t i = 0; object && i < N_LIMITS; i++) {
		if (values[i] > 0 && json_add_uint(object, limit_names[i], values[i]) < 0)
			return -ENOMEM;
	}
	if (!object)
		return -ENOMEM;
	return json_object_size(object) > 0 ? json_add(json, "limits", TAKE_PTR(object)) : 0;
}

/* What only files have. */
static int add_file(json_t *json, const struct plan_object *object)
{
	int r = 0;

	if (object->capabilities != 0)
		r = json_add(json, "capabilities", capabilities_to_json(object->capabilities));
	if (r < 0 || !object->entry)
		return r < 0 ? r : json_add_string(json, "content", object->content);
	r = json_add_string(json, "entry", object->entry);
	if (r == 0)
		r = json_add_uint(json, "size", object->size);
	return r < 0 ? r : add_digest(json, "digest", &object->digest);
}

static json_t *object_to_json(const struct plan_object *object)
{
	cleanup_json json_t *json = json_object();
	char mode[8];

	(void)snprintf(mode, sizeof(mode), "%04o", object->mode & 07777U);
	if (!json || json_add_string(json, "path", object->path) < 0 ||
	    json_add_string(json, "type", object_types[object->type]) < 0 ||
	    json_add_string(json, "mode", mode) < 0 ||
	    json_add_string(json, "owner", object->owner) < 0 ||
	    json_add_string(json, "group", object->group) < 0)
		return NULL;
	if ((object->type == PLAN_FILE && add_file(json, object) < 0) ||
	    (object->type == PLAN_LINK && json_add_string(json, "target", object->target) < 0) ||
	    (object->shared && json_add(json, "shared", json_true()) < 0) ||
	    (object->seed && json_add(json, "seed", json_true()) < 0))
		return NULL;
	return TAKE_PTR(json);
}

static json_t *objects_to_json(const struct plan *plan)
{
	cleanup_json json_t *array = json_array();

	for (size_t i = 0; array && i < plan->n_objects; i++) {
		if (json_append(array, object_to_json(&plan->objects[i])) < 0)
			return NULL;
	}
	return TAKE_PTR(array);
}

static json_t *units_to_json(const struct plan *plan)
{
	cleanup_json json_t *array = json_array();

	for (size_t i = 0; array && i < plan->n_units; i++) {
		const struct plan_unit *unit = &plan->units[i];
		cleanup_json json_t *json = json_object();

		if (!json || json_add_string(json, "name", unit->name) < 0 ||
		    json_add_string(json, "type", unit->is_timer ? "timer" : "service") < 0 ||
		    json_add(json, "primary", json_boolean(unit->is_primary)) < 0 ||
		    json_append(array, TAKE_PTR(json)) < 0)
			return NULL;
	}
	return TAKE_PTR(array);
}

json_t *plan_to_json(const struct plan *plan)
{
	cleanup_json json_t *json = json_object();

	if (!json || json_add_uint(json, "schema", 1) < 0 ||
	    json_add(json, "addon", addon_to_json(plan)) < 0 ||
	    json_add_string(json, "user", plan->user) < 0 ||
	    json_add(json, "capabilities", capabilities_to_json(plan->capabilities)) < 0 ||
	    json_add(json, "file_capabilities", json_boolean(plan->file_capabilities)) < 0 ||
	    json_add_string(json, "binary", plan->binary) < 0 ||
	    add_limits(json, &plan->limits) < 0 ||
	    json_add(json, "health", health_to_json(&plan->health)) < 0 ||
	    json_add(json, "state_dirs", json_from_strv(&plan->state_dirs)) < 0 ||
	    json_add(json, "objects", objects_to_json(plan)) < 0 ||
	    json_add(json, "units", units_to_json(plan)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static uint64_t read_capabilities(struct json_reader *reader, const json_t *json, const char *key)
{
	cleanup_strv struct strv names = STRV_INIT;
	uint64_t mask = 0;

	json_reader_strings(reader, json, key, CAPABILITIES_MAX, &names);
	for (size_t i = 0; reader->result == 0 && i < names.count; i++) {
		int bit = manifest_capability_from_string(names.items[i]);

		if (bit < 0)
			json_reader_fail_value(reader, "unknown capability", names.items[i]);
		else if (mask >> bit != 0)
			json_reader_fail(reader, "'%s' is not in order", key);
		else
			mask |= 1ULL << bit;
	}
	return mask;
}

static void read_digest(struct json_reader *reader, const json_t *json, const char *key,
			struct digest *ret)
{
	const char *text = json_reader_string(reader, json, key);

	if (digest_from_string(text, ret) < 0)
		json_reader_fail(reader, "'%s' is not a BLAKE2b-512 digest", key);
}

static uint64_t read_time(struct json_reader *reader, const json_t *json, const char *key)
{
	uint64_t seconds = 0;

	if (clock_parse(json_reader_string(reader, json, key), &seconds) < 0)
		json_reader_fail(reader, "'%s' is not a time", key);
	return seconds;
}

static void read_supervision(struct json_reader *reader, const json_t *json, struct plan *plan)
{
	const char *name = json_reader_string(reader, json, "supervision");

	for (int i = 0; i < MANIFEST_SUPERVISION_N; i++) {
		if (strcmp(name, manifest_supervision_to_string((enum manifest_supervision)i)) ==
		    0) {
			plan->supervision = (enum manifest_supervision)i;
			return;
		}
	}
	json_reader_fail_value(reader, "unknown supervision", name);
}

static void read_addon(struct json_reader *reader, const json_t *json, struct plan *plan)
{
	static const char *const known[] = {"id",      "version",     "os",    "arch",
					    "created", "expires",     "epoch", "bundle",
					    "key",     "supervision", NULL};
	struct identity *identity = &plan->identity;

	json_reader_keys(reader, json, known);
	json_reader_fill(reader, json, "id", identity->id, sizeof(identity->id));
	json_reader_fill(reader, json, "version", identity->version, sizeof(identity->version));
	json_reader_fill(reader, json, "os", identity->os, sizeof(identity->os));
	json_reader_fill(reader, json, "arch", identity->arch, sizeof(identity->arch));
	json_reader_fill(reader, json, "key", plan->key_id, sizeof(plan->key_id));
	identity->created = read_time(reader, json, "created");
	if (json_object_get(json, "expires")) {
		identity->expires = read_time(reader, json, "expires");
		if (identity->expires == 0)
			json_reader_fail(reader, "'expires' is the beginning of time");
	}
	identity->epoch = json_reader_uint(reader, json, "epoch", INT64_MAX);
	read_digest(reader, json, "bundle", &plan->bundle);
	read_supervision(reader, json, plan);
	if (!manifest_id_is_recorded(identity->id))
		json_reader_fail_value(reader, "bad id", identity->id);
	if (!version_is_valid(identity->version))
		json_reader_fail_value(reader, "bad version", identity->version);
	if (!manifest_platform_is_known(identity->os, identity->arch))
		json_reader_fail_value(reader, "unknown platform", identity->arch);
	if (!plan_bounds_is_key_id(plan->key_id))
		json_reader_fail_value(reader, "bad key id", plan->key_id);
}

static void read_health(struct json_reader *reader, const json_t *json, struct plan *plan)
{
	static const char *const known[] = {"window_seconds", "max_restarts", "ready_socket",
					    "run_once", NULL};
	struct manifest_health *health = &plan->health;
	const char *socket;

	json_reader_keys(reader, json, known);
	health->window_seconds =
		(unsigned)json_reader_uint(reader, json, "window_seconds", MANIFEST_WINDOW_MAX);
	if (health->window_seconds == 0)
		json_reader_fail(reader, "'window_seconds' is 0");
	health->max_restarts = (unsigned)json_reader_uint(reader, json, "max_restarts", INT32_MAX);
	health->run_once = json_reader_bool(reader, json, "run_once");
	if (!json_object_get(json, "ready_socket"))
		return;
	health->ready_socket = json_reader_copy(reader, json, "ready_socket");
	socket = health->ready_socket;
	if (socket && (!str_starts_with(socket, "/run/") ||
		       !plan_bounds_allow_state(plan->identity.id, socket)))
		json_reader_fail_value(reader, "foreign 'ready_socket'", socket);
}

static void read_limits(struct json_reader *reader, const json_t *json, struct plan *plan)
{
	uint64_t values[N_LIMITS] = {0};

	json_reader_keys(reader, json, limit_names);
	for (size_t i = 0; i < N_LIMITS; i++) {
		if (json_object_get(json, limit_names[i]))
			values[i] = json_reader_uint(reader, json, limit_names[i], INT64_MAX);
	}
	plan->limits = (struct manifest_limits){.cpu_max_percent = values[0],
						.memory_high_bytes = values[1],
						.memory_max_bytes = values[2],
						.tasks_max = values[3]};
}

/* Every object belongs to root; only the binary with file capabilities to the group of the user,
 * and a directory of affix's own programs to their user. */
static void read_owner(struct json_reader *reader, const json_t *json, const struct plan *plan,
		       struct plan_object *object)
{
	const char *mode = json_reader_string(reader, json, "mode");

	object->owner = json_reader_copy(reader, json, "owner");
	object->group = json_reader_copy(reader, json, "group");
	if (strlen(mode) != 4 || strspn(mode, "01234567") != 4)
		json_reader_fail_value(reader, "bad mode", mode);
	if (reader->result != 0)
		return;
	object->mode = (mode_t)strtoul(mode, NULL, 8);
	if (object->mode > 0777 || (object->type != PLAN_LINK && object->mode & 022))
		json_reader_fail_value(reader, "mode out of bounds", mode);
	if (strcmp(object->owner, "root") != 0 &&
	    (!plan_is_own(plan) || !object->shared || strcmp(object->owner, plan->user) != 0))
		json_reader_fail_value(reader, "foreign owner", object->owner);
	if (strcmp(object->group, "root") != 0 && strcmp(object->group, plan->user) != 0)
		json_reader_fail_value(reader, "foreign group", object->group);
}

static void read_file(struct json_reader *reader, const json_t *json, const struct plan *plan,
		      struct plan_object *object)
{
	static const char *const from_bundle[] = {
		"path",         "type",  "mode", "owner",  "group",
		"capabilities", "entry", "size", "digest", NULL};
	static const char *const written[] = {"path",  "type",    "mode", "owner",
					      "group", "content", "seed", NULL};
	bool is_entry = json_object_get(json, "entry");

	json_reader_keys(reader, json, is_entry ? from_bundle : written);
	if (!is_entry) {
		object->content = json_reader_copy(reader, json, "content");
		if (!object->content)
			return;
		object->size = strlen(object->content);
		digest_of(object->content, object->size, &object->digest);
		return;
	}
	object->entry = json_reader_copy(reader, json, "entry");
	object->size = json_reader_uint(reader, json, "size", BUNDLE_ENTRY_SIZE_MAX);
	read_digest(reader, json, "digest", &object->digest);
	if (!json_object_get(json, "capabilities"))
		return;
	object->capabilities = read_capabilities(reader, json, "capabilities");
	if (object->capabilities == 0 || !plan->file_capabilities ||
	    object->capabilities & ~plan->capabilities)
		json_reader_fail(reader, "file capabilities that were not granted");
}

static void read_object_type(struct json_reader *reader, const json_t *json,
			     struct plan_object *object)
{
	const char *name = json_reader_string(reader, json, "type");

	for (int i = 0; i < PLAN_OBJECT_N; i++) {
		if (strcmp(name, object_types[i]) == 0) {
			object->type = (enum plan_object_type)i;
			return;
		}
	}
	json_reader_fail_value(reader, "unknown type", name);
}

/* What is there only where it is true. */
static bool read_true(struct json_reader *reader, const json_t *json, const char *key)
{
	if (!json_object_get(json, key))
		return false;
	if (!json_reader_bool(reader, json, key))
		json_reader_fail(reader, "'%s' is not true", key);
	return true;
}

static void read_object(struct json_reader *reader, const json_t *json, const struct plan *plan,
			struct plan_object *object)
{
	static const char *const directory[] = {"path",  "type",   "mode", "owner",
						"group", "shared", NULL};
	static const char *const link[] = {"path",  "type",   "mode", "owner",
					   "group", "target", "seed", NULL};

	read_object_type(reader, json, object);
	if (object->type == PLAN_DIRECTORY) {
		json_reader_keys(reader, json, directory);
		object->shared = read_true(reader, json, "shared");
	} else if (object->type == PLAN_LINK) {
		json_reader_keys(reader, json, link);
		object->target = json_reader_copy(reader, json, "target");
	} else {
		read_file(reader, json, plan, object);
	}
	object->path = json_reader_copy(reader, json, "path");
	object->seed = read_true(reader, json, "seed");
	read_owner(reader, json, plan, object);
	if (reader->result != 0)
		return;
	if (!plan_bounds_allow_object(plan, object))
		json_reader_fail_value(reader,
				       "no such object belongs to the add-on:", object->path);
}

static void read_objects(struct json_reader *reader, const json_t *json, struct plan *plan)
{
	const json_t *array = json_reader_array(reader, json, "objects", PLAN_OBJECTS_MAX);

	if (reader->result != 0 || json_array_size(array) == 0)
		return;
	plan->objects = calloc(json_array_size(array), sizeof(*plan->objects));
	if (!plan->objects) {
		json_reader_break(reader, -ENOMEM);
		return;
	}
	reader->where = "object";
	while (reader->result == 0 && plan->n_objects < json_array_size(array)) {
		struct plan_object *object = &plan->objects[plan->n_objects];

		reader->number = plan->n_objects + 1;
		read_object(reader, json_array_get(array, plan->n_objects), plan, object);
		if (reader->result == 0 && plan_find(plan, object->path))
			json_reader_fail_value(reader, "twice", object->path);
		plan->n_objects++;
	}
}

static void read_unit(struct json_reader *reader, const json_t *json, const struct plan *plan,
		      struct plan_unit *unit)
{
	static const char *const known[] = {"name", "type", "primary", NULL};
	const char *type;

	json_reader_keys(reader, json, known);
	type = json_reader_string(reader, json, "type");
	unit->is_timer = strcmp(type, "timer") == 0;
	unit->is_primary = json_reader_bool(reader, json, "primary");
	unit->name = json_reader_copy(reader, json, "name");
	if (!unit->is_timer && strcmp(type, "service") != 0)
		json_reader_fail_value(reader, "unknown type", type);
	if (unit->name && (!plan_bounds_is_own_unit(plan->identity.id, unit->name) ||
			   !str_ends_with(unit->name, unit->is_timer ? ".timer" : ".service") ||
			   !path_is_safe_name(unit->name)))
		json_reader_fail_value(reader, "foreign unit", unit->name);
}

static void read_units(struct json_reader *reader, const json_t *json, struct plan *plan)
{
	const json_t *array = json_reader_array(reader, json, "units", PLAN_UNITS_MAX);
	size_t primaries = 0;

	if (reader->result != 0)
		return;
	plan->units = calloc(MAX(json_array_size(array), 1U), sizeof(*plan->units));
	if (!plan->units) {
		json_reader_break(reader, -ENOMEM);
		return;
	}
	reader->where = "unit";
	while (reader->result == 0 && plan->n_units < json_array_size(array)) {
		struct plan_unit *unit = &plan->units[plan->n_units];

		reader->number = plan->n_units + 1;
		read_unit(reader, json_array_get(array, plan->n_units), plan, unit);
		for (size_t i = 0; reader->result == 0 && i < plan->n_units; i++) {
			if (strcmp(plan->units[i].name, unit->name) == 0)
				json_reader_fail_value(reader, "twice", unit->name);
		}
		primaries += unit->is_primary;
		plan->n_units++;
	}
	reader->number = 0;
	if (primaries != (plan_is_own(plan) ? 0 : 1))
		json_reader_fail(reader, "%zu are primary, not one", primaries);
}

/* What the process runs as, and where its binary and its state lie. */
static void read_process(struct json_reader *reader, const json_t *json, struct plan *plan)
{
	plan->user = json_reader_copy(reader, json, "user");
	plan->binary = json_reader_copy(reader, json, "binary");
	plan->capabilities = read_capabilities(reader, json, "capabilities");
	plan->file_capabilities = json_reader_bool(reader, json, "file_capabilities");
	json_reader_strings(reader, json, "state_dirs", MANIFEST_STATE_DIRS_MAX, &plan->state_dirs);
	if (reader->result != 0)
		return;
	if (!name_is_user(plan->user))
		json_reader_fail_value(reader, "bad user", plan->user);
	if (!plan_bounds_allow_binary(plan->identity.id, plan->binary))
		json_reader_fail_value(reader, "foreign binary", plan->binary);
	for (size_t i = 0; i < plan->state_dirs.count; i++) {
		if (!plan_bounds_allow_state(plan->identity.id, plan->state_dirs.items[i]))
			json_reader_fail_value(reader, "foreign state directory",
					       plan->state_dirs.items[i]);
	}
}

int plan_from_json(const json_t *json, struct plan **ret, struct json_problem *reterr)
{
	static const char *const known[] = {
		"schema", "addon",  "user",   "capabilities", "file_capabilities",
		"binary", "limits", "health", "state_dirs",   "objects",
		"units",  NULL};
	struct json_reader reader = {.problem = reterr};
	cleanup_plan struct plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return -ENOMEM;
	json_reader_schema(&reader, json);
	json_reader_keys(&reader, json, known);
	read_addon(&reader, json_reader_object(&reader, json, "addon"), plan);
	read_process(&reader, json, plan);
	if (json_object_get(json, "limits"))
		read_limits(&reader, json_reader_object(&reader, json, "limits"), plan);
	read_health(&reader, json_reader_object(&reader, json, "health"), plan);
	read_objects(&reader, json, plan);
	reader.number = 0;
	reader.where = NULL;
	read_units(&reader, json, plan);
	if (reader.result == 0)
		*ret = TAKE_PTR(plan);
	return reader.result;
}
