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

#include "base/memory.h"
#include "control/front_agent_private.h"
#include "control/front_certificate.h"
#include "control/front_report.h"
#include "control/token.h"

#define QUEUE_MAX     (2 * OPAMP_TO_AGENT_MAX)
#define POLLS_MISSED  3U
#define SEEN_SECONDS  3U
#define PEER_MAX      64U
#define HTTP_TOO_MANY 429U

static void leave(struct agent *agent)
{
	if (agent->is_enrolling)
		admission_leave(&agent->front->admission, front_msec());
	agent->is_enrolling = false;
}

struct agent *agent_free(struct agent *agent)
{
	if (!agent)
		return NULL;
	if (agent->is_poller)
		(void)tdelete(agent, &agent->front->polled, agent_compare_keys);
	if (agent->waits)
		agent->waits->agent = NULL;
	leave(agent);
	slots_remove(&agent->front->agents, agent->number);
	while (agent->queue) {
		struct outgoing *first = agent->queue;

		agent->queue = first->next;
		free(first);
	}
	buffer_done(&agent->received);
	free(agent->authorization);
	free(agent->base_url);
	free(agent);
	return NULL;
}

int agent_new(struct front *front, struct lws *wsi, struct agent **ret)
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

void agent_send_gone(struct agent *agent)
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
void agent_close_with(struct agent *agent, uint16_t code)
{
	agent->close_code = code;
	if (agent->wsi)
		lws_callback_on_writable(agent->wsi);
}

int agent_queue(struct agent *agent, const void *data, size_t size)
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

struct outgoing *agent_take_queued(struct agent *agent)
{
	struct outgoing *first = agent->queue;

	if (first) {
		agent->queue = first->next;
		agent->queued -= first->size;
	}
	return first;
}

/* Something is queued, or nothing is to come. */
static void wake(struct agent *agent)
{
	if (agent->wsi)
		agent_push(agent);
	else if (agent->waits)
		agent_answer_poll(agent);
}

static void answer_heartbeat(struct agent *agent)
{
	uint8_t bytes[2 + AGENT_UID_SIZE] = {0x0a, AGENT_UID_SIZE};

	memcpy(bytes + 2, agent->uid, AGENT_UID_SIZE);
	/* With something queued the agent is answered by that. */
	if (agent->wsi && !agent->queue && agent_queue(agent, bytes, sizeof(bytes)) < 0)
		agent_close_with(agent, LWS_CLOSE_STATUS_UNEXPECTED_CONDITION);
	wake(agent);
}

int agent_note(struct front_numbers *list, uint64_t number)
{
	if (memory_make_room(&list->items, list->count, &list->size) < 0)
		return -ENOMEM;
	list->items[list->count++] = number;
	return 0;
}

void agent_mark_seen(struct agent *agent)
{
	struct front *front = agent->front;

	agent->heard = front->now;
	if (agent->is_seen)
		return;
	agent->is_seen = agent_note(&front->seen, agent->number) == 0;
}

static int greet(struct agent *agent, struct lws *wsi)
{
	Link__AgentHello hello = LINK__AGENT_HELLO__INIT;
	Link__Frame frame = LINK__FRAME__INIT;
	char peer[PEER_MAX] = "";
	struct certificate certificate = {0};
	int r;

	(void)lws_get_peer_simple(wsi, peer, sizeof(peer));
	hello.connection = agent->number;
	hello.instance_uid.data = agent->uid;
	hello.instance_uid.len = AGENT_UID_SIZE;
	if (agent->authorization)
		hello.authorization = agent->authorization;
	if (agent->base_url)
		hello.base_url = agent->base_url;
	hello.peer = peer;
	hello.transport = agent->is_poller ? LINK__TRANSPORT__HTTP : LINK__TRANSPORT__WEBSOCKET;
	hello.certificate_name = certificate.name;
	if (agent->front->config->client_ca && !certificate_of(wsi, &certificate))
		*certificate.name = '\0';
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

/* Hosts that are known come in at any time; those that enrol a few at a time. */
static bool enter(struct agent *agent)
{
	struct admission *admission = &agent->front->admission;

	if (!token_looks_like_join(agent->authorization))
		return true;
	if (!admission_has_room(admission))
		return false;
	admission_enter(admission, front_msec());
	agent->is_enrolling = true;
	return true;
}

static int forward(struct agent *agent, struct lws *wsi, const Opamp__Proto__AgentToServer *message,
		   bool is_next)
{
	const struct report report = {
		.connection = agent->number, .is_after_gap = !is_next, .message = message};
	int r;

	if (front_is_congested(agent->front))
		return MESSAGE_E_BUSY;
	if (!agent->is_greeted) {
		if (!enter(agent))
			return MESSAGE_E_LATER;
		r = greet(agent, wsi);
		if (r < 0)
			return r;
	}
	r = report_send(agent->front->link, &report);
	return r > 0 ? MESSAGE_E_TOO_LARGE : r;
}

/* Takes a message that was decoded. 0; message_error; -errno. */
int agent_take_message(struct agent *agent, struct lws *wsi,
		       const Opamp__Proto__AgentToServer *message)
{
	bool is_first = !agent->is_greeted;
	bool is_next = is_first || message->sequence_num == agent->sequence + 1;
	bool is_same = memcmp(message->instance_uid.data, agent->uid, AGENT_UID_SIZE) == 0;
	bool is_known =
		agent->is_accepted && is_next && message->capabilities == agent->capabilities;

	if (!is_first && !is_same) {
		/* The store knows the connection by the UID it began with: it may come back. */
		agent_close_with(agent, LWS_CLOSE_STATUS_GOINGAWAY);
		return 0;
	}
	agent->sequence = message->sequence_num;
	agent->capabilities = message->capabilities;
	memcpy(agent->uid, message->instance_uid.data, AGENT_UID_SIZE);
	agent_mark_seen(agent);
	if (is_known && report_is_heartbeat(message)) {
		answer_heartbeat(agent);
		return 0;
	}
	return forward(agent, wsi, message, is_next);
}

int agent_decode(const void *data, size_t size, struct opamp_arena **ret_arena,
		 Opamp__Proto__AgentToServer **ret)
{
	int r = opamp_decode_to_server(data, size, ret_arena, ret);

	if (r < 0)
		return r;
	if (r == OPAMP_E_TOO_LARGE)
		return MESSAGE_E_TOO_LARGE;
	return r > 0 || (*ret)->instance_uid.len != AGENT_UID_SIZE ? MESSAGE_E_MALFORMED : 0;
}

/* From the store */

static void end_poller(struct agent *agent)
{
	if (agent->waits)
		agent_answer_poll(agent);
	(void)agent_free(agent);
}

static void accept_agent(struct front *front, struct agent *agent)
{
	leave(agent);
	if (agent->is_accepted)
		return;
	if (agent->wsi)
		front_prove(front, agent->wsi);
	front_warn_of_guess(front, agent->base_url);
	free(agent->base_url);
	agent->base_url = NULL;
	agent->is_accepted = true;
}

void agent_on_message(struct front *front, const Link__AgentMessage *message)
{
	struct agent *agent = slots_get(&front->agents, message->connection);

	if (!agent)
		return;
	accept_agent(front, agent);
	if (message->server_to_agent.len > 0 &&
	    agent_queue(agent, message->server_to_agent.data, message->server_to_agent.len) < 0) {
		/* It does not read: when it comes back it is told everything. */
		if (agent->is_poller) {
			agent_send_gone(agent);
			(void)agent_free(agent);
		} else {
			agent_close_with(agent, LWS_CLOSE_STATUS_UNEXPECTED_CONDITION);
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
	case HTTP_STATUS_CONFLICT:
		return "this host came by another connection; where two have one credential, as "
		       "copied disks do, remove credential and instance-uid from the state of one";
	case HTTP_TOO_MANY:
		return "there are too many messages";
	default:
		return "the server could not take the message; try again";
	}
}

void agent_on_refuse(struct front *front, const Link__AgentRefuse *refuse)
{
	struct agent *agent = slots_get(&front->agents, refuse->connection);
	bool is_final = refuse->status == HTTP_STATUS_UNAUTHORIZED ||
			refuse->status == HTTP_STATUS_FORBIDDEN;

	if (!agent || agent->close_code != 0)
		return;
	leave(agent);
	agent->is_greeted = false; /* the store has forgotten it */
	agent->is_accepted = false;
	if (agent->is_poller)
		agent_refuse_poll(agent, refuse, sentence_of(refuse->status));
	else if (is_final)
		agent_fail(
			agent,
			OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_BadRequest,
			sentence_of(refuse->status), 0, LWS_CLOSE_STATUS_POLICY_VIOLATION);
	else
		agent_fail(
			agent,
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
			agent_sweep_socket(agent);
		} else if (!agent->waits && front->now - agent->heard > patience) {
			agent_send_gone(agent);
			(void)agent_free(agent);
		}
	}
	if (front->now >= front->seen_due)
		flush_seen(front);
}
