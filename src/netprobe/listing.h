/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "netprobe/collector.h"
#include "netprobe/frame.h"

/* A FlowList has at most so many: less than what a reader's bounds on one message allow. */
#define LISTING_CHUNK_MAX 256U

/* The answer to one ListFlows, in chunks. At least one. */
struct listing {
	struct frame **frames;
	unsigned count;
};

#define LISTING_INIT     \
	(struct listing) \
	{                \
	}

void listing_done(struct listing *listing);
#define cleanup_listing CLEANUP(listing_done)

/* All flows, or all listeners, that *collector* (NULL: none) has. 0 or -ENOMEM. */
must_check int listing_make(const struct collector *collector, bool listeners, const char *source,
			    struct listing *listing);
