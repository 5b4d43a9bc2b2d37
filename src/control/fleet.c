/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The fleet as a whole: opening, the transaction that all input of a moment shares, and what time
 * does. Reports and REST requests run inside parts of that transaction (store_mark()); nothing that
 * follows from them is said before it is committed.
 */

#include "control/fleet.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "control/fleet_private.h"
#include "control/package.h"
#include "control/rollout.h"
#include "control/token.h"

#define DATABASE_NAME     "affixd.db"
#define LOCK_NAME         "lock"
#define LOCK_TRIES        20U
#define LOCK_PAUSE_USEC   (100U * CLOCK_USEC_PER_MSEC)
#define TOKEN_NAME        "admin-token"
#define HEARTBEAT_SECONDS 30U
#define URL_SECONDS       3600U
#define RETRY_SECONDS     15U
#define RETRY_SPREAD      30U
#define OFFERS_PER_TICK   2048U
#define TICK_MS           1000U
#define ROLLOUT_REST      20U /* times as long as looking took */
#define AUDIT_SECONDS     3600U
#define GAP_SECONDS       60U /* ticks come every second */
#define DAY_SECONDS       86400U

uint64_t fleet_now(const struct fleet *fleet)
{
	return fleet->options.clock ? fleet->options.clock() : clock_realtime_sec();
}

json_t *fleet_time_json(uint64_t time)
{
	char text[CLOCK_TEXT_SIZE];

	clock_format(time, text);
	return time > 0 ? json_string(text) : json_null();
}

const uint8_t *fleet_url_key(const struct fleet *fleet)
{
	return fleet->url_key;
}

static int make_directories(int dirfd)
{
	static const char *const names[] = {"artifacts", "incoming"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (mkdirat(dirfd, names[i], 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* Two of us on one database would each keep half of the fleet in memory. Of one that was killed the
 * store goes a moment after its parent. */
static int lock(struct fleet *fleet, char *reterr)
{
	fleet->lock_fd = openat(fleet->options.data_dirfd, LOCK_NAME,
				O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fleet->lock_fd < 0)
		return -errno;
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (i > 0)
			clock_sleep_usec(LOCK_PAUSE_USEC);
		if (flock(fleet->lock_fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
	}
	(void)snprintf(reterr, FLEET_PROBLEM_MAX,
		       "another affixd uses this data directory; stop it first");
	return 1;
}

static int load_url_key(struct fleet *fleet)
{
	cleanup_rows struct store_rows *rows = NULL;
	const void *data;
	size_t size = 0;
	bool row = false;
	int r;

	r = store_select(fleet->store, &rows, "SELECT value FROM secret WHERE name = 'url'");
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0)
		return r;
	if (row) {
		data = store_blob(rows, 0, &size);
		if (size != FLEET_KEY_SIZE)
			return -EBADMSG;
		memcpy(fleet->url_key, data, FLEET_KEY_SIZE);
		return 0;
	}
	randombytes_buf(fleet->url_key, FLEET_KEY_SIZE);
	return store_run(fleet->store, "INSERT INTO secret (name, value) VALUES ('url', $1)",
			 STORE_BLOB(fleet->url_key, FLEET_KEY_SIZE));
}

/* The token is on disk before the database knows it: a token too many in a file harms nobody, none
 * in it locks everybody out. */
static int make_first_token(struct fleet *fleet)
{
	const struct file_attributes attributes = {0600, (uid_t)-1, (gid_t)-1};
	const struct audit_actor actor = {"affixd", NULL, fleet_now(fleet)};
	struct token token = {0};
	char line[TOKEN_TEXT_SIZE + 1];
	int64_t n = 0;
	int64_t id = 0;
	int r;

	r = store_number(fleet->store, &n, 0, "SELECT count(*) FROM api_token");
	if (r != 0 || n > 0)
		return r;
	r = token_create_api(fleet->store, "first", TOKEN_ROLE_ADMIN, fleet_now(fleet), 0, &token,
			     &id);
	(void)snprintf(line, sizeof(line), "%s\n", token.text);
	if (r == 0)
		r = file_replace(fleet->options.data_dirfd, TOKEN_NAME, line, strlen(line),
				 &attributes);
	if (r == 0)
		r = dir_sync(fleet->options.data_dirfd);
	sodium_memzero(line, sizeof(line));
	sodium_memzero(&token, sizeof(token));
	return r == 0 ? audit_add(fleet->store, &actor, "create", "api-token first", NULL, NULL)
		      : r;
}

/* What was at a time that is still to come was before the clock was set back: hosts would not be
 * silent, nor healthy or late in a rollout, before it has come. A failure of then was judged then:
 * its state is older than the wave. */
static int forget_future(struct fleet *fleet, uint64_t now)
{
	uint64_t before = now > 0 ? now - 1 : 0;
	int r;

	r = store_run(fleet->store, "UPDATE host SET last_seen = $1 WHERE last_seen > $1",
		      STORE_INT(before));
	if (r == 0)
		r = store_run(fleet->store,
			      "UPDATE rollout SET wave_started = $1 WHERE wave_started > $1",
			      STORE_INT(before));
	if (r == 0)
		r = store_run(fleet->store,
			      "UPDATE observed SET state_since = $1 WHERE state_since > $2",
			      STORE_INT(before > 0 ? before - 1 : 0), STORE_INT(now));
	return r;
}

/* The end of the time before this process, from what hosts said in it. */
static int load_heard(struct fleet *fleet)
{
	int64_t heard = 0;
	int r;

	fleet->started = fleet_now(fleet);
	r = forget_future(fleet, fleet->started);
	if (r == 0)
		r = store_number(fleet->store, &heard, 0,
				 "SELECT coalesce(max(last_seen), 0) FROM host");
	fleet->heard_until = (uint64_t)heard;
	return r;
}

static int open_parts(struct fleet *fleet, char *reterr)
{
	int r;

	r = make_directories(fleet->options.data_dirfd);
	if (r == 0)
		r = lock(fleet, reterr);
	if (r == 0)
		r = store_open(fleet->options.data_dirfd, DATABASE_NAME, &fleet->store, reterr);
	if (r == 0)
		r = store_begin(fleet->store);
	if (r == 0)
		r = load_url_key(fleet);
	if (r == 0)
		r = make_first_token(fleet);
	if (r == 0)
		r = load_heard(fleet);
	if (r == 0)
		r = store_commit(fleet->store);
	return r == 0 ? package_clean(fleet) : r;
}

int fleet_open(const struct fleet_options *options, const struct fleet_output *output,
	       struct fleet **ret, char *reterr)
{
	cleanup_fleet struct fleet *fleet = calloc(1, sizeof(*fleet));
	int r;

	if (!fleet)
		return -ENOMEM;
	fleet->lock_fd = -EBADF;
	if (sodium_init() < 0)
		return -EIO;
	fleet->options = *options;
	fleet->output = *output;
	fleet->generation = 1;
	fleet->has_rollouts = true;
	fleet->public_url = strdup(options->public_url ? options->public_url : "");
	if (!fleet->public_url)
		return -ENOMEM;
	fleet->options.public_url = fleet->public_url;
	if (fleet->options.heartbeat_seconds == 0)
		fleet->options.heartbeat_seconds = HEARTBEAT_SECONDS;
	if (fleet->options.poll_seconds == 0 ||
	    fleet->options.poll_seconds > fleet->options.heartbeat_seconds)
		fleet->options.poll_seconds = fleet->options.heartbeat_seconds;
	if (fleet->options.stale_seconds == 0)
		fleet->options.stale_seconds = 3 * fleet->options.heartbeat_seconds;
	if (fleet->options.url_seconds == 0)
		fleet->options.url_seconds = URL_SECONDS;
	*reterr = '\0';
	r = open_parts(fleet, reterr);
	if (r != 0 && *reterr == '\0' && fleet->store && *store_problem(fleet->store) != '\0') {
		(void)snprintf(reterr, FLEET_PROBLEM_MAX, "the database cannot be used: %.400s",
			       store_problem(fleet->store));
		return 1;
	}
	if (r == 0)
		*ret = TAKE_PTR(fleet);
	return r;
}

/* Something to be said once the transaction is on disk. */
struct fleet_said {
	uint64_t connection;
	uint8_t *data;
	size_t size;
	bool close_after;
	unsigned status; /* not 0: a refusal */
	unsigned retry_after;
};

static void said_done(struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->n_said; i++)
		free(fleet->said[i].data);
	fleet->n_said = 0;
}

struct fleet *fleet_free(struct fleet *fleet)
{
	if (!fleet)
		return NULL;
	said_done(fleet);
	free(fleet->said);
	fleet_sessions_done(fleet);
	(void)assign_catalog_free(fleet->catalog);
	(void)store_free(fleet->store);
	(void)fd_close(fleet->lock_fd);
	free(fleet->public_url);
	sodium_memzero(fleet->url_key, sizeof(fleet->url_key));
	free(fleet);
	return NULL;
}

int fleet_catalog(struct fleet *fleet, const struct assign_catalog **ret)
{
	int r = 0;

	if (!fleet->catalog)
		r = assign_catalog_load(fleet->store, &fleet->catalog);
	if (r == 0)
		*ret = fleet->catalog;
	return r;
}

void fleet_changed(struct fleet *fleet)
{
	fleet->catalog = assign_catalog_free(fleet->catalog);
	fleet->generation++;
	fleet->is_offering = true;
	fleet->offers_to_all = false;
	fleet->offer_cursor = 0;
}

void fleet_offer_again(struct fleet *fleet, int64_t host)
{
	struct fleet_session *session = fleet_session_of_host(fleet, host);

	if (!session)
		return;
	session->generation = 0;
	fleet->is_offering = true;
	fleet->offer_cursor = MIN(fleet->offer_cursor, session->index);
}

static int add_said(struct fleet *fleet, const struct fleet_said *said)
{
	if (memory_make_room(&fleet->said, fleet->n_said, &fleet->said_size) < 0) {
		free(said->data);
		return -ENOMEM;
	}
	fleet->said[fleet->n_said++] = *said;
	return 0;
}

int fleet_say(struct fleet *fleet, uint64_t connection, uint8_t *data, size_t size,
	      bool close_after)
{
	return add_said(fleet, &(struct fleet_said){.connection = connection,
						    .data = data,
						    .size = size,
						    .close_after = close_after});
}

int fleet_say_refusal(struct fleet *fleet, uint64_t connection, unsigned status,
		      unsigned retry_after)
{
	return add_said(fleet, &(struct fleet_said){.connection = connection,
						    .status = status,
						    .retry_after = retry_after});
}

static void let_out(struct fleet *fleet, const struct fleet_said *said)
{
	const struct fleet_output *output = &fleet->output;

	if (said->status == 0) {
		fleet->counters.messages++;
		output->message(output->userdata, said->connection, said->data, said->size,
				said->close_after);
		return;
	}
	fleet->counters.refusals++;
	output->refuse(output->userdata, said->connection, said->status, said->retry_after);
}

/* What was to be said is not true: the hosts are sent away, and come back with everything. */
static void take_back(struct fleet *fleet)
{
	store_rollback(fleet->store);
	fleet->counters.failed_commits++;
	fleet_changed(fleet);
	for (size_t i = 0; i < fleet->n_said; i++) {
		struct fleet_said *said = &fleet->said[i];
		struct fleet_session *session = fleet_session_find(fleet, said->connection);

		if (session)
			fleet_session_end(fleet, session);
		if (said->status == 0)
			said->status = 503;
		/* Not all at once. */
		said->retry_after = RETRY_SECONDS + randombytes_uniform(RETRY_SPREAD);
	}
}

/* *r* is how it went so far. */
static int finish(struct fleet *fleet, int r)
{
	if (r == 0)
		r = store_commit(fleet->store);
	if (r == 0)
		fleet->counters.commits++;
	else
		take_back(fleet);
	for (size_t i = 0; i < fleet->n_said; i++)
		let_out(fleet, &fleet->said[i]);
	said_done(fleet);
	return r;
}

bool fleet_has_news(const struct fleet *fleet)
{
	return store_is_changing(fleet->store) || fleet->n_said > 0;
}

int fleet_flush(struct fleet *fleet)
{
	return fleet_has_news(fleet) ? finish(fleet, 0) : 0;
}

/* Tells a slice of the connected hosts what a change means for them. */
static int offer_slice(struct fleet *fleet)
{
	size_t left = OFFERS_PER_TICK;

	while (left > 0 && fleet->offer_cursor < fleet->n_sessions) {
		struct fleet_session *session = fleet->sessions[fleet->offer_cursor++];
		int r;

		if (session->generation == fleet->generation || !session->has_described ||
		    (!fleet->offers_to_all && !session->is_polling))
			continue;
		left--;
		r = fleet_offer(fleet, session, false, 0);
		if (r != 0)
			return r;
	}
	if (fleet->offer_cursor < fleet->n_sessions)
		return 0;
	fleet->is_offering = !fleet->offers_to_all;
	fleet->offers_to_all = true;
	if (fleet->is_offering)
		fleet->offer_cursor = 0;
	return 0;
}

/* Every second, or less often where looking takes its time. */
static int look_at_rollouts(struct fleet *fleet, uint64_t now)
{
	uint64_t begin = clock_monotonic_usec();
	int r = rollout_tick(fleet);

	fleet->rollouts_next =
		now + 1 + (clock_monotonic_usec() - begin) * ROLLOUT_REST / CLOCK_USEC_PER_SEC;
	return r;
}

/* Once an hour, batch by batch. A clock that was set back makes nothing old. */
static int prune_audit(struct fleet *fleet, uint64_t now)
{
	uint64_t kept = (uint64_t)fleet->options.audit_keep_days * DAY_SECONDS;
	bool more = false;
	int r;

	if (kept == 0 || kept >= now || now < fleet->audit_next)
		return 0;
	if (fleet->audit_prune.entry == 0)
		fleet->audit_prune.until = now - kept;
	r = audit_prune(fleet->store, &fleet->audit_prune, now, &more);
	if (r == 0 && !more) {
		fleet->audit_prune.entry = 0;
		fleet->audit_next = now + AUDIT_SECONDS;
	}
	return r;
}

/* The clock was set back: what was to be later is not to be much later. */
static int notice_back(struct fleet *fleet, uint64_t now)
{
	int r;

	for (size_t i = 0; i < fleet->n_sessions; i++) {
		struct fleet_session *session = fleet->sessions[i];

		session->last_seen = MIN(session->last_seen, now);
		session->last_written = MIN(session->last_written, now);
		session->offered_again = MIN(session->offered_again, now);
	}
	fleet->heard_until = MIN(fleet->heard_until, now);
	fleet->rollouts_next = now;
	r = store_begin(fleet->store);
	return r == 0 ? forget_future(fleet, now) : r;
}

/* The process was stopped, the machine slept, or its clock was set: nobody was silent in a time
 * that nobody lived through. A clock that is soon set right has not cost the audit log anything. */
static int notice_gap(struct fleet *fleet, uint64_t now)
{
	bool is_forth = fleet->ticked != 0 && now > fleet->ticked + GAP_SECONDS;
	bool is_back = now + GAP_SECONDS < fleet->ticked;
	int r = 0;

	/* Before all had their chance, who was there when it began still counts. */
	if (is_forth && fleet->ticked >= fleet_returned(fleet))
		fleet->heard_until = fleet->ticked;
	if (is_back)
		r = notice_back(fleet, now);
	if (is_forth || is_back) {
		fleet->started = now;
		fleet->audit_next = now + AUDIT_SECONDS;
	}
	if (r == 0)
		fleet->ticked = now;
	return r;
}

/* What is read for many is read at one time, and locked once. Where another process has the
 * database, nothing was written, and nothing is: the hosts are told later. */
static int offer_some(struct fleet *fleet, bool *ret_is_busy)
{
	int r = store_begin(fleet->store);

	if (r == 0)
		return offer_slice(fleet);
	*ret_is_busy = r == -EBUSY && !store_is_changing(fleet->store);
	return *ret_is_busy ? 0 : r;
}

int fleet_tick(struct fleet *fleet, unsigned *ret_wait_ms)
{
	uint64_t now = fleet_now(fleet);
	bool is_busy = false;
	int r = notice_gap(fleet, now);

	if (r == 0 && fleet->has_rollouts && now >= fleet->rollouts_next)
		r = look_at_rollouts(fleet, now);
	if (r == 0 && fleet->is_offering)
		r = offer_some(fleet, &is_busy);
	if (r == 0 && !is_busy)
		r = prune_audit(fleet, now);
	if (r == 0 && !is_busy)
		r = fleet_write_seen(fleet);
	if (r != 0 || fleet_has_news(fleet))
		r = finish(fleet, r);
	*ret_wait_ms = r == 0 && fleet->is_offering && !is_busy ? 0 : TICK_MS;
	return r;
}
