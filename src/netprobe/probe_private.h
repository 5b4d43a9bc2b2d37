/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/clock.h"
#include "netprobe/batch.h"
#include "netprobe/fnv.h"
#include "netprobe/match.h"
#include "netprobe/metrics.h"
#include "netprobe/probe.h"
#include "netprobe/server.h"

struct probe {
	sd_event *event;
	struct server *server;

	struct config *config;
	char hash[CONFIG_HASH_SIZE];

	struct collector *collector; /* NULL: not enabled, or no tier */
	sd_event_source *collector_io;
	sd_event_source *collector_more; /* the last drain left something */
	uint64_t refreshed_usec;         /* when it last counted all, CLOCK_MONOTONIC; 0: never */
	unsigned collectors;             /* how many there were */
	char why[COLLECTOR_WHY_MAX];     /* no better tier */
	struct collector_counts before;  /* of collectors that were closed */

	struct batch batch;
	sd_event_source *batch_timer;

	struct match *match;

	struct frame *snapshot; /* the last one */
	char snapshot_fingerprint[FNV_TEXT_SIZE];
	sd_event_source *snapshot_timer;
	uint64_t snapshot_usec; /* when it was made, CLOCK_MONOTONIC */

	struct metrics metrics; /* what only ever grows */
	uint64_t started_usec;
};

/* CLOCK_MONOTONIC, for whatever has to be over at some time. */
static inline int64_t probe_now_ns(void)
{
	return (int64_t)clock_monotonic_usec() * 1000;
}

/* What the tier is called; "none". */
const char *probe_tier(const struct probe *probe);
/* The counts of all collectors there were. */
struct collector_counts probe_counts(const struct probe *probe);
/* Sends one event to everybody, as the configuration wants events sent. */
void probe_send(struct probe *probe, const struct event *event);
/* server_handler's request(). */
void probe_request(void *context, struct server_client *client,
		   const Netprobe__NetprobeFrame *frame);
