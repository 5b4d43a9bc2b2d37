/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The way out to one client. Payloads are shared, so a client that does not read costs the others
 * nothing: past its bounds it loses events of its own, and the first frame of events that fits
 * again ends in one field more, dropped_since_last. Protobuf does not mind in which order fields
 * come, so that this needs no other copy of the payload.
 */

#include "netprobe/queue.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "opamp/varint.h"

#define TAIL_MAX       16U
#define PARTS          3U
#define ENTRIES_A_CALL 32U

struct queue_entry {
	struct queue_entry *next;
	struct frame *frame;
	unsigned events;
	size_t written;
	size_t prefix_size;
	size_t tail_size;
	uint8_t prefix[FRAME_PREFIX_MAX];
	uint8_t tail[TAIL_MAX];
};

static size_t size_of(const struct queue_entry *entry)
{
	return entry->prefix_size + entry->frame->size + entry->tail_size;
}

static size_t cost_of(const struct queue_entry *entry)
{
	return sizeof(*entry) + size_of(entry);
}

static void remove_first(struct queue *queue)
{
	struct queue_entry *entry = queue->first;

	queue->first = entry->next;
	if (!queue->first)
		queue->last = NULL;
	queue->bytes -= cost_of(entry);
	queue->events -= entry->events;
	(void)frame_unref(entry->frame);
	free(entry);
}

void queue_done(struct queue *queue)
{
	while (queue->first)
		remove_first(queue);
}

/* dropped_since_last of the payloads that have one. */
static size_t make_tail(const struct frame *frame, uint64_t dropped, uint8_t tail[TAIL_MAX])
{
	uint32_t field;
	size_t n;

	if (frame->arm == NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_ATTRIBUTION_BATCH)
		field = 4;
	else if (frame->arm == NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_ATTRIBUTION_EVENT)
		field = 112;
	else
		return 0;
	n = varint_put_key(field, VARINT_NUMBER, tail);
	return n + varint_put(MIN(dropped, (uint64_t)UINT32_MAX), tail + n);
}

static int add(struct queue *queue, struct frame *frame, uint64_t sequence, unsigned events)
{
	struct queue_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	entry->frame = frame_ref(frame);
	entry->events = events;
	if (events > 0 && queue->untold > 0) {
		entry->tail_size = make_tail(frame, queue->untold, entry->tail);
		if (entry->tail_size > 0)
			queue->untold = 0;
	}
	entry->prefix_size = frame_prefix(frame, sequence, entry->tail_size, entry->prefix);
	if (queue->last)
		queue->last->next = entry;
	else
		queue->first = entry;
	queue->last = entry;
	queue->bytes += cost_of(entry);
	queue->events += events;
	return 0;
}

bool queue_has_room(const struct queue *queue)
{
	return queue->bytes + QUEUE_ROOM <= QUEUE_BYTES_MAX;
}

int queue_reply(struct queue *queue, struct frame *frame, uint64_t sequence)
{
	return add(queue, frame, sequence, 0);
}

void queue_events(struct queue *queue, struct frame *frame, unsigned events)
{
	bool fits = queue->events + events <= QUEUE_EVENTS_MAX &&
		    queue->bytes + sizeof(struct queue_entry) + FRAME_PREFIX_MAX + TAIL_MAX +
				    frame->size <=
			    QUEUE_BYTES_MAX;

	if (fits && add(queue, frame, 0, events) == 0)
		return;
	queue->dropped += events;
	queue->untold += events;
}

bool queue_is_empty(const struct queue *queue)
{
	return !queue->first;
}

/* What is left of *entry*. Returns how many parts that is. */
static size_t add_parts(const struct queue_entry *entry, struct iovec *parts)
{
	const struct iovec all[PARTS] = {
		{(void *)entry->prefix, entry->prefix_size},
		{entry->frame->data,    entry->frame->size},
		{(void *)entry->tail,   entry->tail_size  },
	};
	size_t skipped = entry->written;
	size_t n = 0;

	for (size_t i = 0; i < PARTS; i++) {
		if (skipped >= all[i].iov_len) {
			skipped -= all[i].iov_len;
			continue;
		}
		parts[n++] =
			(struct iovec){(char *)all[i].iov_base + skipped, all[i].iov_len - skipped};
		skipped = 0;
	}
	return n;
}

int queue_write(struct queue *queue, int fd)
{
	while (queue->first) {
		struct iovec parts[PARTS * ENTRIES_A_CALL];
		struct msghdr message = {.msg_iov = parts};
		unsigned entries = 0;
		ssize_t sent;

		for (const struct queue_entry *entry = queue->first;
		     entry && entries < ENTRIES_A_CALL; entry = entry->next, entries++)
			message.msg_iovlen += add_parts(entry, parts + message.msg_iovlen);
		sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN ? 1 : -errno;
		for (size_t left = (size_t)sent; left > 0 && queue->first;) {
			size_t size = MIN(left, size_of(queue->first) - queue->first->written);

			queue->first->written += size;
			left -= size;
			if (queue->first->written == size_of(queue->first))
				remove_first(queue);
		}
	}
	return 0;
}
