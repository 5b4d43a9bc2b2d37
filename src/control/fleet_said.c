/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Our own status message, JSON that a host made: {"schema": 1, "addons": [{"id", "state",
 * "version", "reason", "name", "restarts", "since", "drift", "origin", "held", "plan",
 * "events"}]}. What is not of the right type is as if it were not there; a message that is no such
 * object changes nothing.
 */

#include "control/fleet_said.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "control/status.h"
#include "manifest/manifest.h"

#define ADDONS_MAX    256U
#define CUSTOM_STATUS "io.affix.status"

static const char *string_member(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* RFC 3339, or seconds. */
static int64_t time_member(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	uint64_t time = 0;

	if (json_is_string(value) && clock_parse(json_string_value(value), &time) == 0)
		return (int64_t)time;
	return MAX(json_integer_value(value), (json_int_t)0);
}

static int put_said(struct store *store, int64_t host, const json_t *item)
{
	const json_t *drift = json_object_get(item, "drift");
	cleanup_free char *drift_text = NULL;
	const char *id = string_member(item, "id");
	const char *state = string_member(item, "state");
	int r;

	if (!id || !manifest_id_is_valid(id))
		return 0;
	if (json_is_array(drift) && json_array_size(drift) <= STATUS_DRIFT_N) {
		drift_text = json_dumps(drift, JSON_COMPACT);
		if (!drift_text)
			return -ENOMEM;
	}
	r = store_run(store,
		      "INSERT INTO observed (host, addon, said_state, said_version, said_reason, "
		      "said_name, said_restarts, said_since, said_origin, said_held, said_plan, "
		      "said_drift) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) "
		      "ON CONFLICT (host, addon) DO UPDATE SET said_state = excluded.said_state, "
		      "said_version = excluded.said_version, said_reason = excluded.said_reason, "
		      "said_name = excluded.said_name, said_restarts = excluded.said_restarts, "
		      "said_since = excluded.said_since, said_origin = excluded.said_origin, "
		      "said_held = excluded.said_held, said_plan = excluded.said_plan, "
		      "said_drift = excluded.said_drift",
		      STORE_INT(host), STORE_TEXT(id),
		      status_state_from_string(state) != STATUS_STATE_INVALID ? STORE_TEXT(state)
									      : STORE_NULL,
		      fleet_bounded_text(string_member(item, "version")),
		      fleet_bounded_text(string_member(item, "reason")),
		      fleet_bounded_text(string_member(item, "name")),
		      STORE_INT(json_integer_value(json_object_get(item, "restarts"))),
		      STORE_INT(time_member(item, "since")),
		      fleet_bounded_text(string_member(item, "origin")),
		      STORE_INT(json_is_true(json_object_get(item, "held"))),
		      fleet_bounded_text(string_member(item, "plan")), STORE_TEXT(drift_text));
	return r == 0 ? fleet_events_put(store, host, id, json_object_get(item, "events")) : r;
}

int fleet_said_put(struct store *store, int64_t host, const struct fleet_report *report)
{
	cleanup_json json_t *message = NULL;
	const json_t *list;
	const json_t *item;
	size_t i;
	int r;

	if (!str_equal(report->custom_capability, CUSTOM_STATUS) ||
	    !str_equal(report->custom_type, "status"))
		return 0;
	r = json_parse_object(report->custom_data.data, report->custom_data.size, &message, NULL);
	list = json_object_get(message, "addons");
	if (r < 0 || !json_is_array(list))
		return r < 0 ? r : 0;
	r = store_run(store,
		      "UPDATE observed SET said_state = NULL, said_version = NULL, "
		      "said_reason = NULL, said_name = NULL, said_restarts = NULL, "
		      "said_since = NULL, said_origin = NULL, said_held = NULL, "
		      "said_plan = NULL, said_drift = NULL WHERE host = $1",
		      STORE_INT(host));
	json_array_foreach(list, i, item)
	{
		if (r == 0 && i < ADDONS_MAX)
			r = put_said(store, host, item);
	}
	return r;
}
