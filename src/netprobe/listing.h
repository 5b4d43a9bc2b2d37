/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "netprobe/collector.h"
#include "netprobe/frame.h"

/* A FlowList has at most so many: less than what a reader's bounds on one message allow. */
#define LISTING_CHUNK_MAX 256U

/* The answer to one ListFlows, made in parts as it is read. */
struct listing;

/* All flows, or all listeners. NULL: no memory. */
struct listing *listing_new(bool listeners);
struct listing *listing_free(struct listing *listing);
DEFINE_CLEANUP(struct listing *, listing, listing_free)
#define cleanup_listing CLEANUP(cleanup_listing)

/* Looks at some more of what *collector* (NULL: none, which ends it) has, and calls *emit* for each
 * chunk that is full by that; for the last one in any case. 1: there is more; 0; -ENOMEM. */
must_check int listing_next(struct listing *listing, const struct collector *collector,
			    const char *source, void (*emit)(void *context, struct frame *frame),
			    void *context);
