/* SPDX-License-Identifier: Apache-2.0 */

/*
 * agent.yaml, at the start and read again. The parts of the agent borrow one struct config for
 * their life and look into it when they need something, so that a new configuration is put in its
 * place; what they cannot see by looking (the connection that stands, the description that was
 * sent) is told them. Whether the way to the server is another is judged by what the files hold,
 * since certificates are renewed under their old names.
 */

#include "agent/reload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/log.h"
#include "agent/report.h"

int reload_load_config(const char *path, struct config **ret, char *reterr_problem, size_t size)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	int r = config_load(path, ret, &diagnostics);

	if (r < 0) {
		(void)snprintf(reterr_problem, size, "'%s' cannot be read: %s", path,
			       strerrordesc_np(-r));
		agent_log(LOG_ERR, NULL, "%s", reterr_problem);
	}
	diagnostics_sort(&diagnostics);
	for (size_t i = 0; i < diagnostics.count; i++) {
		const struct diagnostic *item = &diagnostics.items[i];

		agent_log(LOG_ERR, NULL, "%s:%u:%u: %s", item->file, item->line, item->column,
			  item->message);
		if (i == 0)
			(void)snprintf(reterr_problem, size, "%s:%u:%u: %s", item->file, item->line,
				       item->column, item->message);
	}
	return r;
}

static void put_in_place(struct agent *agent, struct config *config)
{
	struct config old = *agent->config;

	*agent->config = *config;
	*config = old;
}

static void take_config(struct agent *agent, struct config *config)
{
	uint8_t digest[CONFIG_DIGEST_SIZE];
	int r;

	put_in_place(agent, config);
	r = report_describe(agent->client, agent->config);
	if (r < 0)
		agent_log(LOG_ERR, NULL, "the labels could not be reported: %s, ignoring",
			  strerrordesc_np(-r));
	link_set_heartbeat(agent->link, agent->config->heartbeat_seconds);
	talk_restore(&agent->talk);
	config_digest_server(agent->config, digest);
	if (memcmp(digest, agent->server_digest, sizeof(digest)) == 0)
		return;
	memcpy(agent->server_digest, digest, sizeof(digest));
	agent_log(LOG_INFO, NULL, "the way to the server is another: connecting to '%s'",
		  agent->config->url);
	link_restart(agent->link);
}

void reload(struct agent *agent)
{
	cleanup_config struct config *config = NULL;

	agent->config_problem[0] = '\0';
	if (reload_load_config(agent->paths->config, &config, agent->config_problem,
			       sizeof(agent->config_problem)) == 0)
		take_config(agent, config);
	else
		agent_log(LOG_WARNING, NULL, "the configuration from before is kept");
}
