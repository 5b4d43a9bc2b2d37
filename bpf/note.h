/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/* What a hook at the begin of a system call notes for the one at its end. */
#include "ring.h"

/* Notes the peer of the system call that runs; *ret_before* is whose the note was before. False:
 * another process does so at this moment, and nothing of this one is known then. */
static __always_inline bool note_peer(struct probe_last *last, const struct probe_peer *peer,
				      enum peer_place place, __u32 *ret_before)
{
	__u32 before = last->pid;

	if (before == LAST_BUSY ||
	    __sync_val_compare_and_swap(&last->pid, before, LAST_BUSY) != before)
		return false;
	last->remote = peer->remote;
	last->port = peer->remote_port;
	last->family = peer->family;
	last->place = (__u8)place;
	(void)__sync_lock_test_and_set(&last->pid, (__u32)bpf_get_current_task_btf()->pid);
	*ret_before = before;
	return true;
}

/* The same by who has the socket's lock, so that nobody else writes. */
static __always_inline void note_peer_locked(struct probe_last *last, const struct probe_peer *peer,
					     enum peer_place place)
{
	volatile __u32 *pid = &last->pid;

	*pid = LAST_BUSY;
	in_order();
	last->remote = peer->remote;
	last->port = peer->remote_port;
	last->family = peer->family;
	last->place = (__u8)place;
	in_order();
	*pid = (__u32)bpf_get_current_task_btf()->pid;
}

/* What this thread noted, and no other one wrote over since. */
static __always_inline bool take_note(struct probe_last *last, struct probe_last *ret)
{
	__u32 pid = (__u32)bpf_get_current_task_btf()->pid;

	if (*(volatile __u32 *)&last->pid != pid)
		return false;
	in_order();
	ret->remote = last->remote;
	ret->port = last->port;
	ret->family = last->family;
	ret->place = last->place;
	in_order();
	return __sync_val_compare_and_swap(&last->pid, pid, 0) == pid;
}
