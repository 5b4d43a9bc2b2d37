/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The host's flows, by the best means there is. One descriptor stands for all sources: an epoll
 * instance that holds the ring of the programs in the kernel, or the timer of the poller, and for
 * the start an eventfd, because the sockets that exist already are told of by the first drain.
 *
 * To be woken costs more than to take a record, and on a small host it is the processes watched
 * that pay. So the ring is read at once after a silence, and then not before a pause is over: what
 * comes meanwhile wakes nobody. When a pause brought nothing the ring is watched again, so that an
 * idle collector sleeps.
 */

#include "netprobe/collector.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "netprobe/cgroup_root.h"
#include "netprobe/collector_private.h"
#include "netprobe/container_cache.h"
#include "netprobe/kernel_probe.h"

#define DRAIN_MAX    4096U
#define PEER_IDLE_MS 300000
#define PAUSE_NS     (10 * NSEC_PER_MS)
/* How often a full table asks who is silent. */
#define LOOK_NS (10 * NSEC_PER_SEC)
/* Between looks for ends that were lost: they follow each other where there is no end of losses. */
#define LOST_NS NSEC_PER_SEC
/* Between looks for who holds what was written to unseen, and of how much time a look is one. */
#define UNSEEN_NS    NSEC_PER_SEC
#define UNSEEN_SHARE 100
/* How often peers without a flow are looked for, if no record was lost. */
#define PEERS_SWEEP_NS (60 * NSEC_PER_SEC)
/* Calls of collector_drain() in which the whole ring is read, however full it is. */
#define DRAINS_MAX 8

static void on_record(void *context, const struct probe_record *record)
{
	collector_record(context, record);
}

static void on_exec(void *context, const struct probe_exec *exec)
{
	collector_exec(context, exec);
}

static void on_stand(void *context, const struct probe_record *record)
{
	collector_stands(context, record);
}

static void on_first(void *context, const struct probe_record *record)
{
	collector_note_listener(context, record);
}

static const struct kernel_probe_calls record_calls = {.record = on_record, .exec = on_exec};
static const struct kernel_probe_calls stand_calls = {.record = on_stand};
static const struct kernel_probe_calls first_calls = {.record = on_first};

int64_t collector_now(clockid_t clock)
{
	struct timespec now = {0};

	(void)clock_gettime(clock, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

/* The wall clock may be set at any time. */
static void read_clock(struct collector *collector)
{
	int64_t clock_ns = collector_now(CLOCK_REALTIME) - collector_now(CLOCK_MONOTONIC);

	/* As long as nobody does, the same moment is the same number. */
	if (llabs(clock_ns - collector->clock_ns) > NSEC_PER_MS)
		collector->clock_ns = clock_ns;
}

struct collector *collector_free(struct collector *collector)
{
	if (!collector)
		return NULL;
	(void)kernel_probe_free(collector->probe);
	(void)flow_table_free(collector->flows);
	(void)process_table_free(collector->processes);
	(void)container_cache_free(collector->containers);
	collector->cgroup_fd = fd_close(collector->cgroup_fd);
	collector->seed_fd = fd_close(collector->seed_fd);
	collector->timer_fd = fd_close(collector->timer_fd);
	collector->diag_fd = fd_close(collector->diag_fd);
	collector->epoll_fd = fd_close(collector->epoll_fd);
	free(collector);
	return NULL;
}

static int watch(struct collector *collector, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(collector->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_diag(struct collector *collector, char why[COLLECTOR_WHY_MAX])
{
	size_t used = strlen(why);
	int r;

	r = collector_diag_open(collector);
	if (r < 0)
		return r;
	collector_diag_explain(collector, why + used, COLLECTOR_WHY_MAX - used);
	return watch(collector, collector->timer_fd);
}

static int open_probe(struct collector *collector, char why[COLLECTOR_WHY_MAX])
{
	const struct kernel_probe_options options = {
		.tier_max = collector->options.tier_max,
		.peers_max = collector->options.flows_max,
		.peer_idle_ms = collector->options.peer_idle_ms,
	};
	int r;

	r = kernel_probe_open(&options, why, COLLECTOR_WHY_MAX, &collector->tier,
			      &collector->probe);
	if (r < 0)
		return r;
	r = watch(collector, kernel_probe_fd(collector->probe));
	if (r < 0)
		return r;
	collector->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	r = collector->timer_fd < 0 ? -errno : watch(collector, collector->timer_fd);
	if (r < 0)
		return r;
	collector->seed_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	return collector->seed_fd < 0 ? -errno : watch(collector, collector->seed_fd);
}

int collector_open(const struct collector_options *options,
		   void (*event)(void *context, enum flow_event kind, const struct flow *flow),
		   void *context, char why[COLLECTOR_WHY_MAX], struct collector **ret)
{
	cleanup_collector struct collector *collector = calloc(1, sizeof(*collector));
	int r = -EOPNOTSUPP;

	if (!collector)
		return -ENOMEM;
	why[0] = '\0';
	collector->options = *options;
	if (options->peer_idle_ms == 0)
		collector->options.peer_idle_ms = PEER_IDLE_MS;
	collector->event = event;
	collector->context = context;
	collector->seed_fd = -EBADF;
	collector->timer_fd = -EBADF;
	collector->diag_fd = -EBADF;
	collector->cgroup_fd = -EBADF;
	collector->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (collector->epoll_fd < 0)
		return -errno;
	collector->flows = flow_table_new(MAX(options->flows_max, 1U));
	/* Without it, containers are those that /proc names. */
	ignore_result(cgroup_root_open(&collector->cgroup_fd));
	collector->containers = container_cache_new(collector->cgroup_fd);
	collector->processes = process_table_new(collector->containers);
	if (!collector->flows || !collector->processes || !collector->containers)
		return -ENOMEM;
	read_clock(collector);
	if (options->tier_max >= COLLECTOR_CGROUP)
		r = open_probe(collector, why);
	/* Whatever the reason, less is better than nothing. */
	if (r < 0) {
		collector->probe = kernel_probe_free(collector->probe);
		collector->timer_fd = fd_close(collector->timer_fd);
		r = options->tier_max >= COLLECTOR_DIAG ? open_diag(collector, why) : -EPERM;
	}
	if (r < 0)
		return -EPERM;
	*ret = TAKE_PTR(collector);
	return 0;
}

enum collector_tier collector_tier(const struct collector *collector)
{
	return collector->tier;
}

enum collector_sends collector_sends(const struct collector *collector)
{
	return collector->probe ? kernel_probe_sends(collector->probe) : COLLECTOR_SENDS_NOWHERE;
}

const char *collector_tier_name(enum collector_tier tier)
{
	static const char *const names[] = {
		[COLLECTOR_NONE] = "none",
		[COLLECTOR_DIAG] = "diag",
		[COLLECTOR_CGROUP] = "cgroup",
		[COLLECTOR_FULL] = "full",
	};

	static_assert(ARRAY_SIZE(names) == COLLECTOR_FULL + 1, "a name for each");
	return (size_t)tier < ARRAY_SIZE(names) ? names[tier] : "none";
}

int collector_fd(const struct collector *collector)
{
	return collector->epoll_fd;
}

static bool has_lost(const struct collector *collector)
{
	return collector->lost_drained != collector->lost_swept;
}

/* Looks at every socket there is. */
static int look(struct collector *collector)
{
	int r;

	collector->round++;
	collector->looked_ns = collector_now(CLOCK_MONOTONIC);
	collector->has_unseen = false;
	memset(collector->listening, 0, sizeof(collector->listening));
	r = kernel_probe_dump(collector->probe, &first_calls, &stand_calls, collector);
	collector->look_took_ns = collector_now(CLOCK_MONOTONIC) - collector->looked_ns;
	/* With what this look itself gave up, or it would ask for the next one. */
	collector->evicted_looked = collector->counts.flows_evicted;
	if (r < 0 && r != -EOPNOTSUPP)
		return r;
	/* What is not there any more ended with a record, if no record was lost. What is in the
	 * ring yet may begin flows whose end was lost behind it. */
	r = 0;
	if (has_lost(collector) ||
	    collector->ends_lost != kernel_probe_lost(collector->probe, PROBE_LOST_END))
		r = collector_find_ends(collector);
	collector->lost_swept = collector->lost_drained;
	return r;
}

int collector_empty_ring(struct collector *collector)
{
	unsigned taken = 0;
	int r = 1;

	for (int i = 0; i < DRAINS_MAX && r == 1; i++)
		r = kernel_probe_drain(collector->probe, DRAIN_MAX, &record_calls, collector,
				       &taken);
	return r < 0 ? r : 0;
}

/* How long it is until who holds what was written to unseen may be looked for; 1: now; 0: nobody
 * asks. */
static int64_t until_look(const struct collector *collector)
{
	int64_t pause_ns = collector->look_took_ns * UNSEEN_SHARE;
	int64_t left_ns = collector->looked_ns - collector_now(CLOCK_MONOTONIC) +
			  (pause_ns > UNSEEN_NS ? pause_ns : UNSEEN_NS);

	if (!collector->has_unseen)
		return 0;
	return left_ns > 0 ? left_ns : 1;
}

/* Whether the ring is watched; and when the timer ends, 0: never. */
static int watch_ring(struct collector *collector, bool watched, int64_t timer_ns)
{
	const struct itimerspec pause = {
		.it_value = {.tv_sec = timer_ns / NSEC_PER_SEC,
			     .tv_nsec = timer_ns % NSEC_PER_SEC}
        };
	struct epoll_event event = {.events = watched ? EPOLLIN : 0};

	if (timerfd_settime(collector->timer_fd, 0, &pause, NULL) < 0)
		return -errno;
	if (collector->is_paused != watched)
		return 0;
	if (epoll_ctl(collector->epoll_fd, EPOLL_CTL_MOD, kernel_probe_fd(collector->probe),
		      &event) < 0)
		return -errno;
	collector->is_paused = !watched;
	return 0;
}

static int pause_ring(struct collector *collector, unsigned taken)
{
	/* Who waits to look for ends is woken for that. */
	bool pauses = taken > 0 || has_lost(collector);
	uint64_t turns = 0;

	if (read(collector->timer_fd, &turns, sizeof(turns)) < 0) {
		if (errno != EAGAIN)
			return -errno;
		if (collector->is_paused || (!pauses && !collector->has_unseen))
			return 0;
	}
	return watch_ring(collector, !pauses, pauses ? PAUSE_NS : until_look(collector));
}

int collector_drain(struct collector *collector, unsigned max)
{
	unsigned taken = 0;
	int64_t since_ns;
	uint64_t lost;
	bool is_over;
	int failed;
	int r;

	read_clock(collector);
	if (!collector->probe)
		return collector_diag_drain(collector);
	lost = kernel_probe_lost(collector->probe, PROBE_LOST_RECORD);
	r = kernel_probe_drain(collector->probe, max > 0 ? max : DRAIN_MAX, &record_calls,
			       collector, &taken);
	if (r < 0)
		return r;
	if (r == 0)
		collector->lost_drained = lost;
	failed = pause_ring(collector, taken);
	if (failed < 0)
		return failed;
	since_ns = collector_now(CLOCK_MONOTONIC) - collector->looked_ns;
	/* The full table gives up the longest silent, so that has to be known. */
	if (collector->evicted_looked != collector->counts.flows_evicted && since_ns > LOOK_NS) {
		failed = look(collector);
		return failed < 0 ? failed : r;
	}
	if (r == 0 && until_look(collector) == 1) {
		failed = look(collector);
		return failed < 0 ? failed : r;
	}
	/* Once the storm is over in which records were lost, ends among them are found and told. */
	is_over = r == 0 && taken == 0 && has_lost(collector) && since_ns > LOST_NS;
	if (collector->seed_fd < 0 && !is_over)
		return r;
	collector->seed_fd = fd_close(collector->seed_fd);
	failed = look(collector);
	return failed < 0 ? failed : r;
}

/* Datagrams have no end; a peer that was silent for long is none any more. How a socket's first one
 * stands is only said by a look that saw the socket, so without one its silence is not known. */
static void count_peers(struct collector *collector)
{
	int64_t idle_ms = collector->options.peer_idle_ms;
	int64_t now_ns = collector_now(CLOCK_MONOTONIC);
	struct flow_entry *following;
	bool is_known;

	for (struct flow_entry *entry = flow_table_oldest(collector->flows); entry;
	     entry = following) {
		following = flow_table_next(entry);
		if (!entry->is_peer)
			continue;
		is_known = collector_count_peer(collector, entry, false) ||
			   entry->round == collector->round;
		if (is_known && now_ns - entry->last_ns > idle_ms * NSEC_PER_MS)
			collector_end(collector, entry, FLOW_CLOSE, FLOW_END_TIMEOUT, now_ns);
	}
}

int collector_refresh(struct collector *collector)
{
	int64_t now_ns = collector_now(CLOCK_MONOTONIC);
	int r;

	read_clock(collector);
	if (!collector->probe)
		return collector_diag_look(collector);
	/* What the ring has is older than what is seen now. */
	for (int i = 0; i < DRAINS_MAX; i++) {
		r = collector_drain(collector, 0);
		if (r < 0)
			return r;
		if (r == 0)
			break;
	}
	r = look(collector);
	count_peers(collector);
	if (now_ns - collector->peers_swept_ns > PEERS_SWEEP_NS) {
		collector->peers_swept_ns = now_ns;
		collector_sweep_peers(collector);
	}
	return r;
}

void collector_each(const struct collector *collector,
		    void (*each)(void *context, const struct flow *flow), void *context)
{
	struct flow flow;

	for (const struct flow_entry *entry = flow_table_oldest(collector->flows); entry;
	     entry = flow_table_next(entry)) {
		collector_compose(collector, entry, &flow);
		each(context, &flow);
	}
}

struct scan {
	const struct collector *collector;
	void (*each)(void *context, const struct flow *flow);
	void *context;
};

static void on_entry(void *context, const struct flow_entry *entry)
{
	const struct scan *scan = context;
	struct flow flow;

	collector_compose(scan->collector, entry, &flow);
	scan->each(scan->context, &flow);
}

bool collector_scan(const struct collector *collector, uint32_t *cursor,
		    void (*each)(void *context, const struct flow *flow), void *context)
{
	struct scan scan = {collector, each, context};

	return flow_table_scan(collector->flows, cursor, on_entry, &scan);
}

uint32_t collector_size(const struct collector *collector)
{
	return flow_table_size(collector->flows);
}

struct collector_counts collector_counts(const struct collector *collector)
{
	struct collector_counts counts = collector->counts;

	counts.lost = collector->flows_lost;
	counts.containers_missed = container_cache_missed(collector->containers);
	if (collector->probe)
		counts.lost += kernel_probe_lost(collector->probe, PROBE_LOST_RECORD) +
			       kernel_probe_lost(collector->probe, PROBE_LOST_PEER) +
			       kernel_probe_lost(collector->probe, PROBE_LOST_SOCKET);
	return counts;
}
