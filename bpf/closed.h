/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/* The end of a socket, with its last counters; and what is left of it if nobody can be told. And
 * who is the owner of a connection of MPTCP. */
#include "ring.h"

/* What was sent for the first time. While no cable is in, the kernel counts bytes that it sends
 * again as sent and not as sent again: then it is what was acknowledged and what waits for that,
 * which a SYN and a FIN make larger by one each. */
static __always_inline __u64 sent_of(struct tcp_sock *tcp)
{
	__u64 sent = tcp->bytes_sent - tcp->bytes_retrans;
	__u64 known = tcp->bytes_acked + (tcp->snd_nxt - tcp->snd_una);

	return sent < known ? sent : known;
}

static __always_inline void count_tcp(struct tcp_sock *tcp, struct probe_counters *counters)
{
	counters->bytes_sent = sent_of(tcp);
	counters->bytes_received = tcp->bytes_received;
	/* The kernel counts the other side's FIN as a byte. */
	if (((struct sock *)tcp)->__sk_common.skc_flags & SOCK_DONE && tcp->bytes_received > 0)
		counters->bytes_received--;
	counters->packets_sent = tcp->segs_out;
	counters->packets_received = tcp->segs_in;
	counters->retransmits = tcp->total_retrans;
}

/* *sk* is connected. Of one that MPTCP is made of nobody has a descriptor: if no end of a call
 * tells who goes on with it, who connected is the owner no more. */
static __always_inline void leave_to_who_is_seen(const void *sk, struct probe_socket *socket)
{
	if (!sends_are_traced && is_subflow(sk))
		forget_owner(socket);
}

/* The end of a flow that is known, and no record says so. */
static __always_inline void end_lost(struct probe_socket *socket, __u64 cookie)
{
	__u32 value = socket->flags & PROBE_NOBODY;

	if (socket->counters.told == TOLD_OF_NOBODY)
		value = PROBE_NOBODY;
	if (socket->flags & SOCKET_ANNOUNCED &&
	    bpf_map_update_elem(&ended, &cookie, &value, BPF_ANY) != 0)
		lost(PROBE_LOST_END);
}

/* A socket that had ended is used anew. */
static __always_inline void begin_again(struct probe_socket *socket, __u64 cookie)
{
	(void)bpf_map_delete_elem(&ended, &cookie);
	clear_flags(socket, SOCKET_ENDED | SOCKET_ANNOUNCED | PROBE_INBOUND | PROBE_LISTENER);
}

static __always_inline void closed(struct sock *sk, struct tcp_sock *tcp, __u64 cookie,
				   struct probe_socket *socket, __u8 old)
{
	struct probe_record *record;

	/* What another one changes at this moment is of no meaning any more. */
	socket->flags |= SOCKET_ENDED;
	/* Who uses MPTCP is not kept here: it stays who was told of. */
	record = record_new(PROBE_CLOSE, cookie, socket, is_subflow(sk) ? OF_NOBODY : OF_OWNER);
	if (!record) {
		end_lost(socket, cookie);
		return;
	}
	tuple_of(sk, &record->tuple);
	if (tcp)
		count_tcp(tcp, &record->counters);
	record->old_state = old;
	record->error = (__u16)sk->sk_err;
	submit(record, TCP_CLOSE);
}
