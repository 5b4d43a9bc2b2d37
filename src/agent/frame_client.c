/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An add-on's IPC. The add-on is another user and may be hostile: whom the socket belongs to is
 * asked of the kernel, frames are bounded before they are read and while they are decoded, and an
 * add-on that does not read what little is sent to it is disconnected. Requests are few (apply,
 * ping), so each is remembered by its sequence number alone.
 */

#include "agent/frame_client.h"

#include <addon_frame.pb-c.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "agent/frame_config.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "opamp/decode.h"
#include "opamp/varint.h"

#define HEADER_SIZE 4U
#define READ_SIZE   (64UL * 1024)
/* What an add-on may send in a second: the largest frame. More of it waits, and is its own to drop.
 */
#define SECOND_MAX  FRAME_SIZE_MAX
#define PROBLEM_MAX 256U
#define SHOWN_MAX   100U
#define KINDS_MAX   32U
#define KEY_SIZE    65U
#define NANOSECONDS 1000000000LL

struct frame_client {
	sd_event *event;
	char *path;
	int fd;
	sd_event_source *io;
	sd_event_source *rest;    /* until it is read from again */
	uint64_t second;          /* that is counted, monotonic */
	uint64_t second_received; /* bytes in it */
	struct buffer input;
	uint64_t sequence;
	uint64_t apply_sequence;
	uint64_t ping_sequence; /* of the one under way, 0: none */
	int64_t ping_sent;
	unsigned missed;
	char key[KEY_SIZE]; /* of the configuration that this connection was given */
	char problem[PROBLEM_MAX];
	char refused[PROBLEM_MAX]; /* why the configuration is not in force, "" if it is */
	uint64_t events[KINDS_MAX];
};

static void disconnect(struct frame_client *client, const char *problem)
{
	client->io = sd_event_source_disable_unref(client->io);
	client->rest = sd_event_source_disable_unref(client->rest);
	client->fd = fd_close(client->fd);
	buffer_done(&client->input);
	client->input = BUFFER_INIT;
	client->key[0] = '\0';
	client->ping_sequence = 0;
	client->apply_sequence = 0;
	client->refused[0] = '\0';
	(void)snprintf(client->problem, sizeof(client->problem), "%s", problem);
}

static void take_error(struct frame_client *client, uint64_t sequence,
		       const Addon__ErrorFrame *error)
{
	cleanup_free char *code = str_escape(error->code, strlen(error->code), SHOWN_MAX);
	cleanup_free char *text = str_escape(error->message, strlen(error->message), SHOWN_MAX);

	if (sequence != 0 && sequence == client->apply_sequence)
		(void)snprintf(client->refused, sizeof(client->refused),
			       "it refuses its configuration: %s: %s", code ? code : "",
			       text ? text : "");
	/* The other errors are answers to nothing that was asked: somebody else is connected. */
	if (sequence == 0)
		(void)snprintf(client->problem, sizeof(client->problem),
			       "its socket answers: %s: %s", code ? code : "", text ? text : "");
}

static void take_frame(struct frame_client *client, const Addon__Frame *frame)
{
	unsigned kind = (unsigned)frame->payload_case;

	switch (frame->payload_case) {
	case ADDON__FRAME__PAYLOAD_CONFIG_ACK:
		if (frame->sequence == client->apply_sequence)
			client->refused[0] = '\0';
		return;
	case ADDON__FRAME__PAYLOAD_PING_ACK:
		if (frame->sequence != client->ping_sequence ||
		    frame->ping_ack->sent_at_unix_nano != client->ping_sent)
			return;
		client->ping_sequence = 0;
		client->missed = 0;
		client->problem[0] = '\0';
		return;
	case ADDON__FRAME__PAYLOAD_ERROR:
		take_error(client, frame->sequence, frame->error);
		return;
	default:
		/* Kind 0 is what this description does not know. */
		if (kind < KINDS_MAX)
			client->events[kind]++;
		return;
	}
}

static int take_bytes(struct frame_client *client, const void *data, size_t size)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	ProtobufCMessage *message = NULL;
	int r = opamp_decode(&addon__frame__descriptor, data, size, &arena, &message);

	/* A census of many devices may be more than we decode: it counts all the same. */
	if (r == OPAMP_E_TOO_LARGE) {
		client->events[0]++;
		return 0;
	}
	if (r == 0)
		take_frame(client, (const Addon__Frame *)message);
	return r;
}

/* The whole frames of what came. 0; 1 where it is no frame; -ENOMEM. */
static int take_input(struct frame_client *client)
{
	size_t used = 0;
	int r = 0;

	while (r == 0 && client->input.size - used >= HEADER_SIZE) {
		const char *at = client->input.data + used;
		uint32_t size;

		memcpy(&size, at, HEADER_SIZE);
		size = ntohl(size);
		if (size > FRAME_SIZE_MAX)
			return 1;
		if (client->input.size - used - HEADER_SIZE < size)
			break;
		r = take_bytes(client, at + HEADER_SIZE, size);
		used += HEADER_SIZE + size;
	}
	if (r != 0)
		return r < 0 ? r : 1;
	if (used == client->input.size) {
		buffer_done(&client->input);
		client->input = BUFFER_INIT;
	} else if (used > 0) {
		memmove(client->input.data, client->input.data + used, client->input.size - used);
		client->input.size -= used;
	}
	return 0;
}

static int on_rested(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct frame_client *client = userdata;

	(void)source;
	(void)usec;
	client->rest = sd_event_source_disable_unref(client->rest);
	return sd_event_source_set_enabled(client->io, SD_EVENT_ON);
}

/* An add-on that sends without end costs what SECOND_MAX costs, and no more. */
static int count_received(struct frame_client *client, size_t size)
{
	uint64_t now = clock_monotonic_usec() / CLOCK_USEC_PER_SEC;

	if (now != client->second) {
		client->second = now;
		client->second_received = 0;
	}
	client->second_received += size;
	if (client->second_received < SECOND_MAX)
		return 0;
	if (sd_event_add_time(client->event, &client->rest, CLOCK_MONOTONIC,
			      (now + 1) * CLOCK_USEC_PER_SEC, 0, on_rested, client) < 0)
		return -ENOMEM;
	return sd_event_source_set_enabled(client->io, SD_EVENT_OFF);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct frame_client *client = userdata;
	cleanup_free char *data = malloc(READ_SIZE);
	ssize_t n;
	int r;

	(void)source;
	(void)events;
	if (!data)
		return 0;
	n = recv(fd, data, READ_SIZE, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		disconnect(client, "its socket was closed");
		return 0;
	}
	r = buffer_add(&client->input, data, (size_t)n);
	if (r == 0)
		r = take_input(client);
	if (r != 0)
		disconnect(client, "what it sends is not netprobe-frame/1");
	else if (count_received(client, (size_t)n) < 0)
		disconnect(client, "no memory");
	return 0;
}

/* Whether who listens is who the directory was made for. */
static bool is_theirs(const struct frame_client *client)
{
	cleanup_free char *directory = strdup(client->path);
	struct ucred peer = {0};
	socklen_t size = sizeof(peer);
	struct stat st;
	char *slash;

	if (!directory)
		return false;
	slash = strrchr(directory, '/');
	if (slash)
		*slash = '\0';
	return slash && lstat(directory, &st) == 0 && S_ISDIR(st.st_mode) &&
	       getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       peer.uid == st.st_uid;
}

static void try_connect(struct frame_client *client)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(client->path) >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, client->path, strlen(client->path) + 1);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (client->fd < 0)
		return;
	if (connect(client->fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) <
	    0)
		disconnect(client, "nobody answers at its socket");
	else if (!is_theirs(client))
		disconnect(client, "its socket is another user's");
	else if (sd_event_add_io(client->event, &client->io, client->fd, EPOLLIN, on_io, client) <
		 0)
		disconnect(client, "no memory");
}

/* A frame whose payload is *size* bytes of the message *field*. */
static void send_frame(struct frame_client *client, uint32_t field, const void *data, size_t size)
{
	Addon__Frame frame = ADDON__FRAME__INIT;
	cleanup_buffer struct buffer message = BUFFER_INIT;
	uint8_t head[32] = {0};
	uint32_t length;
	size_t n = HEADER_SIZE;

	frame.sequence = client->sequence;
	n += addon__frame__pack(&frame, head + HEADER_SIZE);
	n += varint_put_key(field, VARINT_BYTES, head + n);
	n += varint_put(size, head + n);
	length = htonl((uint32_t)(n - HEADER_SIZE + size));
	memcpy(head, &length, HEADER_SIZE);
	if (buffer_add(&message, head, n) < 0 || (size > 0 && buffer_add(&message, data, size) < 0))
		return;
	if (send(client->fd, message.data, message.size, MSG_NOSIGNAL | MSG_DONTWAIT) !=
	    (ssize_t)message.size)
		disconnect(client, "it does not read what it is sent");
}

static void apply(struct frame_client *client, const json_t *config, const char *key)
{
	cleanup_buffer struct buffer inner = BUFFER_INIT;
	cleanup_json json_t *whole = json_pack("{s:O}", "config", (json_t *)config);

	if (!whole || frame_config_encode(&addon__apply_config__descriptor, whole, &inner) < 0)
		return;
	client->apply_sequence = ++client->sequence;
	(void)snprintf(client->key, sizeof(client->key), "%s", key);
	send_frame(client, ADDON__FRAME__PAYLOAD_APPLY_CONFIG, inner.data, inner.size);
}

static void ping(struct frame_client *client)
{
	Addon__Ping message = ADDON__PING__INIT;
	uint8_t data[16];
	struct timespec now;

	if (client->ping_sequence != 0 && client->missed < FRAME_MISSED_MAX)
		client->missed++;
	if (client->missed >= FRAME_MISSED_MAX)
		(void)snprintf(client->problem, sizeof(client->problem),
			       "it does not answer pings");
	(void)clock_gettime(CLOCK_REALTIME, &now);
	client->ping_sent = (int64_t)now.tv_sec * NANOSECONDS + now.tv_nsec;
	client->ping_sequence = ++client->sequence;
	message.sent_at_unix_nano = client->ping_sent;
	send_frame(client, ADDON__FRAME__PAYLOAD_PING, data, addon__ping__pack(&message, data));
}

int frame_client_new(sd_event *event, const char *path, struct frame_client **ret)
{
	cleanup_frame_client struct frame_client *client = calloc(1, sizeof(*client));

	if (!client)
		return -ENOMEM;
	client->fd = -EBADF;
	client->event = sd_event_ref(event);
	client->path = strdup(path);
	if (!client->path)
		return -ENOMEM;
	*ret = TAKE_PTR(client);
	return 0;
}

struct frame_client *frame_client_free(struct frame_client *client)
{
	if (!client)
		return NULL;
	disconnect(client, "");
	free(client->path);
	(void)sd_event_unref(client->event);
	free(client);
	return NULL;
}

void frame_client_tick(struct frame_client *client, const json_t *config, const char *key)
{
	if (client->fd < 0)
		try_connect(client);
	if (client->fd >= 0 && strcmp(client->key, key) != 0)
		apply(client, config, key);
	if (client->fd >= 0)
		ping(client);
}

const char *frame_client_problem(const struct frame_client *client)
{
	return client->problem[0] != '\0' ? client->problem : client->refused;
}

json_t *frame_client_events(const struct frame_client *client)
{
	cleanup_json json_t *json = json_object();

	for (unsigned i = 0; json && i < KINDS_MAX; i++) {
		const ProtobufCFieldDescriptor *field =
			protobuf_c_message_descriptor_get_field(&addon__frame__descriptor, i);

		if (client->events[i] > 0 &&
		    json_add_uint(json, field ? field->name : "other", client->events[i]) < 0)
			return NULL;
	}
	return TAKE_PTR(json);
}
