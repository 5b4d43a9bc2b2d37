/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/* The peers of datagram sockets that have many. */
#include "ring.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct probe_peer);
	__type(value, struct probe_traffic);
} peers SEC(".maps") __weak;

/* Adds *more* to what was exchanged with *peer*. Whether that is news: it was not known, or another
 * process talks with it now. */
static __always_inline bool peer_is_news(const struct probe_socket *socket,
					 const struct probe_peer *peer, struct probe_traffic *more)
{
	struct probe_traffic *traffic = bpf_map_lookup_elem(&peers, peer);
	bool same;

	if (!traffic) {
		more->owner_tgid = socket->owner.tgid;
		more->owner_start_ns = socket->owner.start_ns;
		more->last_ns = bpf_ktime_get_ns();
		if (bpf_map_update_elem(&peers, peer, more, BPF_ANY) == 0)
			return true;
		lost(PROBE_LOST_PEER);
		return false;
	}
	same = traffic->owner_tgid == socket->owner.tgid &&
	       traffic->owner_start_ns == socket->owner.start_ns;
	traffic->owner_tgid = socket->owner.tgid;
	traffic->owner_start_ns = socket->owner.start_ns;
	traffic->last_ns = bpf_ktime_get_ns();
	if (more->packets_sent > 0) {
		__sync_fetch_and_add(&traffic->packets_sent, more->packets_sent);
		__sync_fetch_and_add(&traffic->bytes_sent, more->bytes_sent);
	}
	if (more->packets_received > 0) {
		__sync_fetch_and_add(&traffic->packets_received, more->packets_received);
		__sync_fetch_and_add(&traffic->bytes_received, more->bytes_received);
	}
	return !same;
}

/* A record of *peer*, to which the local side is to be added. NULL: the next datagram tells of it.
 */
static __always_inline struct probe_record *
peer_record_new(__u32 kind, const struct probe_peer *peer, struct probe_socket *socket)
{
	struct probe_record *record = record_new(kind, peer->cookie, socket);

	socket->flags |= SOCKET_ANNOUNCED;
	if (!record)
		bpf_map_delete_elem(&peers, peer);
	return record;
}

static __always_inline void peer_record_submit(struct probe_record *record,
					       const struct probe_peer *peer)
{
	record->flags &= ~(PROBE_LISTENER | PROBE_CONNECTED);
	record->tuple.family = peer->family;
	record->tuple.protocol = peer->protocol;
	record->tuple.remote = peer->remote;
	record->tuple.remote_port = peer->remote_port;
	bpf_ringbuf_submit(record, 0);
}
