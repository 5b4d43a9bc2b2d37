/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Connections and who is behind them. A host is its credential, not its instance UID: a UID is
 * something the agent says of itself, and two of them may say the same. A join token makes a host,
 * which is given its credential with the first answer. As long as that credential was never used,
 * the same token and UID get the same host and another credential: the answer may have been lost.
 *
 * Of two connections with one credential the newer stays: the older one is half open, most often.
 * Where they take turns, there are two hosts with one credential, such as a disk and its copy. Then
 * who is connected stays, the other is told to come back much later, and an operator is told. Polls
 * come by any connection, but the messages of one host are numbered upwards: where the numbers turn
 * back again and again, two hosts poll, and who has the higher ones stays. A number of 1 with a
 * description is an agent that was started anew, however often; it is another one only where the
 * numbers from before go on.
 *
 * Times of heartbeats are kept in memory and written now and then: at 100,000 hosts every one of
 * them would be a write per host and heartbeat.
 */

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/str.h"
#include "control/fleet_private.h"
#include "control/token.h"

#define WRITE_SEEN_SECONDS  300U
#define WRITE_SEEN_PER_TICK 512U
#define WAIT_SECONDS        5U
/* So many takeovers in that time are more than a bad network makes. */
#define TAKEOVERS_MAX     4U
#define TAKEOVERS_SECONDS 300U
/* When the other may try again, and for how long it is remembered. */
#define RIVAL_WAIT_SECONDS 60U
#define RIVAL_SECONDS      600U
/* The longest pause of an agent between attempts to connect, unless it is told another. */
#define RETURN_SECONDS 300U

static bool is_poll(const struct fleet_hello *hello)
{
	return str_equal(hello->transport, "http");
}

struct fleet_session *fleet_session_find(const struct fleet *fleet, uint64_t connection)
{
	return fleet_map_get(&fleet->by_connection, connection);
}

struct fleet_session *fleet_session_of_host(const struct fleet *fleet, int64_t host)
{
	return fleet_map_get(&fleet->by_host, (uint64_t)host);
}

static struct fleet_session *session_free(struct fleet_session *session)
{
	if (session->credential) {
		sodium_memzero(session->credential, strlen(session->credential));
		free(session->credential);
	}
	free(session->base_url);
	free(session->peer);
	free(session);
	return NULL;
}

void fleet_session_end(struct fleet *fleet, struct fleet_session *session)
{
	struct fleet_session *last = fleet->sessions[fleet->n_sessions - 1];

	/* The last one takes its place, before the cursor perhaps: the offers go on from there. */
	fleet->offer_cursor = MIN(fleet->offer_cursor, session->index);
	fleet->sessions[session->index] = last;
	last->index = session->index;
	fleet->n_sessions--;
	fleet_map_remove(&fleet->by_connection, session->connection);
	if (fleet_session_of_host(fleet, session->host) == session)
		fleet_map_remove(&fleet->by_host, (uint64_t)session->host);
	(void)session_free(session);
}

void fleet_sessions_done(struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->n_sessions; i++)
		(void)session_free(fleet->sessions[i]);
	free((void *)fleet->sessions);
	fleet_map_done(&fleet->by_connection);
	fleet_map_done(&fleet->by_host);
}

static int keep_texts(struct fleet_session *session, const struct fleet_hello *hello)
{
	if (hello->base_url)
		session->base_url = strdup(hello->base_url);
	if (session->is_polling && hello->peer)
		session->peer = strdup(hello->peer);
	if (hello->base_url && !session->base_url)
		return -ENOMEM;
	return session->is_polling && hello->peer && !session->peer ? -ENOMEM : 0;
}

static int add_session(struct fleet *fleet, const struct fleet_hello *hello, int64_t host,
		       struct fleet_session **ret)
{
	struct fleet_session *session;
	int r;

	if (memory_make_room(&fleet->sessions, fleet->n_sessions, &fleet->sessions_size) < 0)
		return -ENOMEM;
	session = calloc(1, sizeof(*session));
	if (!session)
		return -ENOMEM;
	session->connection = hello->connection;
	session->host = host;
	session->last_seen = fleet_now(fleet);
	session->last_written = session->last_seen;
	session->is_polling = is_poll(hello);
	memcpy(session->uid, hello->instance_uid, FLEET_UID_SIZE);
	r = keep_texts(session, hello);
	if (r == 0)
		r = fleet_map_put(&fleet->by_connection, session->connection, session);
	if (r == 0)
		r = fleet_map_put(&fleet->by_host, (uint64_t)host, session);
	if (r < 0) {
		fleet_map_remove(&fleet->by_connection, session->connection);
		(void)session_free(session);
		return r;
	}
	session->index = fleet->n_sessions;
	fleet->sessions[fleet->n_sessions++] = session;
	*ret = session;
	return 0;
}

/* A host by what it showed. */
struct visitor {
	int64_t host; /* 0: none */
	bool is_revoked;
	bool is_confirmed;
	struct token credential; /* made for it now; "" text: none */
};

static int find_host(struct fleet *fleet, const char *sql, struct store_value key,
		     struct visitor *visitor)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select_values(fleet->store, &rows, sql, &key, 1);
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0 || !row)
		return r;
	visitor->host = store_int(rows, 0);
	visitor->is_revoked = store_int(rows, 1) != 0;
	visitor->is_confirmed = store_int(rows, 2) != 0;
	return 0;
}

/* By what it came in is what an operator asks who finds a host that should not be there. */
static int audit_enrolment(struct fleet *fleet, const struct fleet_hello *hello, int64_t host,
			   int64_t join_token)
{
	const struct audit_actor actor = {"host", hello->peer, fleet_now(fleet)};
	cleanup_json json_t *after = NULL;
	char object[64];

	after = join_token > 0 ? json_pack("{s:I}", "join_token", (json_int_t)join_token)
			       : json_pack("{s:s}", "certificate", hello->certificate_name);
	if (!after)
		return -ENOMEM;

	(void)snprintf(object, sizeof(object), "host %lld", (long long)host);
	return audit_add(fleet->store, &actor, "enrol", object, NULL, after);
}

static int insert_host(struct fleet *fleet, const struct fleet_hello *hello, int64_t join_token,
		       struct visitor *visitor)
{
	uint64_t now = fleet_now(fleet);
	int r;

	r = store_number(
		fleet->store, &visitor->host, 0,
		"INSERT INTO host (name, uid, credential, certificate, join_token, enrolled, "
		"last_seen) VALUES ('', $1, $2, $3, $4, $5, $6) RETURNING id",
		STORE_BLOB(hello->instance_uid, FLEET_UID_SIZE),
		join_token > 0 ? STORE_BLOB(visitor->credential.hash, TOKEN_HASH_SIZE) : STORE_NULL,
		join_token > 0 ? STORE_NULL : STORE_TEXT(hello->certificate_name),
		join_token > 0 ? STORE_INT(join_token) : STORE_NULL, STORE_INT(now),
		STORE_INT(now));
	return r == 0 ? audit_enrolment(fleet, hello, visitor->host, join_token) : r;
}

/* Enrols by a join token; host 0 afterwards: the token is not good. */
static int enrol(struct fleet *fleet, const struct fleet_hello *hello, const char *text,
		 struct visitor *visitor)
{
	int64_t token = 0;
	int64_t waiting = 0;
	int r;

	r = token_find_join(fleet->store, text, fleet_now(fleet), &token);
	if (r != 0 || token == 0)
		return r;
	r = store_number(fleet->store, &waiting, 0,
			 "SELECT id FROM host WHERE join_token = $1 AND uid = $2 AND "
			 "confirmed = 0 AND revoked = 0",
			 STORE_INT(token), STORE_BLOB(hello->instance_uid, FLEET_UID_SIZE));
	if (r != 0)
		return r;
	token_make("host", &visitor->credential);
	if (waiting != 0) {
		visitor->host = waiting;
		return store_run(fleet->store, "UPDATE host SET credential = $1 WHERE id = $2",
				 STORE_BLOB(visitor->credential.hash, TOKEN_HASH_SIZE),
				 STORE_INT(waiting));
	}
	r = store_begin(fleet->store);
	if (r == 0)
		r = token_use_join(fleet->store, token);
	if (r == TOKEN_E_USED_UP)
		return 0;
	return r == 0 ? insert_host(fleet, hello, token, visitor) : r;
}

static int identify(struct fleet *fleet, const struct fleet_hello *hello, struct visitor *visitor)
{
	const char *text = token_from_header(hello->authorization);
	uint8_t hash[TOKEN_HASH_SIZE];
	int r;

	if (text) {
		token_hash(text, hash);
		r = find_host(fleet,
			      "SELECT id, revoked, confirmed FROM host WHERE credential = $1",
			      STORE_BLOB(hash, sizeof(hash)), visitor);
		if (r != 0 || visitor->is_confirmed)
			return r;
		if (visitor->host != 0)
			return store_run(fleet->store,
					 "UPDATE host SET confirmed = 1 WHERE id = $1",
					 STORE_INT(visitor->host));
		return enrol(fleet, hello, text, visitor);
	}
	if (!fleet->options.trust_certificates || str_is_empty(hello->certificate_name))
		return 0;
	/* A revoked host that was forgotten must not enrol by the same certificate. */
	r = find_host(fleet,
		      "SELECT id, revoked, confirmed FROM host WHERE certificate = $1 "
		      "UNION ALL SELECT -1, 1, 1 FROM revoked_certificate WHERE name = $1",
		      STORE_TEXT(hello->certificate_name), visitor);
	return r == 0 && visitor->host == 0 ? insert_host(fleet, hello, 0, visitor) : r;
}

bool fleet_is_duplicate(const struct fleet *fleet, int64_t host)
{
	const struct fleet_session *session = fleet_session_of_host(fleet, host);

	return session && session->rival_seen > 0 &&
	       fleet_now(fleet) < session->rival_seen + RIVAL_SECONDS;
}

/* Polls come by any front, each of which makes another connection of it: it may be the same host.
 */
static bool is_next_poll(const struct fleet_session *old, const struct fleet_hello *hello)
{
	return old->is_polling && is_poll(hello);
}

/* Whether who is connected is to stay. One that was not heard in its time has gone. */
static bool is_contested(const struct fleet *fleet, const struct fleet_session *session)
{
	uint64_t now = fleet_now(fleet);

	return session->takeovers >= TAKEOVERS_MAX &&
	       now < session->taken_since + TAKEOVERS_SECONDS + RIVAL_SECONDS &&
	       now <= session->last_seen + 2UL * fleet->options.heartbeat_seconds;
}

static int turn_away(struct fleet *fleet, uint64_t connection, const char *peer,
		     struct fleet_session *session)
{
	const struct audit_actor actor = {"affixd", peer, fleet_now(fleet)};
	bool is_known = fleet_is_duplicate(fleet, session->host);
	char object[64];
	int r = 0;

	session->rival_seen = actor.time;
	(void)snprintf(object, sizeof(object), "host %lld", (long long)session->host);
	if (!is_known)
		r = store_begin(fleet->store);
	if (!is_known && r == 0)
		r = audit_add(fleet->store, &actor, "duplicate", object, NULL, NULL);
	return r == 0 ? fleet_say_refusal(fleet, connection, 409, RIVAL_WAIT_SECONDS) : r;
}

static void count_takeover(struct fleet_session *session, uint64_t now)
{
	if (session->takeovers == 0 || now >= session->taken_since + TAKEOVERS_SECONDS) {
		session->takeovers = 0;
		session->taken_since = now;
	}
	session->takeovers++;
}

/* What a session has from the one before it. */
static void inherit(const struct fleet *fleet, const struct fleet_session *old,
		    const struct fleet_hello *hello, struct fleet_session *session)
{
	session->takeovers = old->takeovers;
	session->taken_since = old->taken_since;
	if (!is_next_poll(old, hello)) {
		count_takeover(session, fleet_now(fleet));
		return;
	}
	session->rival_seen = old->rival_seen;
	session->has_polled = old->has_polled;
	session->sequence = old->sequence;
	session->former = old->former;
	/* That somebody came is no word of it yet: it may be the rival. */
	session->last_seen = old->last_seen;
	session->last_written = old->last_written;
}

/* Whether the numbers from before an agent's start go on. They must be the next ones where another
 * connection carries them: the heartbeats between are a front's business and not told here. */
static bool is_former_line(const struct fleet_session *session, const struct fleet_report *report)
{
	if (session->sequence >= session->former || report->sequence <= session->former)
		return false;
	return session->has_greeted ? report->is_after_gap
				    : report->sequence == session->former + 1;
}

int fleet_turn_away(struct fleet *fleet, struct fleet_session *session,
		    const struct fleet_report *report, bool *ret)
{
	/* Who says 0 always does not count its messages. */
	bool is_counted = report->sequence > 0 || session->sequence > 0;
	bool is_back = session->is_polling && session->has_polled && is_counted &&
		       report->sequence <= session->sequence;
	bool is_start = is_back && report->sequence <= 1 && report->has_description;

	*ret = is_back && is_contested(fleet, session);
	session->is_turned_away = *ret;
	if (*ret)
		return turn_away(fleet, report->connection, session->peer ? session->peer : "",
				 session);
	if ((is_back && !is_start) || is_former_line(session, report))
		count_takeover(session, fleet_now(fleet));
	if (is_start)
		session->former = MAX(session->former, session->sequence);
	else if (report->sequence >= session->former)
		session->former = 0;
	session->has_polled = session->is_polling;
	return 0;
}

static int welcome(struct fleet *fleet, const struct fleet_hello *hello,
		   const struct visitor *visitor)
{
	struct fleet_session *old = fleet_session_of_host(fleet, visitor->host);
	struct fleet_session *session = NULL;
	struct fleet_session before = {0};
	bool is_first = !old;
	char *credential = NULL;
	int r = 0;

	if (old && !is_next_poll(old, hello) && is_contested(fleet, old))
		return turn_away(fleet, hello->connection, hello->peer, old);
	if (visitor->credential.text[0] != '\0') {
		credential = strdup(visitor->credential.text);
		if (!credential)
			return -ENOMEM;
	}
	if (old) {
		before = *old;
		r = fleet_say_refusal(fleet, old->connection, 409, 0);
		fleet_session_end(fleet, old);
	}
	if (r == 0)
		r = add_session(fleet, hello, visitor->host, &session);
	if (r == 0) {
		session->credential = TAKE_PTR(credential);
		if (!is_first)
			inherit(fleet, &before, hello, session);
	}
	free(credential);
	return r;
}

static int take_hello(struct fleet *fleet, const struct fleet_hello *hello)
{
	struct visitor visitor = {0};
	int r;

	r = store_mark(fleet->store);
	if (r != 0)
		return r;
	r = identify(fleet, hello, &visitor);
	if (r == 0)
		r = store_keep(fleet->store);
	if (r != 0) {
		store_undo(fleet->store);
		return r < 0 ? r : -EIO;
	}
	if (visitor.host == 0)
		return fleet_say_refusal(fleet, hello->connection, 401, 0);
	if (visitor.is_revoked)
		return fleet_say_refusal(fleet, hello->connection, 403, 0);
	r = welcome(fleet, hello, &visitor);
	sodium_memzero(&visitor, sizeof(visitor));
	return r;
}

int fleet_hello(struct fleet *fleet, const struct fleet_hello *hello)
{
	struct fleet_session *before = fleet_session_find(fleet, hello->connection);
	int r;

	fleet->counters.hellos++;
	if (before)
		fleet_session_end(fleet, before);
	r = take_hello(fleet, hello);
	if (r < 0)
		ignore_result(fleet_say_refusal(fleet, hello->connection, 503, WAIT_SECONDS));
	return r;
}

int fleet_seen(struct fleet *fleet, const uint64_t *connections, size_t n)
{
	uint64_t now = fleet_now(fleet);

	for (size_t i = 0; i < n; i++) {
		struct fleet_session *session = fleet_session_find(fleet, connections[i]);
		int r = 0;

		if (!session)
			r = fleet_say_refusal(fleet, connections[i], 503, 0);
		if (r != 0)
			return r;
		if (!session || session->is_turned_away)
			continue;
		session->last_seen = now;
		if (fleet_forget_other_offer(session))
			fleet_offer_again(fleet, session->host);
	}
	return 0;
}

static int write_seen(struct fleet *fleet, struct fleet_session *session)
{
	int r;

	if (session->last_written == session->last_seen)
		return 0;
	r = store_begin(fleet->store);
	if (r == 0)
		r = store_run(fleet->store,
			      "UPDATE host SET last_seen = $1 WHERE id = $2 AND last_seen < $1",
			      STORE_INT(session->last_seen), STORE_INT(session->host));
	if (r == 0)
		session->last_written = session->last_seen;
	return r;
}

int fleet_write_seen(struct fleet *fleet)
{
	size_t n = MIN(fleet->n_sessions, (size_t)WRITE_SEEN_PER_TICK);
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		struct fleet_session *session;

		fleet->seen_cursor = (fleet->seen_cursor + 1) % fleet->n_sessions;
		session = fleet->sessions[fleet->seen_cursor];
		if (session->last_seen - session->last_written >= WRITE_SEEN_SECONDS)
			r = write_seen(fleet, session);
	}
	return r;
}

/* A time that could not be written is the one before: the host counts as silent for longer. */
void fleet_gone(struct fleet *fleet, uint64_t connection)
{
	struct fleet_session *session = fleet_session_find(fleet, connection);

	if (!session)
		return;
	ignore_result(write_seen(fleet, session));
	fleet_session_end(fleet, session);
}

void fleet_front_gone(struct fleet *fleet, unsigned front)
{
	for (size_t i = fleet->n_sessions; i-- > 0;) {
		if (fleet->sessions[i]->connection >> 48 == front)
			fleet_gone(fleet, fleet->sessions[i]->connection);
	}
}

uint64_t fleet_last_seen(const struct fleet *fleet, int64_t host, uint64_t stored)
{
	const struct fleet_session *session = fleet_session_of_host(fleet, host);

	return session ? MAX(session->last_seen, stored) : stored;
}

uint64_t fleet_returned(const struct fleet *fleet)
{
	return fleet->started + RETURN_SECONDS;
}

bool fleet_has_told(const struct fleet *fleet, int64_t host, uint64_t stored)
{
	const struct fleet_session *session = fleet_session_of_host(fleet, host);

	return session ? session->has_described : stored >= fleet->started;
}

/* Who was silent before the start already still is. What is stored may be so much too old. */
static bool was_silent(const struct fleet *fleet, uint64_t last_seen)
{
	return last_seen + WRITE_SEEN_SECONDS + fleet->options.stale_seconds < fleet->heard_until;
}

bool fleet_is_stale(const struct fleet *fleet, int64_t host, uint64_t stored)
{
	const struct fleet_session *session = fleet_session_of_host(fleet, host);
	uint64_t since = fleet_last_seen(fleet, host, stored);

	/* Who never promised a heartbeat is there as long as the connection is. */
	if (session && !session->is_polling && !(session->capabilities & FLEET_AGENT_SENDS_HEARTS))
		return false;
	if (since < fleet->started && !was_silent(fleet, since))
		since = fleet_returned(fleet);
	return since + fleet->options.stale_seconds < fleet_now(fleet);
}
