/* SPDX-License-Identifier: Apache-2.0 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/fd.h"
#include "netprobe/batch.h"
#include "netprobe/queue.h"

#define BATCH_ARM NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_ATTRIBUTION_BATCH
#define EVENT_ARM NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_ATTRIBUTION_EVENT
#define PING_ARM  NETPROBE__NETPROBE_FRAME__PAYLOAD_PING

static struct flow make_flow(void)
{
	struct flow flow = {
		.cookie = 77,
		.family = AF_INET,
		.protocol = IPPROTO_TCP,
		.local = {192, 0,  2,   1},
		.remote = {198, 51, 100, 2},
		.local_port = 40000,
		.remote_port = 443,
		.bytes_sent = 1000,
		.started_ns = 5,
		.last_ns = 6
        };

	flow.owner =
		(struct flow_owner){.pid = 11, .tgid = 10, .uid = 1000, .gid = 100, .arguments = 2};
	memcpy(flow.owner.comm, "curl", 5);
	memcpy(flow.owner.cmdline, "/usr/bin/curl", 14);
	return flow;
}

static struct frame *make_batch(unsigned events)
{
	cleanup_batch struct batch batch = BATCH_INIT;
	const struct flow flow = make_flow();
	struct frame *frame = NULL;
	struct event event;

	event_fill(&event, FLOW_CONNECT, &flow, "full");
	for (unsigned i = 0; i < events; i++)
		assert_int_equal(batch_add(&batch, &event, 100 - (int64_t)i), 0);
	assert_int_equal(batch_take(&batch, &frame), 0);
	assert_int_equal(batch.count, 0);
	return frame;
}

/* The next frame of *reader*; the arena owns it. */
static const Netprobe__NetprobeFrame *next(struct frame_reader *reader, struct opamp_arena **arena)
{
	const Netprobe__NetprobeFrame *frame = NULL;
	const void *body = NULL;
	size_t size = 0;

	assert_int_equal(frame_reader_next(reader, &body, &size), 0);
	assert_int_equal(frame_decode(body, size, arena, &frame), 0);
	return frame;
}

static void add_frame(struct frame_reader *reader, const struct frame *frame, uint64_t sequence)
{
	uint8_t prefix[FRAME_PREFIX_MAX];
	size_t size = frame_prefix(frame, sequence, 0, prefix);

	assert_int_equal(frame_reader_add(reader, prefix, size), 0);
	assert_int_equal(frame_reader_add(reader, frame->data, frame->size), 0);
}

static void a_ping_of_sequence_7_makes_the_round(void **state)
{
	cleanup_frame_reader struct frame_reader reader = FRAME_READER_INIT;
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	cleanup_frame struct frame *frame = NULL;
	Netprobe__Ping ping = NETPROBE__PING__INIT;
	const Netprobe__NetprobeFrame *message;

	(void)state;
	ping.sent_at_unix_nano = 99;
	assert_int_equal(frame_encode(PING_ARM, &ping, &frame), 0);
	add_frame(&reader, frame, 7);
	message = next(&reader, &arena);
	assert_int_equal(message->sequence, 7);
	assert_int_equal(message->payload_case, PING_ARM);
	assert_int_equal(message->ping->sent_at_unix_nano, 99);
}

static void the_largest_sequence_and_a_payload_of_nothing_fit_the_prefix(void **state)
{
	cleanup_frame_reader struct frame_reader reader = FRAME_READER_INIT;
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	cleanup_frame struct frame *frame = NULL;
	uint8_t prefix[FRAME_PREFIX_MAX];

	(void)state;
	assert_int_equal(frame_new(NETPROBE__NETPROBE_FRAME__PAYLOAD_LIST_FLOWS, NULL, 0, &frame),
			 0);
	assert_int_equal(
		frame_reader_add(&reader, prefix, frame_prefix(frame, UINT64_MAX, 0, prefix)), 0);
	assert_int_equal(next(&reader, &arena)->sequence, UINT64_MAX);
}

static void four_mebibytes_are_a_frame_and_a_byte_more_is_none(void **state)
{
	const uint32_t largest = htonl((uint32_t)FRAME_SIZE_MAX);
	const uint32_t larger = htonl((uint32_t)FRAME_SIZE_MAX + 1);
	cleanup_frame_reader struct frame_reader reader = FRAME_READER_INIT;
	cleanup_free char *data = calloc(1, FRAME_SIZE_MAX);
	const void *body = NULL;
	size_t size = 0;
	struct frame *frame = NULL;

	(void)state;
	assert_int_equal(frame_reader_add(&reader, &largest, sizeof(largest)), 0);
	assert_int_equal(frame_reader_add(&reader, data, FRAME_SIZE_MAX - 1), 0);
	assert_int_equal(frame_reader_next(&reader, &body, &size), FRAME_E_MORE);
	assert_int_equal(frame_reader_add(&reader, data, 1), 0);
	assert_int_equal(frame_reader_next(&reader, &body, &size), 0);
	assert_int_equal(size, FRAME_SIZE_MAX);
	assert_int_equal(frame_reader_add(&reader, &larger, sizeof(larger)), 0);
	assert_int_equal(frame_reader_next(&reader, &body, &size), FRAME_E_TOO_LARGE);
	assert_int_equal(frame_new(PING_ARM, data, FRAME_SIZE_MAX, &frame), -EMSGSIZE);
}

static void an_end_within_the_length_is_clean_and_within_a_body_is_not(void **state)
{
	const uint32_t length = htonl(2);
	cleanup_frame_reader struct frame_reader reader = FRAME_READER_INIT;

	(void)state;
	assert_false(frame_reader_is_cut(&reader));
	assert_int_equal(frame_reader_add(&reader, &length, 3), 0);
	assert_false(frame_reader_is_cut(&reader));
	assert_int_equal(frame_reader_add(&reader, (const char *)&length + 3, 1), 0);
	assert_true(frame_reader_is_cut(&reader));
}

static void a_batch_has_its_events_and_never_ends_before_it_began(void **state)
{
	cleanup_frame_reader struct frame_reader reader = FRAME_READER_INIT;
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	cleanup_frame struct frame *frame = make_batch(3);
	const Netprobe__FlowAttributionEventBatch *batch;

	(void)state;
	add_frame(&reader, frame, 0);
	batch = next(&reader, &arena)->flow_attribution_batch;
	assert_int_equal(batch->n_events, 3);
	/* The wall clock was set back while it was filled. */
	assert_int_equal(batch->batch_start_unix_nano, 100);
	assert_int_equal(batch->batch_end_unix_nano, 100);
	assert_int_equal(batch->dropped_since_last, 0);
	assert_string_equal(batch->events[2]->remote_ip, "198.51.100.2");
	assert_int_equal(batch->events[2]->socket_address, 77);
	assert_string_equal(batch->events[2]->redacted_cmdline[1], "[redacted 2 arg(s)]");
}

/* Reads until *count* frames of *fd* are there; returns the sum of what they say was dropped. */
static uint64_t read_frames(int fd, unsigned count, unsigned *ret_events)
{
	cleanup_frame_reader struct frame_reader reader = FRAME_READER_INIT;
	uint64_t dropped = 0;
	unsigned seen = 0;

	while (seen < count) {
		char data[4096];
		ssize_t n = recv(fd, data, sizeof(data), 0);
		const void *body = NULL;
		size_t size = 0;

		assert_true(n > 0);
		assert_int_equal(frame_reader_add(&reader, data, (size_t)n), 0);
		while (frame_reader_next(&reader, &body, &size) == 0) {
			cleanup_opamp_arena struct opamp_arena *arena = NULL;
			const Netprobe__NetprobeFrame *frame = NULL;

			assert_int_equal(frame_decode(body, size, &arena, &frame), 0);
			seen++;
			if (frame->payload_case == BATCH_ARM) {
				dropped += frame->flow_attribution_batch->dropped_since_last;
				*ret_events += (unsigned)frame->flow_attribution_batch->n_events;
			} else if (frame->payload_case == EVENT_ARM) {
				dropped += frame->flow_attribution_event->dropped_since_last;
				*ret_events += 1;
			}
		}
	}
	return dropped;
}

static void a_full_queue_drops_events_counts_them_and_tells_them_once(void **state)
{
	cleanup_queue struct queue queue = QUEUE_INIT;
	cleanup_frame struct frame *batch = make_batch(BATCH_EVENTS_MAX);
	cleanup_frame struct frame *small = make_batch(1);
	unsigned frames = QUEUE_EVENTS_MAX / BATCH_EVENTS_MAX;
	unsigned events = 0;
	int fds[2];

	(void)state;
	/* So many bytes that the number of events is the bound. */
	frames = (unsigned)MIN((size_t)frames, QUEUE_BYTES_MAX / (batch->size + FRAME_PREFIX_MAX));
	for (unsigned i = 0; i < frames + 3; i++)
		queue_events(&queue, batch, BATCH_EVENTS_MAX);
	assert_true(queue.dropped >= 2UL * BATCH_EVENTS_MAX);
	assert_true(queue.bytes <= QUEUE_BYTES_MAX + FRAME_PREFIX_MAX * (frames + 1UL));
	/* An answer is taken all the same. */
	assert_int_equal(queue_reply(&queue, small, 9), 0);
	queue_done(&queue);
	assert_int_equal(queue.bytes, 0);
	assert_int_equal(queue.events, 0);
	queue_events(&queue, small, 1);
	queue_events(&queue, small, 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(queue_write(&queue, fds[0]), 0);
	assert_true(queue_is_empty(&queue));
	assert_int_equal(read_frames(fds[1], 2, &events), queue.dropped);
	assert_int_equal(events, 2);
	(void)fd_close(fds[0]);
	(void)fd_close(fds[1]);
}

static void an_event_alone_tells_what_was_dropped_too(void **state)
{
	cleanup_queue struct queue queue = QUEUE_INIT;
	cleanup_frame struct frame *frame = NULL;
	const struct flow flow = make_flow();
	struct event event;
	unsigned events = 0;
	int fds[2];

	(void)state;
	event_fill(&event, FLOW_CLOSE, &flow, "full");
	assert_int_equal(frame_encode(EVENT_ARM, &event.message, &frame), 0);
	queue.untold = 300;
	queue_events(&queue, frame, 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(queue_write(&queue, fds[0]), 0);
	assert_int_equal(read_frames(fds[1], 1, &events), 300);
	(void)fd_close(fds[0]);
	(void)fd_close(fds[1]);
}

static void bytes_are_shared_by_all_queues_and_freed_by_the_last(void **state)
{
	cleanup_queue struct queue first = QUEUE_INIT;
	cleanup_queue struct queue second = QUEUE_INIT;
	struct frame *frame = make_batch(1);

	(void)state;
	queue_events(&first, frame, 1);
	queue_events(&second, frame, 1);
	assert_int_equal(frame->references, 3);
	(void)frame_unref(frame);
	queue_done(&first);
	assert_int_equal(frame->references, 1);
}

static void a_socket_that_takes_little_gets_all_in_order(void **state)
{
	cleanup_queue struct queue queue = QUEUE_INIT;
	cleanup_frame struct frame *frame = make_batch(BATCH_EVENTS_MAX);
	const int small = 4096;
	unsigned events = 0;
	int fds[2];
	int r;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	for (unsigned i = 0; i < 40; i++)
		queue_events(&queue, frame, BATCH_EVENTS_MAX);
	r = queue_write(&queue, fds[0]);
	assert_int_equal(r, 1);
	/* The reader here is the one who makes room. */
	{
		cleanup_frame_reader struct frame_reader reader = FRAME_READER_INIT;

		for (unsigned seen = 0; seen < 40;) {
			char data[8192];
			ssize_t n = recv(fds[1], data, sizeof(data), MSG_DONTWAIT);
			const void *body = NULL;
			size_t size = 0;

			if (n > 0)
				assert_int_equal(frame_reader_add(&reader, data, (size_t)n), 0);
			while (frame_reader_next(&reader, &body, &size) == 0) {
				cleanup_opamp_arena struct opamp_arena *arena = NULL;
				const Netprobe__NetprobeFrame *message = NULL;

				assert_int_equal(frame_decode(body, size, &arena, &message), 0);
				events += (unsigned)message->flow_attribution_batch->n_events;
				seen++;
			}
			if (!queue_is_empty(&queue))
				assert_true(queue_write(&queue, fds[0]) >= 0);
		}
	}
	assert_int_equal(events, 40 * BATCH_EVENTS_MAX);
	(void)fd_close(fds[0]);
	(void)fd_close(fds[1]);
}

static void names_that_are_not_utf8_become_question_marks(void **state)
{
	struct flow flow = make_flow();
	struct event event;

	(void)state;
	memcpy(flow.owner.comm, "a\xff\xc3\xa9\xc3", 6);
	event_fill(&event, FLOW_CONNECT, &flow, "full");
	assert_string_equal(event.message.comm, "a?\xc3\xa9?");
	flow.owner.tgid = 0;
	event_fill(&event, FLOW_CONNECT, &flow, "full");
	assert_string_equal(event.message.comm, "");
	assert_int_equal(event.message.n_redacted_cmdline, 0);
	assert_int_equal(event.message.uid, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ping_of_sequence_7_makes_the_round),
		cmocka_unit_test(the_largest_sequence_and_a_payload_of_nothing_fit_the_prefix),
		cmocka_unit_test(four_mebibytes_are_a_frame_and_a_byte_more_is_none),
		cmocka_unit_test(an_end_within_the_length_is_clean_and_within_a_body_is_not),
		cmocka_unit_test(a_batch_has_its_events_and_never_ends_before_it_began),
		cmocka_unit_test(a_full_queue_drops_events_counts_them_and_tells_them_once),
		cmocka_unit_test(an_event_alone_tells_what_was_dropped_too),
		cmocka_unit_test(bytes_are_shared_by_all_queues_and_freed_by_the_last),
		cmocka_unit_test(a_socket_that_takes_little_gets_all_in_order),
		cmocka_unit_test(names_that_are_not_utf8_become_question_marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
