/* SPDX-License-Identifier: Apache-2.0 */

/* A client that asks and waits. The daemon is trusted with nothing: what it says is bounded and
 * judged as what it is told. */

#include "netprobe/client.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "netprobe/socket.h"

#define READ_SIZE  (64UL * 1024)
#define TIMEOUT_MS 10000

void client_done(struct client *client)
{
	client->fd = fd_close(client->fd);
	frame_reader_done(&client->reader);
}

int client_open(struct client *client, const char *path, char why[CLIENT_WHY_MAX])
{
	return socket_connect(path, &client->fd, why);
}

int client_send(struct client *client, uint32_t arm, const void *payload)
{
	cleanup_frame struct frame *frame = NULL;
	cleanup_buffer struct buffer message = BUFFER_INIT;
	uint8_t prefix[FRAME_PREFIX_MAX];
	size_t sent = 0;
	int r = frame_encode(arm, payload, &frame);

	if (r == 0)
		r = buffer_add(&message, prefix,
			       frame_prefix(frame, ++client->sequence, 0, prefix));
	if (r == 0 && frame->size > 0)
		r = buffer_add(&message, frame->data, frame->size);
	while (r == 0 && sent < message.size) {
		ssize_t n =
			send(client->fd, message.data + sent, message.size - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EINTR)
			r = -errno;
	}
	return r;
}

/* Waits for more bytes. 0, enum client_condition, -errno. */
static int fill(struct client *client, int timeout)
{
	cleanup_free char *data = malloc(READ_SIZE);
	struct pollfd poll_fd = {.fd = client->fd, .events = POLLIN};
	ssize_t n;
	int r;

	if (!data)
		return -ENOMEM;
	r = poll(&poll_fd, 1, timeout);
	if (r < 0)
		return -errno;
	if (r == 0)
		return CLIENT_E_LATE;
	n = recv(client->fd, data, READ_SIZE, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n == 0 ? CLIENT_E_END : frame_reader_add(&client->reader, data, (size_t)n);
}

int client_next(struct client *client, int timeout, struct opamp_arena **ret_arena,
		const Netprobe__NetprobeFrame **ret)
{
	uint64_t until = clock_monotonic_usec() + (uint64_t)MAX(timeout, 0) * CLOCK_USEC_PER_MSEC;
	const void *body = NULL;
	size_t size = 0;
	int r;

	while ((r = frame_reader_next(&client->reader, &body, &size)) == FRAME_E_MORE) {
		uint64_t now = clock_monotonic_usec();
		int left = timeout;

		if (timeout >= 0)
			left = now < until ? (int)((until - now) / CLOCK_USEC_PER_MSEC) + 1 : 0;
		r = fill(client, left);
		if (r != 0)
			return r;
	}
	if (r == 0)
		r = frame_decode(body, size, ret_arena, ret);
	return r > 0 ? CLIENT_E_END : r;
}

int client_answer(struct client *client, struct opamp_arena **ret_arena,
		  const Netprobe__NetprobeFrame **ret)
{
	for (;;) {
		int r;

		*ret_arena = opamp_arena_free(*ret_arena);
		r = client_next(client, TIMEOUT_MS, ret_arena, ret);
		if (r != 0)
			return r;
		/* An error of sequence 0 is the daemon's last word. */
		if ((*ret)->sequence == client->sequence ||
		    ((*ret)->sequence == 0 &&
		     (*ret)->payload_case == NETPROBE__NETPROBE_FRAME__PAYLOAD_ERROR))
			return 0;
	}
}
