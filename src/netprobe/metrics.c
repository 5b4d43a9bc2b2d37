/* SPDX-License-Identifier: Apache-2.0 */

/* Numbers for Prometheus. No label has a value that a host's traffic chooses. */

#include "netprobe/metrics.h"

#include <inttypes.h>

struct number {
	const char *name;
	const char *labels; /* with braces, or "" */
	const char *help;   /* NULL: another sample of the one before */
	const char *type;
	uint64_t value;
};

static int print(const struct number *numbers, size_t n, struct buffer *buffer)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct number *number = &numbers[i];

		if (number->help)
			r = buffer_format(buffer, "# HELP %s %s\n# TYPE %s %s\n", number->name,
					  number->help, number->name, number->type);
		if (r == 0)
			r = buffer_format(buffer, "%s%s %" PRIu64 "\n", number->name,
					  number->labels, number->value);
	}
	return r;
}

#define GAUGE(name, help, value)               \
	{                                      \
		name, "", help, "gauge", value \
	}
#define COUNTER(name, help, value)               \
	{                                        \
		name, "", help, "counter", value \
	}
#define SAMPLE(name, labels, value)             \
	{                                       \
		name, labels, NULL, NULL, value \
	}
#define FIRST(name, labels, help, type, value)  \
	{                                       \
		name, labels, help, type, value \
	}

static int print_state(const struct metrics *m, struct buffer *buffer)
{
	const struct number numbers[] = {
		GAUGE("netprobe_uptime_seconds", "Seconds since the start.", m->uptime_seconds),
		GAUGE("netprobe_enabled", "Whether the configuration asks for collecting.",
		      m->enabled),
		FIRST("netprobe_tier", "{tier=\"none\"}", "1 at what watches the sockets.", "gauge",
		      m->tier == COLLECTOR_NONE),
		SAMPLE("netprobe_tier", "{tier=\"diag\"}", m->tier == COLLECTOR_DIAG),
		SAMPLE("netprobe_tier", "{tier=\"cgroup\"}", m->tier == COLLECTOR_CGROUP),
		SAMPLE("netprobe_tier", "{tier=\"full\"}", m->tier == COLLECTOR_FULL),
		FIRST("netprobe_sends_seen", "{at=\"packets\"}", "1 at where sends are seen.",
		      "gauge", m->sends == COLLECTOR_SENDS_AT_PACKETS),
		SAMPLE("netprobe_sends_seen", "{at=\"functions\"}",
		       m->sends == COLLECTOR_SENDS_AT_FUNCTIONS),
		SAMPLE("netprobe_sends_seen", "{at=\"tracepoints\"}",
		       m->sends == COLLECTOR_SENDS_AT_TRACEPOINTS),
		GAUGE("netprobe_flows", "Living flows and listeners that are known.", m->flows),
		GAUGE("netprobe_flows_max", "Flows that are kept at most.", m->flows_max),
		GAUGE("netprobe_clients", "Clients that are connected.", m->server.clients),
	};

	return print(numbers, ARRAY_SIZE(numbers), buffer);
}

static int print_collector(const struct collector_counts *c, struct buffer *buffer)
{
	const struct number numbers[] = {
		COUNTER("netprobe_records_total", "Records that the kernel wrote.", c->events),
		COUNTER("netprobe_records_lost_total", "Records that found no room.", c->lost),
		COUNTER("netprobe_flows_started_total", "Flows that began, or were found.",
			c->flows_started),
		COUNTER("netprobe_flows_ended_total", "Flows that ended.", c->flows_ended),
		COUNTER("netprobe_flows_evicted_total", "Flows given up by the full table.",
			c->flows_evicted),
		FIRST("netprobe_owners_total", "{outcome=\"known\"}",
		      "Flows that had a process at some time, and that had none in the end.",
		      "counter", c->owners_known),
		SAMPLE("netprobe_owners_total", "{outcome=\"unknown\"}", c->owners_unknown),
		COUNTER("netprobe_containers_missed_total",
			"Cgroups of ended processes that were not looked for: too many at once.",
			c->containers_missed),
		COUNTER("netprobe_owners_corrected_total",
			"Flows that another process was seen to use.", c->owners_corrected),
		COUNTER("netprobe_owners_forgotten_total",
			"Flows that somebody used, and it is not known who.", c->owners_forgotten),
	};

	return print(numbers, ARRAY_SIZE(numbers), buffer);
}

static int print_clients(const struct metrics *m, struct buffer *buffer)
{
	const struct number numbers[] = {
		FIRST("netprobe_events_emitted_total", "{stream=\"flow_attribution\"}",
		      "What clients were sent.", "counter", m->server.events_sent),
		SAMPLE("netprobe_events_emitted_total", "{stream=\"process_snapshot\"}",
		       m->snapshots),
		FIRST("netprobe_events_dropped_total",
		      "{stream=\"flow_attribution\",reason=\"queue_full\"}",
		      "Events that a client was too slow for, or for which there was none.",
		      "counter", m->server.events_dropped),
		SAMPLE("netprobe_events_dropped_total",
		       "{stream=\"flow_attribution\",reason=\"no_receiver\"}", m->no_receiver),
		SAMPLE("netprobe_events_dropped_total",
		       "{stream=\"flow_attribution\",reason=\"no_memory\"}", m->no_memory),
		COUNTER("netprobe_connections_total", "Clients that connected.",
			m->server.connections),
		COUNTER("netprobe_connections_refused_total", "Of them those that were too many.",
			m->server.refused),
		COUNTER("netprobe_requests_total", "Frames that clients sent.", m->server.requests),
		COUNTER("netprobe_frames_malformed_total",
			"Of what clients sent, what was no frame.", m->server.malformed),
		FIRST("netprobe_configs_total", "{outcome=\"applied\"}",
		      "Configurations that clients sent.", "counter", m->configs_applied),
		SAMPLE("netprobe_configs_total", "{outcome=\"refused\"}", m->configs_refused),
		FIRST("netprobe_external_flows_total", "{outcome=\"matched\"}",
		      "Flow records that clients sent to be matched.", "counter",
		      m->external_matched),
		SAMPLE("netprobe_external_flows_total", "{outcome=\"unmatched\"}",
		       m->external_unmatched),
		SAMPLE("netprobe_external_flows_total", "{outcome=\"ambiguous\"}",
		       m->external_ambiguous),
		SAMPLE("netprobe_external_flows_total", "{outcome=\"invalid\"}",
		       m->external_invalid),
	};

	return print(numbers, ARRAY_SIZE(numbers), buffer);
}

int metrics_format(const struct metrics *metrics, struct buffer *buffer)
{
	int r = print_state(metrics, buffer);

	if (r == 0)
		r = print_collector(&metrics->collector, buffer);
	return r < 0 ? r : print_clients(metrics, buffer);
}
