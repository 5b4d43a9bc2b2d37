/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Rollouts as operators see them: made, paused, resumed, aborted. Which hosts are in which wave is
 * drawn once, when it is made, and written down, so that a restart changes nothing.
 */

#include "control/rollout.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/str.h"
#include "control/assign_edit.h"
#include "control/rollout_private.h"
#include "manifest/version.h"

#define REVERTED "reverted"
#define ABORTED  "aborted"

void rollout_done(struct rollout *rollout)
{
	free(rollout->addon);
	free(rollout->from_version);
	free(rollout->to_version);
	free(rollout->state);
	*rollout = ROLLOUT_INIT;
}

int rollout_load(struct store *store, int64_t id, struct rollout *ret)
{
	cleanup_rollout struct rollout rollout = ROLLOUT_INIT;
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select(store, &rows,
			 "SELECT assignment, addon, from_version, to_version, state, wave, "
			 "n_waves, wave_started, wait_seconds, timeout_seconds, max_failures, "
			 "revert, looked_over FROM rollout WHERE id = $1",
			 STORE_INT(id));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0 || !row)
		return r != 0 ? r : 1;
	rollout.id = id;
	rollout.assignment = store_int(rows, 0);
	rollout.addon = strdup(store_text(rows, 1));
	rollout.from_version = strdup(store_text(rows, 2));
	rollout.to_version = strdup(store_text(rows, 3));
	rollout.state = strdup(store_text(rows, 4));
	rollout.wave = store_int(rows, 5);
	rollout.n_waves = store_int(rows, 6);
	rollout.wave_started = (uint64_t)store_int(rows, 7);
	rollout.wait_seconds = (uint64_t)store_int(rows, 8);
	rollout.timeout_seconds = (uint64_t)store_int(rows, 9);
	rollout.max_failures = store_int(rows, 10);
	rollout.revert = store_int(rows, 11) != 0;
	rollout.looked_over = store_int(rows, 12);
	if (!rollout.addon || !rollout.from_version || !rollout.to_version || !rollout.state)
		return -ENOMEM;
	*ret = rollout;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): its cleanup reads it */
	rollout = ROLLOUT_INIT;
	return 0;
}

static bool is_over(const char *state)
{
	return str_equal(state, "completed") || str_equal(state, REVERTED) ||
	       str_equal(state, ABORTED);
}

int rollout_enter(struct fleet *fleet, const struct rollout *rollout, const char *state,
		  const char *reason, const char *action, const struct audit_actor *actor)
{
	cleanup_json json_t *before = json_pack("{s:s}", "state", rollout->state);
	cleanup_json json_t *after = json_pack("{s:s, s:s}", "state", state, "reason", reason);
	char object[64];
	int r;

	if (!before || !after)
		return -ENOMEM;
	(void)snprintf(object, sizeof(object), "rollout %lld", (long long)rollout->id);
	r = store_run(fleet->store,
		      "UPDATE rollout SET state = $1, reason = $2, ended = $3 WHERE id = $4",
		      STORE_TEXT(state), STORE_TEXT(reason),
		      STORE_INT(is_over(state) ? actor->time : 0), STORE_INT(rollout->id));
	if (r == 0)
		r = audit_add(fleet->store, actor, action, object, before, after);
	fleet_changed(fleet);
	fleet->has_rollouts = true;
	return r;
}

/* The size of a wave in hosts, of *total*; SIZE_MAX where it is not one. */
static size_t wave_size(const json_t *wave, size_t total)
{
	const char *text = json_string_value(wave);
	size_t digits;
	unsigned long percent;

	if (json_is_integer(wave))
		return json_integer_value(wave) > 0 && json_integer_value(wave) <= INT32_MAX
			       ? (size_t)json_integer_value(wave)
			       : SIZE_MAX;
	if (!text)
		return SIZE_MAX;
	digits = strspn(text, "0123456789");
	if (digits == 0 || digits > 3 || strcmp(text + digits, "%") != 0)
		return SIZE_MAX;
	percent = strtoul(text, NULL, 10);
	if (percent == 0 || percent > 100)
		return SIZE_MAX;
	/* Rounded up: a wave of no hosts would prove nothing. */
	return (total * percent + 99) / 100;
}

static int check_waves(const json_t *waves, struct api_problem *reterr)
{
	char path[32];
	size_t n = json_array_size(waves);

	if (n == 0 || n > ROLLOUT_WAVES_MAX)
		return api_refuse(reterr, 400, "bad-rollout", "/waves",
				  "a rollout has 1 to %u waves", ROLLOUT_WAVES_MAX);
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "/waves/%zu", i);
		if (wave_size(json_array_get(waves, i), 1) == SIZE_MAX)
			return api_refuse(
				reterr, 400, "bad-rollout", path,
				"a wave is a number of hosts or a share such as \"10%%\", "
				"both above 0");
	}
	return 0;
}

/* A host drawn for a rollout. */
struct drawn {
	int64_t host;
	uint32_t lot;
};

struct draw {
	struct drawn *items;
	size_t count;
	size_t size;
};

static int compare_lots(const void *a, const void *b)
{
	const struct drawn *first = a;
	const struct drawn *second = b;

	return first->lot < second->lot ? -1 : first->lot > second->lot;
}

static int add_drawn(struct draw *draw, int64_t host)
{
	if (memory_make_room(&draw->items, draw->count, &draw->size) < 0)
		return -ENOMEM;
	draw->items[draw->count++] = (struct drawn){host, randombytes_random()};
	return 0;
}

/* Whether the assignment is what this host goes by. */
static int consider_host(struct fleet *fleet, const struct assign_catalog *catalog, int64_t id,
			 const struct rollout_spec *spec, struct draw *draw)
{
	cleanup_assign_host struct assign_host host = ASSIGN_HOST_INIT;
	struct assign_choice choice = {0};
	const struct assignment *assignment =
		assign_catalog_find_assignment(catalog, spec->assignment);
	int r;

	r = assign_host_load(fleet->store, id, &host);
	if (r != 0)
		return r < 0 ? r : 0;
	if (!assign_matches(assignment, &host))
		return 0;
	r = assign_decide_one(catalog, fleet->store, &host, assignment->addon, &choice);
	if (r != 0 || choice.assignment != assignment)
		return r;
	return add_drawn(draw, id);
}

static int draw_hosts(struct fleet *fleet, const struct rollout_spec *spec, struct draw *draw)
{
	const struct assign_catalog *catalog = NULL;
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = fleet_catalog(fleet, &catalog);
	if (r == 0)
		r = store_select(fleet->store, &rows, "SELECT id FROM host WHERE revoked = 0");
	while (r == 0) {
		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		r = consider_host(fleet, catalog, store_int(rows, 0), spec, draw);
	}
	if (r == 0 && draw->count > 0)
		qsort(draw->items, draw->count, sizeof(*draw->items), compare_lots);
	return r;
}

static int write_hosts(struct fleet *fleet, int64_t rollout, const json_t *waves,
		       const struct draw *draw)
{
	size_t n_waves = json_array_size(waves);
	size_t wave = 0;
	int r = 0;

	for (size_t i = 0; i < draw->count && r == 0; i++) {
		while (wave < n_waves && wave_size(json_array_get(waves, wave), draw->count) <= i)
			wave++;
		r = store_run(fleet->store,
			      "INSERT INTO rollout_host (rollout, host, wave) VALUES ($1, $2, $3)",
			      STORE_INT(rollout), STORE_INT(draw->items[i].host),
			      STORE_INT(wave + 1));
	}
	return r;
}

/* What fits the old version's schema need not fit the new one's. */
static int check_config(struct fleet *fleet, const struct assignment *assignment,
			const struct assign_package *package, struct api_problem *reterr)
{
	cleanup_json json_t *config = NULL;

	if (assignment->config) {
		config = json_loads(assignment->config, 0, NULL);
		if (!config)
			return -EBADMSG;
	}
	return assign_check_config(fleet, package, config, reterr);
}

static int check_spec(struct fleet *fleet, const struct rollout_spec *spec,
		      const struct assignment **ret, struct api_problem *reterr)
{
	const struct assign_catalog *catalog = NULL;
	const struct assign_package *package;
	const struct assignment *assignment;
	int64_t active = 0;
	int r;

	r = fleet_catalog(fleet, &catalog);
	if (r != 0)
		return r;
	assignment = assign_catalog_find_assignment(catalog, spec->assignment);
	if (!assignment)
		return api_refuse(reterr, 404, "not-found", "/assignment",
				  "there is no assignment %lld", (long long)spec->assignment);
	if (str_equal(assignment->version, ASSIGN_LATEST))
		return api_refuse(reterr, 409, "bad-rollout", "/assignment",
				  "assignment %lld follows '%s'; give it a version first",
				  (long long)spec->assignment, ASSIGN_LATEST);
	if (str_equal(assignment->version, spec->version))
		return api_refuse(reterr, 409, "bad-rollout", "/version",
				  "assignment %lld is at %s already", (long long)spec->assignment,
				  spec->version);
	package = assign_catalog_find(catalog, assignment->addon, spec->version);
	if (!package || package->state != PACKAGE_APPROVED)
		return api_refuse(reterr, 409, "not-approved", "/version",
				  "there is no approved package '%.32s' %.64s", assignment->addon,
				  spec->version);
	r = store_number(fleet->store, &active, 0,
			 "SELECT id FROM rollout WHERE assignment = $1 AND "
			 "state IN ('running', 'paused', 'halted')",
			 STORE_INT(spec->assignment));
	if (r == 0 && active != 0)
		return api_refuse(reterr, 409, "rollout-active", "/assignment",
				  "rollout %lld of this assignment is not over; abort it first",
				  (long long)active);
	if (r == 0)
		r = check_config(fleet, assignment, package, reterr);
	*ret = assignment;
	return r;
}

/* Whoever no wave reaches is one more wave, the last. */
static size_t count_waves(const json_t *waves, size_t hosts)
{
	size_t n = json_array_size(waves);

	return wave_size(json_array_get(waves, n - 1), hosts) >= hosts ? n : n + 1;
}

static int insert_rollout(struct fleet *fleet, const struct rollout_spec *spec,
			  const struct assignment *assignment, size_t hosts, int64_t *ret_id)
{
	cleanup_free char *waves = json_dumps(spec->waves, JSON_COMPACT);
	uint64_t now = fleet_now(fleet);
	int r;

	if (!waves)
		return -ENOMEM;
	r = store_number(
		fleet->store, ret_id, 0,
		"INSERT INTO rollout (assignment, addon, from_version, to_version, state, waves, "
		"wave, n_waves, wave_started, wait_seconds, timeout_seconds, max_failures, "
		"revert, created) VALUES ($1, $2, $3, $4, 'running', $5, 1, $6, $7, $8, $9, $10, "
		"$11, $7) RETURNING id",
		STORE_INT(assignment->id), STORE_TEXT(assignment->addon),
		STORE_TEXT(assignment->version), STORE_TEXT(spec->version), STORE_TEXT(waves),
		STORE_INT(count_waves(spec->waves, hosts)), STORE_INT(now),
		STORE_INT(spec->wait_seconds), STORE_INT(spec->timeout_seconds),
		STORE_INT(spec->max_failures), STORE_INT(spec->revert));
	if (r == 0)
		r = store_run(fleet->store, "UPDATE assignment SET rollout = $1 WHERE id = $2",
			      STORE_INT(*ret_id), STORE_INT(assignment->id));
	return r;
}

int rollout_create(struct fleet *fleet, const struct rollout_spec *spec,
		   const struct audit_actor *actor, int64_t *ret_id, struct api_problem *reterr)
{
	const struct assignment *assignment = NULL;
	cleanup_json json_t *after = NULL;
	struct draw draw = {0};
	char object[64];
	int r;

	r = check_waves(spec->waves, reterr);
	if (r == 0)
		r = check_spec(fleet, spec, &assignment, reterr);
	if (r == 0)
		r = draw_hosts(fleet, spec, &draw);
	if (r == 0)
		r = insert_rollout(fleet, spec, assignment, draw.count, ret_id);
	if (r == 0)
		r = write_hosts(fleet, *ret_id, spec->waves, &draw);
	free(draw.items);
	if (r != 0)
		return r;
	fleet_changed(fleet);
	fleet->has_rollouts = true;
	r = rollout_to_json(fleet, *ret_id, &after);
	(void)snprintf(object, sizeof(object), "rollout %lld", (long long)*ret_id);
	return r == 0 ? audit_add(fleet->store, actor, "create", object, NULL, after) : r;
}

/* Loads one that may go from one of *states* (two at most) to another. */
static int load_for(struct fleet *fleet, int64_t id, const char *verb, const char *states[3],
		    struct rollout *ret, struct api_problem *reterr)
{
	int r = rollout_load(fleet->store, id, ret);

	if (r > 0)
		return api_refuse(reterr, 404, "not-found", NULL, "there is no rollout %lld",
				  (long long)id);
	for (size_t i = 0; r == 0 && states[i]; i++) {
		if (str_equal(ret->state, states[i]))
			return 0;
	}
	return r < 0 ? r
		     : api_refuse(reterr, 409, "bad-state", NULL,
				  "rollout %lld is %s; it cannot be %s", (long long)id, ret->state,
				  verb);
}

int rollout_pause(struct fleet *fleet, int64_t id, const struct audit_actor *actor,
		  struct api_problem *reterr)
{
	cleanup_rollout struct rollout rollout = ROLLOUT_INIT;
	int r;

	r = load_for(fleet, id, "paused", (const char *[3]){"running"}, &rollout, reterr);
	return r == 0 ? rollout_enter(fleet, &rollout, "paused", "", "pause", actor) : r;
}

int rollout_resume(struct fleet *fleet, int64_t id, const struct audit_actor *actor,
		   struct api_problem *reterr)
{
	cleanup_rollout struct rollout rollout = ROLLOUT_INIT;
	int r;

	r = load_for(fleet, id, "resumed", (const char *[3]){"paused", "halted"}, &rollout, reterr);
	if (r == 0)
		r = store_run(fleet->store,
			      "UPDATE rollout_host SET outcome = 'accepted', since = $2 "
			      "WHERE rollout = $1 AND outcome = 'failed'",
			      STORE_INT(id), STORE_INT(actor->time));
	/* Who was left out is accepted where it halted because all were. */
	if (r == 0 && str_equal(rollout.state, "halted"))
		r = store_run(fleet->store,
			      "UPDATE rollout_host SET outcome = 'accepted', since = $2 "
			      "WHERE rollout = $1 AND wave <= $3 AND outcome = 'skipped' AND "
			      "NOT EXISTS (SELECT 1 FROM rollout_host o WHERE o.rollout = $1 AND "
			      "o.wave <= $3 AND o.outcome <> 'skipped')",
			      STORE_INT(id), STORE_INT(actor->time), STORE_INT(rollout.wave));
	if (r == 0)
		r = store_run(fleet->store, "UPDATE rollout SET wave_started = $1 WHERE id = $2",
			      STORE_INT(actor->time), STORE_INT(id));
	return r == 0 ? rollout_enter(fleet, &rollout, "running", "", "resume", actor) : r;
}

int rollout_abort(struct fleet *fleet, int64_t id, bool revert, const struct audit_actor *actor,
		  struct api_problem *reterr)
{
	cleanup_rollout struct rollout rollout = ROLLOUT_INIT;
	int r;

	r = rollout_load(fleet->store, id, &rollout);
	if (r > 0)
		return api_refuse(reterr, 404, "not-found", NULL, "there is no rollout %lld",
				  (long long)id);
	if (r == 0 && is_over(rollout.state) && !(revert && str_equal(rollout.state, ABORTED)))
		return api_refuse(reterr, 409, "bad-state", NULL, "rollout %lld is over: it is %s",
				  (long long)id, rollout.state);
	if (r == 0 && revert)
		r = store_run(fleet->store,
			      "UPDATE assignment SET rollout = 0 WHERE id = $1 AND rollout = $2",
			      STORE_INT(rollout.assignment), STORE_INT(id));
	return r == 0 ? rollout_enter(fleet, &rollout, revert ? REVERTED : ABORTED,
				      "by an operator", "abort", actor)
		      : r;
}

int rollout_supersede(struct fleet *fleet, int64_t assignment, const struct audit_actor *actor)
{
	cleanup_rollout struct rollout rollout = ROLLOUT_INIT;
	int64_t id = 0;
	int r;

	r = store_number(fleet->store, &id, 0, "SELECT rollout FROM assignment WHERE id = $1",
			 STORE_INT(assignment));
	if (r != 0 || id == 0)
		return r;
	r = rollout_load(fleet->store, id, &rollout);
	if (r == 0)
		r = store_run(fleet->store, "UPDATE assignment SET rollout = 0 WHERE id = $1",
			      STORE_INT(assignment));
	if (r != 0)
		return r < 0 ? r : 0;
	if (is_over(rollout.state))
		return 0;
	return rollout_enter(fleet, &rollout, ABORTED, "the assignment was changed", "abort",
			     actor);
}

static int add_counts(struct fleet *fleet, int64_t id, json_t *object)
{
	static const char *const outcomes[] = {"waiting", "healthy", "failed", "accepted",
					       "skipped"};
	cleanup_json json_t *counts = json_object();
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r = counts ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(outcomes) && r == 0; i++)
		r = json_add_uint(counts, outcomes[i], 0);
	if (r == 0)
		r = store_select(fleet->store, &rows,
				 "SELECT outcome, count(*) FROM rollout_host WHERE rollout = $1 "
				 "GROUP BY outcome",
				 STORE_INT(id));
	while (r == 0) {
		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		r = json_add_uint(counts, store_text(rows, 0), (uint64_t)store_int(rows, 1));
	}
	return r == 0 ? json_add(object, "hosts", TAKE_PTR(counts)) : r;
}

int rollout_to_json(struct fleet *fleet, int64_t id, json_t **ret)
{
	cleanup_json json_t *object = NULL;
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select(fleet->store, &rows,
			 "SELECT assignment, addon, from_version, to_version, state, reason, "
			 "waves, wave, n_waves, wave_started, wait_seconds, timeout_seconds, "
			 "max_failures, revert, created, ended FROM rollout WHERE id = $1",
			 STORE_INT(id));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0 || !row)
		return r != 0 ? r : 1;
	object = json_pack(
		"{s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:o, s:I, s:I, s:I, s:b, s:o, "
		"s:o}",
		"id", (json_int_t)id, "assignment", (json_int_t)store_int(rows, 0), "addon",
		store_text(rows, 1), "from_version", store_text(rows, 2), "to_version",
		store_text(rows, 3), "state", store_text(rows, 4), "reason", store_text(rows, 5),
		"waves", json_loads(store_text(rows, 6), 0, NULL), "wave",
		(json_int_t)store_int(rows, 7), "n_waves", (json_int_t)store_int(rows, 8),
		"wave_started", fleet_time_json(store_int(rows, 9)), "wait_seconds",
		(json_int_t)store_int(rows, 10), "timeout_seconds", (json_int_t)store_int(rows, 11),
		"max_failures", (json_int_t)store_int(rows, 12), "revert", store_int(rows, 13) != 0,
		"created", fleet_time_json(store_int(rows, 14)), "ended",
		fleet_time_json(store_int(rows, 15)));
	if (!object)
		return -ENOMEM;
	r = add_counts(fleet, id, object);
	if (r == 0)
		*ret = TAKE_PTR(object);
	return r;
}
