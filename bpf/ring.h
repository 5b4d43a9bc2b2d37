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

/* Sockets whose end found no room in the ring, by their cookies; PROBE_NOBODY, if they were
 * nobody's in the end. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} ended SEC(".maps") __weak;

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
	record->counters.retransmits = 0;
	record->counters.told = 0;
	return record;
}

static __always_inline void submit(struct probe_record *record, __u8 state)
{
	record->state = state;
	bpf_ringbuf_submit(record, 0);
}
