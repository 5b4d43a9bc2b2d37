/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#include "base/str.h"
#include "netprobe/event.h"
#include "netprobe/frame.h"

/* A batch is sent when it has so many events, or its first one is so old. */
#define BATCH_EVENTS_MAX 256U
#define BATCH_USEC       250000U

/* Events on their way into one FlowAttributionEventBatch. */
struct batch {
	struct buffer body;
	unsigned count;
	int64_t start_ns, end_ns; /* wall clock of the first and the last */
};

#define BATCH_INIT     \
	(struct batch) \
	{              \
	}

void batch_done(struct batch *batch);
#define cleanup_batch CLEANUP(batch_done)

/* 0 or -ENOMEM. The caller takes the batch once count is BATCH_EVENTS_MAX. */
must_check int batch_add(struct batch *batch, const struct event *event, int64_t now_ns);
/* The frame of all that was added; the batch is empty again, also on failure. 0 or -ENOMEM. */
must_check int batch_take(struct batch *batch, struct frame **ret);
