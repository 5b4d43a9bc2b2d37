/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"
#include "netprobe/flow.h"

/* What watches the host's sockets, on the best means that the kernel lets it have. */
struct collector;

/* Best first. What each needs and knows is in docs/netprobe-collector.md. */
enum collector_tier {
	COLLECTOR_NONE,
	COLLECTOR_DIAG,   /* INET_DIAG and /proc, polled */
	COLLECTOR_CGROUP, /* programs at the root of cgroup2 */
	COLLECTOR_FULL,   /* and tp_btf: owners corrected, bytes, names at exec; iterators */
};

/* Where a send is seen. */
enum collector_sends {
	COLLECTOR_SENDS_NOWHERE,
	COLLECTOR_SENDS_AT_PACKETS,     /* what leaves later than it was written is nobody's */
	COLLECTOR_SENDS_AT_FUNCTIONS,   /* where one ends; before Linux 6.3 */
	COLLECTOR_SENDS_AT_TRACEPOINTS, /* the same */
};

struct collector_options {
	uint32_t flows_max; /* flows that are kept; more push the longest silent one out */
	enum collector_tier tier_max; /* COLLECTOR_FULL, or less to do without */
	uint32_t diag_interval_ms;    /* how often COLLECTOR_DIAG looks; 0: 1000 */
	uint32_t peer_idle_ms; /* how long a datagram peer may be silent until collector_refresh()
				  ends its flow; 0: 300,000 */
};

/* Since the start; nothing goes down. */
struct collector_counts {
	uint64_t events; /* records from the kernel */
	uint64_t lost;   /* what there was no room or no memory for, in the kernel or here */
	uint64_t flows_started, flows_ended, flows_evicted;
	uint64_t owners_known;      /* of flows_started: those that had an owner at some time */
	uint64_t owners_unknown;    /* of flows_ended: those that had none in the end */
	uint64_t containers_missed; /* not looked for: too many at once, or too many cgroups */
	uint64_t owners_corrected;  /* where another process was seen to use the socket */
	uint64_t owners_forgotten;  /* where somebody used it, and it is not known who */
};

#define COLLECTOR_WHY_MAX 600

/* Attaches what can be attached, and seeds the table with the sockets there are (FLOW_SEEN at the
 * next collector_drain()). 0; -EPERM with no tier at all; -errno. *why* says for each
 * tier above the one reached what kept it away, one sentence, "" for nothing; and of COLLECTOR_DIAG
 * what it does not know. A flow that event() or each() gets is valid during the call. */
must_check int collector_open(const struct collector_options *options,
			      void (*event)(void *context, enum flow_event kind,
					    const struct flow *flow),
			      void *context, char why[COLLECTOR_WHY_MAX], struct collector **ret);
/* Detaches all; nothing of it stays in the kernel. */
struct collector *collector_free(struct collector *collector);

DEFINE_CLEANUP(struct collector *, collector, collector_free)
#define cleanup_collector CLEANUP(cleanup_collector)

enum collector_tier collector_tier(const struct collector *collector);
enum collector_sends collector_sends(const struct collector *collector);
const char *collector_tier_name(enum collector_tier tier);
/* Becomes readable (epoll) when collector_drain() has something to do. Never anything else. */
int collector_fd(const struct collector *collector);
/* Takes what has come, at most *max* records (0: 4096), and calls event(). 1 if more is there. 0 or
 * -errno. What comes within 10 ms after it took some does not make collector_fd() readable before
 * they are over; it is taken all the same if this is called. */
must_check int collector_drain(struct collector *collector, unsigned max);
/* Takes all that has come, and asks the kernel for the bytes of all living flows, so that
 * collector_each() is up to date. 0 or -errno. */
must_check int collector_refresh(struct collector *collector);
/* Every living flow and listener. */
void collector_each(const struct collector *collector,
		    void (*each)(void *context, const struct flow *flow), void *context);
/* Some of them; *cursor* begins as 0. False: they were the last. What lives from the first call to
 * the last one comes once. */
bool collector_scan(const struct collector *collector, uint32_t *cursor,
		    void (*each)(void *context, const struct flow *flow), void *context);
uint32_t collector_size(const struct collector *collector);
struct collector_counts collector_counts(const struct collector *collector);
