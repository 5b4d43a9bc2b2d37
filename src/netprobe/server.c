/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The clients of the socket. Each is on its own: a reader whose frames are bounded, and a queue
 * whose events are. A client's requests are answered one after another, one in a turn of the event
 * loop, so that others have theirs; nothing more is read while some wait, or while a client leaves
 * more unread than it may; one that sends what is no frame is told so and disconnected. A client
 * may go away at any moment, also while it is answered: then it is marked, and taken off the list
 * when the event loop is back here.
 */

#include "netprobe/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/fd.h"
#include "netprobe/accept.h"
#include "netprobe/queue.h"

#define READ_SIZE (64UL * 1024)
/* From the first byte of a frame to its last. */
#define FRAME_USEC 5000000U

struct server_client {
	struct server *server;
	struct server_client *next;
	int fd;
	sd_event_source *io;
	sd_event_source *late; /* runs while some of a frame is there and not the rest */
	struct frame_reader reader;
	struct queue queue;
	void *stream; /* an answer that is not over */
	int (*stream_next)(void *stream, struct server_client *client);
	void (*stream_done)(void *stream);
	bool has_more;  /* there may be another request in the reader */
	bool is_ending; /* nothing more is read; closed once the queue is empty */
	bool is_dead;
};

struct server {
	sd_event *event;
	int fd;
	int spare;
	sd_event_source *io;
	sd_event_source *reap;
	sd_event_source *more; /* the next turn of those that wait for one */
	struct server_handler handler;
	struct server_client *clients;
	struct server_counts counts;
};

static void end_stream(struct server_client *client)
{
	if (client->stream)
		client->stream_done(client->stream);
	client->stream = NULL;
}

static struct server_client *client_free(struct server_client *client)
{
	(void)sd_event_source_disable_unref(client->io);
	(void)sd_event_source_disable_unref(client->late);
	(void)fd_close(client->fd);
	frame_reader_done(&client->reader);
	queue_done(&client->queue);
	end_stream(client);
	free(client);
	return NULL;
}

/* The dead are buried when nobody holds on to one any more. */
static int on_reap(sd_event_source *source, void *userdata)
{
	struct server *server = userdata;
	struct server_client **at = &server->clients;

	(void)source;
	while (*at) {
		struct server_client *client = *at;

		if (client->is_dead) {
			*at = client->next;
			(void)client_free(client);
		} else {
			at = &client->next;
		}
	}
	return 0;
}

/* A stream may be what runs: it is ended with the burial. */
static void kill_client(struct server_client *client)
{
	if (client->is_dead)
		return;
	client->is_dead = true;
	client->server->counts.clients--;
	client->io = sd_event_source_disable_unref(client->io);
	client->late = sd_event_source_disable_unref(client->late);
	client->fd = fd_close(client->fd);
	queue_done(&client->queue);
	(void)sd_event_source_set_enabled(client->server->reap, SD_EVENT_ONESHOT);
}

static bool is_behind(const struct server_client *client)
{
	return !queue_has_room(&client->queue);
}

/* Whether it has something to do in the next turn, without a word from its client. */
static bool has_turn(const struct server_client *client)
{
	if (client->is_dead)
		return false;
	if (client->stream)
		return client->queue.bytes < QUEUE_AHEAD;
	return client->has_more && !client->is_ending && !is_behind(client);
}

/* Writes what goes, and asks to be told when more does. */
static void flush(struct server_client *client)
{
	uint32_t events = 0;
	int r;

	if (client->is_dead)
		return;
	r = queue_write(&client->queue, client->fd);
	if (r < 0 || (r == 0 && client->is_ending && !client->stream)) {
		kill_client(client);
		return;
	}
	if (has_turn(client))
		(void)sd_event_source_set_enabled(client->server->more, SD_EVENT_ONESHOT);
	else if (!client->is_ending && !is_behind(client) && !client->stream)
		events = EPOLLIN;
	(void)sd_event_source_set_io_events(client->io, events | (r > 0 ? EPOLLOUT : 0));
}

uid_t server_client_uid(const struct server_client *client)
{
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t size = sizeof(peer);

	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return (uid_t)-1;
	return peer.uid;
}

uint64_t server_client_dropped(const struct server_client *client)
{
	return client->queue.dropped;
}

void server_reply(struct server_client *client, uint64_t sequence, struct frame *frame)
{
	if (!client->is_dead && queue_reply(&client->queue, frame, sequence) < 0)
		kill_client(client);
}

void server_reply_message(struct server_client *client, uint64_t sequence, uint32_t arm,
			  const void *payload)
{
	cleanup_frame struct frame *frame = NULL;

	if (frame_encode(arm, payload, &frame) < 0)
		kill_client(client);
	else
		server_reply(client, sequence, frame);
}

void server_reply_error(struct server_client *client, uint64_t sequence, const char *code,
			const char *message)
{
	Netprobe__ErrorFrame error = NETPROBE__ERROR_FRAME__INIT;

	error.code = (char *)code;
	error.message = (char *)message;
	server_reply_message(client, sequence, NETPROBE__NETPROBE_FRAME__PAYLOAD_ERROR, &error);
}

static void end_with_error(struct server_client *client, const char *code, const char *message)
{
	client->server->counts.malformed++;
	client->is_ending = true;
	client->late = sd_event_source_disable_unref(client->late);
	server_reply_error(client, 0, code, message);
}

static int on_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct server_client *client = userdata;

	(void)source;
	(void)usec;
	end_with_error(client, "frame_too_slow", "a frame is to be whole within 5 seconds");
	flush(client);
	return 0;
}

/* Who begins a frame and does not end it is in the way of others. */
static void expect_rest(struct server_client *client)
{
	if (client->late || client->is_dead || client->is_ending ||
	    !frame_reader_has_rest(&client->reader))
		return;
	if (sd_event_add_time_relative(client->server->event, &client->late, CLOCK_MONOTONIC,
				       FRAME_USEC, 0, on_late, client) < 0)
		kill_client(client);
}

static void take_body(struct server_client *client, const void *body, size_t size)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	const Netprobe__NetprobeFrame *frame = NULL;
	struct server *server = client->server;
	int r = frame_decode(body, size, &arena, &frame);

	client->late = sd_event_source_disable_unref(client->late);
	if (r == FRAME_E_MALFORMED) {
		end_with_error(client, "malformed_frame", "the frame is no NetprobeFrame");
		return;
	}
	if (r < 0) {
		kill_client(client);
		return;
	}
	server->counts.requests++;
	server->handler.request(server->handler.context, client, frame);
}

/* One request, or the end of one. */
static void take_input(struct server_client *client)
{
	const void *body = NULL;
	size_t size = 0;
	int r;

	if (client->is_dead || client->is_ending || client->stream || is_behind(client))
		return;
	r = frame_reader_next(&client->reader, &body, &size);
	client->has_more = r == 0 && frame_reader_has_rest(&client->reader);
	if (r == FRAME_E_MORE)
		expect_rest(client);
	else if (r == FRAME_E_TOO_LARGE)
		end_with_error(client, "frame_too_large", "a frame has at most 4194304 bytes");
	else
		take_body(client, body, size);
}

static void receive(struct server_client *client)
{
	static char data[READ_SIZE];
	ssize_t n = recv(client->fd, data, sizeof(data), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 0) {
		if (frame_reader_is_cut(&client->reader))
			client->server->counts.malformed++;
		client->is_ending = true;
		return;
	}
	if (n < 0 || frame_reader_add(&client->reader, data, (size_t)n) < 0)
		kill_client(client);
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct server_client *client = userdata;
	/* Of who is gone already, what was asked before is obeyed first. */
	bool waits = client->has_more && !client->is_ending;

	(void)source;
	(void)fd;
	/* Nobody reads the rest. */
	if (events & EPOLLHUP)
		end_stream(client);
	waits = waits || client->stream;
	if ((events & (EPOLLERR | EPOLLHUP)) != 0 && (events & EPOLLIN) == 0 && !waits)
		kill_client(client);
	else if ((events & EPOLLIN) != 0 && !client->is_ending && !waits)
		receive(client);
	take_input(client);
	flush(client);
	return 0;
}

void server_stream(struct server_client *client,
		   int (*next)(void *stream, struct server_client *client),
		   void (*done)(void *stream), void *stream)
{
	if (client->is_dead) {
		done(stream);
		return;
	}
	client->stream = stream;
	client->stream_next = next;
	client->stream_done = done;
}

static void stream_on(struct server_client *client)
{
	int r = client->stream_next(client->stream, client);

	if (r <= 0)
		end_stream(client);
	if (r < 0)
		kill_client(client);
}

/* One request of each that has more, or one part of an answer. What comes meanwhile goes first. */
static int on_more(sd_event_source *source, void *userdata)
{
	struct server *server = userdata;

	(void)source;
	for (struct server_client *client = server->clients; client; client = client->next) {
		if (!has_turn(client))
			continue;
		if (client->stream)
			stream_on(client);
		else
			take_input(client);
		flush(client);
	}
	return 0;
}

static int add_client(struct server *server, int fd, struct server_client **ret)
{
	struct server_client *client = calloc(1, sizeof(*client));
	int r;

	if (!client) {
		(void)fd_close(fd);
		return -ENOMEM;
	}
	client->server = server;
	client->fd = fd;
	r = sd_event_add_io(server->event, &client->io, fd, EPOLLIN, on_client, client);
	if (r < 0) {
		(void)client_free(client);
		return r;
	}
	client->next = server->clients;
	server->clients = client;
	server->counts.clients++;
	*ret = client;
	return 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct server *server = userdata;
	struct server_client *client = NULL;
	int accepted = -EBADF;

	(void)source;
	(void)events;
	if (accept_one(fd, &server->spare, &accepted) < 0 ||
	    add_client(server, accepted, &client) < 0)
		return 0;
	server->counts.connections++;
	if (server->counts.clients > SERVER_CLIENTS_MAX) {
		char text[64];

		(void)snprintf(text, sizeof(text), "netprobe accepts %u clients at a time",
			       SERVER_CLIENTS_MAX);
		server->counts.refused++;
		client->is_ending = true;
		server_reply_error(client, 0, "too_many_clients", text);
	} else if (server->handler.connected) {
		server->handler.connected(server->handler.context, client);
	}
	flush(client);
	return 0;
}

int server_new(sd_event *event, int fd, const struct server_handler *handler, struct server **ret)
{
	cleanup_server struct server *server = calloc(1, sizeof(*server));
	int r;

	if (!server) {
		(void)fd_close(fd);
		return -ENOMEM;
	}
	server->fd = fd;
	server->spare = accept_spare();
	server->event = sd_event_ref(event);
	server->handler = *handler;
	r = sd_event_add_io(event, &server->io, fd, EPOLLIN, on_connection, server);
	if (r >= 0)
		r = sd_event_add_defer(event, &server->reap, on_reap, server);
	if (r >= 0)
		r = sd_event_source_set_enabled(server->reap, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(event, &server->more, on_more, server);
	/* What is deferred is always older than what comes: it would let nothing else have a turn.
	 */
	if (r >= 0)
		r = sd_event_source_set_priority(server->more, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_source_set_enabled(server->more, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(server);
	return 0;
}

struct server *server_free(struct server *server)
{
	if (!server)
		return NULL;
	while (server->clients) {
		struct server_client *client = server->clients;

		server->clients = client->next;
		(void)client_free(client);
	}
	(void)sd_event_source_disable_unref(server->io);
	(void)sd_event_source_disable_unref(server->reap);
	(void)sd_event_source_disable_unref(server->more);
	(void)fd_close(server->fd);
	(void)fd_close(server->spare);
	(void)sd_event_unref(server->event);
	free(server);
	return NULL;
}

struct server_counts server_counts(const struct server *server)
{
	return server->counts;
}

bool server_has_clients(const struct server *server)
{
	return server->counts.clients > 0;
}

void server_events(struct server *server, struct frame *frame, unsigned events)
{
	for (struct server_client *client = server->clients; client; client = client->next) {
		uint64_t dropped = client->queue.dropped;

		if (client->is_dead || client->is_ending)
			continue;
		queue_events(&client->queue, frame, events);
		if (client->queue.dropped != dropped)
			server->counts.events_dropped += events;
		else
			server->counts.events_sent += events;
		flush(client);
	}
}

void server_snapshot(struct server *server, struct frame *frame)
{
	for (struct server_client *client = server->clients; client; client = client->next) {
		if (client->is_dead || client->is_ending || is_behind(client))
			continue;
		server_reply(client, 0, frame);
		flush(client);
	}
}
