/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netprobe/collector.h"
#include "netprobe/server.h"

/* What is counted, and what is the case. */
struct metrics {
	bool enabled;
	enum collector_tier tier;
	enum collector_sends sends;
	uint64_t uptime_seconds;
	uint32_t flows, flows_max;
	struct collector_counts collector;
	struct server_counts server;
	uint64_t no_memory;   /* events that could not be made */
	uint64_t no_receiver; /* events that came while nobody was connected */
	uint64_t snapshots;
	uint64_t configs_applied, configs_refused;
	uint64_t external_matched, external_unmatched, external_ambiguous, external_invalid;
};

/* Prometheus' text format. 0 or -ENOMEM. */
must_check int metrics_format(const struct metrics *metrics, struct buffer *buffer);
