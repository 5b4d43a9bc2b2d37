/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What passes between a front and the store. 'f' and bytes: a stream as a peer may send it.
 * Anything else and bytes: a message of a stranger's, decoded and passed on as a front does; what
 * the store reads then is the same connection, sequence and number of everything.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/front_report.h"
#include "opamp/decode.h"

#define STREAM_MAX 65536U /* what a socket takes at once */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

struct seen {
	const Opamp__Proto__AgentToServer *message;
	unsigned frames;
};

static int ignore(void *userdata, const Link__Frame *frame)
{
	struct seen *seen = userdata;

	must(frame != NULL);
	seen->frames++;
	return 0;
}

static int compare(void *userdata, const Link__Frame *frame)
{
	struct seen *seen = userdata;
	const Opamp__Proto__AgentToServer *message = seen->message;
	const Link__AgentReport *report = frame->agent_report;

	must(frame->body_case == LINK__FRAME__BODY_AGENT_REPORT);
	must(report->connection == 42 && report->sequence_num == message->sequence_num);
	must(report->capabilities == message->capabilities && report->flags == message->flags);
	must(!report->description == !message->agent_description);
	must(!report->health == !message->health);
	must(!report->package_statuses == !message->package_statuses);
	if (report->package_statuses)
		must(report->package_statuses->n_packages == message->package_statuses->n_packages);
	if (report->description)
		must(report->description->n_non_identifying ==
		     message->agent_description->n_non_identifying_attributes);
	seen->frames++;
	return 0;
}

static void open_pair(struct link **ret_link, int *ret_peer)
{
	const int size = 16 * 1048576;
	int fds[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	must(link_new(fds[0], ret_link) == 0);
	*ret_peer = fds[1];
}

static void read_stream(const uint8_t *data, size_t size)
{
	cleanup_link struct link *link = NULL;
	struct seen seen = {0};
	int peer = -1;

	open_pair(&link, &peer);
	must(send(peer, data, size, 0) == (ssize_t)size);
	must(shutdown(peer, SHUT_WR) == 0);
	must(link_receive(link, ignore, &seen) < 0);
	(void)close(peer);
}

static void pass_on(const uint8_t *data, size_t size)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	cleanup_link struct link *from = NULL;
	cleanup_link struct link *to = NULL;
	struct report report = {.connection = 42};
	Opamp__Proto__AgentToServer *message = NULL;
	struct seen seen = {0};
	int peer = -1;

	if (opamp_decode_to_server(data, size, &arena, &message) != 0)
		return;
	(void)report_is_heartbeat(message);
	open_pair(&to, &peer);
	must(link_new(peer, &from) == 0);
	report.message = message;
	seen.message = message;
	if (report_send(from, &report) != 0)
		return;
	while (link_queued(from) > 0) {
		must(link_flush(from) == 0);
		must(link_receive(to, compare, &seen) == 0);
	}
	must(link_receive(to, compare, &seen) == 0 && seen.frames == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > STREAM_MAX)
		return 0;
	if (data[0] == 'f')
		read_stream(data + 1, size - 1);
	else
		pass_on(data + 1, size - 1);
	return 0;
}
