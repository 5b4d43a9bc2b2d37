/* SPDX-License-Identifier: Apache-2.0 */

#include "control/link.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct pair {
	struct link *link;
	int peer;
};

struct seen {
	size_t frames;
	size_t bytes;
	uint64_t last;
	int answer;
};

static int set_up(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	int fds[2];

	if (!pair || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	pair->peer = fds[1];
	*state = pair;
	return link_new(fds[0], &pair->link);
}

static int tear_down(void **state)
{
	struct pair *pair = *state;

	pair->link = link_free(pair->link);
	(void)close(pair->peer);
	free(pair);
	return 0;
}

static int count(void *userdata, const Link__Frame *frame)
{
	struct seen *seen = userdata;

	assert_int_equal(frame->body_case, LINK__FRAME__BODY_AGENT_MESSAGE);
	seen->frames++;
	seen->bytes += frame->agent_message->server_to_agent.len;
	seen->last = frame->agent_message->connection;
	return seen->answer;
}

static void send_message(struct link *link, uint64_t connection, size_t size)
{
	Link__AgentMessage message = LINK__AGENT_MESSAGE__INIT;
	Link__Frame frame = LINK__FRAME__INIT;

	message.connection = connection;
	message.server_to_agent.len = size;
	message.server_to_agent.data = calloc(1, size + 1);
	assert_non_null(message.server_to_agent.data);
	frame.body_case = LINK__FRAME__BODY_AGENT_MESSAGE;
	frame.agent_message = &message;
	assert_int_equal(link_send(link, &frame), 0);
	free(message.server_to_agent.data);
}

static void frames_arrive_whole_and_in_order_however_the_stream_is_cut(void **state)
{
	struct pair *pair = *state;
	struct seen seen = {0};
	uint8_t byte;

	send_message(pair->link, 1, 10);
	send_message(pair->link, 2, 0);
	assert_int_equal(link_flush(pair->link), 0);
	assert_int_equal(link_queued(pair->link), 0);
	/* Back to where it came from, byte by byte. */
	while (recv(pair->peer, &byte, 1, MSG_DONTWAIT) == 1) {
		assert_int_equal(send(pair->peer, &byte, 1, 0), 1);
		assert_int_equal(link_receive(pair->link, count, &seen), 0);
	}
	assert_int_equal(seen.frames, 2);
	assert_int_equal(seen.bytes, 10);
	assert_int_equal(seen.last, 2);
}

static void what_the_socket_does_not_take_stays_queued(void **state)
{
	struct pair *pair = *state;
	size_t taken = 0;
	static uint8_t bytes[65536];

	for (uint64_t i = 0; i < 40; i++)
		send_message(pair->link, i, 100000);
	assert_int_equal(link_flush(pair->link), 0);
	assert_true(link_queued(pair->link) > 0);
	while (link_queued(pair->link) > 0) {
		ssize_t n = recv(pair->peer, bytes, sizeof(bytes), MSG_DONTWAIT);

		assert_true(n > 0);
		taken += (size_t)n;
		assert_int_equal(link_flush(pair->link), 0);
	}
	assert_true(taken > 3000000);
}

static void a_frame_above_the_limit_is_not_sent(void **state)
{
	struct pair *pair = *state;
	Link__AgentMessage message = LINK__AGENT_MESSAGE__INIT;
	Link__Frame frame = LINK__FRAME__INIT;

	message.server_to_agent.len = LINK_FRAME_MAX;
	message.server_to_agent.data = calloc(1, LINK_FRAME_MAX);
	assert_non_null(message.server_to_agent.data);
	frame.body_case = LINK__FRAME__BODY_AGENT_MESSAGE;
	frame.agent_message = &message;
	assert_int_equal(link_send(pair->link, &frame), -EMSGSIZE);
	assert_int_equal(link_queued(pair->link), 0);
	free(message.server_to_agent.data);
}

static void a_size_above_the_limit_ends_the_link_before_it_is_read(void **state)
{
	struct pair *pair = *state;
	struct seen seen = {0};
	const uint8_t size[] = {1, 0, 128, 0};

	assert_int_equal(send(pair->peer, size, sizeof(size), 0), sizeof(size));
	assert_int_equal(link_receive(pair->link, count, &seen), -EBADMSG);
}

static void bytes_that_are_no_frame_end_the_link(void **state)
{
	struct pair *pair = *state;
	struct seen seen = {0};
	const uint8_t bytes[] = {2, 0, 0, 0, 255, 255};

	assert_int_equal(send(pair->peer, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(link_receive(pair->link, count, &seen), -EBADMSG);
	assert_int_equal(seen.frames, 0);
}

static void what_the_handler_answers_is_passed_on(void **state)
{
	struct pair *pair = *state;
	struct seen seen = {.answer = -EBADMSG};
	struct link *other = NULL;
	int fd = dup(pair->peer);

	assert_int_equal(link_new(fd, &other), 0);
	send_message(other, 7, 0);
	send_message(other, 8, 0);
	assert_int_equal(link_flush(other), 0);
	assert_int_equal(link_receive(pair->link, count, &seen), -EBADMSG);
	assert_int_equal(seen.last, 7);
	(void)link_free(other);
}

static void the_end_of_the_peer_is_told(void **state)
{
	struct pair *pair = *state;
	struct seen seen = {0};

	assert_int_equal(shutdown(pair->peer, SHUT_RDWR), 0);
	assert_int_equal(link_receive(pair->link, count, &seen), -ECONNRESET);
	send_message(pair->link, 1, 1);
	assert_int_equal(link_flush(pair->link), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			frames_arrive_whole_and_in_order_however_the_stream_is_cut, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(what_the_socket_does_not_take_stays_queued, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_frame_above_the_limit_is_not_sent, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			a_size_above_the_limit_ends_the_link_before_it_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bytes_that_are_no_frame_end_the_link, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_the_handler_answers_is_passed_on, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_end_of_the_peer_is_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
