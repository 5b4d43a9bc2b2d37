/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

struct process;

/* The other end of a datagram socket that has many. All zero: the socket's own flow. */
struct flow_peer {
	uint8_t address[16];
	uint16_t port;
};

/* A flow as it is kept: struct flow without what its process says for all its flows. */
struct flow_entry {
	struct flow_entry *next;           /* of the same hash */
	struct flow_entry *before, *after; /* by last use: before is older */
	struct flow_entry *previous_peer, *next_peer;
	struct process *process; /* NULL: not known */
	uint64_t cookie;
	uint64_t bytes_sent, bytes_received, packets_sent, packets_received;
	int64_t started_ns;        /* CLOCK_REALTIME, as it was then */
	int64_t begun_ns, last_ns; /* CLOCK_MONOTONIC */
	uint8_t local[16], remote[16];
	uint32_t netns, thread, retransmits, round;
	uint32_t owner_version; /* the record's that told of the owner; 0: not known */
	uint16_t local_port, remote_port;
	uint8_t family, protocol, tcp_state;
	bool listener, inbound, is_peer;
	bool was_known; /* it had an owner at some time */
};

/*
 * Flows by the cookie of their socket and, of datagram sockets, their peer; in the order of their
 * last use. Memory follows the number of flows.
 */
struct flow_table;

struct flow_table *flow_table_new(uint32_t max);
/* Frees the entries, too. Their processes are the caller's. */
struct flow_table *flow_table_free(struct flow_table *table);
DEFINE_CLEANUP(struct flow_table *, flow_table, flow_table_free)
#define cleanup_flow_table CLEANUP(cleanup_flow_table)

uint32_t flow_table_size(const struct flow_table *table);
/* *peer* NULL: the socket's own flow. NULL: there is none. */
struct flow_entry *flow_table_find(const struct flow_table *table, uint64_t cookie,
				   const struct flow_peer *peer);
/* Any flow with a peer of that socket, or NULL. */
struct flow_entry *flow_table_find_peer(const struct flow_table *table, uint64_t cookie);
/* Adds one as the last used; it is not there yet. NULL: no memory, or the table is full. */
struct flow_entry *flow_table_add(struct flow_table *table, uint64_t cookie,
				  const struct flow_peer *peer);
/* Whether flow_table_add() needs a flow_table_remove() first; of which flow, flow_table_oldest()
 * says. */
bool flow_table_is_full(const struct flow_table *table);
struct flow_entry *flow_table_oldest(const struct flow_table *table);
/* From the longest silent on; NULL after the last. */
struct flow_entry *flow_table_next(const struct flow_entry *entry);
/* Calls *each* for the next few flows of *cursor*, which begins as 0. False: they were the last. A
 * flow that is there from the first call to the last one comes once, whatever is added and removed
 * meanwhile. */
bool flow_table_scan(const struct flow_table *table, uint32_t *cursor,
		     void (*each)(void *context, const struct flow_entry *entry), void *context);
void flow_table_touch(struct flow_table *table, struct flow_entry *entry);
void flow_table_remove(struct flow_table *table, struct flow_entry *entry);
