/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */

/* An iterator over all descriptors: what was there before, and how all of it stands now. */
#include "closed.h"
#include "judging.h"
#include "tell.h"
#include "unseen.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct file *file;
};

#pragma clang attribute pop

/* See ring.h for why it is this one. */
char LICENSE[] SEC("license") = "GPL";

/* At the first look: sockets that nothing is kept with yet are older than we are. Who holds one
 * that is younger has not used it, and of that there is a hook for each way. */
__u32 seeding;

/* Where no end of a system call is seen, two more looks judge connections that somebody wrote to
 * unseen: before the first of them. What is written meanwhile is another doubt. */
__u32 judging; /* enum probe_judging */

static __always_inline void judge(struct task_struct *task, struct sock *sk,
				  struct probe_socket *socket)
{
	if (judging == JUDGES_DOUBTS && socket->flags & SOCKET_UNSEEN) {
		set_flags(socket, SOCKET_JUDGED);
		clear_flags(socket, SOCKET_UNSEEN);
		note_begin(sk, socket);
	}
	if (!(socket->flags & SOCKET_JUDGED))
		return;
	if (judging == JUDGES_OTHERS && !is_owner(&socket->owner, task)) {
		clear_flags(socket, SOCKET_UNSEEN | SOCKET_JUDGED);
		forget_owner(socket);
	}
	if (judging == JUDGES_OWNERS && is_owner(&socket->owner, task))
		clear_flags(socket, SOCKET_JUDGED);
}

/* *task* holds a socket of which no use was seen. Of several, none is its owner until one uses it;
 * a listener is its oldest holder's. */
static __always_inline void hold(struct task_struct *task, struct sock *sk,
				 struct probe_socket *socket)
{
	struct probe_owner owner = {};

	if (socket->flags & (SOCKET_SHARED | SOCKET_USED) || !(socket->flags & PROBE_SEEDED))
		return;
	if (is_owner(&socket->owner, task) || !owner_of(task, &owner))
		return;
	if (socket->owner.tgid == 0) {
		(void)set_owner(socket, &owner);
		return;
	}
	if (sk->__sk_common.skc_state == TCP_LISTEN) {
		/* Numbers begin anew when they have all been used. */
		if (owner.start_ns < socket->owner.start_ns)
			(void)set_owner(socket, &owner);
		return;
	}
	__builtin_memset(&owner, 0, sizeof(owner));
	if (set_owner(socket, &owner))
		set_flags(socket, SOCKET_SHARED);
}

/* Which sockets that no record told of are worth one: what has a peer, or waits for one. Of
 * datagram sockets that are younger than we are the next use tells. */
static __always_inline void announce(__u8 state, struct probe_socket *socket,
				     const struct probe_tuple *tuple)
{
	bool tcp = tuple->protocol == IPPROTO_TCP;

	if (socket->flags & SOCKET_ANNOUNCED || (!tcp && !(socket->flags & PROBE_SEEDED)))
		return;
	if (tcp && state == TCP_CLOSE)
		return;
	if (tcp && state == TCP_LISTEN)
		set_flags(socket, PROBE_LISTENER);
	if (!tcp && state == TCP_ESTABLISHED)
		set_flags(socket, PROBE_CONNECTED);
	if (tuple->protocol == IPPROTO_UDP && state != TCP_ESTABLISHED && tuple->local_port != 0)
		set_flags(socket, PROBE_LISTENER);
	if (!tcp && !(socket->flags & (PROBE_LISTENER | PROBE_CONNECTED)))
		return;
	set_flags(socket, SOCKET_ANNOUNCED);
}

static __always_inline void write(struct seq_file *seq, struct sock *sk,
				  struct probe_socket *socket)
{
	struct probe_record record = {.kind = PROBE_SEEN};
	struct tcp_sock *tcp;

	/* Its end was told, though it is open still; if it is used anew that is told, too. */
	if (socket->flags & SOCKET_ENDED)
		return;
	tuple_of(sk, &record.tuple);
	announce(sk->__sk_common.skc_state, socket, &record.tuple);
	if (!(socket->flags & SOCKET_ANNOUNCED) && socket->first_family == 0)
		return;
	record.cookie = bpf_get_socket_cookie(sk);
	record.time_ns = bpf_ktime_get_ns();
	record.netns = socket->netns;
	record.flags = socket->flags;
	get_owner(socket, &record.owner);
	/* Who used a connected one for something else is not whose that flow is. */
	if (record.flags & PROBE_CONNECTED && record.flags & SOCKET_USED &&
	    socket->counters.told != record.owner.tgid)
		__builtin_memset(&record.owner, 0, sizeof(record.owner));
	if (socket->first_family == 0)
		record.counters = socket->counters;
	record.counters.retransmits = 0;
	record.counters.told = 0;
	if (record.tuple.protocol == IPPROTO_TCP) {
		record.state = sk->__sk_common.skc_state;
		tcp = bpf_skc_to_tcp_sock(sk);
		if (tcp)
			count_tcp(tcp, &record.counters);
	}
	bpf_seq_write(seq, &record, sizeof(record));
	if (socket->first_family == 0 ||
	    socket->counters.packets_sent + socket->counters.packets_received == 0)
		return;
	record.kind = PROBE_PEER;
	record.time_ns = probe_tick_time(socket->first_tick, bpf_ktime_get_ns());
	record.counters = socket->counters;
	record.counters.retransmits = 0;
	record.counters.told = 0;
	set_first(&record, socket);
	bpf_seq_write(seq, &record, sizeof(record));
}

/* Every descriptor of every process: it gives sockets that are older than we are an owner, and
 * tells how all of them stand. */
SEC("iter/task_file")

int holders(struct bpf_iter__task_file *context)
{
	struct task_struct *task = context->task;
	struct file *file = context->file;
	struct probe_socket *stored;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || !is_inet(sk))
		return 0;
	stored = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!stored && seeding) {
		stored = socket_of(sk);
		if (stored) {
			stored->netns = sk->__sk_common.skc_net.net->ns.inum;
			set_flags(stored, PROBE_SEEDED);
			note_begin(sk, stored);
		}
	}
	if (!stored)
		return 0;
	if (seeding)
		hold(task, sk, stored);
	judge(task, sk, stored);
	if (judging == JUDGES_OWNERS)
		return 0;
	write(context->meta->seq, sk, stored);
	return 0;
}
