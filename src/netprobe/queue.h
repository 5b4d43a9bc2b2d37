/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "netprobe/frame.h"

/* What a client may leave unread before it loses events. */
#define QUEUE_EVENTS_MAX 65536U
#define QUEUE_BYTES_MAX  (8UL << 20)
/* Of them what is kept free for one answer, or a snapshot. */
#define QUEUE_ROOM (1UL << 20)
/* How much of a long answer waits for a client that reads. */
#define QUEUE_AHEAD (256UL << 10)

/* What is to be sent to one client. */
struct queue {
	struct queue_entry *first, *last;
	size_t bytes; /* of memory */
	unsigned events;
	uint64_t dropped; /* events, in all */
	uint64_t untold;  /* of them those that the client was not told of yet */
};

#define QUEUE_INIT     \
	(struct queue) \
	{              \
	}

void queue_done(struct queue *queue);
#define cleanup_queue CLEANUP(queue_done)

/* Whether there is room for an answer. Who asks before it gives one never has more than
 * QUEUE_BYTES_MAX waiting. */
bool queue_has_room(const struct queue *queue);
/* An answer, which is never dropped. 0 or -ENOMEM. */
must_check int queue_reply(struct queue *queue, struct frame *frame, uint64_t sequence);
/* So many events in one frame. Where they do not fit they are dropped, and the next ones that do
 * say so. */
void queue_events(struct queue *queue, struct frame *frame, unsigned events);
bool queue_is_empty(const struct queue *queue);
/* Writes what the socket takes. 0 all; 1 there is more; -errno. */
must_check int queue_write(struct queue *queue, int fd);
