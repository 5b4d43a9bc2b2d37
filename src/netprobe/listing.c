/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The flow table as an answer. It may be long, and who asked may read slowly or not at all, so only
 * one chunk is made at a time, and what is kept meanwhile is a place in the table. The flows are
 * those of the moment at which their chunk was made.
 */

#include "netprobe/listing.h"

#include <errno.h>

#include "netprobe/event.h"
#include "netprobe/wall.h"

#define FLOWS_FIELD 1U
/* Places of the table that are looked at in one turn, where nothing in them is of the kind. */
#define TURN_MAX 4096U

struct listing {
	bool listeners;
	uint32_t cursor;
	unsigned chunks;
	/* The chunk that is being made. */
	struct buffer body;
	unsigned count;
};

/* One call of listing_next(). */
struct turn {
	struct listing *listing;
	const char *source;
	void (*emit)(void *context, struct frame *frame);
	void *context;
	unsigned emitted;
	int result;
};

struct listing *listing_new(bool listeners)
{
	struct listing *listing = calloc(1, sizeof(*listing));

	if (listing)
		listing->listeners = listeners;
	return listing;
}

struct listing *listing_free(struct listing *listing)
{
	if (!listing)
		return NULL;
	buffer_done(&listing->body);
	free(listing);
	return NULL;
}

static int end_chunk(struct turn *turn, bool is_last)
{
	struct listing *listing = turn->listing;
	Netprobe__FlowList rest = NETPROBE__FLOW_LIST__INIT;
	cleanup_frame struct frame *frame = NULL;
	uint8_t data[128];
	int r;

	rest.generated_at_unix_nano = wall_ns();
	rest.complete = is_last;
	rest.chunk_index = listing->chunks++;
	rest.chunk_count = is_last ? listing->chunks : 0;
	rest.tier = (char *)turn->source;
	r = buffer_add(&listing->body, data, netprobe__flow_list__pack(&rest, data));
	if (r == 0)
		r = frame_new(NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_LIST, listing->body.data,
			      listing->body.size, &frame);
	if (r == 0)
		turn->emit(turn->context, frame);
	turn->emitted++;
	buffer_done(&listing->body);
	listing->body = BUFFER_INIT;
	listing->count = 0;
	return r;
}

static void add_flow(void *context, const struct flow *flow)
{
	struct turn *turn = context;
	struct listing *listing = turn->listing;
	struct event event;

	if (turn->result < 0 || flow->listener != listing->listeners)
		return;
	if (listing->count == LISTING_CHUNK_MAX)
		turn->result = end_chunk(turn, false);
	if (turn->result < 0)
		return;
	event_fill(&event, FLOW_SEEN, flow, turn->source);
	turn->result = event_add(&event, FLOWS_FIELD, &listing->body);
	listing->count++;
}

int listing_next(struct listing *listing, const struct collector *collector, const char *source,
		 void (*emit)(void *context, struct frame *frame), void *context)
{
	struct turn turn = {.listing = listing, .source = source, .emit = emit, .context = context};
	bool has_more = collector != NULL;

	for (unsigned i = 0; has_more && turn.result == 0 && turn.emitted == 0 && i < TURN_MAX; i++)
		has_more = collector_scan(collector, &listing->cursor, add_flow, &turn);
	if (turn.result == 0 && !has_more)
		turn.result = end_chunk(&turn, true);
	if (turn.result < 0)
		return turn.result;
	return has_more ? 1 : 0;
}
