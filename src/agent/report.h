/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/addon_ipc.h"
#include "agent/addon_state.h"
#include "agent/config.h"
#include "base/cleanup.h"
#include "opamp/client.h"

/* The custom capability whose message "status" says what OpAMP has no word for. */
#define REPORT_CAPABILITY "io.affix.status"

/* What the agent can do, as OpAMP's AgentCapabilities. */
uint64_t report_capabilities(void);

/* Who we are: description and custom capabilities. 0 or -ENOMEM. */
must_check int report_describe(struct opamp_client *client, const struct config *config);

struct report_input {
	const struct offer *offer;
	const struct desired *desired;
	const struct host *host;
	const struct reconcile_result *result;
	const struct addon_ipc *ipc;
	const json_t *events;          /* addon_ipc_events() at some time, or NULL */
	const char *overrides_problem; /* "" for none */
	const char *updater_problem;   /* "" for none */
	const char *state_problem;     /* of our own directory, "" for none */
	const char *config_problem;    /* of agent.yaml as it is now, "" for none */
	const char *offer_problem;     /* of this process, "" for none */
	const char *active_id;         /* the add-on that *activity* is about, or "" */
	enum activity activity;
	bool wants_offer; /* the server is to offer the packages once more */
	uint64_t started; /* seconds since 1970 */
	uint64_t now;
};

/* How everything is: health, package statuses, configuration, status message. Remembers in *memory*
 * since when each state lasts. 0 or -ENOMEM. */
must_check int report_update(struct opamp_client *client, const struct report_input *input,
			     struct memory *memory);
