/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * The peers of datagram sockets: the first one of each stands with it, others in a map. To count
 * and to tell are two things, because a packet is seen before it is certain whose it is.
 */
#include "traffic.h"

#define PLACE_TURNS 100

static __always_inline bool is_first(const struct probe_socket *socket,
				     const struct probe_peer *peer)
{
	const __u64 *one = (const __u64 *)socket->first.bytes;
	const __u64 *other = (const __u64 *)peer->remote.bytes;

	return socket->first_port == peer->remote_port && socket->first_family == peer->family &&
	       socket->first_protocol == peer->protocol && one[0] == other[0] && one[1] == other[1];
}

/* The first peer finds its place, or another thread finds one at this moment, which is waited for.
 */
static __always_inline void find_place(struct probe_socket *socket, const struct probe_peer *peer)
{
	__u32 tick = probe_tick(bpf_ktime_get_coarse_ns()) | 1;

	if (__sync_val_compare_and_swap(&socket->first_tick, 0, tick) == 0) {
		socket->first = peer->remote;
		socket->first_port = peer->remote_port;
		socket->first_protocol = peer->protocol;
		in_order();
		*(volatile __u8 *)&socket->first_family = peer->family;
		return;
	}
	for (int i = 0; i < PLACE_TURNS; i++) {
		if (*(volatile __u8 *)&socket->first_family != 0)
			return;
	}
}

/* Where *peer* is kept. */
static __always_inline enum peer_place place_of(struct probe_socket *socket,
						const struct probe_peer *peer)
{
	const struct probe_counters *counters = &socket->counters;

	if (is_first(socket, peer))
		return PEER_FIRST;
	if (socket->first_family == 0 && !(socket->flags & (SOCKET_MANY | PROBE_CONNECTED)) &&
	    counters->packets_sent == 0 && counters->packets_received == 0)
		find_place(socket, peer);
	/* By this thread or another one. */
	in_order();
	if (is_first(socket, peer))
		return PEER_FIRST;
	if (peer->protocol != IPPROTO_UDP)
		set_flags(socket, SOCKET_SEVERAL);
	return PEER_OF_MANY;
}

static __always_inline void add(struct probe_counters *counters, const struct probe_traffic *more)
{
	if (more->packets_sent > 0) {
		__sync_fetch_and_add(&counters->bytes_sent, more->bytes_sent);
		__sync_fetch_and_add(&counters->packets_sent, more->packets_sent);
	}
	if (more->packets_received > 0) {
		__sync_fetch_and_add(&counters->bytes_received, more->bytes_received);
		__sync_fetch_and_add(&counters->packets_received, more->packets_received);
	}
}

/* What is counted with the socket is to be of something else: the first peer becomes one of many.
 */
static __always_inline void give_up_first(struct probe_socket *socket, __u64 cookie)
{
	struct probe_traffic traffic = {
		.bytes_sent = socket->counters.bytes_sent,
		.bytes_received = socket->counters.bytes_received,
		.packets_sent = socket->counters.packets_sent,
		.packets_received = socket->counters.packets_received,
		.last_ns = probe_tick_time(socket->first_tick, bpf_ktime_get_ns()),
		.owner_start_ns =
			socket->counters.told == socket->owner.tgid ? socket->owner.start_ns : 0,
		.owner_tgid = socket->counters.told != TOLD_OF_NOBODY ? socket->counters.told : 0,
		/* Else another process took the socket: who was told of stays. */
		.told = socket->counters.told == 0        ? 0
			: socket->flags & SOCKET_ANYWHERE ? TOLD_WITHOUT_LOCAL
							  : 1,
	};
	struct probe_peer peer = {
		.cookie = cookie,
		.remote = socket->first,
		.remote_port = socket->first_port,
		.family = socket->first_family,
		.protocol = socket->first_protocol,
	};

	if (socket->first_family == 0)
		return;
	if (traffic.packets_sent != 0 || traffic.packets_received != 0)
		(void)count_peer(&peer, &traffic);
	__builtin_memset(&socket->counters, 0, sizeof(socket->counters));
	socket->first_family = 0;
	clear_flags(socket, SOCKET_ANYWHERE);
	set_flags(socket, SOCKET_MANY);
}

/* Whether there is something to tell of the socket's own or first peer: what was told is of another
 * process than the one that runs, if that is who talks with it (*mine*), or of anybody, if it is
 * not known who does. */
static __always_inline bool is_first_news(const struct probe_socket *socket, bool mine)
{
	return socket->counters.told !=
	       (mine ? (__u32)bpf_get_current_task_btf()->tgid : TOLD_OF_NOBODY);
}

/* After a long silence it is another flow. */
static __always_inline bool count_first(struct probe_socket *socket,
					const struct probe_traffic *more, bool mine)
{
	if (socket->counters.told != 0 && is_silent(socket, more->last_ns))
		__builtin_memset(&socket->counters, 0, sizeof(socket->counters));
	socket->first_tick = probe_tick(more->last_ns);
	add(&socket->counters, more);
	return is_first_news(socket, mine);
}

static __always_inline bool is_news(const struct probe_traffic *traffic, bool mine)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (!mine)
		return !traffic->told || traffic->owner_tgid != 0;
	return traffic->owner_tgid != (__u32)task->tgid ||
	       traffic->owner_start_ns != task->group_leader->start_boottime;
}

static __always_inline bool count_of_many(const struct probe_peer *peer,
					  const struct probe_traffic *more, bool mine)
{
	const struct probe_traffic *traffic = count_peer(peer, more);

	return traffic && is_news(traffic, mine);
}
