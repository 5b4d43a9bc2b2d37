/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What time does to rollouts. A host of a wave that was begun is healthy once it runs the new
 * version and has been running for `wait_seconds`; it failed if it says so, goes silent, or is not
 * healthy in time. While affixd is down nobody is silent or late, and nobody becomes
 * healthy. Failures are counted over all waves, and a host that was healthy may fail later.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/rollout.h"
#include "control/rollout_private.h"
#include "control/status.h"

#define NAME_IPC "ipc" /* what affix-agent(8) calls it */

/* A host of a rollout, as the statement in look_at_hosts() has it. */
struct seen_host {
	int64_t id;
	bool is_waiting;
	bool is_revoked;
	uint64_t last_seen;
	const char *running;
	enum status_state state;
	const char *state_name; /* the agent's word for why, or NULL */
	uint64_t state_since;
};

/* Degraded is how an add-on runs that names what it lacks; it is no failure of the version. But one
 * that does not talk to its agent, or refuses its configuration, is not seen to work. */
static bool is_well(const struct seen_host *host)
{
	return host->state == STATUS_RUNNING ||
	       (host->state == STATUS_DEGRADED && !str_equal(host->state_name, NAME_IPC));
}

/* The new outcome; NULL: as it was. */
static const char *judge(const struct fleet *fleet, const struct rollout *rollout,
			 const struct seen_host *host, const char **ret_reason)
{
	uint64_t now = fleet_now(fleet);
	/* What hosts did while nobody could hear them is known once they are back. */
	uint64_t began = rollout->wave_started < fleet->started ? fleet_returned(fleet)
								: rollout->wave_started;
	/* Time that nobody lived through makes nobody healthy. */
	uint64_t lived = MAX(rollout->wave_started, fleet->started);
	bool is_late = now >= began + rollout->timeout_seconds;
	bool is_new = str_equal(host->running, rollout->to_version);

	*ret_reason = "";
	if (host->is_revoked)
		return "skipped";
	if (fleet_is_stale(fleet, host->id, host->last_seen)) {
		/* Who was away when the wave began may come back until its time is over. */
		bool was_there =
			fleet_last_seen(fleet, host->id, host->last_seen) >= rollout->wave_started;

		*ret_reason = "the host went silent";
		return was_there || is_late ? "failed" : NULL;
	}
	if (!fleet_has_told(fleet, host->id, host->last_seen)) {
		*ret_reason = "it was not heard of since affixd started";
		return host->is_waiting && is_late ? "failed" : NULL;
	}
	if (status_is_failure(host->state) &&
	    (host->state_since >= rollout->wave_started || is_new)) {
		*ret_reason = status_state_to_string(host->state);
		return "failed";
	}
	if (!host->is_waiting)
		return NULL;
	if (is_new && is_well(host) && now >= MAX(host->state_since, lived) + rollout->wait_seconds)
		return "healthy";
	*ret_reason = "it did not become healthy in time";
	return is_late ? "failed" : NULL;
}

static int write_outcome(struct fleet *fleet, const struct rollout *rollout, int64_t host,
			 const char *outcome, const char *reason)
{
	int r = store_begin(fleet->store);

	if (r == 0)
		r = store_run(fleet->store,
			      "UPDATE rollout_host SET outcome = $1, reason = $2, since = $3 "
			      "WHERE rollout = $4 AND host = $5",
			      STORE_TEXT(outcome), STORE_TEXT(reason), STORE_INT(fleet_now(fleet)),
			      STORE_INT(rollout->id), STORE_INT(host));
	return r;
}

/* Whether the host is offered the new version by this rollout; if not, why, and whether it goes by
 * the rollout's assignment. 1: there is no such host any more. */
static int is_offered(struct fleet *fleet, const struct rollout *rollout, int64_t id, bool *ret,
		      bool *ret_is_its, char reason[ASSIGN_REASON_MAX])
{
	cleanup_assign_host struct assign_host host = ASSIGN_HOST_INIT;
	const struct assign_catalog *catalog = NULL;
	struct assign_choice choice = {0};
	int r;

	r = fleet_catalog(fleet, &catalog);
	if (r == 0)
		r = assign_host_load(fleet->store, id, &host);
	if (r == 0)
		r = assign_decide_one(catalog, fleet->store, &host, rollout->addon, &choice);
	if (r != 0)
		return r;
	*ret_is_its = choice.assignment && choice.assignment->rollout == rollout->id;
	*ret = *ret_is_its && assign_is_offered(&choice) && choice.by_rollout;
	(void)snprintf(reason, ASSIGN_REASON_MAX, "%s",
		       choice.verdict != ASSIGN_OFFERED ? choice.reason
							: "another assignment counts by now");
	return 0;
}

/* Hosts that cannot have the new version are no failures of it: when a wave begins, they are left
 * out. */
static int leave_out(struct fleet *fleet, const struct rollout *rollout)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_begin(fleet->store);
	if (r == 0)
		r = store_run(fleet->store, "UPDATE rollout SET looked_over = $1 WHERE id = $2",
			      STORE_INT(rollout->wave), STORE_INT(rollout->id));
	if (r == 0)
		r = store_select(fleet->store, &rows,
				 "SELECT host FROM rollout_host WHERE rollout = $1 AND wave = $2 "
				 "AND outcome = 'waiting'",
				 STORE_INT(rollout->id), STORE_INT(rollout->wave));
	while (r == 0) {
		char reason[ASSIGN_REASON_MAX] = "";
		bool offered = false;
		bool is_its = false;

		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		r = is_offered(fleet, rollout, store_int(rows, 0), &offered, &is_its, reason);
		if (r == 0 && !offered)
			r = write_outcome(fleet, rollout, store_int(rows, 0), "skipped", reason);
	}
	return r;
}

/* A host that is late or silent is no failure if it was not to have the new version any more. One
 * that says that it failed is, unless it goes another way by now. */
static int write_judgement(struct fleet *fleet, const struct rollout *rollout,
			   const struct seen_host *host, const char *outcome, const char *reason)
{
	char other_reason[ASSIGN_REASON_MAX] = "";
	bool offered = true;
	bool is_its = true;
	int r = 0;

	if (strcmp(outcome, "failed") == 0)
		r = is_offered(fleet, rollout, host->id, &offered, &is_its, other_reason);
	if (r != 0)
		return r;
	if (is_its && status_is_failure(host->state))
		offered = true;
	return write_outcome(fleet, rollout, host->id, offered ? outcome : "skipped",
			     offered ? reason : other_reason);
}

static int look_at_hosts(struct fleet *fleet, const struct rollout *rollout)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select(
		fleet->store, &rows,
		"SELECT rh.host, rh.outcome, h.revoked, h.last_seen, coalesce(o.running, ''), "
		"coalesce(o.state, ''), coalesce(o.state_since, 0), o.said_name "
		"FROM rollout_host rh "
		"JOIN host h ON h.id = rh.host "
		"LEFT JOIN observed o ON o.host = rh.host AND o.addon = $2 "
		"WHERE rh.rollout = $1 AND rh.wave <= $3 AND "
		"rh.outcome IN ('waiting', 'healthy')",
		STORE_INT(rollout->id), STORE_TEXT(rollout->addon), STORE_INT(rollout->wave));
	while (r == 0) {
		const char *reason = NULL;
		const char *outcome;
		struct seen_host host;

		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		host = (struct seen_host){
			.id = store_int(rows, 0),
			.is_waiting = str_equal(store_text(rows, 1), "waiting"),
			.is_revoked = store_int(rows, 2) != 0,
			.last_seen = (uint64_t)store_int(rows, 3),
			.running = store_text(rows, 4),
			.state = status_state_from_string(store_text(rows, 5)),
			.state_since = (uint64_t)store_int(rows, 6),
			.state_name = store_text(rows, 7),
		};
		outcome = judge(fleet, rollout, &host, &reason);
		if (outcome)
			r = write_judgement(fleet, rollout, &host, outcome, reason);
	}
	return r;
}

static int count(struct fleet *fleet, const struct rollout *rollout, const char *outcome,
		 int64_t *ret)
{
	return store_number(fleet->store, ret, 0,
			    "SELECT count(*) FROM rollout_host WHERE rollout = $1 AND "
			    "wave <= $2 AND outcome = $3",
			    STORE_INT(rollout->id), STORE_INT(rollout->wave), STORE_TEXT(outcome));
}

static int halt(struct fleet *fleet, const struct rollout *rollout, const char *reason,
		const struct audit_actor *actor)
{
	int r = store_begin(fleet->store);

	return r == 0 ? rollout_enter(fleet, rollout, "halted", reason, "halt", actor) : r;
}

static int stop(struct fleet *fleet, const struct rollout *rollout, const char *reason,
		const struct audit_actor *actor)
{
	int r = 0;

	if (!rollout->revert)
		return halt(fleet, rollout, reason, actor);
	r = store_begin(fleet->store);
	if (r != 0)
		return r;
	r = store_run(fleet->store, "UPDATE assignment SET rollout = 0 WHERE id = $1",
		      STORE_INT(rollout->assignment));
	return r == 0 ? rollout_enter(fleet, rollout, "reverted", reason, "revert", actor) : r;
}

static int complete(struct fleet *fleet, const struct rollout *rollout,
		    const struct audit_actor *actor)
{
	int r;

	r = store_run(fleet->store,
		      "UPDATE assignment SET version = $1, rollout = 0, updated = $2 WHERE id = $3",
		      STORE_TEXT(rollout->to_version), STORE_INT(actor->time),
		      STORE_INT(rollout->assignment));
	return r == 0 ? rollout_enter(fleet, rollout, "completed", "", "complete", actor) : r;
}

static int audit_wave(struct fleet *fleet, const struct rollout *rollout,
		      const struct audit_actor *actor)
{
	cleanup_json json_t *before = json_pack("{s:I}", "wave", (json_int_t)rollout->wave);
	cleanup_json json_t *after = json_pack("{s:I}", "wave", (json_int_t)rollout->wave + 1);
	char object[64];

	if (!before || !after)
		return -ENOMEM;
	(void)snprintf(object, sizeof(object), "rollout %lld", (long long)rollout->id);
	return audit_add(fleet->store, actor, "wave", object, before, after);
}

static int begin_wave(struct fleet *fleet, const struct rollout *rollout,
		      const struct audit_actor *actor)
{
	int r;

	r = store_run(fleet->store,
		      "UPDATE rollout SET wave = wave + 1, wave_started = $1 WHERE id = $2",
		      STORE_INT(fleet_now(fleet)), STORE_INT(rollout->id));
	if (r == 0)
		r = audit_wave(fleet, rollout, actor);
	fleet_changed(fleet);
	return r;
}

/* No host of the wave is waited for any more. Hosts that all failed, as they may, or were left out
 * prove nothing of the version. */
static int end_wave(struct fleet *fleet, const struct rollout *rollout,
		    const struct audit_actor *actor)
{
	int64_t healthy = 0;
	int64_t accepted = 0;
	int64_t all = 0;
	int64_t left = 0;
	int r;

	r = count(fleet, rollout, "healthy", &healthy);
	if (r == 0)
		r = count(fleet, rollout, "accepted", &accepted);
	if (r == 0)
		r = store_number(fleet->store, &all, 0,
				 "SELECT count(*) FROM rollout_host WHERE rollout = $1 AND "
				 "wave <= $2",
				 STORE_INT(rollout->id), STORE_INT(rollout->wave));
	if (r == 0)
		r = store_number(fleet->store, &left, 0,
				 "SELECT count(*) FROM rollout_host WHERE rollout = $1 AND "
				 "wave > $2",
				 STORE_INT(rollout->id), STORE_INT(rollout->wave));
	if (r == 0)
		r = store_begin(fleet->store);
	if (r != 0)
		return r;
	if (healthy == 0 && accepted == 0 && all > 0)
		return halt(fleet, rollout,
			    "no host proved the version: all failed or were left out", actor);
	return left > 0 ? begin_wave(fleet, rollout, actor) : complete(fleet, rollout, actor);
}

/* What nobody is to get any more is not rolled out. */
static int check_target(struct fleet *fleet, const struct rollout *rollout,
			const struct audit_actor *actor, bool *ret_is_over)
{
	const struct assign_catalog *catalog = NULL;
	const struct assign_package *package;
	const struct assignment *assignment;
	int r;

	r = fleet_catalog(fleet, &catalog);
	if (r != 0)
		return r;
	package = assign_catalog_find(catalog, rollout->addon, rollout->to_version);
	assignment = assign_catalog_find_assignment(catalog, rollout->assignment);
	*ret_is_over = true;
	if (!package || package->state != PACKAGE_APPROVED)
		return stop(fleet, rollout, "the new version is not approved any more", actor);
	if (assignment && !assignment->enabled)
		return halt(fleet, rollout, "the assignment is disabled", actor);
	*ret_is_over = false;
	return 0;
}

static int look_at(struct fleet *fleet, struct rollout *rollout)
{
	const struct audit_actor actor = {"affixd", NULL, fleet_now(fleet)};
	char reason[128];
	int64_t failures = 0;
	int64_t waiting = 0;
	bool is_over = false;
	int r;

	r = check_target(fleet, rollout, &actor, &is_over);
	if (r != 0 || is_over)
		return r;
	r = rollout->looked_over < rollout->wave ? leave_out(fleet, rollout) : 0;
	if (r == 0)
		r = look_at_hosts(fleet, rollout);
	if (r == 0)
		r = count(fleet, rollout, "failed", &failures);
	if (r == 0)
		r = count(fleet, rollout, "waiting", &waiting);
	if (r != 0)
		return r;
	if (failures > rollout->max_failures) {
		(void)snprintf(reason, sizeof(reason), "%lld hosts failed, %lld may",
			       (long long)failures, (long long)rollout->max_failures);
		return stop(fleet, rollout, reason, &actor);
	}
	return waiting == 0 ? end_wave(fleet, rollout, &actor) : 0;
}

static int list_running(struct fleet *fleet, int64_t **ret, size_t *ret_n)
{
	cleanup_rows struct store_rows *rows = NULL;
	cleanup_free int64_t *list = NULL;
	bool row = false;
	size_t n = 0;
	int r;

	r = store_select(fleet->store, &rows,
			 "SELECT id FROM rollout WHERE state = 'running' ORDER BY id");
	while (r == 0) {
		int64_t *longer;

		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		longer = reallocarray(list, n + 1, sizeof(*list));
		if (!longer)
			return -ENOMEM;
		list = longer;
		list[n++] = store_int(rows, 0);
	}
	*ret = TAKE_PTR(list);
	*ret_n = n;
	return r;
}

int rollout_tick(struct fleet *fleet)
{
	cleanup_free int64_t *running = NULL;
	size_t n = 0;
	int r;

	r = list_running(fleet, &running, &n);
	for (size_t i = 0; i < n && r == 0; i++) {
		cleanup_rollout struct rollout rollout = ROLLOUT_INIT;

		r = rollout_load(fleet->store, running[i], &rollout);
		if (r == 0)
			r = look_at(fleet, &rollout);
	}
	fleet->has_rollouts = n > 0;
	return r > 0 ? -EIO : r;
}
