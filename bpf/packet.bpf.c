/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */

/*
 * What goes out of the host's sockets: a packet says its other side and how long it is in one
 * place, where the hooks for addresses take the socket's lock first. Of TCP only the first one says
 * something. It runs in the system call that sends, but for packets that something has held up (a
 * queue of netfilter): so the process that runs is believed if it is the owner, and else the system
 * call's end tells, or, where that is not seen, the call itself. It returns 1, and nothing happens
 * to the packet.
 */
#include "call.h"
#include "tell.h"
#include "unseen.h"

/* See ring.h for why it is this one. */
char LICENSE[] SEC("license") = "GPL";

#define ETH_P_IP   0x0800
#define UDP_HEADER 8
/* Version 4, and a header without options. */
#define IPV4_PLAIN 0x45
/* Headers between that of IPv6 and what it carries. */
#define EXTENSIONS_MAX  2
#define IPV6_HOP_BY_HOP 0
#define IPV6_ROUTING    43
#define IPV6_OPTIONS    60

struct ipv4_header {
	__u8 version_and_length;
	__u8 unused[8];
	__u8 protocol;
	__u16 checksum;
	__u32 source, destination;
};

struct ipv6_header {
	__u8 unused[6];
	__u8 next, hops;
	__u8 source[16], destination[16];
};

struct ports {
	__u16 source, destination;
};

struct udp_header {
	struct ports ports;
	__u16 length, checksum;
};

/* A packet, as far as it is read. */
struct packet {
	struct probe_tuple tuple;
	__u32 offset; /* of what the network's header carries */
};

static __always_inline bool read_ipv4(const void *data, const void *end, struct packet *packet)
{
	const struct ipv4_header *header = data;

	if ((const void *)(header + 1) > end)
		return false;
	packet->offset = (header->version_and_length & 15U) * 4;
	packet->tuple.family = AF_INET;
	packet->tuple.protocol = header->protocol;
	store_ipv4(&packet->tuple.local, header->source);
	store_ipv4(&packet->tuple.remote, header->destination);
	return true;
}

static __always_inline bool read_ipv6(struct __sk_buff *skb, const void *data, const void *end,
				      struct packet *packet)
{
	const struct ipv6_header *header = data;
	__u8 next[2];

	if ((const void *)(header + 1) > end)
		return false;
	packet->offset = sizeof(*header);
	packet->tuple.family = AF_INET6;
	packet->tuple.protocol = header->next;
	__builtin_memcpy(&packet->tuple.local, header->source, sizeof(header->source));
	__builtin_memcpy(&packet->tuple.remote, header->destination, sizeof(header->destination));
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		__u8 protocol = packet->tuple.protocol;

		if (protocol != IPV6_HOP_BY_HOP && protocol != IPV6_ROUTING &&
		    protocol != IPV6_OPTIONS)
			break;
		if (bpf_skb_load_bytes(skb, packet->offset, next, sizeof(next)) < 0)
			return false;
		packet->tuple.protocol = next[0];
		packet->offset += (next[1] + 1U) * 8;
	}
	return true;
}

static __always_inline void set_ports(struct packet *packet, const struct ports *ports)
{
	packet->tuple.local_port = bpf_ntohs(ports->source);
	packet->tuple.remote_port = bpf_ntohs(ports->destination);
}

/* What a datagram carries. Who writes its header himself may write any length. */
static __always_inline __u64 payload_of(const struct udp_header *header)
{
	__u16 length = bpf_ntohs(header->length);

	return length > UDP_HEADER ? length - UDP_HEADER : 0;
}

static __always_inline bool read_udp(struct __sk_buff *skb, struct packet *packet,
				     struct probe_traffic *traffic)
{
	struct udp_header header;
	__u32 segments = skb->gso_segs;

	if (bpf_skb_load_bytes(skb, packet->offset, &header, sizeof(header)) < 0)
		return false;
	set_ports(packet, &header.ports);
	traffic->bytes_sent = payload_of(&header);
	traffic->packets_sent = segments > 1 ? segments : 1;
	return true;
}

/* The network's header. */
static __always_inline bool read_packet(struct __sk_buff *skb, struct packet *packet)
{
	const void *data = (const void *)(long)skb->data;
	const void *end = (const void *)(long)skb->data_end;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		return read_ipv4(data, end, packet);
	return read_ipv6(skb, data, end, packet);
}

/* Whether it is a datagram of a kind that is told of. */
static __always_inline bool read_datagram(struct __sk_buff *skb, struct packet *packet,
					  struct probe_traffic *traffic)
{
	if (!read_packet(skb, packet))
		return false;
	if (packet->tuple.protocol == IPPROTO_UDP)
		return read_udp(skb, packet, traffic);
	traffic->packets_sent = 1;
	/* The last header between may say that it is longer than the packet. */
	traffic->bytes_sent = skb->len > packet->offset ? skb->len - packet->offset : 0;
	return packet->tuple.protocol ==
	       (packet->tuple.family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* Somebody else runs than who was seen to use the socket, and is not seen to send on it
 * (*sending*). The end of the system call knows who sent, if it is looked at. True: what there is
 * to tell waits for that. Else it is nobody, and a connected socket is nobody's; of others their
 * hook for addresses knew. In a call that is no send it is so, too: its end says nothing, but if it
 * is one of a program of 32 bits, whose calls have other numbers.
 */
static __always_inline bool doubt(struct probe_socket *socket, const struct probe_peer *peer,
				  enum peer_place place, enum sending sending)
{
	__u32 before = 0;

	/* Behind the socket's end nobody comes back for it. */
	if (sends_are_traced && socket->flags & SOCKET_ENDED)
		return true;
	if (!sends_are_traced || sending == SENDS_NOT) {
		if (place == PEER_CONNECTED)
			forget_owner(socket);
		if (!sends_are_traced)
			return false;
	}
	/* Before it can be taken, which counts it down. */
	__sync_fetch_and_add(&doubts, 1);
	if (!note_peer(&socket->sent, peer, place, &before) || before != 0)
		__sync_fetch_and_add(&doubts, -1);
	return sending != SENDS_NOT;
}

/* One to a peer that the socket is not connected to. Whether it is news, if only because this
 * side's address was not known before. */
static __always_inline bool count_to(struct probe_socket *socket, const struct probe_peer *peer,
				     enum peer_place place, const struct probe_traffic *one,
				     bool mine)
{
	const struct probe_traffic *traffic;

	if (place == PEER_FIRST)
		return count_first(socket, one, mine) || (mine && socket->flags & SOCKET_ANYWHERE);
	traffic = count_peer(peer, one);
	return traffic && (is_news(traffic, mine) || (mine && traffic->told == TOLD_WITHOUT_LOCAL));
}

/* A datagram of any kind, to wherever. */
static __always_inline void count_any(struct __sk_buff *skb, struct bpf_sock *sk,
				      struct probe_socket *socket, __u64 now_ns)
{
	struct probe_traffic one = {.last_ns = now_ns};
	struct packet packet = {};
	struct probe_peer peer = {};
	enum sending sending = SENDS_NOT;
	enum peer_place place;
	bool mine, news;

	if (!read_datagram(skb, &packet, &one))
		return;
	peer.remote = packet.tuple.remote;
	peer.remote_port = packet.tuple.remote_port;
	peer.family = packet.tuple.family;
	peer.protocol = packet.tuple.protocol;
	mine = is_owner(&socket->owner, bpf_get_current_task_btf());
	if (!mine)
		sending = sends_on(sk);
	if (sending == SENDS_FOR_CERTAIN && !sends_are_traced) {
		(void)take(socket);
		mine = true;
	}
	if (is_connected(sk, &peer)) {
		place = PEER_CONNECTED;
		news = count_connected(socket, bpf_get_socket_cookie(skb), &one, mine);
	} else {
		place = place_of(socket, &peer);
		if (place == PEER_OF_MANY)
			peer.cookie = bpf_get_socket_cookie(skb);
		news = count_to(socket, &peer, place, &one, mine);
	}
	if (!mine && doubt(socket, &peer, place, sending))
		return;
	if (!news)
		return;
	peer.cookie = bpf_get_socket_cookie(skb);
	tell_peer(PROBE_SEND, socket, &peer, place, &packet.tuple, mine ? OF_CURRENT : OF_NOBODY);
}

/* Where a datagram goes, as its packet says it. */
struct target {
	__u32 words[4]; /* of IPv4 the first one */
	__u8 family;
	__u16 port;
};

/* Whether a record of the socket's only flow, or of that with its first peer, said all: of the
 * owner, which the process that runs is, or it is not believed. */
static __always_inline bool is_told(const struct probe_socket *socket)
{
	return socket->counters.told != 0 && socket->counters.told == socket->owner.tgid &&
	       !(socket->flags & SOCKET_ANYWHERE);
}

static __always_inline bool goes_to_only(const struct bpf_sock *sk,
					 const struct probe_socket *socket,
					 const struct target *target)
{
	const volatile __u32 *words = sk->dst_ip6;

	if (sk->state != TCP_ESTABLISHED || sk->dst_port != target->port ||
	    socket->first_family != 0)
		return false;
	if (target->family == AF_INET)
		return sk->dst_ip4 == target->words[0];
	return words[0] == target->words[0] && words[1] == target->words[1] &&
	       words[2] == target->words[2] && words[3] == target->words[3];
}

static __always_inline bool goes_to_first(const struct probe_socket *socket,
					  const struct target *target)
{
	const __u32 *words = (const __u32 *)socket->first.bytes;

	if (socket->first_family != target->family || socket->first_protocol != IPPROTO_UDP ||
	    socket->first_port != bpf_ntohs(target->port) || words[0] != target->words[0])
		return false;
	return target->family == AF_INET ||
	       (words[1] == target->words[1] && words[2] == target->words[2] &&
		words[3] == target->words[3]);
}

/* Notes when the first peer was talked with last. To look at the clock costs more than the rest of
 * one datagram more, and the time does not go on within a jiffy. False: it was silent for long. */
static __always_inline bool note_time(struct probe_socket *socket)
{
	__u32 jiffy = (__u32)bpf_jiffies64();
	__u64 now_ns;

	if (socket->counters.jiffy == jiffy)
		return true;
	now_ns = bpf_ktime_get_coarse_ns();
	if (is_silent(socket, now_ns))
		return false;
	socket->first_tick = probe_tick(now_ns);
	socket->counters.jiffy = jiffy;
	return true;
}

static __always_inline bool count_one_to(struct __sk_buff *skb, struct bpf_sock *sk,
					 const struct udp_header *udp, const struct target *target)
{
	struct probe_socket *socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	__u32 segments = skb->gso_segs;

	/* The kernel's own sockets have none. */
	if (!socket || !is_told(socket) || !is_owner(&socket->owner, bpf_get_current_task_btf()))
		return false;
	if (socket->flags & PROBE_CONNECTED ? !goes_to_only(sk, socket, target)
					    : !goes_to_first(socket, target) || !note_time(socket))
		return false;
	__sync_fetch_and_add(&socket->counters.bytes_sent, payload_of(udp));
	__sync_fetch_and_add(&socket->counters.packets_sent, segments > 1 ? segments : 1);
	return true;
}

/* Whether a packet of TCP says nothing: also that of somebody who makes such packets himself.
 * Nobody waits to write but the owner, as far as that is known. */
static __always_inline bool is_tcp_silent(struct bpf_sock *sk)
{
	struct probe_socket *socket;
	struct sock *waited;

	if (!sends_are_traced || sk->state == TCP_SYN_SENT)
		return false;
	waited = (struct sock *)bpf_skc_to_tcp_sock(sk);
	if (!waited || waited->sk_write_pending == 0)
		return true;
	socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	return socket && is_known_waiter(waited, socket);
}

static __always_inline bool is_done_ipv4(struct __sk_buff *skb, struct bpf_sock *sk)
{
	const struct ipv4_header *header = (const void *)(long)skb->data;
	const struct udp_header *udp = (const void *)(header + 1);
	struct target target;

	if ((const void *)(udp + 1) > (const void *)(long)skb->data_end ||
	    header->version_and_length != IPV4_PLAIN)
		return false;
	if (header->protocol != IPPROTO_UDP)
		return header->protocol == IPPROTO_TCP && is_tcp_silent(sk);
	target.family = AF_INET;
	target.words[0] = header->destination;
	target.port = udp->ports.destination;
	return count_one_to(skb, sk, udp, &target);
}

static __always_inline bool is_done_ipv6(struct __sk_buff *skb, struct bpf_sock *sk)
{
	const struct ipv6_header *header = (const void *)(long)skb->data;
	const struct udp_header *udp = (const void *)(header + 1);
	struct target target;

	if ((const void *)(udp + 1) > (const void *)(long)skb->data_end)
		return false;
	if (header->next != IPPROTO_UDP)
		return header->next == IPPROTO_TCP && is_tcp_silent(sk);
	target.family = AF_INET6;
	__builtin_memcpy(target.words, header->destination, sizeof(target.words));
	target.port = udp->ports.destination;
	return count_one_to(skb, sk, udp, &target);
}

/* What nearly all packets are, without taking them to pieces: of TCP, with nothing to say, or one
 * datagram more from the same process to the same peer, which is counted. False: it is none, and
 * nothing was done. *sk* may be of any kind. */
static __always_inline bool is_done(struct __sk_buff *skb, struct bpf_sock *sk)
{
	return skb->protocol == bpf_htons(ETH_P_IP) ? is_done_ipv4(skb, sk) : is_done_ipv6(skb, sk);
}

/* A connection is asked for, by who was noted when the socket's state changed. */
static __always_inline void syn_sent(struct __sk_buff *skb, struct bpf_sock *sk)
{
	struct probe_socket *socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	struct probe_record *record;
	struct packet packet = {};
	struct ports ports;

	if (!socket || socket->flags & SOCKET_ANNOUNCED || !read_packet(skb, &packet) ||
	    packet.tuple.protocol != IPPROTO_TCP ||
	    bpf_skb_load_bytes(skb, packet.offset, &ports, sizeof(ports)) < 0)
		return;
	set_flags(socket, SOCKET_ANNOUNCED);
	record = record_new(PROBE_CONNECT, bpf_get_socket_cookie(skb), socket, OF_OWNER);
	if (!record) {
		clear_flags(socket, SOCKET_ANNOUNCED);
		return;
	}
	set_ports(&packet, &ports);
	record->tuple = packet.tuple;
	submit(record, TCP_SYN_SENT);
}

/* Another process is in a call on the socket: if it sends it is the owner now, and if it perhaps
 * does, nobody is. Programs of 32 bits have other numbers for their calls: what they wrote tells.
 */
static __always_inline void sent_by_another(struct __sk_buff *skb, struct bpf_sock *sk,
					    struct tcp_sock *tcp, struct probe_socket *socket)
{
	enum sending sending = sends_on(sk);
	struct probe_record *record;
	__u32 version;

	if ((sending == SENDS_PERHAPS && socket->owner.tgid != 0) ||
	    (sending == SENDS_NOT && is_written_unseen(socket, tcp)))
		owned_by_nobody(tcp, socket, bpf_get_socket_cookie(skb));
	if (sending != SENDS_FOR_CERTAIN)
		return;
	version = take(socket);
	if (version == 0)
		return;
	note_written(socket, tcp);
	record = record_new(PROBE_OWNER, bpf_get_socket_cookie(skb), socket, OF_CURRENT);
	if (!record) {
		forget_owner(socket);
		return;
	}
	record->owner.version = version;
	tuple_of((struct sock *)tcp, &record->tuple);
	submit(record, (__u8)sk->state);
}

/* Something of a connection leaves. Who waits to write is looked at, and, where ends of calls are
 * not seen, the rest, too. Who has the socket's lock is in a call on it; in an interrupt nobody
 * has. */
static __always_inline void tcp_sent(struct __sk_buff *skb, struct bpf_sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct probe_socket *socket;

	if (!tcp)
		return;
	socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!socket || socket->flags & SOCKET_ENDED || !(socket->flags & SOCKET_ANNOUNCED))
		return;
	if (another_writes(tcp, socket))
		owned_by_nobody(tcp, socket, bpf_get_socket_cookie(skb));
	if (sends_are_traced)
		return;
	if (!((struct sock *)tcp)->sk_lock.owned)
		left_unseen(tcp, socket, bpf_get_socket_cookie(skb));
	else if (is_owner(&socket->owner, bpf_get_current_task_btf()))
		note_written(socket, tcp);
	else
		sent_by_another(skb, sk, tcp, socket);
}

/* All others: apart, because what it needs of the stack and of registers would cost each packet.
 */
static __noinline int other_sent(struct __sk_buff *packet)
{
	struct bpf_sock *sk = packet->sk;
	struct probe_socket *socket;

	if (!sk)
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 1;
	if (sk->protocol != IPPROTO_TCP) {
		socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
		if (socket)
			count_any(packet, sk, socket, bpf_ktime_get_coarse_ns());
	} else if (states_are_traced && sk->state == TCP_SYN_SENT) {
		syn_sent(packet, sk);
	} else if (sk->state == TCP_ESTABLISHED || sk->state == TCP_CLOSE_WAIT) {
		tcp_sent(packet, sk);
	}
	return 1;
}

SEC("cgroup_skb/egress")

int packet_sent(struct __sk_buff *packet)
{
	struct bpf_sock *sk = packet->sk;

	if (!sk || is_done(packet, sk))
		return 1;
	return other_sent(packet);
}
