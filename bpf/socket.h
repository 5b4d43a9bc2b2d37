/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * What is kept with a socket, in storage that ends with it. An owner is written only where the
 * process that runs is the one that uses the socket: in a system call, never in an interrupt, and
 * never a thread of the kernel.
 */
#include "kernel.h"
#include "netprobe.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <linux/bpf.h>
#include <stdbool.h>

#define AF_INET         2
#define AF_INET6        10
#define IPPROTO_ICMP    1
#define IPPROTO_TCP     6
#define IPPROTO_UDP     17
#define IPPROTO_ICMPV6  58
#define IPPROTO_MPTCP   262
#define SOCK_DGRAM      2
#define PROTOCOL_MAX    255 /* above are numbers of the kernel's own */
#define SOCK_DONE       2UL /* in skc_flags: a FIN has come */
#define MSG_PEEK        2
#define MSG_ERRQUEUE    0x2000
#define PF_KTHREAD      0x00200000
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT    2
#define TCP_SYN_RECV    3
#define TCP_FIN_WAIT1   4
#define TCP_CLOSE       7
#define TCP_CLOSE_WAIT  8
#define TCP_LAST_ACK    9
#define TCP_LISTEN      10

/* States of a socket, in probe_socket.flags beside those of a record. */
#define SOCKET_ANNOUNCED 0x100U /* a record that found room has told of it */
#define SOCKET_SHARED    0x200U /* found with several processes before anybody was seen to use it */
#define SOCKET_ENDED     0x400U /* its last record was given */
#define SOCKET_SEVERAL   0x800U /* of ICMP: it has more than one peer */
#define SOCKET_MANY      0x1000U  /* no peer is kept here any more */
#define SOCKET_USED      0x2000U  /* its owner was seen to use it */
#define SOCKET_UNSEEN    0x4000U  /* of TCP: somebody wrote unseen, see unseen.h */
#define SOCKET_JUDGED    0x8000U  /* a look has begun to find out who that was */
#define SOCKET_ANYWHERE  0x10000U /* its first peer is as TOLD_WITHOUT_LOCAL says */

/* Where a datagram's peer is kept. */
enum peer_place {
	PEER_OF_MANY,   /* in the map */
	PEER_FIRST,     /* with the socket */
	PEER_CONNECTED, /* it is the socket's only one */
};

/*
 * The peer of the system call that runs, of which its end has something to say. Processes that
 * share a socket use it at the same time, so the thread's number is also what guards the rest:
 * nobody takes what another one noted, nor half of it.
 */
struct probe_last {
	struct probe_address remote;
	__u16 port;
	__u8 family;
	__u8 place;
	__u32 pid; /* of the thread; 0: none; LAST_BUSY */
};

#define LAST_BUSY 0xffffffffU /* somebody writes or reads it */

/* In counters.told: of a process that is not known. */
#define TOLD_OF_NOBODY 0xffffffffU
/* In probe_traffic.told: of a socket that is bound to no address. What it receives does not say
 * where it came to; the first answer does. */
#define TOLD_WITHOUT_LOCAL 2

/*
 * Most datagram sockets have one peer: the first one is kept here, where a datagram needs no second
 * look-up. With the kernel's own head this just fits into 256 bytes, which is what is allocated.
 * That head is 8 bytes of a cache line; what every call asks for is in the rest of that line.
 */
struct probe_socket {
	__u32 flags;
	__u32 netns;
	struct probe_owner owner;
	/* The kernel itself counts for TCP. Else of the first peer, or, without one, the socket's.
	 */
	struct probe_counters counters;

	union {
		struct probe_last sent;

		struct {
			__u64 waiter; /* of TCP: see writers.h */
			__u32 waiter_version;
		};
	};

	struct probe_last received;

	union {
		struct probe_address first;
		__u32 read_seen; /* of TCP: see unseen.h */
	};

	__u16 first_port;
	__u8 first_family; /* 0: there is none */
	__u8 first_protocol;

	union {
		__u32 first_tick;   /* when the last datagram was exchanged with it */
		__u32 written_seen; /* of TCP: see unseen.h */
	};
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct probe_socket);
} sockets SEC(".maps") __weak;

/* Set before loading: what programs that are loaded together make needless. */
extern const volatile bool states_are_traced;
extern const volatile bool sends_are_traced;
extern const volatile bool receives_are_traced;
extern const volatile bool calls_are_known; /* there is a helper for the registers of a process */
/* After so much silence a peer is another flow. */
extern const volatile __u32 first_idle_ticks;
/* Packets that were sent while another process than the socket's owner ran, and whose system call
 * has not yet told who that is. */
extern __u32 doubts;

static __always_inline bool is_silent(const struct probe_socket *socket, __u64 now_ns)
{
	return probe_ticks_since(socket->first_tick, now_ns) > (__s64)first_idle_ticks;
}
