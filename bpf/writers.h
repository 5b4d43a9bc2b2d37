/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * Whether another process than the owner waits to write to a connection, which is asked for each
 * packet that leaves meanwhile. Where ends of sends are seen, who was found to be the owner's and
 * alone is not looked at again until its call ends, or the owner is another one: what it stands in
 * the queue with is on its stack, and so nobody else's.
 */
#include "waiters.h"

/* What stands in the queue if it is one thing; else NULL. */
static __always_inline const void *only_waiter(struct sock *sk)
{
	struct socket_wq *queue = ((struct sock___waited *)sk)->sk_wq;
	const void *first = queue ? queue->wait.head.next : NULL;

	/* An empty one points at itself. */
	return first && first == queue->wait.head.prev && first != &queue->wait.head ? first : NULL;
}

/* Whether nobody waits but who was looked at before. */
static __always_inline bool is_known_waiter(struct sock *sk, const struct probe_socket *socket)
{
	__u64 waiter = *(const volatile __u64 *)&socket->waiter;

	return waiter != 0 && socket->waiter_version == socket->owner.version &&
	       (__u64)only_waiter(sk) == waiter;
}

/* The send of a process ends. */
static __always_inline void forget_waiter(struct probe_socket *socket)
{
	if (socket->waiter != 0)
		*(volatile __u64 *)&socket->waiter = 0;
}

/* Whether another process waits in a call for room to write: its end will say so, and may be long
 * in coming. */
static __always_inline bool another_writes(struct tcp_sock *tcp, struct probe_socket *socket)
{
	const volatile __u32 *version = &socket->owner.version;
	struct sock *sk = (struct sock *)tcp;
	__u32 before = *version;
	__u64 waiter;
	bool has_other;

	if (sk->sk_write_pending == 0 || socket->owner.tgid == 0 || is_of_kernel(sk))
		return false;
	if (!sends_are_traced)
		return waiters_of(sk, &socket->owner).has_other;
	/* Before the look: who leaves then is forgotten. A packet that something held up leaves
	 * without the socket's lock: who left before it was kept is gone after the look. */
	socket->waiter_version = before;
	waiter = (__u64)only_waiter(sk);
	(void)__sync_lock_test_and_set(&socket->waiter, waiter);
	has_other = waiters_of(sk, &socket->owner).has_other;
	if (has_other || *version != before || (__u64)only_waiter(sk) != waiter)
		forget_waiter(socket);
	return has_other;
}
