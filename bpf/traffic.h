/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/* The map of datagram peers that do not stand with their socket. */
#include "note.h"

#define EEXIST 17

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct probe_peer);
	__type(value, struct probe_traffic);
} peers SEC(".maps") __weak;

static __always_inline void add_traffic(struct probe_traffic *traffic,
					const struct probe_traffic *more)
{
	traffic->last_ns = more->last_ns;
	if (more->packets_sent > 0) {
		__sync_fetch_and_add(&traffic->packets_sent, more->packets_sent);
		__sync_fetch_and_add(&traffic->bytes_sent, more->bytes_sent);
	}
	if (more->packets_received > 0) {
		__sync_fetch_and_add(&traffic->packets_received, more->packets_received);
		__sync_fetch_and_add(&traffic->bytes_received, more->bytes_received);
	}
}

/* Counts *more* with *peer*: what is kept of it then. NULL: there is no room, which is counted. */
static __always_inline struct probe_traffic *count_peer(const struct probe_peer *peer,
							const struct probe_traffic *more)
{
	struct probe_traffic *traffic = bpf_map_lookup_elem(&peers, peer);
	bool counted = false;
	long r;

	if (!traffic) {
		r = bpf_map_update_elem(&peers, peer, more, BPF_NOEXIST);
		counted = r == 0;
		/* Or another thread sends to the same new one, and was faster. */
		if (counted || r == -EEXIST)
			traffic = bpf_map_lookup_elem(&peers, peer);
		if (!traffic && !counted)
			lost(PROBE_LOST_PEER);
	}
	if (traffic && !counted)
		add_traffic(traffic, more);
	return traffic;
}
