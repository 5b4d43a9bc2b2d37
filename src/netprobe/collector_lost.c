/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What records would have said that found no room. A flow ends when the kernel says that its socket
 * did, never because nobody was seen to hold it: a connection that waits to be accepted, or one
 * that an io_uring has, is in no process's table of descriptors. So where the end of a known socket
 * finds no room its cookie is kept apart. If even that was too much, the sockets of the own network
 * namespace are asked for; flows of others then stay until the table is full.
 */

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "netprobe/collector_private.h"
#include "netprobe/kernel_probe.h"
#include "netprobe/socket_diag.h"

/* A peer of which no flow is known may be told of yet. */
#define PEER_GRACE_NS NSEC_PER_SEC

static void end_flow(struct collector *collector, struct flow_entry *entry,
		     const struct kernel_probe_end *end, int64_t now_ns)
{
	if (end->flags & PROBE_NOBODY)
		(void)collector_forget_owner(collector, entry);
	collector_end(collector, entry, FLOW_CLOSE, FLOW_END_CLOSED, now_ns);
}

static void end_socket(struct collector *collector, const struct kernel_probe_end *end,
		       int64_t now_ns)
{
	struct flow_entry *entry = flow_table_find(collector->flows, end->cookie, NULL);

	if (entry)
		end_flow(collector, entry, end, now_ns);
	while ((entry = flow_table_find_peer(collector->flows, end->cookie)))
		end_flow(collector, entry, end, now_ns);
}

static void on_answer(void *context, const struct socket_diag_answer *answer)
{
	struct collector *collector = context;
	struct flow_entry *entry = flow_table_find(collector->flows, answer->record.cookie, NULL);

	if (entry)
		entry->round = collector->round;
}

/* Marks the sockets of the own network namespace that there are; *ret_all*: not those of TCP alone,
 * as where the kernel has no udp_diag. */
static int mark_living(struct collector *collector, bool *ret_all)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	cleanup_fd int fd = -EBADF;
	int r;

	r = socket_diag_open(&fd);
	for (size_t i = 0; i < ARRAY_SIZE(families) && r >= 0; i++)
		r = socket_diag_dump(fd, families[i], IPPROTO_TCP, true, on_answer, collector);
	for (size_t i = 0; i < ARRAY_SIZE(families) && r >= 0; i++)
		r = socket_diag_dump(fd, families[i], IPPROTO_TCP, false, on_answer, collector);
	*ret_all = r >= 0;
	for (size_t i = 0; i < ARRAY_SIZE(families) && *ret_all; i++)
		*ret_all = socket_diag_dump(fd, families[i], IPPROTO_UDP, false, on_answer,
					    collector) >= 0;
	return r;
}

static bool is_wanted(void *context, const struct probe_peer *peer,
		      const struct probe_traffic *traffic)
{
	const struct collector *collector = context;
	struct flow_peer key = {.port = peer->remote_port};

	memcpy(key.address, peer->remote.bytes, sizeof(key.address));
	return flow_table_find(collector->flows, peer->cookie, &key) ||
	       collector_now(CLOCK_MONOTONIC) - (int64_t)traffic->last_ns < PEER_GRACE_NS;
}

void collector_sweep_peers(struct collector *collector)
{
	kernel_probe_sweep_peers(collector->probe, is_wanted, collector);
}

int collector_find_ends(struct collector *collector)
{
	uint64_t overflowed = kernel_probe_lost(collector->probe, PROBE_LOST_END);
	int64_t now_ns = collector_now(CLOCK_MONOTONIC);
	cleanup_free struct kernel_probe_end *ends = NULL;
	bool has_all = false;
	size_t n = 0;
	int r;

	r = kernel_probe_ended(collector->probe, &ends, &n);
	/* What these sockets began may be in the ring yet. */
	if (r >= 0)
		r = collector_empty_ring(collector);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		end_socket(collector, &ends[i], now_ns);
	collector_sweep_peers(collector);
	if (overflowed == collector->ends_lost)
		return 0;
	r = mark_living(collector, &has_all);
	/* The next look tries again. */
	if (r < 0)
		return 0;
	collector->ends_lost = overflowed;
	collector_sweep(collector, now_ns, collector_own_netns(), has_all);
	return 0;
}
