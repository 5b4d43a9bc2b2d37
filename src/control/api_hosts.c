/* SPDX-License-Identifier: Apache-2.0 */

/* Hosts: who they are, what they get and why, and putting them out. */

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/api_call.h"
#include "control/fleet_removal.h"
#include "control/status.h"
#include "manifest/manifest.h"

/* Columns of a host, everywhere here. */
#define COLUMNS                                                                  \
	"id, name, uid, os, arch, agent_version, enrolled, revoked, last_seen, " \
	"healthy, health_error, config_status, config_error, packages_error, "   \
	"attributes, certificate"

enum {
	AT_ID,
	AT_NAME,
	AT_UID,
	AT_OS,
	AT_ARCH,
	AT_AGENT,
	AT_ENROLLED,
	AT_REVOKED,
	AT_SEEN,
	AT_HEALTHY,
	AT_HEALTH_ERROR,
	AT_CONFIG_STATUS,
	AT_CONFIG_ERROR,
	AT_PACKAGES_ERROR,
	AT_ATTRIBUTES,
	AT_CERTIFICATE,
};

static const char *const config_states[] = {"unset", "applied", "applying", "failed"};

static json_t *labels_json(const struct assign_host *host)
{
	json_t *object = json_object();

	for (size_t i = 0; object && i < host->words.count / 2; i++) {
		if (json_object_set_new(object, host->words.items[2 * i],
					json_string(host->words.items[2 * i + 1])) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static const char *presence(const struct fleet *fleet, struct store_rows *rows)
{
	int64_t id = store_int(rows, AT_ID);

	if (store_int(rows, AT_REVOKED) != 0)
		return "revoked";
	if (fleet_is_stale(fleet, id, (uint64_t)store_int(rows, AT_SEEN)))
		return "stale";
	if (fleet_is_duplicate(fleet, id))
		return "duplicate";
	return fleet_session_of_host(fleet, id) ? "connected" : "away";
}

static int host_json(struct fleet *fleet, struct store_rows *rows, const struct assign_host *host,
		     json_t **ret)
{
	char uid[FLEET_UID_SIZE * 2 + 1] = "";
	size_t size = 0;
	const void *bytes = store_blob(rows, AT_UID, &size);
	int64_t config = store_int(rows, AT_CONFIG_STATUS);

	if (size == FLEET_UID_SIZE)
		(void)sodium_bin2hex(uid, sizeof(uid), bytes, size);
	*ret = json_pack(
		"{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:s, s:s, s:s, "
		"s:s, s:s}",
		"id", (json_int_t)host->id, "name", host->name, "presence", presence(fleet, rows),
		"uid", uid, "os", host->os, "arch", host->arch, "agent_version",
		host->agent_version, "agent_capabilities",
		json_from_strv(&host->agent_capabilities), "labels", labels_json(host), "enrolled",
		fleet_time_json(store_int(rows, AT_ENROLLED)), "revoked",
		fleet_time_json(store_int(rows, AT_REVOKED)), "last_seen",
		fleet_time_json(
			fleet_last_seen(fleet, host->id, (uint64_t)store_int(rows, AT_SEEN))),
		"healthy", store_int(rows, AT_HEALTHY) != 0, "health_error",
		store_text(rows, AT_HEALTH_ERROR), "config_status",
		config >= 0 && config < (int64_t)ARRAY_SIZE(config_states) ? config_states[config]
									   : "unset",
		"config_error", store_text(rows, AT_CONFIG_ERROR), "packages_error",
		store_text(rows, AT_PACKAGES_ERROR), "certificate",
		store_is_null(rows, AT_CERTIFICATE) ? "" : store_text(rows, AT_CERTIFICATE));
	return *ret ? 0 : -ENOMEM;
}

/* A selector of the query; NULL without one. */
static int read_selector(struct api_call *call, struct selector **ret)
{
	const char *text = api_query(call, "selector");
	char problem[SELECTOR_PROBLEM_MAX];
	int r;

	if (!text)
		return 0;
	r = selector_parse(text, ret, problem);
	return r > 0 ? api_refuse(&call->problem, 400, "bad-selector", "selector", "%s", problem)
		     : r;
}

/* A list of hosts, or of things of hosts, as far as one page goes. */
struct scan {
	struct api_call *call;
	struct api_page page;
	struct selector *selector; /* or NULL */
	const char *presence;      /* or NULL */
	json_t *items;
	int (*add)(struct scan *scan, struct store_rows *rows, const struct assign_host *host);
};

static int scan_host(struct scan *scan, struct store_rows *rows)
{
	cleanup_assign_host struct assign_host host = ASSIGN_HOST_INIT;
	struct fleet *fleet = scan->call->fleet;
	int r;

	if (scan->presence && !str_equal(scan->presence, presence(fleet, rows)))
		return 0;
	r = assign_host_load(fleet->store, store_int(rows, AT_ID), &host);
	if (r != 0)
		return r < 0 ? r : 0;
	if (scan->selector && !selector_matches(scan->selector, host.labels, host.n_labels))
		return 0;
	return scan->add(scan, rows, &host);
}

static int run_scan(struct scan *scan, const char *sql, struct store_value key)
{
	cleanup_rows struct store_rows *rows = NULL;
	struct fleet *fleet = scan->call->fleet;
	int64_t next = 0;
	bool row = false;
	int r;

	r = store_select(fleet->store, &rows, sql, STORE_INT(scan->page.after), key);
	for (size_t n = 0; r == 0; n++) {
		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		/* There is one more, so the page before it ends at what was looked at last. */
		if (n == API_SCAN_MAX || json_array_size(scan->items) >= scan->page.limit) {
			next = scan->page.after;
			break;
		}
		scan->page.after = store_int(rows, AT_ID);
		r = scan_host(scan, rows);
	}
	return r == 0 ? api_answer_list(scan->call, json_incref(scan->items), next) : r;
}

/* `host` of the query picks one; without it all that are not revoked, or those of `presence`. */
static int scan_hosts(struct scan *scan)
{
	const char *host = api_query(scan->call, "host");
	int r;

	r = api_page(scan->call, &scan->page);
	if (r == 0)
		r = read_selector(scan->call, &scan->selector);
	if (r != 0)
		return r;
	if (host)
		return run_scan(scan,
				"SELECT " COLUMNS " FROM host WHERE id > $1 AND "
				"(CAST(id AS TEXT) = $2 OR name = $2) ORDER BY id",
				STORE_TEXT(host));
	return run_scan(scan,
			"SELECT " COLUMNS " FROM host WHERE id > $1 AND "
			"($2 = 'revoked' OR revoked = 0) ORDER BY id",
			STORE_TEXT(scan->presence ? scan->presence : ""));
}

static int add_host(struct scan *scan, struct store_rows *rows, const struct assign_host *host)
{
	json_t *object = NULL;
	int r;

	r = host_json(scan->call->fleet, rows, host, &object);
	return r == 0 ? json_append(scan->items, object) : r;
}

static bool is_wanted(const struct scan *scan, const json_t *entry)
{
	const char *addon = api_query(scan->call, "addon");
	const char *state = api_query(scan->call, "state");
	const char *kind = api_query(scan->call, "kind");
	const json_t *drift = json_object_get(entry, "drift");
	const json_t *item;
	size_t i;

	if (addon && !str_equal(addon, json_string_value(json_object_get(entry, "addon"))))
		return false;
	if (state && !str_equal(state, json_string_value(json_object_get(entry, "state"))))
		return false;
	if (!kind)
		return true;
	json_array_foreach(drift, i, item)
	{
		if (str_equal(kind, json_string_value(item)))
			return true;
	}
	return false;
}

static int add_entries(struct scan *scan, struct store_rows *rows, const struct assign_host *host,
		       bool is_drift)
{
	cleanup_json json_t *list = NULL;
	const json_t *entry;
	size_t i;
	int r;

	r = status_of_host(scan->call->fleet, host, (uint64_t)store_int(rows, AT_SEEN), &list);
	if (r != 0)
		return r;
	json_array_foreach(list, i, entry)
	{
		if (is_drift && json_array_size(json_object_get(entry, "drift")) == 0)
			continue;
		if (is_wanted(scan, entry))
			r = json_append(scan->items, json_incref((json_t *)entry));
		if (r < 0)
			return r;
	}
	return r;
}

static int add_status(struct scan *scan, struct store_rows *rows, const struct assign_host *host)
{
	return add_entries(scan, rows, host, false);
}

static int add_drift(struct scan *scan, struct store_rows *rows, const struct assign_host *host)
{
	return add_entries(scan, rows, host, true);
}

static int answer_scan(struct api_call *call, int (*add)(struct scan *scan, struct store_rows *rows,
							 const struct assign_host *host))
{
	cleanup_json json_t *items = json_array();
	struct scan scan = {.call = call, .items = items, .add = add};
	int r = -ENOMEM;

	scan.presence = api_query(call, "presence");
	if (items)
		r = scan_hosts(&scan);
	(void)selector_free(scan.selector);
	return r;
}

int api_host_list(struct api_call *call)
{
	static const char *const known[] = {"selector", "presence", "host", "limit", "after", NULL};
	int r = api_query_known(call, known);

	return r == 0 ? answer_scan(call, add_host) : r;
}

int api_status_list(struct api_call *call)
{
	static const char *const known[] = {"selector", "host",  "addon", "state",
					    "limit",    "after", NULL};
	const char *state = api_query(call, "state");
	int r = api_query_known(call, known);

	if (r == 0 && state && status_state_from_string(state) == STATUS_STATE_INVALID)
		return api_refuse(&call->problem, 400, "bad-request", "state",
				  "there is no such state");
	return r == 0 ? answer_scan(call, add_status) : r;
}

int api_drift_list(struct api_call *call)
{
	static const char *const known[] = {"selector", "host",  "addon", "kind",
					    "limit",    "after", NULL};
	const char *kind = api_query(call, "kind");
	int r = api_query_known(call, known);

	if (r == 0 && kind && status_drift_from_string(kind) == STATUS_DRIFT_INVALID)
		return api_refuse(&call->problem, 400, "bad-request", "kind",
				  "there is no such kind of drift");
	return r == 0 ? answer_scan(call, add_drift) : r;
}

static int refuse_host(struct api_call *call, int64_t id)
{
	return api_refuse(&call->problem, 404, "not-found", NULL, "there is no host %lld",
			  (long long)id);
}

/* The host of the path's first variable segment, loaded. */
static int load_host(struct api_call *call, struct assign_host *ret)
{
	int64_t id = 0;
	int r;

	r = api_parameter_id(call, 0, &id);
	if (r != 0)
		return r;
	r = assign_host_load(call->fleet->store, id, ret);
	return r > 0 ? refuse_host(call, id) : r;
}

/* {ADDON: {KIND: COUNT}}, as the host counted since its agent started. */
static int events_json(struct fleet *fleet, int64_t host, json_t **ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	cleanup_json json_t *object = json_object();
	bool row = false;
	int r;

	if (!object)
		return -ENOMEM;
	r = store_select(fleet->store, &rows,
			 "SELECT addon, kind, count FROM addon_event WHERE host = $1 "
			 "ORDER BY addon, kind",
			 STORE_INT(host));
	while (r == 0) {
		json_t *kinds;

		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		kinds = json_object_get(object, store_text(rows, 0));
		if (!kinds) {
			kinds = json_object();
			r = json_add(object, store_text(rows, 0), kinds);
		}
		if (r == 0)
			r = json_add(kinds, store_text(rows, 1), json_integer(store_int(rows, 2)));
	}
	if (r == 0)
		*ret = TAKE_PTR(object);
	return r;
}

static int whole_host(struct fleet *fleet, const struct assign_host *host, json_t **ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	cleanup_json json_t *object = NULL;
	json_t *addons = NULL;
	json_t *events = NULL;
	bool row = false;
	int r;

	r = store_select(fleet->store, &rows, "SELECT " COLUMNS " FROM host WHERE id = $1",
			 STORE_INT(host->id));
	if (r == 0)
		r = store_next(rows, &row);
	if (r == 0)
		r = host_json(fleet, rows, host, &object);
	if (r == 0)
		r = json_add(object, "attributes",
			     json_loads(store_text(rows, AT_ATTRIBUTES), 0, NULL));
	if (r == 0)
		r = status_of_host(fleet, host, (uint64_t)store_int(rows, AT_SEEN), &addons);
	if (r == 0)
		r = json_add(object, "addons", addons);
	if (r == 0)
		r = events_json(fleet, host->id, &events);
	if (r == 0)
		r = json_add(object, "events", events);
	if (r == 0)
		*ret = TAKE_PTR(object);
	return r;
}

int api_host_get(struct api_call *call)
{
	cleanup_assign_host struct assign_host host = ASSIGN_HOST_INIT;
	json_t *object = NULL;
	int r;

	r = load_host(call, &host);
	if (r == 0)
		r = whole_host(call->fleet, &host, &object);
	return r == 0 ? api_answer(call, 200, object) : r;
}

int api_host_config(struct api_call *call)
{
	cleanup_assign_host struct assign_host host = ASSIGN_HOST_INIT;
	cleanup_rows struct store_rows *rows = NULL;
	cleanup_json json_t *items = json_array();
	bool row = false;
	int r;

	if (!items)
		return -ENOMEM;
	r = load_host(call, &host);
	if (r == 0)
		r = store_select(call->fleet->store, &rows,
				 "SELECT name, content_type, body FROM effective_config "
				 "WHERE host = $1 ORDER BY name",
				 STORE_INT(host.id));
	while (r == 0) {
		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		r = json_append(items, json_pack("{s:s, s:s, s:s}", "name", store_text(rows, 0),
						 "content_type", store_text(rows, 1), "body",
						 store_text(rows, 2)));
	}
	return r == 0 ? api_answer_list(call, TAKE_PTR(items), 0) : r;
}

static json_t *candidate_json(const struct assignment *assignment, const struct assign_host *host,
			      const struct assign_choice *choice)
{
	cleanup_free char *selector = NULL;

	if (assignment->selector) {
		selector = selector_to_string(assignment->selector);
		if (!selector)
			return NULL;
	}
	return json_pack("{s:I, s:s, s:I, s:o, s:o, s:b, s:b, s:b}", "assignment",
			 (json_int_t)assignment->id, "version", assignment->version, "priority",
			 (json_int_t)assignment->priority, "host",
			 assignment->host != 0 ? json_integer(assignment->host) : json_null(),
			 "selector", selector ? json_string(selector) : json_null(), "enabled",
			 assignment->enabled, "matches", assign_matches(assignment, host), "wins",
			 choice->assignment == assignment);
}

int api_host_explain(struct api_call *call)
{
	cleanup_assign_host struct assign_host host = ASSIGN_HOST_INIT;
	const struct assign_catalog *catalog = NULL;
	cleanup_json json_t *candidates = json_array();
	struct assign_choice choice = {0};
	const char *addon = call->parameters[1];
	int r;

	if (!candidates)
		return -ENOMEM;
	r = load_host(call, &host);
	if (r == 0)
		r = fleet_catalog(call->fleet, &catalog);
	if (r == 0)
		r = assign_decide_one(catalog, call->fleet->store, &host, addon, &choice);
	for (size_t i = 0; r == 0 && i < catalog->n_assignments; i++) {
		if (strcmp(catalog->assignments[i].addon, addon) == 0)
			r = json_append(candidates,
					candidate_json(&catalog->assignments[i], &host, &choice));
	}
	if (r != 0)
		return r;
	return api_answer(
		call, 200,
		json_pack("{s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:b, s:s, s:O}", "host",
			  (json_int_t)host.id, "host_name", host.name, "addon", addon, "verdict",
			  assign_verdict_to_string(choice.verdict), "reason", choice.reason,
			  "assignment",
			  choice.assignment ? json_integer(choice.assignment->id) : json_null(),
			  "wanted",
			  assign_is_offered(&choice) ? json_string(choice.version) : json_null(),
			  "revoked", choice.is_revoked, "by_rollout", choice.by_rollout, "order",
			  "highest priority, then one for this host before one by selector, then "
			  "the newest",
			  "candidates", candidates));
}

static int audit_host(struct api_call *call, const struct assign_host *host, const char *action,
		      const json_t *before, const json_t *after)
{
	char object[64];

	(void)snprintf(object, sizeof(object), "host %lld", (long long)host->id);
	return audit_add(call->fleet->store, &call->actor, action, object, before, after);
}

int api_host_revoke(struct api_call *call)
{
	cleanup_assign_host struct assign_host host = ASSIGN_HOST_INIT;
	struct fleet_session *session;
	cleanup_json json_t *before = NULL;
	cleanup_json json_t *after = NULL;
	int r;

	r = load_host(call, &host);
	if (r == 0)
		r = whole_host(call->fleet, &host, &before);
	if (r == 0)
		r = store_run(call->fleet->store,
			      "UPDATE host SET revoked = $1 WHERE id = $2 AND revoked = 0",
			      STORE_INT(call->actor.time), STORE_INT(host.id));
	if (r != 0)
		return r;
	r = whole_host(call->fleet, &host, &after);
	session = fleet_session_of_host(call->fleet, host.id);
	if (r == 0 && session) {
		r = fleet_say_refusal(call->fleet, session->connection, 403, 0);
		fleet_session_end(call->fleet, session);
	}
	if (r == 0)
		r = audit_host(call, &host, "revoke", before, after);
	return r == 0 ? api_answer_nothing(call) : r;
}

int api_host_remove(struct api_call *call)
{
	cleanup_assign_host struct assign_host host = ASSIGN_HOST_INIT;
	cleanup_json json_t *before = NULL;
	int64_t revoked = 0;
	int r;

	r = load_host(call, &host);
	if (r == 0)
		r = store_number(call->fleet->store, &revoked, 0,
				 "SELECT revoked FROM host WHERE id = $1", STORE_INT(host.id));
	if (r == 0 && revoked == 0)
		return api_refuse(&call->problem, 409, "not-revoked", NULL,
				  "host %lld is not revoked; revoke it first", (long long)host.id);
	if (r == 0)
		r = whole_host(call->fleet, &host, &before);
	if (r == 0)
		r = store_run(call->fleet->store,
			      "INSERT INTO revoked_certificate (name) SELECT certificate FROM host "
			      "WHERE id = $1 AND certificate IS NOT NULL",
			      STORE_INT(host.id));
	if (r == 0)
		r = store_run(call->fleet->store, "DELETE FROM host WHERE id = $1",
			      STORE_INT(host.id));
	if (r == 0)
		r = audit_host(call, &host, "remove", before, NULL);
	fleet_changed(call->fleet);
	return r == 0 ? api_answer_nothing(call) : r;
}

int api_host_confirm(struct api_call *call)
{
	static const char *const known[] = {"addons", NULL};
	cleanup_assign_host struct assign_host host = ASSIGN_HOST_INIT;
	cleanup_json json_t *confirmed = NULL;
	int r;

	r = api_body_known(call, known);
	if (r == 0)
		r = load_host(call, &host);
	if (r == 0)
		r = fleet_confirm_removal(call->fleet, host.id,
					  json_object_get(call->body, "addons"), &confirmed,
					  &call->problem);
	if (r == 0)
		r = audit_host(call, &host, "confirm-removal", NULL, confirmed);
	return r == 0 ? api_answer(call, 200, json_incref(confirmed)) : r;
}
