/* SPDX-License-Identifier: Apache-2.0 */

/* Assignments and rollouts. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/api_call.h"
#include "control/assign_edit.h"
#include "control/rollout.h"
#include "control/rollout_private.h"
#include "control/status.h"

#define DEFAULT_WAIT_SECONDS    60U
#define DEFAULT_TIMEOUT_SECONDS 900U

static int assignment_json(struct api_call *call, struct store_rows *rows, json_t **ret)
{
	return assign_to_json(call->fleet, store_int(rows, 0), ret);
}

static int rollout_json(struct api_call *call, struct store_rows *rows, json_t **ret)
{
	return rollout_to_json(call->fleet, store_int(rows, 0), ret);
}

static int refuse_unknown(struct api_call *call, int64_t id)
{
	return api_refuse(&call->problem, 404, "not-found", NULL,
			  "there is nothing of the number %lld", (long long)id);
}

static int answer_one(struct api_call *call, unsigned status, int64_t id,
		      int (*make)(struct fleet *fleet, int64_t id, json_t **ret))
{
	json_t *object = NULL;
	int r = make(call->fleet, id, &object);

	if (r > 0)
		return refuse_unknown(call, id);
	return r == 0 ? api_answer(call, status, object) : r;
}

int api_assignment_list(struct api_call *call)
{
	return api_answer_rows(call, (const char *const[]){"addon", NULL},
			       "SELECT id FROM assignment WHERE id > $1 AND "
			       "($2 IS NULL OR addon = $2) ORDER BY id",
			       assignment_json);
}

int api_assignment_create(struct api_call *call)
{
	int64_t id = 0;
	int r = assign_create(call->fleet, call->body, &call->actor, &id, &call->problem);

	return r == 0 ? answer_one(call, 201, id, assign_to_json) : r;
}

int api_assignment_get(struct api_call *call)
{
	int64_t id = 0;
	int r = api_parameter_id(call, 0, &id);

	return r == 0 ? answer_one(call, 200, id, assign_to_json) : r;
}

int api_assignment_change(struct api_call *call)
{
	int64_t id = 0;
	int r = api_parameter_id(call, 0, &id);

	if (r == 0)
		r = assign_change(call->fleet, id, call->body, &call->actor, &call->problem);
	return r == 0 ? answer_one(call, 200, id, assign_to_json) : r;
}

int api_assignment_remove(struct api_call *call)
{
	int64_t id = 0;
	int r = api_parameter_id(call, 0, &id);

	if (r == 0)
		r = assign_remove(call->fleet, id, &call->actor, &call->problem);
	return r == 0 ? api_answer_nothing(call) : r;
}

int api_rollout_list(struct api_call *call)
{
	return api_answer_rows(call, (const char *const[]){"state", NULL},
			       "SELECT id FROM rollout WHERE id > $1 AND "
			       "($2 IS NULL OR state = $2) ORDER BY id",
			       rollout_json);
}

static int read_spec(struct api_call *call, struct rollout_spec *spec)
{
	static const char *const known[] = {
		"assignment",      "version",      "waves",  "wait_seconds",
		"timeout_seconds", "max_failures", "revert", NULL};
	uint64_t assignment = 0;
	int r;

	r = api_body_known(call, known);
	if (r == 0)
		r = api_body_uint(call, "assignment", INT64_MAX, 0, &assignment);
	if (r == 0)
		r = api_body_text(call, "version", NULL, &spec->version);
	if (r == 0)
		r = api_body_uint(call, "wait_seconds", ROLLOUT_SECONDS_MAX, DEFAULT_WAIT_SECONDS,
				  &spec->wait_seconds);
	if (r == 0)
		r = api_body_uint(call, "timeout_seconds", ROLLOUT_SECONDS_MAX,
				  DEFAULT_TIMEOUT_SECONDS + spec->wait_seconds,
				  &spec->timeout_seconds);
	if (r == 0)
		r = api_body_uint(call, "max_failures", INT32_MAX, 0, &spec->max_failures);
	if (r == 0)
		r = api_body_bool(call, "revert", false, &spec->revert);
	if (r != 0)
		return r;
	if (spec->timeout_seconds <= spec->wait_seconds)
		return api_refuse(&call->problem, 400, "bad-rollout", "/timeout_seconds",
				  "it must be more than wait_seconds, or no host can make it");
	spec->assignment = (int64_t)assignment;
	if (!json_object_get(call->body, "waves") &&
	    json_object_set_new(call->body, "waves", json_pack("[s, s, s]", "10%", "50%", "100%")) <
		    0)
		return -ENOMEM;
	spec->waves = json_object_get(call->body, "waves");
	return 0;
}

int api_rollout_create(struct api_call *call)
{
	struct rollout_spec spec = {0};
	int64_t id = 0;
	int r = read_spec(call, &spec);

	if (r == 0)
		r = rollout_create(call->fleet, &spec, &call->actor, &id, &call->problem);
	return r == 0 ? answer_one(call, 201, id, rollout_to_json) : r;
}

int api_rollout_get(struct api_call *call)
{
	int64_t id = 0;
	int r = api_parameter_id(call, 0, &id);

	return r == 0 ? answer_one(call, 200, id, rollout_to_json) : r;
}

/* A host whose wave has not begun waits since never; a silent one may be in any state. */
static int rollout_host_json(struct api_call *call, struct store_rows *rows, json_t **ret)
{
	int64_t host = store_int(rows, 0);
	const char *running = store_text(rows, 5);
	const char *state = store_text(rows, 6);

	if (fleet_is_stale(call->fleet, host, (uint64_t)store_int(rows, 8)))
		state = status_state_to_string(STATUS_STALE);
	*ret = json_pack("{s:I, s:s, s:I, s:s, s:s, s:o, s:o, s:o}", "host", (json_int_t)host,
			 "host_name", store_text(rows, 1), "wave", (json_int_t)store_int(rows, 2),
			 "outcome", store_text(rows, 3), "reason", store_text(rows, 4), "running",
			 str_is_empty(running) ? json_null() : json_string(running), "state",
			 str_is_empty(state) ? json_null() : json_string(state), "since",
			 fleet_time_json((uint64_t)store_int(rows, 7)));
	return *ret ? 0 : -ENOMEM;
}

int api_rollout_hosts(struct api_call *call)
{
	static const char *const known[] = {"outcome", "limit", "after", NULL};
	cleanup_rollout struct rollout rollout = ROLLOUT_INIT;
	cleanup_rows struct store_rows *rows = NULL;
	struct api_page page = {0};
	int64_t id = 0;
	int r;

	r = api_query_known(call, known);
	if (r == 0)
		r = api_parameter_id(call, 0, &id);
	if (r == 0)
		r = api_page(call, &page);
	if (r != 0)
		return r;
	r = rollout_load(call->fleet->store, id, &rollout);
	if (r > 0)
		return refuse_unknown(call, id);
	if (r == 0)
		r = store_select(
			call->fleet->store, &rows,
			"SELECT rh.host, h.name, rh.wave, rh.outcome, rh.reason, o.running, "
			"o.state, CASE WHEN rh.since = 0 AND rh.wave <= $1 THEN $2 "
			"ELSE rh.since END, h.last_seen "
			"FROM rollout_host rh JOIN host h ON h.id = rh.host "
			"LEFT JOIN observed o ON o.host = rh.host AND o.addon = $3 "
			"WHERE rh.rollout = $4 AND rh.host > $5 AND "
			"($6 IS NULL OR rh.outcome = $6) ORDER BY rh.host",
			STORE_INT(rollout.wave), STORE_INT(rollout.wave_started),
			STORE_TEXT(rollout.addon), STORE_INT(id), STORE_INT(page.after),
			STORE_TEXT(api_query(call, "outcome")));
	return r == 0 ? api_page_rows(call, &page, rows, rollout_host_json) : r;
}

int api_rollout_pause(struct api_call *call)
{
	int64_t id = 0;
	int r = api_parameter_id(call, 0, &id);

	if (r == 0)
		r = rollout_pause(call->fleet, id, &call->actor, &call->problem);
	return r == 0 ? answer_one(call, 200, id, rollout_to_json) : r;
}

int api_rollout_resume(struct api_call *call)
{
	int64_t id = 0;
	int r = api_parameter_id(call, 0, &id);

	if (r == 0)
		r = rollout_resume(call->fleet, id, &call->actor, &call->problem);
	return r == 0 ? answer_one(call, 200, id, rollout_to_json) : r;
}

int api_rollout_abort(struct api_call *call)
{
	static const char *const known[] = {"revert", NULL};
	bool revert = false;
	int64_t id = 0;
	int r = api_body_known(call, known);

	if (r == 0)
		r = api_parameter_id(call, 0, &id);
	if (r == 0)
		r = api_body_bool(call, "revert", false, &revert);
	if (r == 0)
		r = rollout_abort(call->fleet, id, revert, &call->actor, &call->problem);
	return r == 0 ? answer_one(call, 200, id, rollout_to_json) : r;
}
