/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <time.h>

#include "netprobe/collector.h"
#include "netprobe/flow_table.h"
#include "netprobe/process_table.h"

struct container_cache;
struct kernel_probe;
struct probe_exec;
struct probe_owner;
struct probe_record;

#define NSEC_PER_SEC 1000000000LL
#define NSEC_PER_MS  1000000LL

struct collector {
	struct collector_options options;
	void (*event)(void *context, enum flow_event kind, const struct flow *flow);
	void *context;
	enum collector_tier tier;
	struct flow_table *flows;
	struct process_table *processes;
	struct container_cache *containers;
	int cgroup_fd;              /* the root of cgroup2, or -EBADF */
	struct kernel_probe *probe; /* COLLECTOR_CGROUP and FULL */
	struct collector_counts counts;
	int epoll_fd;
	int seed_fd;      /* an eventfd that is readable until the table is seeded; or -EBADF */
	int diag_fd;      /* of COLLECTOR_DIAG, or -EBADF */
	int timer_fd;     /* of COLLECTOR_DIAG; else what ends a pause of the ring; or -EBADF */
	bool is_paused;   /* the ring is not watched until the timer is over */
	uint32_t round;   /* of the last full look at all sockets */
	int64_t clock_ns; /* CLOCK_REALTIME at CLOCK_MONOTONIC 0, for what is told */
	uint8_t listening[8192]; /* a bit for each TCP port that is listened on */
	uint64_t flows_lost;     /* for which there was no memory here */
	uint64_t lost_drained;   /* losses that lie before what was taken from the ring */
	uint64_t lost_swept;     /* losses after which ends were looked for */
	uint64_t ends_lost;      /* of them those that were not even kept apart */
	int64_t peers_swept_ns;
	int64_t looked_ns; /* when all sockets were looked at */
	int64_t look_took_ns;
	bool has_unseen;         /* connections that somebody wrote to unseen wait for a look */
	uint64_t evicted_looked; /* flows that were given up before that */
};

/* A record changes the table; event() hears of it. */
void collector_record(struct collector *collector, const struct probe_record *record);
void collector_exec(struct collector *collector, const struct probe_exec *exec);
/* The same for what stands, without an event for flows that are known. */
void collector_stands(struct collector *collector, const struct probe_record *record);
/* Ends what the last look at all sockets of *netns*, or (not *all*) those of TCP, did not see. */
void collector_sweep(struct collector *collector, int64_t before_ns, uint32_t netns, bool all);
/* Ends the flows whose end found no room in the ring. */
must_check int collector_find_ends(struct collector *collector);
/* Forgets peers of which no flow is known. */
void collector_sweep_peers(struct collector *collector);
/* Takes all that the ring has. */
must_check int collector_empty_ring(struct collector *collector);
int64_t collector_now(clockid_t clock);
uint32_t collector_own_netns(void);
/* The current counters of a flow with a peer. False: they are not in the kernel's map of peers. */
bool collector_count_peer(struct collector *collector, struct flow_entry *entry, bool forget);

/* Notes what waits for connections, before collector_stands() judges who called whom. */
void collector_note_listener(struct collector *collector, const struct probe_record *record);

must_check int collector_diag_open(struct collector *collector);
/* What this tier does not see here, as sentences that follow others. */
void collector_diag_explain(const struct collector *collector, char *text, size_t size);
/* A pass over all sockets. */
must_check int collector_diag_look(struct collector *collector);
/* A pass, if the timer says so. */
must_check int collector_diag_drain(struct collector *collector);

/* Somebody talks, and it is not known who: rather nobody than who did before. Whether there was an
 * owner. */
bool collector_forget_owner(struct collector *collector, struct flow_entry *entry);
void collector_compose(const struct collector *collector, const struct flow_entry *entry,
		       struct flow *ret);
/* All times here are CLOCK_MONOTONIC; what is told is CLOCK_REALTIME. */
void collector_end(struct collector *collector, struct flow_entry *entry, enum flow_event event,
		   enum flow_end end, int64_t now_ns);
