/* SPDX-License-Identifier: Apache-2.0 */

/*
 * netprobe-agent SOCKET: the agent's end of an add-on's socket, without the agent. Each line of its
 * input is "KEY CONFIGURATION"; it gives the add-on that configuration, as the agent does at its
 * next look, and prints {"problem": …, "events": …} when nothing more comes for a moment.
 */

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "agent/frame_client.h"
#include "base/cleanup.h"
#include "base/json.h"

#define MOMENT_USEC 300000U

static void unref_event(sd_event **event)
{
	(void)sd_event_unref(*event);
}

static int look(sd_event *event, struct frame_client *client, char *line)
{
	char *rest = NULL;
	const char *key = strtok_r(line, " ", &rest);
	cleanup_json json_t *config = json_loads(rest, 0, NULL);
	cleanup_json json_t *said = NULL;
	int r;

	if (!key || !config)
		return -EINVAL;
	frame_client_tick(client, config, key);
	while ((r = sd_event_run(event, MOMENT_USEC)) > 0)
		continue;
	if (r < 0)
		return r;
	said = json_pack("{s:s, s:o}", "problem", frame_client_problem(client), "events",
			 frame_client_events(client));
	if (!said || json_dumpf(said, stdout, JSON_COMPACT) < 0 || putchar('\n') == EOF)
		return -EIO;
	return fflush(stdout) == 0 ? 0 : -errno;
}

int main(int argc, char **argv)
{
	CLEANUP(unref_event) sd_event *event = NULL;
	cleanup_frame_client struct frame_client *client = NULL;
	cleanup_free char *line = NULL;
	size_t size = 0;

	if (argc != 2 || sd_event_new(&event) < 0 || frame_client_new(event, argv[1], &client) < 0)
		return EXIT_FAILURE;
	while (getline(&line, &size, stdin) > 0) {
		if (look(event, client, line) < 0)
			return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
