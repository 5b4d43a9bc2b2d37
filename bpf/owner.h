/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * Who a process is, and whose a socket. Processes that share a socket use it at the same time, on
 * several CPUs and without its lock, so an owner is written and read as a whole or not at all.
 */
#include "socket.h"

static __always_inline bool owner_of(struct task_struct *task, struct probe_owner *owner)
{
	struct task_struct *leader = task->group_leader;

	if (task->flags & PF_KTHREAD || task->tgid == 0)
		return false;
	owner->tgid = task->tgid;
	owner->pid = task->pid;
	owner->start_ns = leader->start_boottime;
	owner->cgroup = task->cgroups->dfl_cgrp->kn->id;
	owner->uid = task->cred->uid.val;
	owner->gid = task->cred->gid.val;
	owner->parent = leader->real_parent->tgid;
	owner->parent_start_ns = leader->real_parent->group_leader->start_boottime;
	bpf_probe_read_kernel(owner->comm, sizeof(owner->comm), &leader->comm);
	return true;
}

/* Whether *owner* is the process that runs: the common case, so without reading all of it. */
static __always_inline bool is_owner(const struct probe_owner *owner, struct task_struct *task)
{
	return owner->tgid == (__u32)task->tgid &&
	       owner->start_ns == task->group_leader->start_boottime;
}

/* What is written before is seen before. x86 keeps that order by itself. */
static __always_inline void in_order(void)
{
#ifdef __TARGET_ARCH_x86
	asm volatile("" ::: "memory");
#else
	__u32 word = 0;

	(void)__sync_lock_test_and_set(&word, 1);
#endif
}

/* Written only where it changes: flags are asked for in every system call, of several processes. */
static __always_inline void set_flags(struct probe_socket *socket, __u32 flags)
{
	if ((socket->flags & flags) != flags)
		__sync_fetch_and_or(&socket->flags, flags);
}

static __always_inline void clear_flags(struct probe_socket *socket, __u32 flags)
{
	if (socket->flags & flags)
		__sync_fetch_and_and(&socket->flags, ~flags);
}

/* Its version; 0: somebody else writes it at this moment, and is the owner. */
static __always_inline __u32 set_owner(struct probe_socket *socket, struct probe_owner *owner)
{
	__u32 version = socket->owner.version;

	if (version & 1 ||
	    __sync_val_compare_and_swap(&socket->owner.version, version, version + 1) != version)
		return 0;
	owner->version = version + 1;
	socket->owner = *owner;
	in_order();
	*(volatile __u32 *)&socket->owner.version = version + 2;
	socket->counters.told = 0;
	return version + 2;
}

/* One owner, not half of one and half of the next: then rather none. */
static __always_inline void get_owner(const struct probe_socket *socket, struct probe_owner *owner)
{
	const volatile __u32 *version = &socket->owner.version;
	__u32 before = *version;

	in_order();
	*owner = socket->owner;
	in_order();
	if (before & 1 || *version != before)
		__builtin_memset(owner, 0, sizeof(*owner));
}

/* The process that runs uses the socket. If it had another owner before, the version of the new
 * one. */
static __always_inline __u32 take(struct probe_socket *socket)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct probe_owner owner = {};

	if (is_owner(&socket->owner, task)) {
		set_flags(socket, SOCKET_USED);
		return 0;
	}
	if (!owner_of(task, &owner))
		return 0;
	/* Flags first, here and elsewhere: an atomic change waits for what was written before. */
	set_flags(socket, SOCKET_USED);
	clear_flags(socket, SOCKET_SHARED | PROBE_NOBODY);
	return set_owner(socket, &owner);
}

/* Nobody could be told of the new owner, or it is not known, so that the old one would stand for
 * it: the next use tells, and until then every record says that it is nobody. */
static __always_inline void forget_owner(struct probe_socket *socket)
{
	socket->owner.tgid = 0;
	clear_flags(socket, SOCKET_USED);
	set_flags(socket, PROBE_NOBODY);
}
