/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Agents that poll: one struct agent for each pair of instance UID and credential, which may be a
 * certificate, from poll to poll. A poll is answered when the store has said something, or with
 * nothing after a while.
 */

#include "control/front_agent.h"

#include <errno.h>
#include <search.h>
#include <sodium.h>
#include <string.h>

#include "control/front_agent_private.h"
#include "control/front_certificate.h"

#define POLL_MSEC     2000U
#define HELLO_MSEC    20000U /* who is nobody yet has nothing to do but wait */
#define HTTP_TOO_MANY 429U

int agent_compare_keys(const void *a, const void *b)
{
	return memcmp(((const struct agent *)a)->key, ((const struct agent *)b)->key,
		      AGENT_KEY_SIZE);
}

/* What is waited for, or a message that says nothing. */
void agent_answer_poll(struct agent *agent)
{
	static const uint8_t head[] = {0x0a, AGENT_UID_SIZE}; /* field 1, bytes */
	struct exchange *exchange = agent->waits;
	cleanup_free struct outgoing *first = agent_take_queued(agent);
	size_t size = first ? first->size : sizeof(head) + AGENT_UID_SIZE;
	uint8_t *body = malloc(size);

	agent->waits = NULL;
	exchange->agent = NULL;
	exchange->is_proven = agent->is_accepted;
	if (!body) {
		exchange_refuse(exchange, HTTP_STATUS_SERVICE_UNAVAILABLE, "busy",
				"the server is out of memory; try again");
		return;
	}
	if (first) {
		memcpy(body, first->bytes + LWS_PRE, size);
	} else {
		memcpy(body, head, sizeof(head));
		memcpy(body + sizeof(head), agent->uid, AGENT_UID_SIZE);
	}
	exchange_answer(exchange, HTTP_STATUS_OK, "application/x-protobuf", body, size);
}

static void make_key(const struct exchange *exchange, const uint8_t *uid,
		     uint8_t key[AGENT_KEY_SIZE])
{
	const char *authorization = exchange->authorization ? exchange->authorization : "";
	struct certificate certificate;
	crypto_generichash_state state;

	/* All zero without one. */
	if (!exchange->front->config->client_ca || !certificate_of(exchange->wsi, &certificate))
		memset(&certificate, 0, sizeof(certificate));
	(void)crypto_generichash_init(&state, NULL, 0, AGENT_KEY_SIZE);
	(void)crypto_generichash_update(&state, uid, AGENT_UID_SIZE);
	(void)crypto_generichash_update(&state, certificate.digest, sizeof(certificate.digest));
	(void)crypto_generichash_update(&state, (const uint8_t *)authorization,
					strlen(authorization));
	(void)crypto_generichash_final(&state, key, AGENT_KEY_SIZE);
}

static int find_poller(struct exchange *exchange, const uint8_t *uid, struct agent **ret)
{
	cleanup_agent struct agent *fresh = NULL;
	struct front *front = exchange->front;
	struct agent wanted;
	void *node;
	int r;

	make_key(exchange, uid, wanted.key);
	node = tfind(&wanted, &front->polled, agent_compare_keys);
	if (node) {
		*ret = *(struct agent **)node;
		return 0;
	}
	r = agent_new(front, NULL, &fresh);
	if (r < 0)
		return r;
	memcpy(fresh->key, wanted.key, AGENT_KEY_SIZE);
	memcpy(fresh->uid, uid, AGENT_UID_SIZE);
	if (exchange->authorization) {
		fresh->authorization = strdup(exchange->authorization);
		if (!fresh->authorization)
			return -ENOMEM;
	}
	fresh->base_url = front_base_url(front, exchange->wsi);
	if (!tsearch(fresh, &front->polled, agent_compare_keys))
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
		exchange_add_header(exchange, "retry-after:", "%u", AGENT_RETRY_SECONDS);
		exchange_refuse(exchange, HTTP_TOO_MANY, "too-many", "there are too many messages");
		return;
	case MESSAGE_E_STOPPING:
		exchange->must_close = true;
		exchange_add_header(exchange, "retry-after:", "%u",
				    exchange->front->return_seconds);
		exchange_refuse(exchange, HTTP_STATUS_SERVICE_UNAVAILABLE, "stopping",
				AGENT_STOPPING);
		return;
	case MESSAGE_E_LATER:
		exchange_add_header(exchange, "retry-after:", "%u",
				    admission_postpone(&exchange->front->admission, front_msec()));
		exchange_refuse(exchange, HTTP_STATUS_SERVICE_UNAVAILABLE, "busy",
				"many hosts enrol now; come back then");
		return;
	default:
		exchange_add_header(exchange, "retry-after:", "%u", AGENT_RETRY_SECONDS);
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

	r = agent_decode(exchange->body.data, exchange->body.size, &arena, &message);
	if (r == 0)
		r = find_poller(exchange, message->instance_uid.data, &agent);
	if (r != 0)
		return r;
	if (!limit_bucket_take(&agent->bucket, front_msec(), rate, rate * AGENT_BURST_SECONDS))
		return MESSAGE_E_TOO_MANY;
	/* Whoever polls again has given up on the poll before. */
	if (agent->waits)
		agent_answer_poll(agent);
	agent->waits = exchange;
	exchange->agent = agent;
	exchange->deadline = front_msec() + (agent->is_accepted ? POLL_MSEC : HELLO_MSEC);
	r = agent_take_message(agent, exchange->wsi, message);
	if (r != 0)
		agent_forget_exchange(exchange);
	/* Nothing was learnt of it. */
	if (r != 0 && !agent->is_greeted)
		(void)agent_free(agent);
	return r;
}

void agent_poll(struct exchange *exchange)
{
	int r;

	if (exchange->front->is_stopping)
		r = MESSAGE_E_STOPPING;
	else if (exchange->number == 0 &&
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
		agent_answer_poll(exchange->agent);
}

void agent_refuse_poll(struct agent *agent, const Link__AgentRefuse *refuse, const char *sentence)
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
				sentence);
	}
	(void)agent_free(agent);
}

void agent_end_poll(struct agent *agent)
{
	Link__AgentRefuse refuse = LINK__AGENT_REFUSE__INIT;

	agent_send_gone(agent);
	if (agent->waits)
		agent->waits->must_close = true;
	refuse.status = HTTP_STATUS_SERVICE_UNAVAILABLE;
	refuse.retry_after = agent->front->return_seconds;
	agent_refuse_poll(agent, &refuse, AGENT_STOPPING);
}
