/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/* Addresses and ports of a socket, in one form. */
#include "owner.h"

/* A socket of MPTCP is none: what it does is done by sockets of TCP. */
static __always_inline bool is_inet(struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;

	return (family == AF_INET || family == AF_INET6) && sk->sk_protocol <= PROTOCOL_MAX;
}

/* What is used in the system calls of anybody: file systems' sockets, and those that a process has
 * handed to the kernel for good, as for a block device. */
static __always_inline bool is_of_kernel(struct sock *sk)
{
	__u64 memalloc = 1ULL << bpf_core_enum_value(enum sock_flags, SOCK_MEMALLOC);

	return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock) ||
	       sk->__sk_common.skc_flags & memalloc;
}

/* Of TCP: whether it is one of those that a connection of MPTCP is made of. */
static __always_inline bool is_subflow(const void *sk)
{
	const struct tcp_sock *tcp = sk;

	return bpf_core_field_exists(tcp->is_mptcp) && BPF_CORE_READ_BITFIELD_PROBED(tcp, is_mptcp);
}

/* Also one of MPTCP's, which the kernel has, but connects in the system call of who wants that. */
static __always_inline bool is_of_current(struct sock *sk)
{
	return !is_of_kernel(sk) || is_subflow(sk);
}

static __always_inline void store_ipv4(struct probe_address *address, __u32 ip)
{
	__builtin_memset(address, 0, sizeof(*address));
	__builtin_memcpy(address->bytes, &ip, sizeof(ip));
}

/* Makes a v4-mapped address IPv4. */
static __always_inline bool unmap(struct probe_address *address)
{
	__u32 words[4];

	__builtin_memcpy(words, address->bytes, sizeof(words));
	if (words[0] != 0 || words[1] != 0 || words[2] != bpf_htonl(0xffff))
		return false;
	store_ipv4(address, words[3]);
	return true;
}

/* IPv4 in IPv6's clothes is IPv4; a side that is not set yet follows the other one. */
static __always_inline void normalise(struct probe_tuple *tuple)
{
	bool local = unmap(&tuple->local);
	bool remote = unmap(&tuple->remote);

	if (local || remote)
		tuple->family = AF_INET;
}

static __always_inline void tuple_of(struct sock *sk, struct probe_tuple *tuple)
{
	__builtin_memset(tuple, 0, sizeof(*tuple));
	tuple->family = sk->__sk_common.skc_family;
	tuple->protocol = sk->sk_protocol;
	tuple->local_port = sk->__sk_common.skc_num;
	/* What a closing socket has given back already. */
	if (tuple->local_port == 0)
		tuple->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	tuple->remote_port = bpf_ntohs(sk->__sk_common.skc_dport);
	if (tuple->protocol != IPPROTO_TCP && tuple->protocol != IPPROTO_UDP) {
		tuple->local_port = 0;
		tuple->remote_port = 0;
	}
	if (tuple->family == AF_INET6) {
		bpf_probe_read_kernel(&tuple->local, sizeof(tuple->local),
				      &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_probe_read_kernel(&tuple->remote, sizeof(tuple->remote),
				      &sk->__sk_common.skc_v6_daddr);
		normalise(tuple);
		return;
	}
	store_ipv4(&tuple->local, sk->__sk_common.skc_rcv_saddr);
	store_ipv4(&tuple->remote, sk->__sk_common.skc_daddr);
}
