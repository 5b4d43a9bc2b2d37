/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the agent keeps, and what it does about a disk that takes nothing: it stays, says so once,
 * and tries again. What is not on disk is not acted on (agent.c), since it would be done again, or
 * differently, after a restart. That holds for who this host is, too: under a name that is lost
 * with the process, each start would be another host of the fleet, and use up its join token.
 */

#include "agent/disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/download_origin.h"
#include "agent/log.h"
#include "agent/report.h"
#include "agent/state.h"
#include "base/json.h"

static int save_identity(struct agent *agent)
{
	int r;

	if (!agent->is_uid_unkept)
		return 0;
	r = state_store_uid(agent->statefd, opamp_client_uid(agent->client));
	if (r == 0)
		agent->is_uid_unkept = false;
	return r;
}

static int make_bundles(struct agent *agent)
{
	int r = agent->has_bundles ? 0 : state_make_bundles(agent->statefd);

	agent->has_bundles = r == 0;
	return r;
}

static int save_memory(struct agent *agent)
{
	cleanup_json json_t *json = memory_to_json(&agent->memory);
	cleanup_free char *text = json ? json_to_canonical(json) : NULL;
	int r;

	if (!text)
		return -ENOMEM;
	if (str_equal(text, agent->memory_text))
		return 0;
	r = state_store_json(agent->statefd, STATE_MEMORY, json);
	if (r < 0)
		return r;
	free(agent->memory_text);
	agent->memory_text = TAKE_PTR(text);
	return 0;
}

static int save_offer(struct agent *agent)
{
	cleanup_json json_t *json = NULL;
	int r;

	if (!agent->is_offer_unkept)
		return 0;
	json = offer_to_json(&agent->offer);
	r = json ? state_store_json(agent->statefd, STATE_OFFER, json) : -ENOMEM;
	if (r == 0)
		agent->is_offer_unkept = false;
	return r;
}

static int save(struct agent *agent)
{
	int r = save_identity(agent);

	if (r == 0)
		r = make_bundles(agent);
	if (r == 0)
		r = save_offer(agent);
	return r < 0 ? r : save_memory(agent);
}

bool disk_keep(struct agent *agent)
{
	char problem[AGENT_PROBLEM_MAX] = "";
	int r = save(agent);

	if (r < 0)
		(void)snprintf(
			problem, sizeof(problem),
			"'%s' cannot be written: %s; no add-on is changed%s until it can, make room or mend it",
			agent->paths->state, strerrordesc_np(-r),
			agent->is_uid_unkept ? ", nor a fleet joined," : "");
	if (strcmp(agent->state_problem, problem) == 0)
		return false;
	memcpy(agent->state_problem, problem, sizeof(problem));
	if (r < 0)
		agent_log(LOG_WARNING, NULL, "%s, retrying", problem);
	else
		agent_log(LOG_INFO, NULL, "'%s' can be written", agent->paths->state);
	return true;
}

static int load_files(struct agent *agent)
{
	json_t *offer = NULL;
	json_t *memory = NULL;
	int r = state_load_json(agent->statefd, STATE_OFFER, &offer);

	if (r == 0 && offer)
		r = offer_from_json(offer, &agent->offer);
	json_decref(offer);
	if (r >= 0)
		r = state_load_json(agent->statefd, STATE_MEMORY, &memory);
	if (r == 0 && memory)
		r = memory_from_json(memory, &agent->memory);
	json_decref(memory);
	/* agent.yaml may allow it since. */
	memory_clear_named_failures(&agent->memory, DOWNLOAD_ORIGIN_NAME);
	if (r < 0)
		return r;
	if (r > 0)
		agent_log(LOG_WARNING, NULL, "files in '%s' are damaged, ignoring",
			  agent->paths->state);
	return 0;
}

int disk_load(struct agent *agent)
{
	uint8_t uid[OPAMP_UID_SIZE];
	int r = state_open(agent->paths->state, &agent->statefd);

	if (r == 0)
		r = state_load_uid(agent->statefd, uid, &agent->is_uid_unkept);
	if (r == 0)
		r = load_files(agent);
	if (r < 0) {
		agent_log(LOG_ERR, NULL,
			  "'%s' cannot be read: %s; it has to be a directory of the agent's user",
			  agent->paths->state, strerrordesc_np(-r));
		return r;
	}
	agent->client = opamp_client_new(uid, report_capabilities());
	if (!agent->client)
		return -ENOMEM;
	(void)disk_keep(agent);
	return report_describe(agent->client, agent->config);
}
