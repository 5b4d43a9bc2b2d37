/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/front.h"
#include "opamp/decode.h"

/* What front_agent.c, front_socket.c and front_poll.c share: agents themselves, those with a
 * WebSocket, and those that poll. */

#define AGENT_UID_SIZE      16U
#define AGENT_KEY_SIZE      32U
#define AGENT_BURST_SECONDS 5U
#define AGENT_RETRY_SECONDS 10U
#define AGENT_STOPPING      "the server is being stopped; come back then"

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
	char *base_url;         /* how it reached us, or NULL; until the store has answered */
	struct outgoing *queue;
	size_t queued;
	struct buffer received;  /* of a message that is not whole yet */
	uint64_t received_since; /* seconds */
	uint64_t number;
	uint64_t sequence;
	uint64_t capabilities;
	uint64_t heard; /* seconds */
	struct limit_bucket bucket;
	uint16_t close_code; /* 0: stays open */
	bool is_poller;
	bool is_greeted;   /* the store was told of it */
	bool is_accepted;  /* and has answered */
	bool is_enrolling; /* has a place among those that do */
	bool is_seen;      /* in front->seen */
	bool wants_ping;
	uint8_t uid[AGENT_UID_SIZE];
	uint8_t key[AGENT_KEY_SIZE]; /* what a poller is found by */
};

/* Why a message is not taken. */
enum message_error {
	MESSAGE_E_MALFORMED = 1,
	MESSAGE_E_TOO_LARGE,
	MESSAGE_E_TOO_MANY,
	MESSAGE_E_BUSY,
	MESSAGE_E_SLOW,
	MESSAGE_E_LATER, /* too many hosts enrol */
	MESSAGE_E_STOPPING,
};

/* Closes nothing: takes the agent out of all tables. */
struct agent *agent_free(struct agent *agent);
/* With *wsi* of a WebSocket, NULL for one that polls. 0 or -ENOMEM. */
must_check int agent_new(struct front *front, struct lws *wsi, struct agent **ret);

DEFINE_CLEANUP(struct agent *, agent, agent_free)
#define cleanup_agent CLEANUP(cleanup_agent)

/* Tells the store, if it was ever told of the agent, that it is gone. */
void agent_send_gone(struct agent *agent);
/* Ends the connection once what is queued has gone out. */
void agent_close_with(struct agent *agent, uint16_t code);

/* Queues an encoded ServerToAgent. 0; -ENOBUFS: the agent does not read; -ENOMEM. */
must_check int agent_queue(struct agent *agent, const void *data, size_t size);
/* The first that is queued, or NULL; the caller frees it. */
struct outgoing *agent_take_queued(struct agent *agent);

/* The agent was heard of: the store will be told. */
void agent_mark_seen(struct agent *agent);
/* Adds to a list of numbers. 0 or -ENOMEM. */
must_check int agent_note(struct front_numbers *list, uint64_t number);

/* Each 0; message_error; -errno. The message has a UID of the right size. */
must_check int agent_decode(const void *data, size_t size, struct opamp_arena **ret_arena,
			    Opamp__Proto__AgentToServer **ret);
must_check int agent_take_message(struct agent *agent, struct lws *wsi,
				  const Opamp__Proto__AgentToServer *message);

/* front_socket.c: tells the agent why, in OpAMP's words, before it closes. */
void agent_fail(struct agent *agent, Opamp__Proto__ServerErrorResponseType type,
		const char *sentence, uint64_t retry_after, uint16_t code);
/* Writes what is queued, as far as the connection takes it now; the rest when it does. */
void agent_push(struct agent *agent);
/* Half-open connections and those without a first message. */
void agent_sweep_socket(struct agent *agent);

/* front_poll.c: an answer to the poll that waits, what is queued or nothing. */
void agent_answer_poll(struct agent *agent);
/* Answers the poll that waits, if any, with a refusal; the agent is gone. */
void agent_refuse_poll(struct agent *agent, const Link__AgentRefuse *refuse, const char *sentence);
/* The front stops: answers the poll that waits, if any; the agent is gone. */
void agent_end_poll(struct agent *agent);
int agent_compare_keys(const void *a, const void *b);
