/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * What is written to a connection and has to wait (for the answer to what was sent before, for room
 * at the other side) leaves later, in nobody's system call. Where the ends of system calls are not
 * seen, it was written unseen. So how much was written is noted whenever the owner is seen to use
 * the socket; if more leaves, it was the owner, or somebody who has the socket, too. Who has it is
 * looked for (holders.bpf.c), of what was doubted before that; where that cannot be, a socket that
 * several may have is nobody's. As it is of who closes it without being the owner. Where ends of
 * calls are seen, one that has to wait is seen late: who waits in it is looked for, too.
 */
#include "ring.h"
#include "writers.h"

/* How far the connection has been read; that there is no more is no byte. */
static __always_inline __u32 read_of(const struct tcp_sock *tcp)
{
	const struct sock *sk = (const struct sock *)tcp;
	bool has_end = sk->__sk_common.skc_flags & SOCK_DONE && tcp->copied_seq == tcp->rcv_nxt;

	return tcp->copied_seq - (has_end ? 1U : 0);
}

/* The owner uses the socket: what was written before by others is of the past. */
static __always_inline void note_written(struct probe_socket *socket, const struct tcp_sock *tcp)
{
	if (!states_are_traced)
		socket->read_seen = read_of(tcp);
	if (socket->written_seen != tcp->write_seq)
		socket->written_seen = tcp->write_seq;
	clear_flags(socket, SOCKET_UNSEEN | SOCKET_JUDGED);
}

/* What was written before is not asked for. Of others than TCP there is something else at that
 * place. */
static __always_inline void note_begin(void *sk, struct probe_socket *socket)
{
	struct tcp_sock *tcp = sends_are_traced ? NULL : bpf_skc_to_tcp_sock(sk);

	if (!tcp)
		return;
	socket->written_seen = tcp->write_seq;
	if (!states_are_traced)
		socket->read_seen = read_of(tcp);
}

static __always_inline bool is_written_unseen(struct probe_socket *socket,
					      const struct tcp_sock *tcp)
{
	return socket->owner.tgid != 0 && (socket->flags & (SOCKET_UNSEEN | SOCKET_JUDGED) ||
					   socket->written_seen != tcp->write_seq);
}

/* The tier without tracepoints sees nobody receive. */
static __always_inline bool is_read_unseen(const struct probe_socket *socket,
					   const struct tcp_sock *tcp)
{
	return !states_are_traced && socket->owner.tgid != 0 && socket->read_seen != read_of(tcp);
}

/* Whether its file is open more than once, if only for the time of a system call; not counting
 * those calls of the owner that wait. */
static __always_inline bool is_shared(struct tcp_sock *tcp, const struct probe_socket *socket)
{
	struct sock *sk = (struct sock *)tcp;
	struct file *file = BPF_CORE_READ(sk, sk_socket, file);
	long more = bpf_core_field_exists(file->f_count)
			    ? BPF_CORE_READ(file, f_count.counter) - 1
			    : BPF_CORE_READ(file, f_ref.refcnt.counter);

	return more > 0 && more > waiters_of(sk, &socket->owner).files;
}

/* Nobody is the owner any more, and the record says so. */
static __always_inline void owned_by_nobody(struct tcp_sock *tcp, struct probe_socket *socket,
					    __u64 cookie)
{
	struct probe_record *record;

	forget_owner(socket);
	clear_flags(socket, SOCKET_UNSEEN | SOCKET_JUDGED);
	record = record_new(PROBE_OWNER, cookie, socket, OF_NOBODY);
	if (!record)
		return;
	tuple_of((struct sock *)tcp, &record->tuple);
	submit(record, ((struct sock *)tcp)->__sk_common.skc_state);
}

/* A packet leaves in no call of the owner's. */
static __always_inline void left_unseen(struct tcp_sock *tcp, struct probe_socket *socket,
					__u64 cookie)
{
	struct probe_record *record;

	if (socket->flags & SOCKET_UNSEEN || socket->owner.tgid == 0 ||
	    socket->written_seen == tcp->write_seq)
		return;
	if (!states_are_traced) {
		if (is_shared(tcp, socket))
			owned_by_nobody(tcp, socket, cookie);
		return;
	}
	set_flags(socket, SOCKET_UNSEEN);
	record = record_new(PROBE_UNSEEN, cookie, socket, OF_NOBODY);
	if (record)
		submit(record, 0);
	else
		clear_flags(socket, SOCKET_UNSEEN);
}

/* A connection is closed, or reset, as the process that runs wants it if it has the socket. */
static __always_inline void closed_unseen(struct tcp_sock *tcp, struct probe_socket *socket,
					  __u64 cookie)
{
	bool is_others;

	if (!(socket->flags & SOCKET_ANNOUNCED) || socket->flags & SOCKET_ENDED)
		return;
	if (another_writes(tcp, socket))
		return owned_by_nobody(tcp, socket, cookie);
	if (sends_are_traced || (!is_written_unseen(socket, tcp) && !is_read_unseen(socket, tcp)))
		return;
	is_others = ((struct sock *)tcp)->sk_lock.owned
			    ? !is_owner(&socket->owner, bpf_get_current_task_btf())
			    : is_shared(tcp, socket);
	if (is_others)
		owned_by_nobody(tcp, socket, cookie);
}
