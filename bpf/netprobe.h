/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * What the programs in the kernel tell the collector: records in the ring, the same ones from the
 * iterators, and the counters of datagram peers. Both sides include it, so the types are those of
 * <linux/types.h>, and no struct has a hole. Nothing here is a kernel address.
 */
#include <linux/types.h>

enum probe_kind {
	PROBE_CONNECT = 1, /* a TCP connection is asked for */
	PROBE_ACCEPT,      /* one has come; its owner is whoever uses it first */
	PROBE_LISTEN,      /* TCP listens; UDP is bound */
	PROBE_STATE,       /* another TCP state */
	PROBE_CLOSE,       /* the end, with the last counters */
	PROBE_SEND,        /* a datagram to a peer that was not known */
	PROBE_RECEIVE,     /* one from such a peer */
	PROBE_OWNER,       /* another process uses the socket */
	PROBE_SEEN,        /* from an iterator */
	PROBE_EXEC,        /* struct probe_exec */
	PROBE_EXIT,        /* the process of *owner* ends */
	PROBE_PEER,        /* from an iterator: the first peer of a datagram socket */
	PROBE_UNSEEN,      /* somebody wrote to a connection unseen; only the cookie is set */
};

/* Flags of a record. */
#define PROBE_INBOUND   1U
#define PROBE_LISTENER  2U
#define PROBE_CONNECTED 4U  /* a datagram socket that has one peer */
#define PROBE_SEEDED    8U  /* was there before the collector */
#define PROBE_FIRST     16U /* the remote side is the socket's first peer, the counters are its */
#define PROBE_AGAIN     32U /* PROBE_CLOSE: a datagram socket goes on to another peer */
#define PROBE_NOBODY    64U /* the owner that was told before is none any more */

/* How finely the silence of a first peer is known: 17 ms. Times are exact or coarse, so that one
 * may be a little before the other. */
#define PROBE_TICK_SHIFT 24
#define PROBE_TICK_SLACK 64

#define PROBE_COMM_MAX 16
#define PROBE_ARGV_MAX 256

struct probe_owner {
	__u64 start_ns; /* CLOCK_BOOTTIME */
	__u64 cgroup;   /* id in cgroup2 */
	__u32 tgid;     /* 0: not known */
	__u32 pid;
	__u32 uid;
	__u32 gid;
	__u64 parent_start_ns;
	__u32 parent;  /* its process */
	__u32 version; /* a later one of the same socket's is larger; 0: not known. As it is kept
			  with a socket it is odd while it is written */
	char comm[PROBE_COMM_MAX];
};

static inline __u32 probe_tick(__u64 time_ns)
{
	return (__u32)(time_ns >> PROBE_TICK_SHIFT);
}

/* How many ticks ago *tick* was, which begins anew after 834 days. */
static inline __s64 probe_ticks_since(__u32 tick, __u64 now_ns)
{
	return (__s64)(__u32)(probe_tick(now_ns) - tick + PROBE_TICK_SLACK) - PROBE_TICK_SLACK;
}

static inline __u64 probe_tick_time(__u32 tick, __u64 now_ns)
{
	return ((now_ns >> PROBE_TICK_SHIFT) - (__u64)probe_ticks_since(tick, now_ns))
	       << PROBE_TICK_SHIFT;
}

/* Network order; IPv4 (v4-mapped, too) in the first four bytes. */
struct probe_address {
	__u8 bytes[16];
};

struct probe_tuple {
	struct probe_address local, remote;
	__u16 local_port, remote_port; /* host order */
	__u8 family, protocol;
	__u16 unused;
};

struct probe_counters {
	__u64 bytes_sent, bytes_received;
	__u64 packets_sent, packets_received;

	union {
		__u32 retransmits;
		__u32 jiffy; /* as they are kept with a datagram socket: in which one more
				was counted with its first peer */
	};

	__u32 told; /* as they are kept with a socket: the process that a record named for its first
		       or only peer; 0: none */
};

struct probe_record {
	__u32 kind;
	__u8 state;     /* TCP's, the new one */
	__u8 old_state; /* PROBE_CLOSE: the one before */
	__u16 error;    /* PROBE_CLOSE: sk_err */
	__u64 cookie;
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 netns;
	__u32 flags;
	struct probe_tuple tuple;
	struct probe_owner owner;
	struct probe_counters counters;
};

struct probe_exec {
	__u32 kind;
	__u32 arguments; /* behind argv[0] */
	struct probe_owner owner;
	char argv0[PROBE_ARGV_MAX]; /* ends in NUL */
};

/* One datagram peer of a socket without a connection. */
struct probe_peer {
	__u64 cookie;
	struct probe_address remote;
	__u16 remote_port;
	__u8 family;
	__u8 protocol;
	__u32 unused;
};

struct probe_traffic {
	__u64 bytes_sent, bytes_received, packets_sent, packets_received;
	__u64 last_ns;        /* CLOCK_MONOTONIC */
	__u64 owner_start_ns; /* of who was the last to talk with it */
	__u32 owner_tgid;
	__u32 told; /* a record has told of it; TOLD_WITHOUT_LOCAL */
};

/* Per CPU: records for which the ring had no room, peers for which the map had none; and how often
 * there was no memory to keep something with a socket. */
enum probe_loss {
	PROBE_LOST_RECORD,
	PROBE_LOST_PEER,
	PROBE_LOST_SOCKET,
	PROBE_LOST_END, /* of PROBE_LOST_RECORD: ends of flows, which then cannot be told at all */
	PROBE_LOSSES
};
