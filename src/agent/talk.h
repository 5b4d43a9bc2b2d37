/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "agent/link.h"
#include "base/cleanup.h"

#define TALK_REASON_MAX 256U

struct agent;

/* By what the agent introduces itself. */
enum talk_credential {
	TALK_NOTHING,
	TALK_TOKEN,      /* of agent.yaml: to be let in for the first time */
	TALK_CREDENTIAL, /* this host's own */
	TALK_CANDIDATE,  /* a new one, until it has worked once */
};

/* The conversation with the server: introductions, offers, reports. */
struct talk {
	struct agent *agent;
	struct link_handler handler;
	enum talk_credential used;
	char *authorization; /* the header's value of this connection, or NULL */
	bool was_heard;      /* something came on this connection */
	unsigned quiet_failures;
	unsigned reasons; /* that were said since the server was last heard, the last of them below
			   */
	char reason[TALK_REASON_MAX];
	unsigned rotations; /* credentials that were offered in this process */
};

void talk_init(struct talk *talk, struct agent *agent);
void talk_done(struct talk *talk);
/* The interval that the server wished for, from before. */
void talk_restore(struct talk *talk);
