/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/* Who waits in a call on a connection stands in the socket's queue. */
#include "call.h"
#include "tuple.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next, *prev;
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

struct task_struct___stack {
	void *stack;
};

struct sock___waited {
	struct socket_wq *sk_wq;
};

#pragma clang attribute pop

/* Who wait for a socket, of which so many are looked at. */
#define WAITERS_MAX 8

struct waiters {
	bool has_other; /* another process than the owner waits in a call that does not receive */
	long files;     /* the owner's calls, for the time of which its file is open once more */
};

/* Whether *task*, which sleeps, is in a call that receives. Its registers are as far from its stack
 * as those of the process that runs are from that one's. No program of 32 bits sends by these
 * numbers. */
static __always_inline bool receives(struct task_struct *task)
{
	struct task_struct *current = bpf_get_current_task_btf();
	const void *registers = NULL;
	__u64 own = 0;
	long call;

	if (!calls_are_known || BPF_CORE_READ(task, flags) & (PF_KTHREAD | PF_IO_WORKER))
		return false;
	registers = (const void *)bpf_task_pt_regs(current);
	/* A number, with which one may reckon. */
	bpf_probe_read_kernel(&own, sizeof(own), &registers);
	own -= (__u64)BPF_CORE_READ((struct task_struct___stack *)current, stack);
	own += (__u64)BPF_CORE_READ((struct task_struct___stack *)task, stack);
	call = call_of((const struct pt_regs *)own);
	return call == CALL_READ || call == CALL_READV || call == CALL_PREADV2 ||
	       call == CALL_RECVFROM || call == CALL_RECVMSG || call == CALL_RECVMMSG;
}

/* Whether it is a thread: what waits by poll() is none. There is something else at that place, and
 * no process that is its own leader. */
static __always_inline bool is_thread(struct task_struct *task, struct task_struct *leader)
{
	int tgid = BPF_CORE_READ(task, tgid);

	return tgid != 0 && BPF_CORE_READ(leader, group_leader) == leader &&
	       BPF_CORE_READ(leader, tgid) == tgid;
}

static __always_inline void add_waiter(struct waiters *waiters, struct task_struct *task,
				       const struct probe_owner *owner)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	if ((__u32)BPF_CORE_READ(leader, tgid) != owner->tgid ||
	    BPF_CORE_READ(leader, start_boottime) != owner->start_ns)
		waiters->has_other =
			waiters->has_other || (is_thread(task, leader) && !receives(task));
	else if (!sends_are_traced && BPF_CORE_READ(task, files, count.counter) > 1)
		waiters->files++;
}

static __always_inline struct waiters waiters_of(struct sock *sk, const struct probe_owner *owner)
{
	const char *queue = (const char *)BPF_CORE_READ((struct sock___waited *)sk, sk_wq);
	struct list_head *head =
		(struct list_head *)(queue + bpf_core_field_offset(struct socket_wq, wait.head));
	struct list_head *next = BPF_CORE_READ(head, next);
	struct waiters waiters = {};

	for (int i = 0; i < WAITERS_MAX && next && next != head; i++) {
		struct wait_queue_entry *entry =
			(struct wait_queue_entry *)((char *)next -
						    bpf_core_field_offset(struct wait_queue_entry,
									  entry));

		add_waiter(&waiters, BPF_CORE_READ(entry, private), owner);
		next = BPF_CORE_READ(next, next);
	}
	/* Of whom there was no look at is one. */
	if (next && next != head)
		waiters.has_other = true;
	return waiters;
}
