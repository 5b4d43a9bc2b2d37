/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */

/*
 * Hooks at the root of cgroup2. They run in the system calls of the process: who made a socket,
 * connected it, sends and receives. Each returns 1 and writes nothing to its context, so nothing is
 * ever denied or changed.
 */
#include "peers.h"

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
	socket = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!socket)
		return 1;
	take(socket);
	socket->netns = current_netns();
	if (sk->protocol == IPPROTO_ICMP || sk->protocol == IPPROTO_ICMPV6 ||
	    sk->type == SOCK_RAW) {
		struct probe_record *record;

		socket->flags |= PROBE_ICMP;
		record = record_new(PROBE_ICMP_SOCKET, bpf_get_socket_cookie(sk), socket);
		if (record)
			submit(record, 0);
	}
	return 1;
}

/* The end of what has no states. A TCP socket that nobody used has its owner now: who closes it. */
SEC("cgroup/sock_release")

int socket_released(struct bpf_sock *sk)
{
	struct probe_socket *socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	bool tcp = sk->protocol == IPPROTO_TCP;
	struct probe_record *record;

	if (!socket || !(socket->flags & (SOCKET_ANNOUNCED | PROBE_ICMP)))
		return 1;
	if (tcp && (socket->owner.tgid != 0 || !take(socket)))
		return 1;
	record = record_new(tcp ? PROBE_OWNER : PROBE_CLOSE, bpf_get_socket_cookie(sk), socket);
	if (!record)
		return 1;
	record->tuple.protocol = sk->protocol;
	record->tuple.family = sk->family;
	submit(record, tcp ? sk->state : TCP_CLOSE);
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
	socket->flags |= SOCKET_ANNOUNCED | PROBE_LISTENER;
	record = record_new(PROBE_LISTEN, bpf_get_socket_cookie(sk), socket);
	if (!record)
		return 1;
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

/* A datagram goes to, or came from, *peer*. */
static __always_inline void exchange(struct bpf_sock *sk, struct probe_socket *socket,
				     const struct probe_peer *peer, struct probe_last *last,
				     __u32 kind)
{
	struct probe_traffic one = {
		.packets_sent = kind == PROBE_SEND,
		.packets_received = kind == PROBE_RECEIVE,
	};
	struct probe_record *record;

	last->remote = peer->remote;
	last->port = peer->remote_port;
	last->family = peer->family;
	last->pid = (__u32)bpf_get_current_task_btf()->pid;
	/* Where the length is seen, that is a moment later, and there is one look-up for both. */
	if (lengths_are_traced || !peer_is_news(socket, peer, &one))
		return;
	record = peer_record_new(kind, peer, socket);
	if (!record)
		return;
	local_of(sk, &record->tuple);
	peer_record_submit(record, peer);
}

/* *kind*: PROBE_SEND, PROBE_RECEIVE, or PROBE_CONNECT. */
static __always_inline int address_used(struct bpf_sock_addr *context, __u32 kind, bool ipv6)
{
	struct bpf_sock *sk = context->sk;
	struct probe_peer peer = {};
	struct probe_socket *socket;
	struct probe_record *record;
	bool moved;

	if (!sk)
		return 1;
	socket = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!socket)
		return 1;
	moved = take(socket);
	if (socket->netns == 0)
		socket->netns = current_netns();
	peer.cookie = bpf_get_socket_cookie(context);
	if (moved && socket->flags & SOCKET_ANNOUNCED) {
		record = record_new(PROBE_OWNER, peer.cookie, socket);
		if (record) {
			local_of(sk, &record->tuple);
			submit(record, sk->state);
		} else {
			forget_owner(socket);
		}
	}
	if (context->protocol != IPPROTO_UDP)
		return 1;
	peer.protocol = IPPROTO_UDP;
	address_of(context, &peer, ipv6);
	if (kind != PROBE_CONNECT) {
		exchange(sk, socket, &peer, kind == PROBE_SEND ? &socket->sent : &socket->received,
			 kind);
		return 1;
	}
	/* Whether anything is sent is seen by the length of it, if lengths are seen. */
	socket->flags &= ~PROBE_CONNECTED;
	if (lengths_are_traced)
		return 1;
	socket->flags = (socket->flags & ~PROBE_LISTENER) | SOCKET_ANNOUNCED | PROBE_CONNECTED;
	record = record_new(PROBE_SEND, peer.cookie, socket);
	if (!record)
		return 1;
	local_of(sk, &record->tuple);
	record->tuple.family = peer.family;
	record->tuple.remote = peer.remote;
	record->tuple.remote_port = peer.remote_port;
	submit(record, 0);
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
 * name of a socket that has an owner is no new one. */
static __always_inline int named(struct bpf_sock_addr *context)
{
	struct bpf_sock *sk = context->sk;
	struct probe_socket *socket;
	struct probe_record *record;

	if (!sk || context->protocol != IPPROTO_TCP)
		return 1;
	socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!socket || socket->owner.tgid != 0 || !take(socket))
		return 1;
	if (!(socket->flags & SOCKET_ANNOUNCED))
		return 1;
	record = record_new(PROBE_OWNER, bpf_get_socket_cookie(context), socket);
	if (!record) {
		forget_owner(socket);
		return 1;
	}
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
