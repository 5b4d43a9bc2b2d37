/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/* Records of the peers of datagram sockets. */
#include "peers.h"

/* Whether the socket is connected to *peer*: one may send elsewhere, too. */
static __always_inline bool is_connected(const struct bpf_sock *sk, const struct probe_peer *peer)
{
	const __u32 *remote = (const __u32 *)peer->remote.bytes;
	const volatile __u32 *words;

	if (sk->state != TCP_ESTABLISHED)
		return false;
	if (peer->protocol == IPPROTO_UDP && bpf_ntohs(sk->dst_port) != peer->remote_port)
		return false;
	if (peer->family == AF_INET)
		return sk->dst_ip4 == remote[0];
	/* Word by word: the verifier knows these by their offsets. */
	words = sk->dst_ip6;
	return words[0] == remote[0] && words[1] == remote[1] && words[2] == remote[2] &&
	       words[3] == remote[3];
}

static __always_inline bool count_connected(struct probe_socket *socket, __u64 cookie,
					    const struct probe_traffic *one, bool mine)
{
	if (socket->first_family != 0)
		give_up_first(socket, cookie);
	add(&socket->counters, one);
	return !(socket->flags & PROBE_CONNECTED) || is_first_news(socket, mine);
}

static __always_inline bool is_any(const struct probe_address *address)
{
	const __u64 *words = (const __u64 *)address->bytes;

	return words[0] == 0 && words[1] == 0;
}

/* By a record in which the owner and this side are set. */
static __always_inline void mark_as_told(struct probe_socket *socket, const struct probe_peer *peer,
					 enum peer_place place, const struct probe_record *record)
{
	const struct probe_owner *owner = &record->owner;
	bool has_local = !is_any(&record->tuple.local);
	struct probe_traffic *traffic;

	if (place == PEER_CONNECTED) {
		clear_flags(socket, PROBE_LISTENER);
		set_flags(socket, PROBE_CONNECTED);
	}
	if (place == PEER_FIRST && has_local)
		clear_flags(socket, SOCKET_ANYWHERE);
	if (place == PEER_FIRST && !has_local)
		set_flags(socket, SOCKET_ANYWHERE);
	if (place != PEER_OF_MANY) {
		socket->counters.told = owner->tgid != 0 ? owner->tgid : TOLD_OF_NOBODY;
		return;
	}
	traffic = bpf_map_lookup_elem(&peers, peer);
	if (!traffic)
		return;
	traffic->owner_tgid = owner->tgid;
	traffic->owner_start_ns = owner->start_ns;
	traffic->told = has_local ? 1 : TOLD_WITHOUT_LOCAL;
}

/* Of what a record says, where the remote side is *peer*. */
static __always_inline void set_peer(struct probe_record *record, const struct probe_peer *peer,
				     enum peer_place place)
{
	record->flags &= ~(PROBE_LISTENER | PROBE_CONNECTED);
	if (place == PEER_FIRST)
		record->flags |= PROBE_FIRST;
	if (place == PEER_CONNECTED)
		record->flags |= PROBE_CONNECTED;
	record->tuple.family = peer->family;
	record->tuple.protocol = peer->protocol;
	record->tuple.remote = peer->remote;
	record->tuple.remote_port = peer->remote_port;
}

/* The socket's owner may be another one than who talked with its first peer. */
static __always_inline void set_first(struct probe_record *record,
				      const struct probe_socket *socket)
{
	struct probe_peer peer = {
		.remote = socket->first,
		.remote_port = socket->first_port,
		.family = socket->first_family,
		.protocol = socket->first_protocol,
	};

	set_peer(record, &peer, PEER_FIRST);
	if (socket->counters.told != record->owner.tgid)
		__builtin_memset(&record->owner, 0, sizeof(record->owner));
	if (socket->counters.told == TOLD_OF_NOBODY)
		record->flags |= PROBE_NOBODY;
}

/* Whose the traffic with *peer* is could not be told, so that what was told before is not true any
 * more: what tells of it next says that, too. */
static __always_inline void mark_as_lost(struct probe_socket *socket, const struct probe_peer *peer,
					 enum peer_place place)
{
	struct probe_traffic *traffic;

	if (place == PEER_FIRST)
		socket->counters.told = TOLD_OF_NOBODY;
	if (place == PEER_CONNECTED && socket->flags & PROBE_CONNECTED)
		forget_owner(socket);
	if (place != PEER_OF_MANY)
		return;
	traffic = bpf_map_lookup_elem(&peers, peer);
	if (traffic)
		traffic->owner_tgid = 0;
}

/* A record of *peer*; of *local* only that side is taken. If the ring has no room the next datagram
 * of a known process tells. */
static __always_inline void tell_peer(__u32 kind, struct probe_socket *socket,
				      const struct probe_peer *peer, enum peer_place place,
				      const struct probe_tuple *local, enum whose whose)
{
	struct probe_record *record = record_new(kind, peer->cookie, socket, whose);

	if (!record) {
		mark_as_lost(socket, peer, place);
		return;
	}
	if (whose == OF_NOBODY)
		record->flags |= PROBE_NOBODY;
	set_flags(socket, SOCKET_ANNOUNCED);
	record->tuple.local = local->local;
	record->tuple.local_port = local->local_port;
	mark_as_told(socket, peer, place, record);
	set_peer(record, peer, place);
	submit(record, 0);
}
