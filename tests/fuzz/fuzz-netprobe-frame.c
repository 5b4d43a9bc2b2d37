/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a client sends to netprobe. A connection's bytes are the same frames however they are cut;
 * a body that is taken can be said again and means the same; whatever configuration or record comes
 * of it is within its bounds.
 */

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "must.h"
#include "netprobe/config.h"
#include "netprobe/frame.h"
#include "netprobe/match.h"

#define NOW    1800000000000000000LL
#define WINDOW 1000000000ULL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Flows for records to find: as many as make the table grow. */
static struct match *make_flows(void)
{
	struct match *match = match_new();
	struct flow flow = {
		.family = AF_INET,
		.protocol = IPPROTO_TCP,
		.local = {10, 0, 0, 1},
		.remote = {10, 0, 0, 2},
		.remote_port = 80,
		.started_ns = NOW,
		.last_ns = NOW
        };

	must(match != NULL);
	match_start(match);
	for (unsigned i = 1; i <= 300; i++) {
		flow.cookie = i;
		flow.local_port = (uint16_t)i;
		flow.ended_ns = i % 3 == 0 ? NOW + i : 0;
		match_add(match, &flow, WINDOW, flow.ended_ns);
	}
	flow.ended_ns = NOW + (int64_t)WINDOW * 2;
	match_add(match, &flow, WINDOW, flow.ended_ns);
	return match;
}

static void check_config(const Netprobe__ApplyConfig *apply)
{
	cleanup_config struct config *config = NULL;
	cleanup_config struct config *again = NULL;
	char why[CONFIG_WHY_MAX] = "";
	char hash[CONFIG_HASH_SIZE];
	int r;

	if (!apply->config)
		return;
	r = config_from_wire(apply->config, &config, why);
	must(r >= 0 && (r == 0) == (why[0] == '\0'));
	if (r != 0)
		return;
	must(config_check(config, why) == 0 && config_flows_max(config) > 0);
	must(config->tier_max > COLLECTOR_NONE && config->tier_max <= COLLECTOR_FULL);
	must(config_from_wire(apply->config, &again, why) == 0);
	must(config_check_change(config, again, why) == 0);
	config_hash(config, hash);
	must(strlen(hash) == CONFIG_HASH_SIZE - 1);
}

static void check_record(const Netprobe__ExternalFlowRecord *record)
{
	cleanup_match struct match *match = make_flows();
	const struct flow *flow = NULL;
	int r = match_find(match, record, WINDOW, NOW, &flow);

	must((r == 0) == (flow != NULL));
	must(r == 0 || r == MATCH_E_NONE || r == MATCH_E_INVALID);
	if (flow)
		must(flow->remote_port == 80 &&
		     (record->source_port == 80 || record->destination_port == 80));
}

/* The payload that a message has, whatever it is; NULL: none. */
static const void *payload_of(const Netprobe__NetprobeFrame *frame)
{
	const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
		&netprobe__netprobe_frame__descriptor, (unsigned)frame->payload_case);

	if (frame->payload_case == 0 || !field)
		return NULL;
	return *(void *const *)(const void *)((const char *)frame + field->offset);
}

static void check_again(const Netprobe__NetprobeFrame *message)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	cleanup_frame struct frame *frame = NULL;
	cleanup_frame struct frame *copy = NULL;
	cleanup_frame_reader struct frame_reader reader = FRAME_READER_INIT;
	const Netprobe__NetprobeFrame *again = NULL;
	const void *payload = payload_of(message);
	uint8_t prefix[FRAME_PREFIX_MAX];
	const void *body = NULL;
	size_t size = 0;

	if (!payload || frame_encode((uint32_t)message->payload_case, payload, &frame) < 0)
		return;
	must(frame_new(frame->arm, frame->data, frame->size, &copy) == 0);
	must(copy->size == frame->size && memcmp(copy->data, frame->data, copy->size) == 0);
	must(frame_unref(frame_ref(copy)) == NULL && copy->references == 1);
	must(frame_reader_add(&reader, prefix, frame_prefix(frame, message->sequence, 0, prefix)) ==
	     0);
	must(frame->size == 0 || frame_reader_add(&reader, frame->data, frame->size) == 0);
	must(frame_reader_next(&reader, &body, &size) == 0);
	must(frame_decode(body, size, &arena, &again) == 0);
	must(again->sequence == message->sequence && again->payload_case == message->payload_case);
}

static void take(const void *body, size_t size)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	const Netprobe__NetprobeFrame *frame = NULL;

	if (frame_decode(body, size, &arena, &frame) != 0)
		return;
	if (frame->payload_case == NETPROBE__NETPROBE_FRAME__PAYLOAD_APPLY_CONFIG)
		check_config(frame->apply_config);
	if (frame->payload_case == NETPROBE__NETPROBE_FRAME__PAYLOAD_EXTERNAL_FLOW_RECORD)
		check_record(frame->external_flow_record);
	check_again(frame);
}

/* Whether the first frame is one that is refused by its length. */
static bool is_too_large(const uint8_t *data, size_t size)
{
	return size >= FRAME_HEAD_SIZE &&
	       (data[0] > 0 || data[1] > 0x40 || (data[1] == 0x40 && (data[2] | data[3]) != 0));
}

/* How many frames *size* bytes are, cut after *cut*; each is taken where *is_taken*. */
static unsigned read_all(const uint8_t *data, size_t size, size_t cut, bool is_taken)
{
	cleanup_frame_reader struct frame_reader reader = FRAME_READER_INIT;
	const size_t pieces[] = {cut, size - cut};
	bool is_first_too_large = is_too_large(data, size);
	unsigned count = 0;
	int r = FRAME_E_MORE;

	for (size_t i = 0; i < ARRAY_SIZE(pieces) && r != FRAME_E_TOO_LARGE; i++) {
		const void *body = NULL;
		size_t length = 0;

		if (pieces[i] == 0)
			continue;
		must(frame_reader_add(&reader, data, pieces[i]) == 0);
		data += pieces[i];
		while ((r = frame_reader_next(&reader, &body, &length)) == 0) {
			must(length <= FRAME_SIZE_MAX);
			count++;
			if (is_taken)
				take(body, length);
		}
	}
	must(r == FRAME_E_MORE || r == FRAME_E_TOO_LARGE);
	must(r != FRAME_E_TOO_LARGE || frame_reader_is_cut(&reader));
	must(!is_first_too_large || (r == FRAME_E_TOO_LARGE && count == 0));
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t cut = size > 0 ? data[size - 1] % size : 0;

	must(read_all(data, size, 0, true) == read_all(data, size, cut, false));
	/* And for bodies whose length nobody guesses. */
	take(data, size);
	return 0;
}
