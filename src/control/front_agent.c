/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Agents as a front sees them: a number that the store knows them by, what they said last, and what
 * is to be sent. The first message of a connection makes the store decide who it is; until it has
 * answered, every message goes there. Later, a message that says nothing new is answered here: with
 * a hundred thousand hosts that is nearly all of them.
 *
 * Over HTTP an agent is the pair of instance UID and credential: it has the same struct agent from
 * poll to poll, and what the store says in between waits for the next one.
 */

#include "control/front_agent.h"

#include <errno.h>
#include <search.h>
#include <sodium.h>
#include <string.h>

#include "control/front_report.h"
#include "opamp/server.h"

#define UID_SIZE            16U
#define KEY_SIZE            32U
#define MESSAGE_MAX         (OPAMP_TO_SERVER_MAX + 1) /* with its header */
#define QUEUE_MAX           (2 * OPAMP_TO_AGENT_MAX)
#define BURST_SECONDS       5U
#define POLL_MSEC           2000U
#define PING_AFTER_SECONDS  60U
#define CLOSE_AFTER_SECONDS 90U
#define HELLO_SECONDS       15U /* for the first message of a WebSocket */
#define POLLS_MISSED        3U
#define SEEN_SECONDS        3U
#define NUMBERS_FIRST       256U
#define PEER_MAX            64U
#define NAME_MAX_SIZE       256U
#define RETRY_SECONDS       10U
#define HTTP_TOO_MANY       429U

/* A message to an agent, LWS_PRE bytes before it. */
struct outgoing {
	struct outgoing *next;
	size_t size;
	uint8_t bytes[];
};

struct agent {
	struct front *front;
	struct lws *wsi;        /* of a WebSocket */
	struct exchange *waits; /* a poll that is to be answered */
	char *authorization;    /* until the store was asked */
	struct outgoing *queue;
	size_t queued;
	struct buffer received; /* of a message that is not whole yet */
	uint64_t number;
	uint64_t sequence;
	uint64_t capabilities;
	uint64_t heard; /* seconds */
	struct limit_bucket bucket;
	uint16_t close_code; /* 0: stays open */
	bool is_poller;
	bool is_greeted;  /* the store was told of it */
	bool is_accepted; /* and has answered */
	bool is_seen;     /* in front->seen */
	bool wants_ping;
	uint8_t uid[UID_SIZE];
	uint8_t key[KEY_SIZE]; /* what a poller is found by */
};

static int compare(const void *a, const void *b)
{
	return memcmp(((const struct agent *)a)->key, ((const struct agent *)b)->key, KEY_SIZE);
}

static struct agent *agent_free(struct agent *agent)
{
	if (!agent)
		return NULL;
	if (agent->is_poller)
		(void)tdelete(agent, &agent->front->polled, compare);
	if (agent->waits)
		agent->waits->agent = NULL;
	slots_remove(&agent->front->agents, agent->number);
	while (agent->queue) {
		struct outgoing *first = agent->queue;

		agent->queue = first->next;
		free(first);
	}
	buffer_done(&agent->received);
	free(agent->authorization);
	free(agent);
	return NULL;
}

DEFINE_CLEANUP(struct agent *, agent, agent_free)
#define cleanup_agent CLEANUP(cleanup_agent)

static int agent_new(struct front *front, struct lws *wsi, struct agent **ret)
{
	cleanup_agent struct agent *agent = calloc(1, sizeof(*agent));
	int r;

	if (!agent)
		return -ENOMEM;
	agent->front = front;
	agent->wsi = wsi;
	agent->heard = front->now;
	r = slots_add(&front->agents, agent, &agent->number);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(agent);
	return 0;
}

static void send_gone(struct agent *agent)
{
	Link__AgentGone gone = LINK__AGENT_GONE__INIT;
	Link__Frame frame = LINK__FRAME__INIT;

	if (!agent->is_greeted)
		return;
	gone.connection = agent->number;
	frame.body_case = LINK__FRAME__BODY_AGENT_GONE;
	frame.agent_gone = &gone;
	/* Without memory for this the store finds the host silent after a while. */
	ignore_result(front_send(agent->front, &frame));
}

/* Ends the connection once what is queued has gone out. */
static void close_with(struct agent *agent, uint16_t code)
{
	agent->close_code = code;
	if (agent->wsi)
		lws_callback_on_writable(agent->wsi);
}

static int queue_add(struct agent *agent, const void *data, size_t size)
{
	struct outgoing **end = &agent->queue;
	size_t header = agent->is_poller ? 0 : 1;
	struct outgoing *outgoing;

	if (agent->queued + size > QUEUE_MAX)
		return -ENOBUFS;
	outgoing = calloc(1, sizeof(*outgoing) + LWS_PRE + header + size);
	if (!outgoing)
		return -ENOMEM;
	/* The header of a message on a WebSocket is one byte, 0. */
	outgoing->size = header + size;
	memcpy(outgoing->bytes + LWS_PRE + header, data, size);
	while (*end)
		end = &(*end)->next;
	*end = outgoing;
	agent->queued += outgoing->size;
	return 0;
}

static struct outgoing *queue_take(struct agent *agent)
{
	struct outgoing *first = agent->queue;

	if (first) {
		agent->queue = first->next;
		agent->queued -= first->size;
	}
	return first;
}

/* What is waited for, or a message that says nothing. */
static void answer_poll(struct agent *agent)
{
	static const uint8_t head[] = {0x0a, UID_SIZE}; /* field 1, bytes */
	struct exchange *exchange = agent->waits;
	cleanup_free struct outgoing *first = queue_take(agent);
	size_t size = first ? first->size : sizeof(head) + UID_SIZE;
	uint8_t *body = malloc(size);

	agent->waits = NULL;
	exchange->agent = NULL;
	if (!body) {
		exchange_refuse(exchange, HTTP_STATUS_SERVICE_UNAVAILABLE, "busy",
				"the server is out of memory; try again");
		return;
	}
	if (first) {
		memcpy(body, first->bytes + LWS_PRE, size);
	} else {
		memcpy(body, head, sizeof(head));
		memcpy(body + sizeof(head), agent->uid, UID_SIZE);
	}
	exchange_answer(exchange, HTTP_STATUS_OK, "application/x-protobuf", body, size);
}

/* Something is queued, or nothing is to come. */
static void wake(struct agent *agent)
{
	if (agent->wsi)
		lws_callback_on_writable(agent->wsi);
	else if (agent->waits)
		answer_poll(agent);
}

static void answer_heartbeat(struct agent *agent)
{
	uint8_t bytes[2 + UID_SIZE] = {0x0a, UID_SIZE};

	memcpy(bytes + 2, agent->uid, UID_SIZE);
	/* With something queued the agent is answered by that. */
	if (agent->wsi && !agent->queue && queue_add(agent, bytes, sizeof(bytes)) < 0)
		close_with(agent, LWS_CLOSE_STATUS_UNEXPECTED_CONDITION);
	wake(agent);
}

static int number_add(struct front_numbers *list, uint64_t number)
{
	size_t size = list->size > 0 ? list->size * 2 : NUMBERS_FIRST;
	uint64_t *larger;

	if (list->count == list->size) {
		larger = reallocarray(list->items, size, sizeof(*larger));
		if (!larger)
			return -ENOMEM;
		list->items = larger;
		list->size = size;
	}
	list->items[list->count++] = number;
	return 0;
}

static void mark_seen(struct agent *agent)
{
	struct front *front = agent->front;

	agent->heard = front->now;
	if (agent->is_seen)
		return;
	agent->is_seen = number_add(&front->seen, agent->number) == 0;
}

static int greet(struct agent *agent, struct lws *wsi)
{
	Link__AgentHello hello = LINK__AGENT_HELLO__INIT;
	Link__Frame frame = LINK__FRAME__INIT;
	union lws_tls_cert_info_results certificate;
	char peer[PEER_MAX] = "";
	char name[NAME_MAX_SIZE] = "";
	int r;

	(void)lws_get_peer_simple(wsi, peer, sizeof(peer));
	memset(&certificate, 0, sizeof(certificate));
	if (agent->front->config->client_ca &&
	    lws_tls_peer_cert_info(wsi, LWS_TLS_CERT_INFO_VERIFIED, &certificate, 0) == 0 &&
	    certificate.verified &&
	    lws_tls_peer_cert_info(wsi, LWS_TLS_CERT_INFO_COMMON_NAME, &certificate,
				   sizeof(certificate.ns.name)) == 0)
		(void)lws_strncpy(name, certificate.ns.name, sizeof(name));
	hello.connection = agent->number;
	hello.instance_uid.data = agent->uid;
	hello.instance_uid.len = UID_SIZE;
	if (agent->authorization)
		hello.authorization = agent->authorization;
	hello.peer = peer;
	hello.transport = agent->is_poller ? LINK__TRANSPORT__HTTP : LINK__TRANSPORT__WEBSOCKET;
	hello.certificate_name = name;
	frame.body_case = LINK__FRAME__BODY_AGENT_HELLO;
	frame.agent_hello = &hello;
	r = front_send(agent->front, &frame);
	if (r < 0)
		return r;
	agent->is_greeted = true;
	free(agent->authorization);
	agent->authorization = NULL;
	return 0;
}

/* Why a message is not taken. */
enum message_error {
	MESSAGE_E_MALFORMED = 1,
	MESSAGE_E_TOO_LARGE,
	MESSAGE_E_TOO_MANY,
	MESSAGE_E_BUSY,
};

static int forward(struct agent *agent, struct lws *wsi, const Opamp__Proto__AgentToServer *message,
		   bool is_next)
{
	const struct report report = {
		.connection = agent->number, .is_after_gap = !is_next, .message = message};
	int r;

	if (front_is_congested(agent->front))
		return MESSAGE_E_BUSY;
	if (!agent->is_greeted) {
		r = greet(agent, wsi);
		if (r < 0)
			return r;
	}
	r = report_send(agent->front->link, &report);
	return r > 0 ? MESSAGE_E_TOO_LARGE : r;
}

/* Takes a message that was decoded. 0; message_error; -errno. */
static int take_message(struct agent *agent, struct lws *wsi,
			const Opamp__Proto__AgentToServer *message)
{
	bool is_first = !agent->is_greeted;
	bool is_next = is_first || message->sequence_num == agent->sequence + 1;
	bool is_same = message->instance_uid.len == UID_SIZE &&
		       memcmp(message->instance_uid.data, agent->uid, UID_SIZE) == 0;
	bool is_known = agent->is_accepted && is_next && is_same &&
			message->capabilities == agent->capabilities;

	agent->sequence = message->sequence_num;
	agent->capabilities = message->capabilities;
	if (!is_same)
		memcpy(agent->uid, message->instance_uid.data, UID_SIZE);
	mark_seen(agent);
	if (is_known && report_is_heartbeat(message)) {
		answer_heartbeat(agent);
		return 0;
	}
	return forward(agent, wsi, message, is_next);
}

static int decode(const void *data, size_t size, struct opamp_arena **ret_arena,
		  Opamp__Proto__AgentToServer **ret)
{
	int r = opamp_decode_to_server(data, size, ret_arena, ret);

	if (r < 0)
		return r;
	if (r == OPAMP_E_TOO_LARGE)
		return MESSAGE_E_TOO_LARGE;
	return r > 0 || (*ret)->instance_uid.len != UID_SIZE ? MESSAGE_E_MALFORMED : 0;
}

/* WebSocket */

int agent_open(struct front *front, struct lws *wsi, struct front_session *session)
{
	cleanup_agent struct agent *agent = NULL;
	int r = agent_new(front, wsi, &agent);

	if (r < 0)
		return -1;
	agent->authorization = front_header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION);
	session->agent = TAKE_PTR(agent);
	return 0;
}

void agent_closed(struct front_session *session)
{
	if (!session->agent)
		return;
	send_gone(session->agent);
	session->agent = agent_free(session->agent);
}

/* Tells the agent why, in OpAMP's words, before it closes. */
static void fail(struct agent *agent, Opamp__Proto__ServerErrorResponseType type,
		 const char *sentence, uint64_t retry_after, uint16_t code)
{
	const struct opamp_failure failure = {type, sentence, retry_after};
	const struct opamp_offer offer = {
		.uid = {agent->uid, UID_SIZE},
                  .failure = &failure
        };
	cleanup_free uint8_t *bytes = NULL;
	size_t size = 0;

	if (opamp_offer_compose(&offer, 0, &bytes, &size) == 0)
		ignore_result(queue_add(agent, bytes, size));
	close_with(agent, code);
}

static void fail_message(struct agent *agent, int error)
{
	switch (error) {
	case MESSAGE_E_MALFORMED:
		fail(agent,
		     OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_BadRequest,
		     "the message is not an AgentToServer, is nested too deep, or has no instance "
		     "UID of 16 bytes",
		     0, LWS_CLOSE_STATUS_INVALID_PAYLOAD);
		return;
	case MESSAGE_E_TOO_LARGE:
		fail(agent,
		     OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_BadRequest,
		     "the message is too large", 0, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
		return;
	case MESSAGE_E_TOO_MANY:
		fail(agent,
		     OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_Unavailable,
		     "there are too many messages", RETRY_SECONDS,
		     LWS_CLOSE_STATUS_POLICY_VIOLATION);
		return;
	default:
		fail(agent,
		     OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_Unavailable,
		     "the server has more to do than it can", RETRY_SECONDS,
		     LWS_CLOSE_STATUS_UNEXPECTED_CONDITION);
	}
}

static int receive_message(struct agent *agent, const uint8_t *data, size_t size)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__AgentToServer *message = NULL;
	unsigned rate = agent->front->config->messages_per_second;
	size_t offset = 0;
	int r;

	if (!limit_bucket_take(&agent->bucket, front_msec(), rate, rate * BURST_SECONDS))
		return MESSAGE_E_TOO_MANY;
	if (opamp_skip_header(data, size, &offset) != 0)
		return MESSAGE_E_MALFORMED;
	r = decode(data + offset, size - offset, &arena, &message);
	return r == 0 ? take_message(agent, agent->wsi, message) : r;
}

int agent_receive(struct agent *agent, const void *data, size_t size)
{
	bool is_whole = lws_is_final_fragment(agent->wsi);
	int r;

	if (agent->close_code != 0)
		return 0;
	if (!lws_frame_is_binary(agent->wsi)) {
		close_with(agent, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE);
		return 0;
	}
	if (agent->received.size + size > MESSAGE_MAX) {
		fail_message(agent, MESSAGE_E_TOO_LARGE);
		return 0;
	}
	if (is_whole && agent->received.size == 0) {
		r = receive_message(agent, data, size);
	} else {
		if (buffer_add(&agent->received, data, size) < 0)
			return -1;
		if (!is_whole)
			return 0;
		r = receive_message(agent, (const uint8_t *)agent->received.data,
				    agent->received.size);
		buffer_done(&agent->received);
		agent->received = BUFFER_INIT;
	}
	if (r != 0)
		fail_message(agent, r);
	return 0;
}

void agent_alive(struct agent *agent)
{
	mark_seen(agent);
}

int agent_write(struct agent *agent)
{
	cleanup_free struct outgoing *first = queue_take(agent);

	if (first) {
		if (lws_write(agent->wsi, first->bytes + LWS_PRE, first->size, LWS_WRITE_BINARY) <
		    (int)first->size)
			return -1;
		if (agent->queue || agent->close_code != 0 || agent->wants_ping)
			lws_callback_on_writable(agent->wsi);
		return 0;
	}
	if (agent->close_code != 0)
		return number_add(&agent->front->closing, agent->number);
	if (agent->wants_ping) {
		uint8_t ping[LWS_PRE + 1] = {0};

		agent->wants_ping = false;
		return lws_write(agent->wsi, ping + LWS_PRE, 0, LWS_WRITE_PING) < 0 ? -1 : 0;
	}
	return 0;
}

/* HTTP */

static void make_key(const struct exchange *exchange, const uint8_t *uid, uint8_t key[KEY_SIZE])
{
	const char *authorization = exchange->authorization ? exchange->authorization : "";
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, NULL, 0, KEY_SIZE);
	(void)crypto_generichash_update(&state, uid, UID_SIZE);
	(void)crypto_generichash_update(&state, (const uint8_t *)authorization,
					strlen(authorization));
	(void)crypto_generichash_final(&state, key, KEY_SIZE);
}

static int find_poller(struct exchange *exchange, const uint8_t *uid, struct agent **ret)
{
	cleanup_agent struct agent *fresh = NULL;
	struct front *front = exchange->front;
	struct agent wanted;
	void *node;
	int r;

	make_key(exchange, uid, wanted.key);
	node = tfind(&wanted, &front->polled, compare);
	if (node) {
		*ret = *(struct agent **)node;
		return 0;
	}
	r = agent_new(front, NULL, &fresh);
	if (r < 0)
		return r;
	memcpy(fresh->key, wanted.key, KEY_SIZE);
	memcpy(fresh->uid, uid, UID_SIZE);
	if (exchange->authorization) {
		fresh->authorization = strdup(exchange->authorization);
		if (!fresh->authorization)
			return -ENOMEM;
	}
	if (!tsearch(fresh, &front->polled, compare))
		return -ENOMEM;
	fresh->is_poller = true;
	*ret = TAKE_PTR(fresh);
	return 0;
}

static void refuse_poll(struct exchange *exchange, int error)
{
	switch (error) {
	case MESSAGE_E_MALFORMED:
		exchange_refuse(exchange, HTTP_STATUS_BAD_REQUEST, "bad-message",
				"the body is not an AgentToServer, is nested too deep, or has no "
				"instance UID of 16 bytes");
		return;
	case MESSAGE_E_TOO_LARGE:
		exchange_refuse(exchange, HTTP_STATUS_REQ_ENTITY_TOO_LARGE, "too-large",
				"the message is too large");
		return;
	case MESSAGE_E_TOO_MANY:
		exchange_add_header(exchange, "retry-after:", "%u", RETRY_SECONDS);
		exchange_refuse(exchange, HTTP_TOO_MANY, "too-many", "there are too many messages");
		return;
	default:
		exchange_add_header(exchange, "retry-after:", "%u", RETRY_SECONDS);
		exchange_refuse(exchange, HTTP_STATUS_SERVICE_UNAVAILABLE, "busy",
				"the server has more to do than it can");
	}
}

static int poll_message(struct exchange *exchange)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__AgentToServer *message = NULL;
	unsigned rate = exchange->front->config->messages_per_second;
	struct agent *agent = NULL;
	int r;

	r = decode(exchange->body.data, exchange->body.size, &arena, &message);
	if (r == 0)
		r = find_poller(exchange, message->instance_uid.data, &agent);
	if (r != 0)
		return r;
	if (!limit_bucket_take(&agent->bucket, front_msec(), rate, rate * BURST_SECONDS))
		return MESSAGE_E_TOO_MANY;
	/* Whoever polls again has given up on the poll before. */
	if (agent->waits)
		answer_poll(agent);
	agent->waits = exchange;
	exchange->agent = agent;
	exchange->deadline = front_msec() + POLL_MSEC;
	r = take_message(agent, exchange->wsi, message);
	if (r != 0)
		agent_forget_exchange(exchange);
	return r;
}

void agent_poll(struct exchange *exchange)
{
	int r;

	if (exchange->number == 0 &&
	    slots_add(&exchange->front->requests, exchange, &exchange->number) < 0)
		r = -ENOMEM;
	else
		r = poll_message(exchange);
	if (r != 0)
		refuse_poll(exchange, r);
}

void agent_forget_exchange(struct exchange *exchange)
{
	if (exchange->agent)
		exchange->agent->waits = NULL;
	exchange->agent = NULL;
}

void agent_poll_expired(struct exchange *exchange)
{
	if (exchange->agent)
		answer_poll(exchange->agent);
}

/* From the store */

static void end_poller(struct agent *agent)
{
	if (agent->waits)
		answer_poll(agent);
	(void)agent_free(agent);
}

void agent_on_message(struct front *front, const Link__AgentMessage *message)
{
	struct agent *agent = slots_get(&front->agents, message->connection);

	if (!agent)
		return;
	if (!agent->is_accepted && agent->wsi)
		front_prove(front, agent->wsi);
	agent->is_accepted = true;
	if (message->server_to_agent.len > 0 &&
	    queue_add(agent, message->server_to_agent.data, message->server_to_agent.len) < 0) {
		/* It does not read: when it comes back it is told everything. */
		if (agent->is_poller) {
			send_gone(agent);
			(void)agent_free(agent);
		} else {
			close_with(agent, LWS_CLOSE_STATUS_UNEXPECTED_CONDITION);
		}
		return;
	}
	if (message->close_after && agent->is_poller) {
		end_poller(agent);
		return;
	}
	if (message->close_after)
		agent->close_code = LWS_CLOSE_STATUS_NORMAL;
	wake(agent);
}

static const char *sentence_of(unsigned status)
{
	switch (status) {
	case HTTP_STATUS_UNAUTHORIZED:
		return "the join token or credential is not known here, or is used up";
	case HTTP_STATUS_FORBIDDEN:
		return "this host was revoked";
	case HTTP_TOO_MANY:
		return "there are too many messages";
	default:
		return "the server could not take the message; try again";
	}
}

static void refuse_poller(struct agent *agent, const Link__AgentRefuse *refuse)
{
	struct exchange *exchange = agent->waits;

	if (exchange) {
		agent_forget_exchange(exchange);
		if (refuse->retry_after > 0)
			exchange_add_header(exchange, "retry-after:", "%u", refuse->retry_after);
		exchange_refuse(exchange, refuse->status,
				refuse->status == HTTP_STATUS_UNAUTHORIZED ? "unauthorized"
				: refuse->status == HTTP_STATUS_FORBIDDEN  ? "forbidden"
									   : "unavailable",
				sentence_of(refuse->status));
	}
	(void)agent_free(agent);
}

void agent_on_refuse(struct front *front, const Link__AgentRefuse *refuse)
{
	struct agent *agent = slots_get(&front->agents, refuse->connection);
	bool is_final = refuse->status == HTTP_STATUS_UNAUTHORIZED ||
			refuse->status == HTTP_STATUS_FORBIDDEN;

	if (!agent)
		return;
	agent->is_greeted = false; /* the store has forgotten it */
	agent->is_accepted = false;
	if (agent->is_poller)
		refuse_poller(agent, refuse);
	else if (is_final)
		fail(agent,
		     OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_BadRequest,
		     sentence_of(refuse->status), 0, LWS_CLOSE_STATUS_POLICY_VIOLATION);
	else
		fail(agent,
		     OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_Unavailable,
		     sentence_of(refuse->status), refuse->retry_after,
		     LWS_CLOSE_STATUS_UNEXPECTED_CONDITION);
}

void agent_on_revoked(struct front *front, const Link__Revoked *revoked)
{
	Link__AgentRefuse refuse = LINK__AGENT_REFUSE__INIT;

	refuse.connection = revoked->connection;
	refuse.status = HTTP_STATUS_FORBIDDEN;
	agent_on_refuse(front, &refuse);
}

/* Time */

static void sweep_socket(struct agent *agent)
{
	uint64_t silent = agent->front->now - agent->heard;

	if (!agent->is_greeted && silent > HELLO_SECONDS && agent->close_code == 0)
		close_with(agent, LWS_CLOSE_STATUS_POLICY_VIOLATION);
	if (silent > CLOSE_AFTER_SECONDS) {
		/* Nobody is there to say goodbye to. */
		lws_set_timeout(agent->wsi, PENDING_TIMEOUT_CLOSE_ACK, LWS_TO_KILL_ASYNC);
	} else if (silent > PING_AFTER_SECONDS && !agent->wants_ping) {
		agent->wants_ping = true;
		lws_callback_on_writable(agent->wsi);
	}
}

static void flush_seen(struct front *front)
{
	Link__AgentsSeen seen = LINK__AGENTS_SEEN__INIT;
	Link__Frame frame = LINK__FRAME__INIT;

	front->seen_due = front->now + SEEN_SECONDS;
	if (front->seen.count == 0)
		return;
	for (size_t i = 0; i < front->seen.count; i++) {
		struct agent *agent = slots_get(&front->agents, front->seen.items[i]);

		if (agent)
			agent->is_seen = false;
	}
	seen.connections = front->seen.items;
	seen.n_connections = front->seen.count;
	frame.body_case = LINK__FRAME__BODY_AGENTS_SEEN;
	frame.agents_seen = &seen;
	if (front_send(front, &frame) == 0)
		front->seen.count = 0;
}

void agent_sweep(struct front *front)
{
	uint64_t patience = POLLS_MISSED * (uint64_t)front->config->heartbeat_seconds;

	for (uint32_t i = 0; i < front->agents.count; i++) {
		struct agent *agent = slots_at(&front->agents, i);

		if (!agent)
			continue;
		if (!agent->is_poller) {
			sweep_socket(agent);
		} else if (!agent->waits && front->now - agent->heard > patience) {
			send_gone(agent);
			(void)agent_free(agent);
		}
	}
	if (front->now >= front->seen_due)
		flush_seen(front);
}

void agent_close_decided(struct front *front)
{
	for (size_t i = 0; i < front->closing.count; i++) {
		struct agent *agent = slots_get(&front->agents, front->closing.items[i]);

		if (!agent)
			continue;
		lws_close_reason(agent->wsi, agent->close_code, NULL, 0);
		lws_set_timeout(agent->wsi, PENDING_TIMEOUT_CLOSE_ACK, LWS_TO_KILL_SYNC);
	}
	front->closing.count = 0;
}

void agent_close_all(struct front *front)
{
	for (uint32_t i = 0; i < front->agents.count; i++) {
		struct agent *agent = slots_at(&front->agents, i);

		if (agent && agent->wsi)
			close_with(agent, LWS_CLOSE_STATUS_GOINGAWAY);
	}
}
