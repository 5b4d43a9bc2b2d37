/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <netprobe.pb-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "netprobe/flow.h"

/* Ended flows that are remembered for as long as the match window, and as long as nobody asked. */
#define MATCH_ENDED_MAX     16384U
#define MATCH_ENDED_UNASKED 1024U

/*
 * Finds the flow that a record from elsewhere (NetFlow, IPFIX) is about: the one between the same
 * two ends, in either direction, at the time of the record or not further from it than the window.
 * The same ends may be there twice: in two network namespaces, or of sockets that share a port.
 */
struct match;

/* NULL: no memory. */
struct match *match_new(void);
struct match *match_free(struct match *match);

DEFINE_CLEANUP(struct match *, match, match_free)
#define cleanup_match CLEANUP(cleanup_match)

/* Whether living flows are remembered. They are from the first record on: match_start(), and then
 * match_add() for each that there is. */
bool match_is_started(const struct match *match);
void match_start(struct match *match);
/* A flow that lives or has ended, as it is now, which is *now_ns* (CLOCK_MONOTONIC). Without memory
 * it is forgotten. */
void match_add(struct match *match, const struct flow *flow, uint64_t window_ns, int64_t now_ns);
/* All of them: the collector is gone. */
void match_clear(struct match *match);

enum match_condition {
	MATCH_E_NONE = 1,  /* no such flow */
	MATCH_E_INVALID,   /* the record says nothing that a flow could be found by */
	MATCH_E_AMBIGUOUS, /* of several processes, as near, with the same end of it */
};

/* The flow of *record*; times of 0 are *now_ns*. It is valid until the next call. */
must_check int match_find(struct match *match, const Netprobe__ExternalFlowRecord *record,
			  uint64_t window_ns, int64_t now_ns, const struct flow **ret);
