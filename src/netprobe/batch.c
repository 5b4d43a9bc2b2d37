/* SPDX-License-Identifier: Apache-2.0 */

/* Events are encoded as they come, into the very bytes of their batch: a batch that is under way is
 * a string, and nothing is encoded twice. */

#include "netprobe/batch.h"

#define EVENTS_FIELD 1U

void batch_done(struct batch *batch)
{
	buffer_done(&batch->body);
	*batch = BATCH_INIT;
}

int batch_add(struct batch *batch, const struct event *event, int64_t now_ns)
{
	int r = event_add(event, EVENTS_FIELD, &batch->body);

	if (r < 0)
		return r;
	if (batch->count == 0)
		batch->start_ns = now_ns;
	/* The wall clock may be set back; a batch never ends before it began. */
	batch->end_ns = MAX(now_ns, batch->start_ns);
	batch->count++;
	return 0;
}

int batch_take(struct batch *batch, struct frame **ret)
{
	Netprobe__FlowAttributionEventBatch rest = NETPROBE__FLOW_ATTRIBUTION_EVENT_BATCH__INIT;
	uint8_t data[64];
	int r;

	rest.batch_start_unix_nano = batch->start_ns;
	rest.batch_end_unix_nano = batch->end_ns;
	r = buffer_add(&batch->body, data,
		       netprobe__flow_attribution_event_batch__pack(&rest, data));
	if (r == 0)
		r = frame_new(NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_ATTRIBUTION_BATCH,
			      batch->body.data, batch->body.size, ret);
	batch_done(batch);
	return r;
}
