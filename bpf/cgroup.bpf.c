/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */

/*
 * Hooks at the root of cgroup2. They run in the system calls of the process: who made a socket,
 * connected it, sends and receives. Each returns 1 and writes nothing to its context, so nothing is
 * ever denied or changed.
 */
#include "closed.h"
#include "tell.h"

/* See ring.h for why it is this one. */
char LICENSE[] SEC("license") = "GPL";

static __always_inline __u32 current_netns(void)
{
	return bpf_get_current_task_btf()->nsproxy->net_ns->ns.inum;
}

SEC("cgroup/sock_create")

int socket_created(struct bpf_sock *sk)
{
	struct probe_socket *socket;

	if (sk->family != AF_INET && sk->family != AF_INET6)
		return 1;
	/* TCP's begin when they connect or listen. */
	if (sk->protocol == IPPROTO_TCP || sk->protocol > PROTOCOL_MAX)
		return 1;
	socket = socket_of(sk);
	if (!socket)
		return 1;
	take(socket);
	socket->netns = current_netns();
	return 1;
}

/* The end of what has no states. To close a socket is no use of it: who was handed one and gave it
 * up unread is not its owner. */
SEC("cgroup/sock_release")

int socket_released(struct bpf_sock *sk)
{
	struct probe_socket *socket;
	struct probe_record *record;

	if (sk->protocol == IPPROTO_TCP)
		return 1;
	socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!socket)
		return 1;
	set_flags(socket, SOCKET_ENDED);
	/* Nobody comes back for it. */
	if (socket->sent.pid != 0 && __sync_lock_test_and_set(&socket->sent.pid, 0) != 0)
		__sync_fetch_and_add(&doubts, -1);
	if (!(socket->flags & SOCKET_ANNOUNCED) && socket->first_family == 0)
		return 1;
	record = record_new(PROBE_CLOSE, bpf_get_socket_cookie(sk), socket, OF_OWNER);
	if (!record) {
		end_lost(socket, bpf_get_socket_cookie(sk));
		return 1;
	}
	record->tuple.protocol = sk->protocol;
	record->tuple.family = sk->family;
	if (socket->first_family != 0)
		set_first(record, socket);
	submit(record, TCP_CLOSE);
	return 1;
}

static __always_inline void local_of(struct bpf_sock *sk, struct probe_tuple *tuple)
{
	tuple->family = sk->family;
	tuple->protocol = sk->protocol;
	tuple->local_port = sk->src_port;
	if (sk->family == AF_INET) {
		store_ipv4(&tuple->local, sk->src_ip4);
		return;
	}
	((__u32 *)tuple->local.bytes)[0] = sk->src_ip6[0];
	((__u32 *)tuple->local.bytes)[1] = sk->src_ip6[1];
	((__u32 *)tuple->local.bytes)[2] = sk->src_ip6[2];
	((__u32 *)tuple->local.bytes)[3] = sk->src_ip6[3];
	normalise(tuple);
}

/* A datagram socket that is bound and not connected is a listener. */
static __always_inline int bound(struct bpf_sock *sk, bool ipv6)
{
	struct probe_socket *socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	struct probe_record *record;

	if (!socket)
		return 1;
	take(socket);
	if (sk->protocol != IPPROTO_UDP)
		return 1;
	set_flags(socket, SOCKET_ANNOUNCED | PROBE_LISTENER);
	record = record_new(PROBE_LISTEN, bpf_get_socket_cookie(sk), socket, OF_CURRENT);
	if (!record) {
		clear_flags(socket, SOCKET_ANNOUNCED);
		return 1;
	}
	record->tuple.family = sk->family;
	record->tuple.protocol = sk->protocol;
	record->tuple.local_port = sk->src_port;
	if (ipv6) {
		((__u32 *)record->tuple.local.bytes)[0] = sk->src_ip6[0];
		((__u32 *)record->tuple.local.bytes)[1] = sk->src_ip6[1];
		((__u32 *)record->tuple.local.bytes)[2] = sk->src_ip6[2];
		((__u32 *)record->tuple.local.bytes)[3] = sk->src_ip6[3];
		normalise(&record->tuple);
	} else {
		store_ipv4(&record->tuple.local, sk->src_ip4);
	}
	submit(record, 0);
	return 1;
}

SEC("cgroup/post_bind4")

int bound_ipv4(struct bpf_sock *sk)
{
	return bound(sk, false);
}

SEC("cgroup/post_bind6")

int bound_ipv6(struct bpf_sock *sk)
{
	return bound(sk, true);
}

/* The address in a system call's context. */
static __always_inline void address_of(struct bpf_sock_addr *context, struct probe_peer *peer,
				       bool ipv6)
{
	peer->remote_port = bpf_ntohs((__u16)context->user_port);
	if (!ipv6) {
		peer->family = AF_INET;
		store_ipv4(&peer->remote, context->user_ip4);
		return;
	}
	((__u32 *)peer->remote.bytes)[0] = context->user_ip6[0];
	((__u32 *)peer->remote.bytes)[1] = context->user_ip6[1];
	((__u32 *)peer->remote.bytes)[2] = context->user_ip6[2];
	((__u32 *)peer->remote.bytes)[3] = context->user_ip6[3];
	peer->family = unmap(&peer->remote) ? AF_INET : AF_INET6;
}

/* A datagram came from *peer*. Where its length is seen, that is a moment later. The kernel holds
 * the socket's lock here. */
static __always_inline void received(struct bpf_sock_addr *context, struct probe_socket *socket,
				     struct probe_peer *peer)
{
	struct probe_traffic one = {.packets_received = 1};
	struct probe_tuple local = {};
	enum peer_place place;
	bool news;

	if (receives_are_traced && is_connected(context->sk, peer))
		return;
	place = is_connected(context->sk, peer) ? PEER_CONNECTED : place_of(socket, peer);
	if (receives_are_traced) {
		note_peer_locked(&socket->received, peer, place);
		return;
	}
	one.last_ns = bpf_ktime_get_coarse_ns();
	peer->cookie = bpf_get_socket_cookie(context);
	news = place == PEER_CONNECTED ? count_connected(socket, peer->cookie, &one, true)
	       : place == PEER_FIRST   ? count_first(socket, &one, true)
				       : count_of_many(peer, &one, true);
	if (!news)
		return;
	local_of(context->sk, &local);
	tell_peer(PROBE_RECEIVE, socket, peer, place, &local, OF_CURRENT);
}

/* A datagram socket gets a peer of its own: what was exchanged with the one before is told now. */
static __always_inline void connects(struct bpf_sock_addr *context, struct probe_socket *socket)
{
	__u64 cookie = bpf_get_socket_cookie(context);
	struct probe_record *record;

	give_up_first(socket, cookie);
	record = socket->flags & PROBE_CONNECTED ? record_new(PROBE_CLOSE, cookie, socket, OF_OWNER)
						 : NULL;
	if (record) {
		record->flags |= PROBE_AGAIN;
		record->tuple.family = context->family;
		record->tuple.protocol = context->protocol;
		submit(record, TCP_CLOSE);
	}
	clear_flags(socket, PROBE_CONNECTED);
	__builtin_memset(&socket->counters, 0, sizeof(socket->counters));
}

/* *kind*: PROBE_SEND, PROBE_RECEIVE, or PROBE_CONNECT. What is sent is seen as a packet. */
static __always_inline int address_used(struct bpf_sock_addr *context, __u32 kind, bool ipv6)
{
	struct probe_peer peer = {.protocol = IPPROTO_UDP};
	struct bpf_sock *sk = context->sk;
	struct probe_socket *socket;
	struct probe_record *record;
	__u32 version;

	/* TCP tells of itself when it connects, in the same system call. */
	if (!sk || context->protocol == IPPROTO_TCP || context->protocol > PROTOCOL_MAX)
		return 1;
	socket = socket_of(sk);
	if (!socket)
		return 1;
	/* While it is whose it was: who connects it anew has not talked with that peer. */
	if (kind == PROBE_CONNECT && context->protocol == IPPROTO_UDP)
		connects(context, socket);
	version = take(socket);
	/* A connected one has a flow that is only of who talks with its peer. */
	if (version != 0 && socket->flags & SOCKET_ANNOUNCED &&
	    !(socket->flags & PROBE_CONNECTED)) {
		record =
			record_new(PROBE_OWNER, bpf_get_socket_cookie(context), socket, OF_CURRENT);
		if (record) {
			record->owner.version = version;
			local_of(sk, &record->tuple);
			submit(record, sk->state);
		} else {
			forget_owner(socket);
		}
	}
	if (socket->netns == 0)
		socket->netns = current_netns();
	if (context->protocol == IPPROTO_UDP && kind == PROBE_RECEIVE) {
		address_of(context, &peer, ipv6);
		received(context, socket, &peer);
	}
	return 1;
}

SEC("cgroup/connect4")

int connects_ipv4(struct bpf_sock_addr *context)
{
	return address_used(context, PROBE_CONNECT, false);
}

SEC("cgroup/connect6")

int connects_ipv6(struct bpf_sock_addr *context)
{
	return address_used(context, PROBE_CONNECT, true);
}

SEC("cgroup/sendmsg4")

int sends_ipv4(struct bpf_sock_addr *context)
{
	return address_used(context, PROBE_SEND, false);
}

SEC("cgroup/sendmsg6")

int sends_ipv6(struct bpf_sock_addr *context)
{
	return address_used(context, PROBE_SEND, true);
}

SEC("cgroup/recvmsg4")

int receives_ipv4(struct bpf_sock_addr *context)
{
	return address_used(context, PROBE_RECEIVE, false);
}

SEC("cgroup/recvmsg6")

int receives_ipv6(struct bpf_sock_addr *context)
{
	return address_used(context, PROBE_RECEIVE, true);
}

/* accept() that wants the address runs this in the process that accepts. Who merely asks for the
 * name of a socket that somebody has used is no owner, also if it is not known who that was. */
static __always_inline int named(struct bpf_sock_addr *context)
{
	struct bpf_sock *sk = context->sk;
	struct probe_socket *socket;
	struct probe_record *record;
	__u32 version;

	if (!sk || context->protocol != IPPROTO_TCP)
		return 1;
	socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!socket || socket->owner.tgid != 0 || socket->flags & (PROBE_SEEDED | PROBE_NOBODY) ||
	    !(socket->flags & PROBE_INBOUND))
		return 1;
	version = take(socket);
	if (version == 0 || !(socket->flags & SOCKET_ANNOUNCED) || socket->flags & SOCKET_ENDED)
		return 1;
	record = record_new(PROBE_OWNER, bpf_get_socket_cookie(context), socket, OF_CURRENT);
	if (!record) {
		forget_owner(socket);
		return 1;
	}
	record->owner.version = version;
	local_of(sk, &record->tuple);
	submit(record, sk->state);
	return 1;
}

SEC("cgroup/getpeername4")

int named_ipv4(struct bpf_sock_addr *context)
{
	return named(context);
}

SEC("cgroup/getpeername6")

int named_ipv6(struct bpf_sock_addr *context)
{
	return named(context);
}
