/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <netprobe.pb-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "netprobe/command.h"
#include "netprobe/text.h"

#define TOP_CONTAINER_SIZE 13U
#define TOP_PROTOCOL_SIZE  8U

/* What top shows of one flow, or of all flows of a process. */
struct top_row {
	uint64_t cookie;
	uint32_t tgid;
	uint32_t flows; /* 0: a flow; otherwise a process with so many of them */
	uint64_t bytes; /* both ways */
	uint64_t rate;  /* of them a second, since the look before */
	uint32_t retransmits;
	int64_t started_ns;
	bool inbound;
	char protocol[TOP_PROTOCOL_SIZE];
	char process[TEXT_PROCESS_SIZE];
	char container[TOP_CONTAINER_SIZE];
	char local[TEXT_END_SIZE];
	char remote[TEXT_END_SIZE];
};

struct top_rows {
	struct top_row *items;
	size_t count, capacity;
};

/* Looks at the flows, each compared with the one before. */
struct top {
	struct top_rows now, before;
	int64_t now_ns, before_ns; /* 0: there was none */
};

#define TOP_INIT     \
	(struct top) \
	{            \
	}

void top_done(struct top *top);
#define cleanup_top CLEANUP(top_done)

/* A new look begins; then each flow; then its rates are there. */
void top_begin(struct top *top, int64_t now_ns);
/* 0 or -ENOMEM. */
must_check int top_add(struct top *top, const Netprobe__FlowAttributionEvent *flow);
void top_end(struct top *top);

struct top_order {
	enum command_sort sort;
	bool reverse;
	bool tree;
	const char *filter; /* or NULL */
};

/* The rows of this look as *order* wants them. 0 or -ENOMEM; the caller frees ret->items. */
must_check int top_arrange(const struct top *top, const struct top_order *order,
			   struct top_rows *ret);
