/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Status is never stored as such: what is wanted is decided anew, what is reported lies in
 * `observed`, and here the two are laid side by side.
 */

#include "control/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/fleet_private.h"

#define CONFIG_FAILED 3 /* OpAMP's RemoteConfigStatuses */

static const char *const state_names[STATUS_STATE_N] = {
	[STATUS_RUNNING] = "running",         [STATUS_DEGRADED] = "degraded",
	[STATUS_UNHEALTHY] = "unhealthy",     [STATUS_RESTARTING] = "restarting",
	[STATUS_STARTING] = "starting",       [STATUS_STOPPED] = "stopped",
	[STATUS_ROLLED_BACK] = "rolled-back", [STATUS_QUARANTINED] = "quarantined",
	[STATUS_UNSUPPORTED] = "unsupported", [STATUS_STALE] = "stale",
};

static const char *const drift_names[STATUS_DRIFT_N] = {
	[STATUS_DRIFT_NOT_INSTALLED] = "assigned-not-installed",
	[STATUS_DRIFT_VERSION] = "version",
	[STATUS_DRIFT_CONFIG] = "config",
	[STATUS_DRIFT_BYTES] = "bytes",
	[STATUS_DRIFT_UNITS] = "units",
	[STATUS_DRIFT_CAPABILITIES] = "capabilities",
	[STATUS_DRIFT_LOCAL_OVERRIDE] = "local-override",
	[STATUS_DRIFT_HELD] = "held",
	[STATUS_DRIFT_UNASSIGNED] = "observed-but-unassigned",
	[STATUS_DRIFT_UNHEALTHY] = "unhealthy",
	[STATUS_DRIFT_STALE] = "stale",
};

const char *status_state_to_string(enum status_state state)
{
	return (unsigned)state < STATUS_STATE_N ? state_names[state] : NULL;
}

enum status_state status_state_from_string(const char *name)
{
	for (unsigned i = 0; i < STATUS_STATE_N; i++) {
		if (str_equal(state_names[i], name))
			return (enum status_state)i;
	}
	return STATUS_STATE_INVALID;
}

const char *status_drift_to_string(enum status_drift drift)
{
	return (unsigned)drift < STATUS_DRIFT_N ? drift_names[drift] : NULL;
}

enum status_drift status_drift_from_string(const char *name)
{
	for (unsigned i = 0; i < STATUS_DRIFT_N; i++) {
		if (str_equal(drift_names[i], name))
			return (enum status_drift)i;
	}
	return STATUS_DRIFT_INVALID;
}

static enum status_state resolve_package(const struct status_report *report)
{
	enum {
		INSTALLED,
		PENDING,
		INSTALLING,
		FAILED,
		DOWNLOADING
	};

	switch (report->package_status) {
	case PENDING:
	case INSTALLING:
	case DOWNLOADING:
		return STATUS_STARTING;
	case FAILED:
		/* The agent says whether something is installed all the same. */
		return str_is_empty(report->package_version) ? STATUS_UNHEALTHY
							     : STATUS_ROLLED_BACK;
	case INSTALLED:
	default:
		return str_is_empty(report->package_version) ? STATUS_STOPPED : STATUS_RUNNING;
	}
}

enum status_state status_resolve(const struct status_report *report)
{
	enum status_state state = status_state_from_string(report->said_state);

	if (state != STATUS_STATE_INVALID)
		return state;
	if (report->has_package) {
		state = resolve_package(report);
		if (state != STATUS_RUNNING)
			return state;
	}
	if (!report->has_health)
		return report->has_package ? STATUS_RUNNING : STATUS_STOPPED;
	state = status_state_from_string(report->health_status);
	if (state != STATUS_STATE_INVALID)
		return state;
	return report->is_healthy ? STATUS_RUNNING : STATUS_UNHEALTHY;
}

bool status_is_failure(enum status_state state)
{
	return state == STATUS_UNHEALTHY || state == STATUS_ROLLED_BACK ||
	       state == STATUS_QUARANTINED;
}

/* One add-on of one host while its object is made. */
struct entry {
	const struct assign_host *host;
	const struct assign_choice *choice; /* or NULL */
	struct store_rows *observed;        /* at its row, or NULL */
	bool is_stale;
	bool is_config_failed;
	uint64_t last_seen;
};

/* Columns of the statement in status_of_host(). */
enum {
	AT_ADDON,
	AT_STATE,
	AT_SINCE,
	AT_RUNNING,
	AT_REASON,
	AT_NAME,
	AT_RESTARTS,
	AT_ORIGIN,
	AT_HELD,
	AT_PLAN,
	AT_DRIFT,
};

static bool is_gated(const struct assign_choice *choice)
{
	return choice->verdict >= ASSIGN_PLATFORM && choice->verdict < ASSIGN_VERDICT_N;
}

static const char *running_version(const struct entry *entry)
{
	const char *version = entry->observed ? store_text(entry->observed, AT_RUNNING) : NULL;

	return version ? version : "";
}

/* What the host should run: "" for nothing. */
static const char *wanted_version(const struct entry *entry)
{
	if (!entry->choice || !assign_is_offered(entry->choice))
		return "";
	return entry->choice->version;
}

static enum status_state find_state(const struct entry *entry, const char **ret_reason)
{
	const char *text = entry->observed ? store_text(entry->observed, AT_REASON) : NULL;
	enum status_state state = STATUS_STATE_INVALID;

	*ret_reason = text ? text : "";
	if (entry->is_stale) {
		*ret_reason = "the host has not been heard of";
		return STATUS_STALE;
	}
	if (entry->choice && is_gated(entry->choice) && *running_version(entry) == '\0') {
		*ret_reason = entry->choice->reason;
		return STATUS_UNSUPPORTED;
	}
	if (entry->observed)
		state = status_state_from_string(store_text(entry->observed, AT_STATE));
	if (state != STATUS_STATE_INVALID)
		return state;
	if (*wanted_version(entry) != '\0')
		*ret_reason = "the host has not said anything of it yet";
	else if (entry->choice)
		*ret_reason = entry->choice->reason;
	return STATUS_STOPPED;
}

static int add_drift(json_t *list, enum status_drift drift)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (str_equal(json_string_value(item), drift_names[drift]))
			return 0;
	}
	return json_append(list, json_string(drift_names[drift]));
}

/* What the host itself found changed. */
static int add_said_drift(json_t *list, const struct entry *entry)
{
	cleanup_json json_t *said = NULL;
	const json_t *item;
	size_t i;
	int r = 0;

	if (!entry->observed || store_is_null(entry->observed, AT_DRIFT))
		return 0;
	said = json_loads(store_text(entry->observed, AT_DRIFT), 0, NULL);
	json_array_foreach(said, i, item)
	{
		enum status_drift drift = status_drift_from_string(json_string_value(item));

		if (drift != STATUS_DRIFT_INVALID && r == 0)
			r = add_drift(list, drift);
	}
	return r;
}

static int make_drift(const struct entry *entry, enum status_state state, json_t *list)
{
	const char *running = running_version(entry);
	const char *wanted = wanted_version(entry);
	const char *origin = entry->observed ? store_text(entry->observed, AT_ORIGIN) : NULL;
	bool is_unassigned = !entry->choice || entry->choice->verdict == ASSIGN_DISABLED;
	int r;

	if (entry->is_stale)
		return add_drift(list, STATUS_DRIFT_STALE);
	r = add_said_drift(list, entry);
	if (r == 0 && *wanted != '\0' && *running == '\0')
		r = add_drift(list, STATUS_DRIFT_NOT_INSTALLED);
	if (r == 0 && *wanted != '\0' && *running != '\0' && strcmp(wanted, running) != 0)
		r = add_drift(list, STATUS_DRIFT_VERSION);
	if (r == 0 && is_unassigned && *running != '\0' && !str_equal(origin, "local"))
		r = add_drift(list, STATUS_DRIFT_UNASSIGNED);
	if (r == 0 && entry->is_config_failed && *wanted != '\0' && assign_config(entry->choice))
		r = add_drift(list, STATUS_DRIFT_CONFIG);
	if (r == 0 && entry->observed && store_int(entry->observed, AT_HELD) != 0)
		r = add_drift(list, STATUS_DRIFT_HELD);
	if (r == 0 && state == STATUS_UNHEALTHY)
		r = add_drift(list, STATUS_DRIFT_UNHEALTHY);
	return r;
}

static json_t *text_json(const struct entry *entry, unsigned column)
{
	const char *text = entry->observed ? store_text(entry->observed, column) : NULL;

	return !str_is_empty(text) ? json_string(text) : json_null();
}

static json_t *version_json(const char *version)
{
	return *version != '\0' ? json_string(version) : json_null();
}

static json_t *assignment_json(const struct entry *entry)
{
	return entry->choice ? json_integer(entry->choice->assignment->id) : json_null();
}

static int add_entry(json_t *list, const struct entry *entry)
{
	cleanup_json json_t *drift = json_array();
	struct store_rows *observed = entry->observed;
	const char *reason = "";
	enum status_state state;
	json_t *object;

	if (!drift)
		return -ENOMEM;
	state = find_state(entry, &reason);
	if (make_drift(entry, state, drift) < 0)
		return -ENOMEM;
	object = json_pack(
		"{s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:s, s:o, s:I, s:o, s:O, s:o, s:b, s:o, "
		"s:b, s:o}",
		"host", (json_int_t)entry->host->id, "host_name", entry->host->name, "addon",
		entry->choice ? entry->choice->assignment->addon : store_text(observed, AT_ADDON),
		"verdict",
		assign_verdict_to_string(entry->choice ? entry->choice->verdict
						       : ASSIGN_NOT_ASSIGNED),
		"assignment", assignment_json(entry), "wanted", version_json(wanted_version(entry)),
		"running", version_json(running_version(entry)), "state", state_names[state],
		"reason", reason, "name", text_json(entry, AT_NAME), "restarts",
		(json_int_t)(observed ? store_int(observed, AT_RESTARTS) : 0), "since",
		fleet_time_json(entry->is_stale ? entry->last_seen
				: observed      ? (uint64_t)store_int(observed, AT_SINCE)
						: 0),
		"drift", drift, "origin", text_json(entry, AT_ORIGIN), "held",
		observed && store_int(observed, AT_HELD) != 0, "plan", text_json(entry, AT_PLAN),
		"revoked", entry->choice && entry->choice->is_revoked, "last_seen",
		fleet_time_json(entry->last_seen));
	return json_append(list, object);
}

/* Both are sorted by add-on: the next of either, or of both together. */
static int merge(json_t *list, struct entry *entry, struct store_rows *rows,
		 const struct assign_choice *choices, size_t n)
{
	bool row = false;
	size_t i = 0;
	int r;

	r = store_next(rows, &row);
	while (r == 0 && (row || i < n)) {
		int order =
			!row     ? -1
			: i == n ? 1
				 : strcmp(choices[i].assignment->addon, store_text(rows, AT_ADDON));

		entry->choice = order <= 0 ? &choices[i++] : NULL;
		entry->observed = order >= 0 ? rows : NULL;
		r = add_entry(list, entry);
		if (r == 0 && order >= 0)
			r = store_next(rows, &row);
	}
	return r;
}

static int read_host(struct fleet *fleet, struct entry *entry)
{
	int64_t status = 0;
	int r;

	r = store_number(fleet->store, &status, 0, "SELECT config_status FROM host WHERE id = $1",
			 STORE_INT(entry->host->id));
	entry->is_config_failed = status == CONFIG_FAILED;
	return r;
}

int status_of_host(struct fleet *fleet, const struct assign_host *host, uint64_t last_seen,
		   json_t **ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	cleanup_free struct assign_choice *choices = NULL;
	cleanup_json json_t *list = json_array();
	const struct assign_catalog *catalog = NULL;
	struct entry entry = {
		.host = host,
		.is_stale = fleet_is_stale(fleet, host->id, last_seen),
		.last_seen = fleet_last_seen(fleet, host->id, last_seen),
	};
	size_t n = 0;
	int r;

	if (!list)
		return -ENOMEM;
	r = fleet_catalog(fleet, &catalog);
	if (r == 0)
		r = assign_decide(catalog, fleet->store, host, &choices, &n);
	if (r == 0)
		r = read_host(fleet, &entry);
	if (r == 0)
		r = store_select(
			fleet->store, &rows,
			"SELECT addon, state, state_since, running, "
			"coalesce(said_reason, package_error, health_error, ''), said_name, "
			"coalesce(said_restarts, 0), said_origin, coalesce(said_held, 0), "
			"said_plan, said_drift FROM observed WHERE host = $1 ORDER BY addon",
			STORE_INT(host->id));
	if (r == 0)
		r = merge(list, &entry, rows, choices, n);
	if (r == 0)
		*ret = TAKE_PTR(list);
	return r;
}
