/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Writing assignments. A change is laid over what there is and then judged as a whole, as if it
 * were new: no order of changes leads to an assignment that could not have been made at once.
 */

#include "control/assign_edit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/fleet_private.h"
#include "control/package.h"
#include "control/rollout.h"
#include "manifest/manifest.h"
#include "manifest/version.h"

#define PRIORITY_MAX    1000000
#define CONFIG_SIZE_MAX 262144U

static const char *const written_keys[] = {"addon",   "version", "host",         "selector",
					   "config",  "limits",  "capabilities", "priority",
					   "enabled", NULL};

/* What is written of an assignment; all borrowed from the object that was judged but *selector*. */
struct wanted {
	const char *addon;
	const char *version;
	int64_t host; /* or 0 */
	char *selector;
	char *config;
	char *capabilities;
	char *limits;
	int64_t priority;
	bool enabled;
};

static void wanted_done(struct wanted *wanted)
{
	free(wanted->selector);
	free(wanted->config);
	free(wanted->capabilities);
	free(wanted->limits);
}

static int read_text(const json_t *object, const char *key, const char *path, const char **ret,
		     struct api_problem *reterr)
{
	*ret = json_string_value(json_object_get(object, key));
	if (*ret)
		return 0;
	return api_refuse(reterr, 400, "bad-request", path, "'%s' is wanted, a text", key);
}

static bool is_given(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return value && !json_is_null(value);
}

/* The package that configuration and grants are judged by: the version itself, or the newest
 * approved one that is no pre-release. */
static int find_package(struct fleet *fleet, const struct wanted *wanted,
			const struct assign_package **ret, struct api_problem *reterr)
{
	const struct assign_catalog *catalog = NULL;
	bool is_latest = strcmp(wanted->version, ASSIGN_LATEST) == 0;
	int r;

	if (!manifest_id_is_valid(wanted->addon))
		return api_refuse(reterr, 400, "bad-request", "/addon",
				  "this is no id of an add-on");
	if (!is_latest && !version_is_valid(wanted->version))
		return api_refuse(reterr, 400, "bad-request", "/version",
				  "expected a version such as 1.2.0, or '%s'", ASSIGN_LATEST);
	r = fleet_catalog(fleet, &catalog);
	if (r != 0)
		return r;
	for (size_t i = 0; i < catalog->n_packages; i++) {
		const struct assign_package *package = &catalog->packages[i];

		if (strcmp(package->addon, wanted->addon) == 0 &&
		    package->state == PACKAGE_APPROVED &&
		    (is_latest ? !assign_is_prerelease(package->version)
			       : strcmp(package->version, wanted->version) == 0)) {
			*ret = package;
			return 0;
		}
	}
	return api_refuse(reterr, 409, "not-approved", "/version",
			  "there is no approved package '%s' %s; import and approve it first",
			  wanted->addon, is_latest ? "that is no pre-release" : wanted->version);
}

static int read_target(struct fleet *fleet, const json_t *object, struct wanted *wanted,
		       struct api_problem *reterr)
{
	cleanup_selector struct selector *selector = NULL;
	char problem[SELECTOR_PROBLEM_MAX];
	const json_t *host = json_object_get(object, "host");
	const char *text = NULL;
	int64_t n = 0;
	int r;

	if (is_given(object, "host") == is_given(object, "selector"))
		return api_refuse(
			reterr, 400, "bad-request", "/selector",
			"either 'host' or 'selector' is wanted (\"\" selects every host)");
	if (is_given(object, "host")) {
		wanted->host = json_integer_value(host);
		r = store_number(fleet->store, &n, 0, "SELECT 1 FROM host WHERE id = $1",
				 STORE_INT(wanted->host));
		if (r == 0 && n == 0)
			return api_refuse(reterr, 404, "not-found", "/host",
					  "there is no such host; expected its number");
		return r;
	}
	r = read_text(object, "selector", "/selector", &text, reterr);
	if (r == 0)
		r = selector_parse(text, &selector, problem);
	if (r > 0 && text)
		return api_refuse(reterr, 400, "bad-selector", "/selector", "%s", problem);
	if (r != 0)
		return r;
	wanted->selector = selector_to_string(selector);
	return wanted->selector ? 0 : -ENOMEM;
}

static int read_config(struct fleet *fleet, const json_t *object,
		       const struct assign_package *package, struct wanted *wanted,
		       struct api_problem *reterr)
{
	const json_t *config =
		is_given(object, "config") ? json_object_get(object, "config") : NULL;
	int r;

	if (config && !json_is_object(config))
		return api_refuse(reterr, 400, "bad-config", "/config",
				  "a configuration is a JSON object");
	r = assign_check_config(fleet, package, config, reterr);
	if (r != 0 || !config)
		return r;
	wanted->config = json_to_canonical(config);
	if (!wanted->config)
		return -ENOMEM;
	if (strlen(wanted->config) > CONFIG_SIZE_MAX)
		return api_refuse(reterr, 413, "bad-config", "/config",
				  "the configuration has more than %u bytes", CONFIG_SIZE_MAX);
	return 0;
}

static int package_limits(struct fleet *fleet, const struct assign_package *package, json_t **ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	cleanup_json json_t *facts = NULL;
	bool row = false;
	int r;

	r = store_select(fleet->store, &rows, "SELECT manifest FROM package WHERE id = $1",
			 STORE_INT(package->id));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0 || !row)
		return r != 0 ? r : -EBADMSG;
	facts = json_loads(store_text(rows, 0), 0, NULL);
	*ret = json_incref(json_object_get(facts, "limits"));
	return *ret ? 0 : -EBADMSG;
}

static int read_limits(struct fleet *fleet, const json_t *object,
		       const struct assign_package *package, struct wanted *wanted,
		       struct api_problem *reterr)
{
	const json_t *limits = json_object_get(object, "limits");
	cleanup_json json_t *most = NULL;
	char path[64];
	const char *key;
	json_t *value;
	int r;

	if (!is_given(object, "limits"))
		return 0;
	if (!json_is_object(limits))
		return api_refuse(reterr, 400, "bad-limits", "/limits",
				  "limits are an object such as {\"tasks_max\": 10}");
	r = package_limits(fleet, package, &most);
	if (r < 0)
		return r;
	json_object_foreach((json_t *)limits, key, value)
	{
		json_int_t bound = json_integer_value(json_object_get(most, key));

		(void)snprintf(path, sizeof(path), "/limits/%.40s", key);
		if (!json_object_get(most, key))
			return api_refuse(reterr, 400, "bad-limits", path,
					  "there is no limit of that name");
		if (!json_is_integer(value) || json_integer_value(value) <= 0)
			return api_refuse(reterr, 400, "bad-limits", path,
					  "a limit is a whole number above 0");
		if (bound > 0 && json_integer_value(value) > bound)
			return api_refuse(reterr, 409, "bad-limits", path,
					  "the package has %lld; an assignment can only lower it",
					  (long long)bound);
	}
	wanted->limits = json_to_canonical(limits);
	return wanted->limits ? 0 : -ENOMEM;
}

static int read_capabilities(const json_t *object, const struct assign_package *package,
			     struct wanted *wanted, struct api_problem *reterr)
{
	cleanup_json json_t *names = NULL;
	int r;

	if (!is_given(object, "capabilities"))
		return 0;
	r = package_read_capabilities(json_object_get(object, "capabilities"),
				      &package->os_capabilities, "/capabilities", &names, reterr);
	if (r != 0)
		return r;
	wanted->capabilities = json_dumps(names, JSON_COMPACT);
	return wanted->capabilities ? 0 : -ENOMEM;
}

static int read_rest(const json_t *object, struct wanted *wanted, struct api_problem *reterr)
{
	const json_t *priority = json_object_get(object, "priority");
	const json_t *enabled = json_object_get(object, "enabled");

	if (priority &&
	    (!json_is_integer(priority) || json_integer_value(priority) < -PRIORITY_MAX ||
	     json_integer_value(priority) > PRIORITY_MAX))
		return api_refuse(reterr, 400, "bad-request", "/priority",
				  "a priority is a whole number from -%d to %d", PRIORITY_MAX,
				  PRIORITY_MAX);
	if (enabled && !json_is_boolean(enabled))
		return api_refuse(reterr, 400, "bad-request", "/enabled", "expected true or false");
	wanted->priority = json_integer_value(priority);
	wanted->enabled = !enabled || json_is_true(enabled);
	return 0;
}

static int judge(struct fleet *fleet, const json_t *object, struct wanted *ret,
		 struct api_problem *reterr)
{
	const struct assign_package *package = NULL;
	int r;

	r = read_text(object, "addon", "/addon", &ret->addon, reterr);
	if (r == 0)
		r = read_text(object, "version", "/version", &ret->version, reterr);
	if (r == 0)
		r = find_package(fleet, ret, &package, reterr);
	if (r == 0)
		r = read_target(fleet, object, ret, reterr);
	if (r == 0)
		r = read_config(fleet, object, package, ret, reterr);
	if (r == 0)
		r = read_limits(fleet, object, package, ret, reterr);
	if (r == 0)
		r = read_capabilities(object, package, ret, reterr);
	return r == 0 ? read_rest(object, ret, reterr) : r;
}

static int check_keys(const json_t *body, struct api_problem *reterr)
{
	const char *key = json_unknown_key(body, written_keys);
	char path[API_PATH_MAX];

	if (!key)
		return 0;
	(void)snprintf(path, sizeof(path), "/%.200s", key);
	return api_refuse(reterr, 400, "bad-request", path,
			  "'%.200s' is not something that can be set", key);
}

static int audit(struct fleet *fleet, const struct audit_actor *actor, const char *action,
		 int64_t id, const json_t *before)
{
	cleanup_json json_t *after = NULL;
	char object[64];
	int r;

	(void)snprintf(object, sizeof(object), "assignment %lld", (long long)id);
	r = assign_to_json(fleet, id, &after);
	fleet_changed(fleet);
	return r < 0 ? r : audit_add(fleet->store, actor, action, object, before, after);
}

int assign_create(struct fleet *fleet, const json_t *body, const struct audit_actor *actor,
		  int64_t *ret_id, struct api_problem *reterr)
{
	__attribute__((cleanup(wanted_done))) struct wanted wanted = {0};
	int r;

	r = check_keys(body, reterr);
	if (r == 0)
		r = judge(fleet, body, &wanted, reterr);
	if (r == 0)
		r = store_number(
			fleet->store, ret_id, 0,
			"INSERT INTO assignment (addon, version, host, selector, config, "
			"capabilities, limits, priority, enabled, created, updated) "
			"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10) RETURNING id",
			STORE_TEXT(wanted.addon), STORE_TEXT(wanted.version),
			wanted.host != 0 ? STORE_INT(wanted.host) : STORE_NULL,
			STORE_TEXT(wanted.selector), STORE_TEXT(wanted.config),
			STORE_TEXT(wanted.capabilities), STORE_TEXT(wanted.limits),
			STORE_INT(wanted.priority), STORE_INT(wanted.enabled),
			STORE_INT(actor->time));
	return r == 0 ? audit(fleet, actor, "create", *ret_id, NULL) : r;
}

static int load(struct fleet *fleet, int64_t id, json_t **ret, struct api_problem *reterr)
{
	int r = assign_to_json(fleet, id, ret);

	if (r <= 0)
		return r;
	return api_refuse(reterr, 404, "not-found", NULL, "there is no assignment %lld",
			  (long long)id);
}

/* While it rolls out, some of its hosts have the other version: the configuration must fit both. */
static int judge_rollout(struct fleet *fleet, int64_t id, const json_t *object,
			 struct api_problem *reterr)
{
	const struct assign_catalog *catalog = NULL;
	const struct assign_package *package = NULL;
	const struct assignment *assignment;
	const json_t *config =
		is_given(object, "config") ? json_object_get(object, "config") : NULL;
	int r;

	r = fleet_catalog(fleet, &catalog);
	if (r != 0)
		return r;
	assignment = assign_catalog_find_assignment(catalog, id);
	if (assignment && assignment->rollout_version)
		package = assign_catalog_find(catalog, assignment->addon,
					      assignment->rollout_version);
	return package ? assign_check_config(fleet, package, config, reterr) : 0;
}

/* A rollout's versions are the add-on's, also where it was aborted and some hosts have the new one.
 * A version ends it. */
static int check_addon(const json_t *before, const json_t *body, struct api_problem *reterr)
{
	const char *addon = json_string_value(json_object_get(body, "addon"));

	if (!addon || json_object_get(body, "version") || !is_given(before, "rollout") ||
	    str_equal(addon, json_string_value(json_object_get(before, "addon"))))
		return 0;
	return api_refuse(reterr, 409, "rollout-active", "/addon",
			  "rollout %lld is of another add-on; abort it with 'revert' first, or "
			  "make an assignment of its own",
			  (long long)json_integer_value(json_object_get(before, "rollout")));
}

/* The versions that a change may leave hosts with, the newest aside. */
static int find_versions(struct fleet *fleet, int64_t id, const json_t *before,
			 const json_t *object, struct strv *ret)
{
	const struct assign_catalog *catalog = NULL;
	const struct assignment *assignment = NULL;
	int r;

	r = fleet_catalog(fleet, &catalog);
	if (r == 0)
		r = strv_add(ret, json_string_value(json_object_get(before, "version")));
	if (r == 0)
		r = strv_add(ret, json_string_value(json_object_get(object, "version")));
	if (r == 0)
		assignment = assign_catalog_find_assignment(catalog, id);
	if (assignment && assignment->rollout_version)
		r = strv_add(ret, assignment->rollout_version);
	return r;
}

/* Before and after a change: the versions that some hosts go on to run stay with what fits them. */
static int keep_config(struct fleet *fleet, int64_t id, const struct strv *versions,
		       const json_t *object)
{
	const json_t *config =
		is_given(object, "config") ? json_object_get(object, "config") : NULL;

	return assign_keep_config(fleet, id, json_string_value(json_object_get(object, "addon")),
				  versions, config);
}

/* Nothing but {"enabled": false}: that gives nobody anything, and must go for what could not be
 * assigned any more, too. */
static bool only_disables(const json_t *body)
{
	return json_object_size(body) == 1 && json_is_false(json_object_get(body, "enabled"));
}

static int disable(struct fleet *fleet, int64_t id, const struct audit_actor *actor,
		   const json_t *before)
{
	int r = store_run(fleet->store,
			  "UPDATE assignment SET enabled = 0, updated = $1 WHERE id = $2",
			  STORE_INT(actor->time), STORE_INT(id));

	return r == 0 ? audit(fleet, actor, "change", id, before) : r;
}

int assign_change(struct fleet *fleet, int64_t id, const json_t *body,
		  const struct audit_actor *actor, struct api_problem *reterr)
{
	__attribute__((cleanup(wanted_done))) struct wanted wanted = {0};
	cleanup_json json_t *before = NULL;
	cleanup_json json_t *object = NULL;
	cleanup_strv struct strv versions = STRV_INIT;
	int r;

	r = check_keys(body, reterr);
	if (r == 0)
		r = load(fleet, id, &before, reterr);
	if (r == 0)
		r = check_addon(before, body, reterr);
	if (r != 0)
		return r;
	if (only_disables(body))
		return disable(fleet, id, actor, before);
	object = json_copy(before);
	if (!object || json_object_update(object, (json_t *)body) < 0)
		return -ENOMEM;
	/* One target takes the other's place. */
	if (is_given(body, "host") != is_given(body, "selector"))
		ignore_result(
			json_object_del(object, is_given(body, "host") ? "selector" : "host"));
	r = judge(fleet, object, &wanted, reterr);
	if (r == 0)
		r = find_versions(fleet, id, before, object, &versions);
	if (r == 0)
		r = keep_config(fleet, id, &versions, before);
	if (r == 0)
		r = json_object_get(body, "version") ? rollout_supersede(fleet, id, actor)
						     : judge_rollout(fleet, id, object, reterr);
	if (r == 0)
		r = store_run(fleet->store,
			      "UPDATE assignment SET addon = $1, version = $2, host = $3, "
			      "selector = $4, config = $5, capabilities = $6, limits = $7, "
			      "priority = $8, enabled = $9, updated = $10 WHERE id = $11",
			      STORE_TEXT(wanted.addon), STORE_TEXT(wanted.version),
			      wanted.host != 0 ? STORE_INT(wanted.host) : STORE_NULL,
			      STORE_TEXT(wanted.selector), STORE_TEXT(wanted.config),
			      STORE_TEXT(wanted.capabilities), STORE_TEXT(wanted.limits),
			      STORE_INT(wanted.priority), STORE_INT(wanted.enabled),
			      STORE_INT(actor->time), STORE_INT(id));
	if (r == 0)
		r = keep_config(fleet, id, &versions, object);
	return r == 0 ? audit(fleet, actor, "change", id, before) : r;
}

int assign_remove(struct fleet *fleet, int64_t id, const struct audit_actor *actor,
		  struct api_problem *reterr)
{
	cleanup_json json_t *before = NULL;
	int r;

	r = load(fleet, id, &before, reterr);
	if (r == 0)
		r = rollout_supersede(fleet, id, actor);
	if (r == 0)
		r = store_run(fleet->store, "DELETE FROM assignment WHERE id = $1", STORE_INT(id));
	return r == 0 ? audit(fleet, actor, "remove", id, before) : r;
}

static json_t *json_column(struct store_rows *rows, unsigned column)
{
	return store_is_null(rows, column) ? json_null()
					   : json_loads(store_text(rows, column), 0, NULL);
}

int assign_to_json(struct fleet *fleet, int64_t id, json_t **ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select(fleet->store, &rows,
			 "SELECT addon, version, host, selector, config, capabilities, limits, "
			 "priority, enabled, rollout, created, updated FROM assignment "
			 "WHERE id = $1",
			 STORE_INT(id));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0 || !row)
		return r != 0 ? r : 1;
	*ret = json_pack(
		"{s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:b, s:o, s:o, s:o}", "id",
		(json_int_t)id, "addon", store_text(rows, 0), "version", store_text(rows, 1),
		"host", store_is_null(rows, 2) ? json_null() : json_integer(store_int(rows, 2)),
		"selector", store_is_null(rows, 3) ? json_null() : json_string(store_text(rows, 3)),
		"config", json_column(rows, 4), "capabilities", json_column(rows, 5), "limits",
		json_column(rows, 6), "priority", (json_int_t)store_int(rows, 7), "enabled",
		store_int(rows, 8) != 0, "rollout",
		store_int(rows, 9) != 0 ? json_integer(store_int(rows, 9)) : json_null(), "created",
		fleet_time_json(store_int(rows, 10)), "updated",
		fleet_time_json(store_int(rows, 11)));
	return *ret ? 0 : -ENOMEM;
}
