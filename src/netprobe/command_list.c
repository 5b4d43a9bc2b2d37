/* SPDX-License-Identifier: Apache-2.0 */

/* `flows` and `listeners`: what there is now. `watch`: what happens. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "netprobe/commands.h"
#include "netprobe/event.h"
#include "netprobe/event_json.h"
#include "netprobe/filter.h"
#include "netprobe/text.h"
#include "netprobe/wall.h"

#define PROCESS_COLUMNS 24U

static int print_line(json_t *object)
{
	cleanup_json json_t *json = object;
	cleanup_free char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	return text && puts(text) >= 0 ? 0 : -EIO;
}

static int print_flow(const struct command_options *options,
		      const Netprobe__FlowAttributionEvent *flow)
{
	char local[TEXT_END_SIZE];
	char remote[TEXT_END_SIZE];
	char process[TEXT_PROCESS_SIZE];
	char container[TEXT_CONTAINER_SIZE];
	char since[WALL_TEXT_SIZE];

	if (!filter_takes(options->filter, flow))
		return 0;
	if (options->json)
		return print_line(event_json_flow(flow));
	text_end(flow->local_ip, flow->local_port, local);
	text_end(flow->remote_ip, flow->remote_port, remote);
	text_process(flow, process);
	text_container(flow->container_id, container);
	wall_format(flow->started_unix_nano, since);
	if (flow->listener)
		return printf("%-6s %-45s %s%*s %s %s\n", flow->transport_protocol, local, process,
			      text_blanks(process, PROCESS_COLUMNS), "", container, since) < 0
			       ? -EIO
			       : 0;
	return printf("%-6s %-30s %s %-30s %s%*s %s %12" PRIu64 " %12" PRIu64 " %s\n",
		      flow->transport_protocol, local, flow->inbound ? "<-" : "->", remote, process,
		      text_blanks(process, PROCESS_COLUMNS), "", container, flow->bytes_sent,
		      flow->bytes_received, since) < 0
		       ? -EIO
		       : 0;
}

static int print_list(const struct command_options *options, const Netprobe__FlowList *list)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < list->n_flows; i++)
		r = print_flow(options, list->flows[i]);
	return r;
}

static void print_head(const struct command_options *options, bool listeners)
{
	if (options->json)
		return;
	if (listeners)
		(void)printf("%-6s %-45s %-24s %-12s %s\n", "PROTO", "LOCAL", "PROCESS",
			     "CONTAINER", "SINCE");
	else
		(void)printf("%-6s %-30s %s %-30s %-24s %-12s %12s %12s %s\n", "PROTO", "LOCAL",
			     "  ", "REMOTE", "PROCESS", "CONTAINER", "SENT", "RECEIVED", "SINCE");
}

static int list(const struct command_options *options, bool listeners)
{
	cleanup_client struct client client = CLIENT_INIT;
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	const Netprobe__NetprobeFrame *frame = NULL;
	Netprobe__ListFlows request = NETPROBE__LIST_FLOWS__INIT;
	bool is_complete = false;
	int r;

	if (command_connect(&client, options) < 0)
		return EXIT_FAILURE;
	request.kind = listeners ? NETPROBE__LIST_FLOWS__KIND__LISTENERS
				 : NETPROBE__LIST_FLOWS__KIND__FLOWS;
	r = client_send(&client, NETPROBE__NETPROBE_FRAME__PAYLOAD_LIST_FLOWS, &request);
	if (r == 0)
		print_head(options, listeners);
	while (r == 0 && !is_complete) {
		r = client_answer(&client, &arena, &frame);
		if (r != 0)
			break;
		if (frame->payload_case != NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_LIST)
			return command_refused(frame);
		is_complete = frame->flow_list->complete;
		r = print_list(options, frame->flow_list);
	}
	if (r == 0 && fflush(stdout) != 0)
		r = -EIO;
	return r == 0 ? EXIT_SUCCESS : command_lost(r);
}

int command_flows(const struct command_options *options)
{
	return list(options, false);
}

int command_listeners(const struct command_options *options)
{
	return list(options, true);
}

static int print_event(const struct command_options *options,
		       const Netprobe__FlowAttributionEvent *event)
{
	char local[TEXT_END_SIZE];
	char remote[TEXT_END_SIZE] = "";
	char process[TEXT_PROCESS_SIZE];
	char when[WALL_TEXT_SIZE];

	if (!filter_takes(options->filter, event))
		return 0;
	if (options->json)
		return print_line(event_json(event));
	text_end(event->local_ip, event->local_port, local);
	if (!event->listener)
		text_end(event->remote_ip, event->remote_port, remote);
	text_process(event, process);
	wall_format(event->observed_at_unix_nano, when);
	return printf("%s %-9s %-6s %s %s %s %s%s%s\n", when, event_kind_name(event->event_kind),
		      event->transport_protocol, local,
		      event->listener  ? "listens"
		      : event->inbound ? "<-"
				       : "->",
		      remote, process, event->end_reason[0] ? " " : "", event->end_reason) < 0
		       ? -EIO
		       : 0;
}

/* Never silently: who reads lines has to know that some are missing. */
static void print_dropped(uint32_t dropped)
{
	if (dropped > 0)
		(void)fprintf(stderr, "affix-netprobe: %u events were lost: too slow\n", dropped);
}

static int print_frame(const struct command_options *options, const Netprobe__NetprobeFrame *frame)
{
	const Netprobe__FlowAttributionEventBatch *batch = frame->flow_attribution_batch;
	int r = 0;

	switch (frame->payload_case) {
	case NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_ATTRIBUTION_BATCH:
		print_dropped(batch->dropped_since_last);
		for (size_t i = 0; r == 0 && i < batch->n_events; i++)
			r = print_event(options, batch->events[i]);
		break;
	case NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_ATTRIBUTION_EVENT:
		print_dropped(frame->flow_attribution_event->dropped_since_last);
		r = print_event(options, frame->flow_attribution_event);
		break;
	case NETPROBE__NETPROBE_FRAME__PAYLOAD_ERROR:
		(void)command_refused(frame);
		break;
	default:
		break;
	}
	return r == 0 && fflush(stdout) != 0 ? -EIO : r;
}

int command_watch(const struct command_options *options)
{
	cleanup_client struct client client = CLIENT_INIT;
	int r;

	if (command_connect(&client, options) < 0)
		return EXIT_FAILURE;
	for (;;) {
		cleanup_opamp_arena struct opamp_arena *arena = NULL;
		const Netprobe__NetprobeFrame *frame = NULL;

		r = client_next(&client, -1, &arena, &frame);
		if (r == 0)
			r = print_frame(options, frame);
		if (r != 0)
			return command_lost(r);
	}
}
