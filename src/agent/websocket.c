/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A WebSocket over libcurl's CONNECT_ONLY: libcurl makes the connection with TLS and proxy, wslay
 * frames messages, and the upgrade between the two is written here, because the WebSocket interface
 * of Debian 12's libcurl is experimental and not compiled in. What the server sends behind its
 * answer belongs to the first frame.
 */

#include "agent/websocket.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/epoll.h>
#include <wslay/wslay.h>

#include "agent/address.h"
#include "agent/websocket_answer.h"
#include "base/str.h"
#include "opamp/decode.h"

#define ANSWER_MAX      (16UL * 1024)
#define READ_SIZE       4096U
#define KEY_BYTES       16U
#define KEY_SIZE        25U
#define HANDSHAKE_USEC  (30ULL * 1000 * 1000)
#define STATUS_UPGRADED 101

enum phase {
	PHASE_CONNECTING,
	PHASE_UPGRADING,
	PHASE_OPEN,
	PHASE_ENDED,
};

struct websocket {
	sd_event *event;
	struct web_transfer *transfer;
	struct websocket_handler handler;
	sd_event_source *io;
	sd_event_source *deadline;
	wslay_event_context_ptr frames;
	enum phase phase;
	char key[KEY_SIZE];
	struct buffer request; /* unsent part of the upgrade */
	size_t request_sent;
	struct buffer answer; /* then what came behind it */
	size_t answer_used;
	bool is_pinged;
};

static void end(struct websocket *websocket, long status, uint64_t retry_after, const char *reason)
{
	if (websocket->phase == PHASE_ENDED)
		return;
	websocket->phase = PHASE_ENDED;
	websocket->io = sd_event_source_disable_unref(websocket->io);
	websocket->deadline = sd_event_source_disable_unref(websocket->deadline);
	websocket->handler.on_end(websocket->handler.userdata, status, retry_after, reason);
}

static void want(struct websocket *websocket, uint32_t events)
{
	if (websocket->io)
		(void)sd_event_source_set_io_events(websocket->io, events);
}

static ssize_t on_frame_recv(wslay_event_context_ptr frames, uint8_t *data, size_t size, int flags,
			     void *userdata)
{
	struct websocket *websocket = userdata;
	size_t waiting = websocket->answer.size - websocket->answer_used;
	CURLcode code;
	size_t n = 0;

	(void)flags;
	if (waiting > 0) {
		n = MIN(waiting, size);
		memcpy(data, websocket->answer.data + websocket->answer_used, n);
		websocket->answer_used += n;
		return (ssize_t)n;
	}
	buffer_done(&websocket->answer);
	websocket->answer = BUFFER_INIT;
	websocket->answer_used = 0;
	code = curl_easy_recv(websocket->transfer->easy, data, size, &n);
	if (code == CURLE_OK && n > 0)
		return (ssize_t)n;
	wslay_event_set_error(frames, code == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK
							  : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t on_frame_send(wslay_event_context_ptr frames, const uint8_t *data, size_t size,
			     int flags, void *userdata)
{
	struct websocket *websocket = userdata;
	size_t n = 0;
	CURLcode code = curl_easy_send(websocket->transfer->easy, data, size, &n);

	(void)flags;
	if (code == CURLE_OK)
		return (ssize_t)n;
	wslay_event_set_error(frames, code == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK
							  : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static int on_mask(wslay_event_context_ptr frames, uint8_t *data, size_t size, void *userdata)
{
	(void)frames;
	(void)userdata;
	randombytes_buf(data, size);
	return 0;
}

static void on_frame_message(wslay_event_context_ptr frames,
			     const struct wslay_event_on_msg_recv_arg *message, void *userdata)
{
	struct websocket *websocket = userdata;

	(void)frames;
	websocket->is_pinged = false;
	if (message->opcode == WSLAY_BINARY_FRAME)
		websocket->handler.on_message(websocket->handler.userdata, message->msg,
					      message->msg_length);
}

/* Reads and writes what can be, then waits for what is wanted next. */
static void pump(struct websocket *websocket)
{
	bool is_read = wslay_event_recv(websocket->frames) == 0;
	bool is_written = wslay_event_send(websocket->frames) == 0;

	if (!is_read || !is_written) {
		end(websocket, 0, 0, "the connection broke");
		return;
	}
	if (!wslay_event_want_read(websocket->frames) &&
	    !wslay_event_want_write(websocket->frames)) {
		end(websocket, 0, 0, "the server closed the connection");
		return;
	}
	want(websocket,
	     EPOLLIN | (wslay_event_want_write(websocket->frames) ? (uint32_t)EPOLLOUT : 0));
}

static int begin_frames(struct websocket *websocket)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = on_frame_recv,
		.send_callback = on_frame_send,
		.genmask_callback = on_mask,
		.on_msg_recv_callback = on_frame_message,
	};

	if (wslay_event_context_client_init(&websocket->frames, &callbacks, websocket) != 0)
		return -ENOMEM;
	/* The header of one byte is not the message's. */
	wslay_event_config_set_max_recv_msg_length(websocket->frames, OPAMP_TO_AGENT_MAX + 1);
	return 0;
}

/* The server's answer is whole, *length* bytes of it. */
static void judge_answer(struct websocket *websocket, size_t length)
{
	struct websocket_answer answer = {0};
	char accept[WEBSOCKET_ACCEPT_SIZE];

	websocket->answer.data[length - 1] = '\0';
	websocket->answer_used = length;
	if (websocket_parse_answer(websocket->answer.data, &answer) != 0) {
		end(websocket, 0, 0, "the server does not speak HTTP/1.1");
		return;
	}
	if (answer.status != STATUS_UPGRADED) {
		end(websocket, answer.status, answer.retry_after,
		    "the server did not open a WebSocket");
		return;
	}
	if (websocket_accept(websocket->key, accept) < 0 || strcmp(accept, answer.accept) != 0) {
		end(websocket, 0, 0, "the server's Sec-WebSocket-Accept is wrong");
		return;
	}
	if (begin_frames(websocket) < 0) {
		end(websocket, 0, 0, "no memory");
		return;
	}
	websocket->phase = PHASE_OPEN;
	websocket->deadline = sd_event_source_disable_unref(websocket->deadline);
	websocket->handler.on_open(websocket->handler.userdata);
	if (websocket->phase == PHASE_OPEN)
		pump(websocket);
}

static void read_answer(struct websocket *websocket)
{
	for (;;) {
		char data[READ_SIZE];
		const char *behind;
		size_t n = 0;
		CURLcode code = curl_easy_recv(websocket->transfer->easy, data, sizeof(data), &n);

		if (code == CURLE_AGAIN)
			return;
		if (code != CURLE_OK || n == 0) {
			end(websocket, 0, 0,
			    code != CURLE_OK ? web_transfer_error(websocket->transfer, code)
					     : "the server closed the connection");
			return;
		}
		if (websocket->answer.size + n > ANSWER_MAX ||
		    buffer_add(&websocket->answer, data, n) < 0) {
			end(websocket, 0, 0, "the server's answer is too long");
			return;
		}
		behind = memmem(websocket->answer.data, websocket->answer.size, "\r\n\r\n", 4);
		if (behind) {
			judge_answer(websocket, (size_t)(behind - websocket->answer.data) + 4);
			return;
		}
	}
}

static void write_request(struct websocket *websocket)
{
	while (websocket->request_sent < websocket->request.size) {
		size_t n = 0;
		CURLcode code =
			curl_easy_send(websocket->transfer->easy,
				       websocket->request.data + websocket->request_sent,
				       websocket->request.size - websocket->request_sent, &n);

		if (code == CURLE_AGAIN) {
			want(websocket, EPOLLIN | EPOLLOUT);
			return;
		}
		if (code != CURLE_OK) {
			char data[READ_SIZE];

			/* What the server said before it hung up says more. */
			(void)curl_easy_recv(websocket->transfer->easy, data, sizeof(data), &n);
			end(websocket, 0, 0, web_transfer_error(websocket->transfer, code));
			return;
		}
		websocket->request_sent += n;
	}
	want(websocket, EPOLLIN);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct websocket *websocket = userdata;

	(void)source;
	(void)fd;
	(void)events;
	if (websocket->phase == PHASE_UPGRADING)
		write_request(websocket);
	if (websocket->phase == PHASE_UPGRADING)
		read_answer(websocket);
	else if (websocket->phase == PHASE_OPEN)
		pump(websocket);
	return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	end(userdata, 0, 0, "the server did not answer in time");
	return 0;
}

static void on_connected(void *userdata, CURLcode code)
{
	struct websocket *websocket = userdata;
	curl_socket_t fd = CURL_SOCKET_BAD;

	if (code != CURLE_OK) {
		end(websocket, 0, 0, web_transfer_error(websocket->transfer, code));
		return;
	}
	if (curl_easy_getinfo(websocket->transfer->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
	    fd == CURL_SOCKET_BAD ||
	    sd_event_add_io(websocket->event, &websocket->io, fd, EPOLLIN | EPOLLOUT, on_io,
			    websocket) < 0) {
		end(websocket, 0, 0, "the connection cannot be used");
		return;
	}
	websocket->phase = PHASE_UPGRADING;
}

/* The request, from the parts of *url* that libcurl does not send for us. */
static int format_request(struct websocket *websocket, const char *url, const struct strv *headers)
{
	cleanup_address struct address address = ADDRESS_INIT;
	uint8_t key[KEY_BYTES];
	int r;

	r = address_parse(url, &address);
	if (r != 0)
		return r < 0 ? r : -EINVAL;
	randombytes_buf(key, sizeof(key));
	(void)sodium_bin2base64(websocket->key, KEY_SIZE, key, sizeof(key),
				sodium_base64_VARIANT_ORIGINAL);
	r = buffer_format(
		&websocket->request,
		"GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nUser-Agent: affix-agent/%s\r\n",
		address.target, address.header, websocket->key, AFFIX_VERSION);
	for (size_t i = 0; r == 0 && i < headers->count; i++)
		r = buffer_format(&websocket->request, "%s\r\n", headers->items[i]);
	return r < 0 ? r : buffer_add(&websocket->request, "\r\n", 2);
}

int websocket_open(struct web *web, sd_event *event, const char *url, const struct strv *headers,
		   const struct websocket_handler *handler, struct websocket **ret)
{
	cleanup_websocket struct websocket *websocket = calloc(1, sizeof(*websocket));
	int r;

	if (!websocket)
		return -ENOMEM;
	websocket->event = sd_event_ref(event);
	websocket->handler = *handler;
	r = format_request(websocket, url, headers);
	if (r == 0)
		r = web_transfer_new(web, url, &websocket->transfer);
	if (r == 0)
		r = sd_event_add_time_relative(event, &websocket->deadline, CLOCK_MONOTONIC,
					       2 * HANDSHAKE_USEC, 0, on_deadline, websocket);
	if (r < 0)
		return r;
	websocket->transfer->on_done = on_connected;
	websocket->transfer->userdata = websocket;
	(void)curl_easy_setopt(websocket->transfer->easy, CURLOPT_CONNECT_ONLY, 1L);
	(void)curl_easy_setopt(websocket->transfer->easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
	/* An upgrade is HTTP/1.1's; nothing else may be agreed upon. */
	(void)curl_easy_setopt(websocket->transfer->easy, CURLOPT_SSL_ENABLE_ALPN, 0L);
	r = web_transfer_start(websocket->transfer);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(websocket);
	return 0;
}

struct websocket *websocket_close(struct websocket *websocket)
{
	if (!websocket)
		return NULL;
	/* What is queued first: nothing is sent behind a close. */
	if (websocket->phase == PHASE_OPEN && wslay_event_send(websocket->frames) == 0 &&
	    wslay_event_queue_close(websocket->frames, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) == 0)
		(void)wslay_event_send(websocket->frames);
	(void)sd_event_source_disable_unref(websocket->io);
	(void)sd_event_source_disable_unref(websocket->deadline);
	if (websocket->frames)
		wslay_event_context_free(websocket->frames);
	(void)web_transfer_free(websocket->transfer);
	buffer_done(&websocket->request);
	buffer_done(&websocket->answer);
	(void)sd_event_unref(websocket->event);
	free(websocket);
	return NULL;
}

static int queue(struct websocket *websocket, uint8_t opcode, const void *data, size_t size)
{
	struct wslay_event_msg message = {.opcode = opcode, .msg = data, .msg_length = size};

	if (websocket->phase != PHASE_OPEN)
		return -ENOTCONN;
	if (wslay_event_queue_msg(websocket->frames, &message) != 0)
		return -ENOMEM;
	/* Sent from the loop, where its failure can be told. */
	want(websocket, EPOLLIN | EPOLLOUT);
	return 0;
}

int websocket_send(struct websocket *websocket, const void *data, size_t size)
{
	return queue(websocket, WSLAY_BINARY_FRAME, data, size);
}

int websocket_ping(struct websocket *websocket)
{
	if (websocket->is_pinged)
		return -ETIMEDOUT;
	websocket->is_pinged = true;
	return queue(websocket, WSLAY_PING, NULL, 0);
}
