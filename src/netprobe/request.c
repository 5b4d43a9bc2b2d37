/* SPDX-License-Identifier: Apache-2.0 */

/* What clients ask, and what they are answered. */

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "netprobe/event.h"
#include "netprobe/listing.h"
#include "netprobe/log.h"
#include "netprobe/probe_private.h"
#include "netprobe/wall.h"

/* How old the bytes in a list may be. */
#define REFRESH_USEC 250000U

static void answer_ping(struct probe *probe, struct server_client *client,
			const Netprobe__NetprobeFrame *frame)
{
	struct collector_counts counts = probe_counts(probe);
	struct server_counts server = server_counts(probe->server);
	Netprobe__PingAck ack = NETPROBE__PING_ACK__INIT;

	ack.sent_at_unix_nano = frame->ping->sent_at_unix_nano;
	ack.acked_at_unix_nano = wall_ns();
	ack.running_as_root = geteuid() == 0;
	ack.tier = (char *)probe_tier(probe);
	ack.tier_reason = probe->why;
	ack.enabled = probe->config->enabled;
	ack.flows = probe->collector ? collector_size(probe->collector) : 0;
	ack.records = counts.events;
	ack.records_lost = counts.lost;
	ack.owners_known = counts.owners_known;
	ack.owners_unknown = counts.owners_unknown;
	ack.version = (char *)AFFIX_VERSION;
	ack.config_hash = probe->hash;
	ack.clients = server.clients;
	ack.events_dropped = server_client_dropped(client);
	server_reply_message(client, frame->sequence, NETPROBE__NETPROBE_FRAME__PAYLOAD_PING_ACK,
			     &ack);
}

static void answer_config(struct probe *probe, struct server_client *client,
			  const Netprobe__NetprobeFrame *frame)
{
	cleanup_config struct config *config = NULL;
	Netprobe__ConfigAck ack = NETPROBE__CONFIG_ACK__INIT;
	char why[CONFIG_WHY_MAX] = "visibility config is missing";
	char before[CONFIG_HASH_SIZE];
	int r = CONFIG_E_BAD;

	memcpy(before, probe->hash, sizeof(before));
	if (frame->apply_config->config)
		r = config_from_wire(frame->apply_config->config, &config, why);
	if (r == 0)
		r = probe_apply(probe, &config, why);
	if (r != 0) {
		probe->metrics.configs_refused++;
		log_line(LOG_WARNING, "the configuration of a client of user %u is refused: %s",
			 server_client_uid(client), r < 0 ? "out of memory" : why);
		server_reply_error(client, frame->sequence, "invalid_config",
				   r < 0 ? "out of memory" : why);
		return;
	}
	probe->metrics.configs_applied++;
	/* The agent says the same each time it connects. */
	if (strcmp(before, probe->hash) != 0)
		log_line(LOG_INFO, "a client of user %u changed the configuration to %s, %s",
			 server_client_uid(client), probe->hash,
			 probe->config->enabled ? "enabled" : "not enabled");
	ack.config_hash = probe->hash;
	server_reply_message(client, frame->sequence, NETPROBE__NETPROBE_FRAME__PAYLOAD_CONFIG_ACK,
			     &ack);
}

/* Who asks often does not make the kernel look at all sockets each time. */
static int refresh(struct probe *probe)
{
	uint64_t now = clock_monotonic_usec();
	int r;

	if (probe->refreshed_usec != 0 && now - probe->refreshed_usec < REFRESH_USEC)
		return collector_drain(probe->collector, 0);
	r = collector_refresh(probe->collector);
	if (r >= 0)
		probe->refreshed_usec = clock_monotonic_usec();
	return r;
}

/* A list that a client reads. */
struct answer {
	struct probe *probe;
	struct listing *listing;
	uint64_t sequence;
	bool has_collector;
	unsigned collector; /* another one's flows are not of this list */
};

struct part {
	struct server_client *client;
	uint64_t sequence;
};

static void send_part(void *context, struct frame *frame)
{
	const struct part *part = context;

	server_reply(part->client, part->sequence, frame);
}

static int list_on(void *stream, struct server_client *client)
{
	struct answer *answer = stream;
	struct probe *probe = answer->probe;
	struct part part = {client, answer->sequence};
	bool is_same = probe->collector && answer->collector == probe->collectors;

	if (answer->has_collector && !is_same) {
		server_reply_error(client, answer->sequence, "list_interrupted",
				   "collecting ended while the list was read, ask again");
		return 0;
	}
	return listing_next(answer->listing, is_same ? probe->collector : NULL, probe_tier(probe),
			    send_part, &part);
}

static void answer_done(void *stream)
{
	struct answer *answer = stream;

	(void)listing_free(answer->listing);
	free(answer);
}

static void answer_list(struct probe *probe, struct server_client *client,
			const Netprobe__NetprobeFrame *frame)
{
	bool listeners = frame->list_flows->kind == NETPROBE__LIST_FLOWS__KIND__LISTENERS;
	struct answer *answer = calloc(1, sizeof(*answer));

	if (answer)
		answer->listing = listing_new(listeners);
	if (!answer || !answer->listing) {
		free(answer);
		server_reply_error(client, frame->sequence, "internal_error", "out of memory");
		return;
	}
	if (probe->collector && refresh(probe) < 0)
		log_line(LOG_WARNING,
			 "the kernel does not say how many bytes flows have, ignoring");
	answer->probe = probe;
	answer->sequence = frame->sequence;
	answer->has_collector = probe->collector != NULL;
	answer->collector = probe->collectors;
	server_stream(client, list_on, answer_done, answer);
}

/* The living flows come into the table of what can be matched when somebody first asks. */
struct seeding {
	struct probe *probe;
	uint64_t window_ns;
};

static void seed(void *context, const struct flow *flow)
{
	const struct seeding *seeding = context;

	match_add(seeding->probe->match, flow, seeding->window_ns, probe_now_ns());
}

static int match_record(struct probe *probe, const Netprobe__ExternalFlowRecord *record)
{
	uint64_t window_ns =
		probe->config->external_flow_match_window_ms * (uint64_t)WALL_NS_PER_MSEC;
	struct seeding seeding = {probe, window_ns};
	const struct flow *flow = NULL;
	struct event event;
	int r;

	if (probe->collector && !match_is_started(probe->match)) {
		match_start(probe->match);
		collector_each(probe->collector, seed, &seeding);
	}
	r = match_find(probe->match, record, window_ns, wall_ns(), &flow);
	if (r != 0)
		return r;
	event_fill(&event, FLOW_UPDATE, flow, "external_netflow");
	event.message.external_flow_id = record->external_flow_id;
	probe_send(probe, &event);
	return 0;
}

static void answer_external(struct probe *probe, struct server_client *client,
			    const Netprobe__NetprobeFrame *frame)
{
	Netprobe__ExternalFlowAck ack = NETPROBE__EXTERNAL_FLOW_ACK__INIT;
	int r = match_record(probe, frame->external_flow_record);

	ack.accepted = r != MATCH_E_INVALID;
	ack.matched = r == 0;
	ack.unmatched = r == MATCH_E_NONE || r == MATCH_E_AMBIGUOUS;
	ack.ambiguous = r == MATCH_E_AMBIGUOUS;
	ack.invalid = r == MATCH_E_INVALID;
	probe->metrics.external_matched += ack.matched;
	probe->metrics.external_unmatched += r == MATCH_E_NONE;
	probe->metrics.external_ambiguous += ack.ambiguous;
	probe->metrics.external_invalid += ack.invalid;
	if (frame->sequence != 0)
		server_reply_message(client, frame->sequence,
				     NETPROBE__NETPROBE_FRAME__PAYLOAD_EXTERNAL_FLOW_ACK, &ack);
}

void probe_request(void *context, struct server_client *client,
		   const Netprobe__NetprobeFrame *frame)
{
	struct probe *probe = context;

	switch (frame->payload_case) {
	case NETPROBE__NETPROBE_FRAME__PAYLOAD_PING:
		answer_ping(probe, client, frame);
		return;
	case NETPROBE__NETPROBE_FRAME__PAYLOAD_APPLY_CONFIG:
		answer_config(probe, client, frame);
		return;
	case NETPROBE__NETPROBE_FRAME__PAYLOAD_LIST_FLOWS:
		answer_list(probe, client, frame);
		return;
	case NETPROBE__NETPROBE_FRAME__PAYLOAD_EXTERNAL_FLOW_RECORD:
		answer_external(probe, client, frame);
		return;
	default:
		server_reply_error(client, frame->sequence, "unsupported_frame",
				   "netprobe does not answer this kind of frame");
		return;
	}
}
