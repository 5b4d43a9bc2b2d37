/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Agents that hold a WebSocket. A message is handled when its last piece is here and may be no
 * larger than OpAMP's messages are for us; what is said to an agent is written at once, and waits
 * in its queue only while the connection does not take it.
 */

#include "control/front_agent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/front_agent_private.h"
#include "control/token.h"
#include "opamp/server.h"

#define MESSAGE_MAX         (OPAMP_TO_SERVER_MAX + 1) /* with its header */
#define FRAME_MAX           (4 * MESSAGE_MAX)
#define PING_AFTER_SECONDS  60U /* or two heartbeats, if that is sooner */
#define CLOSE_AFTER_SECONDS 90U /* or three */
#define HELLO_SECONDS       15U /* for the first message */
#define MESSAGE_SECONDS     30U /* from its first piece to its last */
#define HEAD_MAX            512U
#define SECONDS_TEXT_MAX    16U

/* Refuses the upgrade; *seconds* 0: says nothing of a time. */
static int refuse_upgrade(struct lws *wsi, unsigned status, unsigned seconds)
{
	uint8_t head[LWS_PRE + HEAD_MAX];
	uint8_t *at = head + LWS_PRE;
	char text[SECONDS_TEXT_MAX];

	(void)snprintf(text, sizeof(text), "%u", seconds);
	if (lws_add_http_common_headers(wsi, status, "text/plain", 0, &at, head + sizeof(head)) ==
		    0 &&
	    (seconds == 0 || lws_add_http_header_by_name(
				     wsi, (const uint8_t *)"retry-after:", (const uint8_t *)text,
				     (int)strlen(text), &at, head + sizeof(head)) == 0))
		ignore_result(lws_finalize_write_http_header(wsi, head + LWS_PRE, &at,
							     head + sizeof(head)));
	return -1;
}

/* What an upgrade says of its agent is judged by the store, as soon as a message comes. */
int agent_filter(struct front *front, struct lws *wsi)
{
	cleanup_free char *path = front_header(wsi, WSI_TOKEN_GET_URI);
	cleanup_free char *authorization = front_header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION);

	if (front->is_stopping)
		return refuse_upgrade(wsi, HTTP_STATUS_SERVICE_UNAVAILABLE, front->return_seconds);
	if (!path || strcmp(path, "/v1/opamp") != 0)
		return refuse_upgrade(wsi, HTTP_STATUS_NOT_FOUND, 0);
	if (!authorization && !front->config->certificate_is_credential)
		return refuse_upgrade(wsi, HTTP_STATUS_UNAUTHORIZED, 0);
	if (token_looks_like_join(authorization) && !admission_has_room(&front->admission))
		return refuse_upgrade(wsi, HTTP_STATUS_SERVICE_UNAVAILABLE,
				      admission_postpone(&front->admission, front_msec()));
	return 0;
}

int agent_open(struct front *front, struct lws *wsi, struct front_session *session)
{
	cleanup_agent struct agent *agent = NULL;
	int r = agent_new(front, wsi, &agent);

	if (r < 0)
		return -1;
	agent->authorization = front_header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION);
	agent->base_url = front_base_url(front, wsi);
	session->agent = TAKE_PTR(agent);
	return 0;
}

void agent_closed(struct front_session *session)
{
	if (!session->agent)
		return;
	agent_send_gone(session->agent);
	session->agent = agent_free(session->agent);
}

/* Tells the agent why, in OpAMP's words, before it closes. */
void agent_fail(struct agent *agent, Opamp__Proto__ServerErrorResponseType type,
		const char *sentence, uint64_t retry_after, uint16_t code)
{
	const struct opamp_failure failure = {type, sentence, retry_after};
	const struct opamp_offer offer = {
		.uid = {agent->uid, AGENT_UID_SIZE},
                  .failure = &failure
        };
	cleanup_free uint8_t *bytes = NULL;
	size_t size = 0;

	if (opamp_offer_compose(&offer, 0, &bytes, &size) == 0)
		ignore_result(agent_queue(agent, bytes, size));
	agent_close_with(agent, code);
}

static void fail_message(struct agent *agent, int error)
{
	switch (error) {
	case MESSAGE_E_MALFORMED:
		agent_fail(
			agent,
			OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_BadRequest,
			"the message is not an AgentToServer, is nested too deep, or has no instance "
			"UID of 16 bytes",
			0, LWS_CLOSE_STATUS_INVALID_PAYLOAD);
		return;
	case MESSAGE_E_TOO_LARGE:
		agent_fail(
			agent,
			OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_BadRequest,
			"the message is too large", 0, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
		return;
	case MESSAGE_E_TOO_MANY:
		agent_fail(
			agent,
			OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_Unavailable,
			"there are too many messages", AGENT_RETRY_SECONDS,
			LWS_CLOSE_STATUS_POLICY_VIOLATION);
		return;
	case MESSAGE_E_SLOW:
		agent_fail(
			agent,
			OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_BadRequest,
			"the message did not come in time; it may take 30 seconds", 0,
			LWS_CLOSE_STATUS_POLICY_VIOLATION);
		return;
	case MESSAGE_E_LATER:
		agent_fail(
			agent,
			OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_Unavailable,
			"many hosts enrol now; come back then",
			admission_postpone(&agent->front->admission, front_msec()),
			LWS_CLOSE_STATUS_UNEXPECTED_CONDITION);
		return;
	default:
		agent_fail(
			agent,
			OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_Unavailable,
			"the server has more to do than it can", AGENT_RETRY_SECONDS,
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

	if (!limit_bucket_take(&agent->bucket, front_msec(), rate, rate * AGENT_BURST_SECONDS))
		return MESSAGE_E_TOO_MANY;
	if (opamp_skip_header(data, size, &offset) != 0)
		return MESSAGE_E_MALFORMED;
	r = agent_decode(data + offset, size - offset, &arena, &message);
	return r == 0 ? agent_take_message(agent, agent->wsi, message) : r;
}

int agent_receive(struct agent *agent, const void *data, size_t size)
{
	bool is_whole = lws_is_final_fragment(agent->wsi);
	int r;

	if (agent->close_code != 0)
		return 0;
	if (!lws_frame_is_binary(agent->wsi)) {
		agent_close_with(agent, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE);
		return 0;
	}
	/* One that says it is enormous need not come first. */
	if (agent->received.size + size > MESSAGE_MAX ||
	    lws_remaining_packet_payload(agent->wsi) > FRAME_MAX) {
		fail_message(agent, MESSAGE_E_TOO_LARGE);
		return 0;
	}
	if (is_whole && agent->received.size == 0) {
		r = receive_message(agent, data, size);
	} else {
		if (agent->received.size == 0)
			agent->received_since = agent->front->now;
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
	agent_mark_seen(agent);
}

/* The first of the queue. -1: the connection is lost. */
static int write_first(struct agent *agent)
{
	cleanup_free struct outgoing *first = agent_take_queued(agent);

	return lws_write(agent->wsi, first->bytes + LWS_PRE, first->size, LWS_WRITE_BINARY) <
			       (int)first->size
		       ? -1
		       : 0;
}

static bool has_more(const struct agent *agent)
{
	return agent->queue || agent->close_code != 0 || agent->wants_ping;
}

/* Most connections take at once what there is to say: to be told that they do would cost more calls
 * than saying it. */
void agent_push(struct agent *agent)
{
	while (agent->queue && !lws_partial_buffered(agent->wsi)) {
		if (write_first(agent) < 0) {
			lws_set_timeout(agent->wsi, PENDING_TIMEOUT_CLOSE_ACK, LWS_TO_KILL_ASYNC);
			return;
		}
	}
	if (has_more(agent))
		lws_callback_on_writable(agent->wsi);
}

int agent_write(struct agent *agent)
{
	if (agent->queue) {
		if (write_first(agent) < 0)
			return -1;
		if (has_more(agent))
			lws_callback_on_writable(agent->wsi);
		return 0;
	}
	if (agent->close_code != 0)
		return agent_note(&agent->front->closing, agent->number);
	if (agent->wants_ping) {
		/* libwebsockets tells of no pong that is empty. */
		uint8_t ping[LWS_PRE + 1] = {0};

		agent->wants_ping = false;
		return lws_write(agent->wsi, ping + LWS_PRE, 1, LWS_WRITE_PING) < 0 ? -1 : 0;
	}
	return 0;
}

void agent_sweep_socket(struct agent *agent)
{
	uint64_t silent = agent->front->now - agent->heard;
	uint64_t heartbeat = agent->front->config->heartbeat_seconds;

	if (agent->received.size > 0 && agent->close_code == 0 &&
	    agent->front->now - agent->received_since > MESSAGE_SECONDS)
		fail_message(agent, MESSAGE_E_SLOW);
	if (!agent->is_greeted && silent > HELLO_SECONDS && agent->close_code == 0)
		agent_close_with(agent, LWS_CLOSE_STATUS_POLICY_VIOLATION);
	/* It waits for the store, and closing would only have it wait anew. */
	if (agent->is_greeted && !agent->is_accepted)
		return;
	if (silent > MIN((uint64_t)CLOSE_AFTER_SECONDS, 3 * heartbeat)) {
		/* Nobody is there to say goodbye to. */
		lws_set_timeout(agent->wsi, PENDING_TIMEOUT_CLOSE_ACK, LWS_TO_KILL_ASYNC);
	} else if (silent > MIN((uint64_t)PING_AFTER_SECONDS, 2 * heartbeat) &&
		   !agent->wants_ping) {
		agent->wants_ping = true;
		lws_callback_on_writable(agent->wsi);
	}
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

		if (agent && agent->is_poller)
			agent_end_poll(agent);
		else if (agent && agent->close_code == 0)
			agent_fail(
				agent,
				OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_Unavailable,
				AGENT_STOPPING, front->return_seconds, LWS_CLOSE_STATUS_GOINGAWAY);
	}
}
