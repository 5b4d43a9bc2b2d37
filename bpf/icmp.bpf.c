/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */

/*
 * ICMP's other side stands in the packet and nowhere else. Looking at packets costs every packet of
 * the host, so this is attached only while somebody has a socket that may send ICMP; it returns 1.
 */
#include "peers.h"

/* See ring.h for why it is this one. */
char LICENSE[] SEC("license") = "GPL";

#define ETH_P_IP       0x0800
#define ETH_P_IPV6     0x86dd
#define IPV4_PROTOCOL  9
#define IPV4_ADDRESSES 12
#define IPV4_HEADER    20
#define IPV6_PROTOCOL  6
#define IPV6_ADDRESSES 8
#define IPV6_HEADER    40

/* The sides of an ICMP packet; false: it is something else. */
static __always_inline bool read_packet(struct __sk_buff *packet, struct probe_tuple *tuple)
{
	__u32 addresses[2];

	if (packet->protocol == bpf_htons(ETH_P_IP)) {
		tuple->family = AF_INET;
		if (bpf_skb_load_bytes(packet, IPV4_PROTOCOL, &tuple->protocol, 1) < 0 ||
		    bpf_skb_load_bytes(packet, IPV4_ADDRESSES, addresses, sizeof(addresses)) < 0)
			return false;
		store_ipv4(&tuple->local, addresses[0]);
		store_ipv4(&tuple->remote, addresses[1]);
		return tuple->protocol == IPPROTO_ICMP;
	}
	if (packet->protocol != bpf_htons(ETH_P_IPV6))
		return false;
	tuple->family = AF_INET6;
	if (bpf_skb_load_bytes(packet, IPV6_PROTOCOL, &tuple->protocol, 1) < 0 ||
	    bpf_skb_load_bytes(packet, IPV6_ADDRESSES, &tuple->local, sizeof(tuple->local)) < 0 ||
	    bpf_skb_load_bytes(packet, IPV6_ADDRESSES + sizeof(tuple->local), &tuple->remote,
			       sizeof(tuple->remote)) < 0)
		return false;
	return tuple->protocol == IPPROTO_ICMPV6;
}

static __always_inline void sent(struct __sk_buff *packet, struct bpf_sock *sk)
{
	struct probe_traffic one = {.packets_sent = 1};
	struct probe_tuple tuple = {};
	struct probe_peer peer = {};
	struct probe_socket *socket;
	struct probe_record *record;

	if (!read_packet(packet, &tuple))
		return;
	/* The kernel's own sockets have none. */
	socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!socket)
		return;
	/* Packets of such sockets are sent in the system call. */
	take(socket);
	peer.cookie = bpf_get_socket_cookie(packet);
	peer.remote = tuple.remote;
	peer.family = tuple.family;
	peer.protocol = tuple.protocol;
	one.bytes_sent = packet->len - (tuple.family == AF_INET ? IPV4_HEADER : IPV6_HEADER);
	if (!peer_is_news(socket, &peer, &one))
		return;
	record = peer_record_new(PROBE_SEND, &peer, socket);
	if (!record)
		return;
	record->tuple.local = tuple.local;
	peer_record_submit(record, &peer);
}

SEC("cgroup_skb/egress")

int icmp_sent(struct __sk_buff *packet)
{
	struct bpf_sock *sk = packet->sk;

	if (!sk)
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (sk && sk->protocol != IPPROTO_TCP && sk->protocol != IPPROTO_UDP)
		sent(packet, sk);
	return 1;
}
