/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/addon_ipc.h"
#include "agent/config.h"
#include "agent/desired.h"
#include "agent/host.h"
#include "agent/lane.h"
#include "agent/link.h"
#include "agent/memory.h"
#include "agent/offer.h"
#include "agent/operation.h"
#include "agent/overrides.h"
#include "agent/reconcile.h"
#include "agent/talk.h"
#include "base/cleanup.h"
#include "opamp/client.h"

#define AGENT_PROBLEM_MAX 256U

/* Where everything is; the defaults are those of the host. */
struct agent_paths {
	const char *config; /* agent.yaml */
	const char *state;
	const char *overrides;
	const char *updater;
	const char *installed; /* add-ons, and their sockets */
	const char *run;
};

/* The running agent. Its parts (talk, operation) work on it and on each other through it. */
struct agent {
	sd_event *event;
	struct config *config; /* borrowed; reload() writes to it */
	const struct agent_paths *paths;
	int statefd;
	struct web *web;
	struct link *link;
	struct opamp_client *client;
	struct talk talk;
	struct operation operation;
	struct lane *questions; /* status and drift */
	struct addon_ipc *ipc;
	json_t *events;        /* what add-ons sent, as last sampled, or NULL */
	sd_event_source *tick; /* the next status, or what time alone changes */
	struct offer offer;
	struct overrides overrides;
	struct desired desired; /* borrows from the two before */
	struct host host;
	struct memory memory;
	struct reconcile_result result;
	char *memory_text;  /* as it is on disk */
	json_t *drift;      /* the last answer, or NULL */
	uint64_t status_at; /* when to ask next, boot time in microseconds */
	uint64_t drift_at;
	uint64_t evaluated_at;
	uint64_t started;             /* seconds since 1970 */
	uint64_t packages_connection; /* on which packages were last offered; 0: none */
	/* Operations that ended: by now, when the question under way was asked, and when the
	 * question was asked whose answer *host* is. */
	uint64_t operations;
	uint64_t asked_operations;
	uint64_t host_operations;
	bool is_asking_drift;
	bool is_waiting;                           /* for the first answer of the updater */
	bool is_linked;                            /* the link was started */
	uint8_t server_digest[CONFIG_DIGEST_SIZE]; /* config_digest_server() of *config* */
	bool is_uid_unkept;                        /* the instance UID is not on disk yet */
	bool is_offer_unkept;                      /* the offer is not */
	bool has_bundles;                          /* STATE_BUNDLES was made */
	char state_problem[AGENT_PROBLEM_MAX];
	char config_problem[AGENT_PROBLEM_MAX];
	char updater_problem[AGENT_PROBLEM_MAX];
	char offer_problem[AGENT_PROBLEM_MAX];
};

/* Runs until SIGTERM or SIGINT. *config* is overwritten when it is read again. 0 or -errno. */
must_check int agent_run(struct config *config, const struct agent_paths *paths);

/* Looks at everything anew: what is wanted, what to do, what to tell. */
void agent_evaluate(struct agent *agent);
/* An operation ended: nothing is begun before the updater has told how the host is since. */
void agent_operation_ended(struct agent *agent);
/* The offer changed: it is kept, and heeded. */
void agent_keep_offer(struct agent *agent);
