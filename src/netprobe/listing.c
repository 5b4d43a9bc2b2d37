/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The flow table as an answer. All chunks are made at once, because the table changes; each says
 * how many there are, which is known when the last is begun.
 */

#include "netprobe/listing.h"

#include <errno.h>

#include "netprobe/event.h"
#include "netprobe/wall.h"

#define FLOWS_FIELD 1U

struct maker {
	const char *source;
	bool listeners;
	struct buffer *bodies;
	unsigned chunks;
	unsigned in_last;
	int result;
};

void listing_done(struct listing *listing)
{
	for (unsigned i = 0; i < listing->count; i++)
		(void)frame_unref(listing->frames[i]);
	free(listing->frames);
	*listing = LISTING_INIT;
}

static int begin_chunk(struct maker *maker)
{
	struct buffer *grown =
		reallocarray(maker->bodies, maker->chunks + 1UL, sizeof(*maker->bodies));

	if (!grown)
		return -ENOMEM;
	maker->bodies = grown;
	maker->bodies[maker->chunks++] = BUFFER_INIT;
	maker->in_last = 0;
	return 0;
}

static void add_flow(void *context, const struct flow *flow)
{
	struct maker *maker = context;
	struct event event;

	if (maker->result < 0 || flow->listener != maker->listeners)
		return;
	if (maker->in_last == LISTING_CHUNK_MAX)
		maker->result = begin_chunk(maker);
	if (maker->result < 0)
		return;
	event_fill(&event, FLOW_SEEN, flow, maker->source);
	maker->result = event_add(&event, FLOWS_FIELD, &maker->bodies[maker->chunks - 1]);
	maker->in_last++;
}

static int make_frames(struct maker *maker, struct listing *listing)
{
	int64_t now = wall_ns();
	int r = 0;

	listing->frames = calloc(maker->chunks, sizeof(struct frame *));
	if (!listing->frames)
		return -ENOMEM;
	for (unsigned i = 0; r == 0 && i < maker->chunks; i++) {
		Netprobe__FlowList rest = NETPROBE__FLOW_LIST__INIT;
		uint8_t data[128];

		rest.generated_at_unix_nano = now;
		rest.complete = i + 1 == maker->chunks;
		rest.chunk_index = i;
		rest.chunk_count = maker->chunks;
		rest.tier = (char *)maker->source;
		r = buffer_add(&maker->bodies[i], data, netprobe__flow_list__pack(&rest, data));
		if (r == 0)
			r = frame_new(NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_LIST,
				      maker->bodies[i].data, maker->bodies[i].size,
				      &listing->frames[i]);
		if (r == 0)
			listing->count++;
		buffer_done(&maker->bodies[i]);
		maker->bodies[i] = BUFFER_INIT;
	}
	return r;
}

int listing_make(const struct collector *collector, bool listeners, const char *source,
		 struct listing *listing)
{
	struct maker maker = {.source = source, .listeners = listeners};
	int r;

	maker.result = begin_chunk(&maker);
	if (maker.result == 0 && collector)
		collector_each(collector, add_flow, &maker);
	r = maker.result == 0 ? make_frames(&maker, listing) : maker.result;
	for (unsigned i = 0; i < maker.chunks; i++)
		buffer_done(&maker.bodies[i]);
	free(maker.bodies);
	if (r < 0)
		listing_done(listing);
	return r;
}
