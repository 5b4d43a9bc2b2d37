/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * The way out: a ring that is never waited for. What finds no room in it is counted.
 *
 * The objects' licence: among those under which the kernel lets a program read its structs there is
 * no Apache-2.0. These sources are offered under GPL-2.0, too, and the objects say so.
 */
#include "tuple.h"

#define RING_BYTES (4U * 1024 * 1024)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} ring SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PROBE_LOSSES);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps") __weak;

static __always_inline void lost(__u32 what)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &what);

	if (count)
		(*count)++;
}

/* What is kept with *sk*, from now on if it was not yet. NULL: no memory, which is counted. */
static __always_inline struct probe_socket *socket_of(void *sk)
{
	struct probe_socket *socket =
		bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!socket)
		lost(PROBE_LOST_SOCKET);
	return socket;
}

/* Whose a record is. A socket's owner may be another one by the time that it is copied, so what
 * the process that runs has done is told of that one. */
enum whose {
	OF_NOBODY,
	OF_OWNER,   /* as it is kept with the socket */
	OF_CURRENT, /* the process that runs */
};

/* A record of *socket* without its tuple, or NULL. bpf_ringbuf_submit() ends it. */
static __always_inline struct probe_record *
record_new(__u32 kind, __u64 cookie, const struct probe_socket *socket, enum whose whose)
{
	struct probe_record *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record) {
		lost(PROBE_LOST_RECORD);
		return NULL;
	}
	record->kind = kind;
	record->state = 0;
	record->old_state = 0;
	record->error = 0;
	record->cookie = cookie;
	record->time_ns = bpf_ktime_get_ns();
	record->netns = socket->netns;
	record->flags = socket->flags;
	__builtin_memset(&record->tuple, 0, sizeof(record->tuple));
	if (whose == OF_OWNER)
		get_owner(socket, &record->owner);
	else
		__builtin_memset(&record->owner, 0, sizeof(record->owner));
	if (whose == OF_CURRENT)
		(void)owner_of(bpf_get_current_task_btf(), &record->owner);
	record->counters = socket->counters;
	record->counters.told = 0;
	return record;
}

static __always_inline void submit(struct probe_record *record, __u8 state)
{
	record->state = state;
	bpf_ringbuf_submit(record, 0);
}

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

static __always_inline void closed(struct sock *sk, struct tcp_sock *tcp, __u64 cookie,
				   struct probe_socket *socket, __u8 old)
{
	struct probe_record *record = record_new(PROBE_CLOSE, cookie, socket, OF_OWNER);

	if (!record)
		return;
	tuple_of(sk, &record->tuple);
	if (tcp)
		count_tcp(tcp, &record->counters);
	record->old_state = old;
	record->error = (__u16)sk->sk_err;
	clear_flags(socket, SOCKET_ANNOUNCED);
	set_flags(socket, SOCKET_ENDED);
	submit(record, TCP_CLOSE);
}
