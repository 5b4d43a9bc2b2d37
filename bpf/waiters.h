/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/* Who waits in a call on a connection stands in the socket's queue. */
#include "tuple.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next;
};

struct wait_queue_head {
	struct list_head head;
};

struct wait_queue_entry {
	void *private;
	struct list_head entry;
};

struct socket_wq {
	struct wait_queue_head wait;
};

struct sock___waited {
	struct socket_wq *sk_wq;
};

#pragma clang attribute pop

/* Who wait for a socket, of which so many are looked at. */
#define WAITERS_MAX 4

/* Whether *task* is a thread of another process. What waits by poll() is no thread at all: there is
 * something else at that place, and no process that is its own leader. */
static __always_inline bool is_another(struct task_struct *task, const struct probe_owner *owner)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	int tgid = BPF_CORE_READ(task, tgid);

	return tgid != 0 && BPF_CORE_READ(leader, group_leader) == leader &&
	       BPF_CORE_READ(leader, tgid) == tgid &&
	       ((__u32)tgid != owner->tgid ||
		BPF_CORE_READ(leader, start_boottime) != owner->start_ns);
}

/* Whether another process waits in a call for room to write: its end will say so, and may be long
 * in coming. */
static __always_inline bool another_writes(struct tcp_sock *tcp, const struct probe_socket *socket)
{
	struct sock *sk = (struct sock *)tcp;
	struct list_head *head, *next;

	if (sk->sk_write_pending == 0 || socket->owner.tgid == 0 || is_of_kernel(sk))
		return false;
	head = (void *)BPF_CORE_READ((struct sock___waited *)sk, sk_wq) +
	       bpf_core_field_offset(struct socket_wq, wait.head);
	next = BPF_CORE_READ(head, next);
	for (int i = 0; i < WAITERS_MAX && next && next != head; i++) {
		struct wait_queue_entry *entry =
			(void *)next - bpf_core_field_offset(struct wait_queue_entry, entry);

		if (is_another(BPF_CORE_READ(entry, private), &socket->owner))
			return true;
		next = BPF_CORE_READ(next, next);
	}
	return false;
}
