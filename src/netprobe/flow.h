/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Names as the wire has them (proto/netprobe.proto, event_kind). */
enum flow_event {
	FLOW_CONNECT = 1,
	FLOW_ACCEPT = 2,
	FLOW_CLOSE = 3,
	FLOW_UDP_SEND = 4,
	FLOW_UDP_RECV = 5,
	FLOW_STATE = 6,
	FLOW_ICMP_SEND = 7,
	/* Ours: a flow whose bytes, owner or state changed; a socket that was there before us; one
	 * that the full table gave up. */
	FLOW_UPDATE = 32,
	FLOW_SEEN = 33,
	FLOW_EVICTED = 34,
};

/* Why a flow is no more. */
enum flow_end {
	FLOW_END_NONE = 0,
	FLOW_END_CLOSED,
	FLOW_END_RESET,
	FLOW_END_TIMEOUT,
	FLOW_END_REFUSED,
	FLOW_END_EVICTED,
};

#define FLOW_COMM_MAX      16
#define FLOW_CMDLINE_MAX   256
#define FLOW_CONTAINER_MAX 64

/* Who owns a flow. tgid 0: unknown, and then nothing else of it is set. */
struct flow_owner {
	uint32_t pid;  /* thread */
	uint32_t tgid; /* process */
	uint32_t uid, gid;
	uint64_t started_ns; /* CLOCK_BOOTTIME of the process's start: what tells two lives of one
				number apart */
	char comm[FLOW_COMM_MAX];                  /* always ends in NUL */
	char cmdline[FLOW_CMDLINE_MAX];            /* argv[0]; UTF-8, "" where it is not known */
	uint32_t arguments;                        /* how many there were after argv[0] */
	char container_id[FLOW_CONTAINER_MAX + 1]; /* "": none */
};

/* One flow as a collector knows it. Addresses are in network order, IPv4 in the first four bytes: a
 * v4-mapped one is IPv4. Ports are in host order, 0 for ICMP. A listener has no remote side (all
 * zero). */
struct flow {
	uint64_t cookie;  /* of the socket; 0: not known */
	uint64_t netns;   /* inode of the network namespace; 0: not known */
	uint8_t family;   /* AF_INET or AF_INET6 */
	uint8_t protocol; /* IPPROTO_TCP, _UDP, _ICMP or _ICMPV6 */
	bool listener;
	bool inbound;      /* accepted, or first seen as a receiver */
	uint8_t tcp_state; /* TCP_ESTABLISHED…; 0: none */
	uint8_t local[16], remote[16];
	uint16_t local_port, remote_port;
	uint64_t bytes_sent, bytes_received;     /* payload */
	uint64_t packets_sent, packets_received; /* TCP: segments; UDP, ICMP: datagrams */
	uint32_t retransmits;
	int64_t started_ns, last_ns, ended_ns; /* CLOCK_REALTIME; ended 0: it lives */
	enum flow_end end;
	struct flow_owner owner;
};
