/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The link. One state: waiting, connecting, open. A connection is a number; HTTP polls that follow
 * each other without a failure are one. Ends are carried out from a deferred event, so that no
 * callback frees what called it.
 */

#include "agent/link.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "agent/poll.h"
#include "agent/websocket.h"
#include "base/clock.h"
#include "base/str.h"
#include "opamp/decode.h"

#define SLACK_USEC    (100 * CLOCK_USEC_PER_MSEC)
#define NEWS_USEC     (200 * CLOCK_USEC_PER_MSEC)
#define FIRST_SECONDS 1U
#define DOUBLINGS_MAX 16U
#define SOON_USEC     (100 * CLOCK_USEC_PER_MSEC)
/* How many polls may pass before a WebSocket is tried again. */
#define WEBSOCKET_AGAIN_SECONDS 3600U

enum link_state {
	LINK_WAITING,
	LINK_CONNECTING,
	LINK_OPEN,
};

struct link {
	sd_event *event;
	struct web *web;
	const struct config *config;
	const struct link_handler *handler;
	enum link_state state;
	struct websocket *websocket;
	struct poll *poll;
	sd_event_source *timer;  /* the next attempt, or the next heartbeat */
	sd_event_source *ending; /* carries out an end */
	uint64_t pause_usec;
	uint64_t heartbeat_seconds;
	uint64_t poll_seconds;
	uint64_t connection;
	unsigned failures;
	bool is_started;
	bool is_http;           /* the server was found to have no WebSocket */
	uint64_t is_http_until; /* monotonic microseconds */
	bool has_news;
	uint64_t sent_at; /* monotonic microseconds */
	uint64_t pinged_at;
	bool is_ending; /* decided, and carried out when the loop runs */
};

uint64_t link_pause(unsigned n, uint64_t max, uint64_t retry_after, uint32_t random)
{
	uint64_t seconds = (uint64_t)FIRST_SECONDS << MIN(n, DOUBLINGS_MAX);
	uint64_t half = MIN(seconds, max) * CLOCK_USEC_PER_SEC / 2;
	uint64_t pause = half + half * random / UINT32_MAX;

	/* Everybody was told the same number: spread over as much again. */
	if (retry_after > 0) {
		uint64_t least = retry_after * CLOCK_USEC_PER_SEC;

		pause = MAX(pause, least + least / (UINT16_MAX + 1U) * (random >> 16U));
	}
	return pause;
}

static void set_timer(struct link *link, uint64_t usec)
{
	(void)sd_event_source_set_time_relative(link->timer, usec);
	(void)sd_event_source_set_enabled(link->timer, SD_EVENT_ONESHOT);
}

static void plan_heartbeat(struct link *link)
{
	uint64_t seconds = link->heartbeat_seconds;

	if (link->poll && link->poll_seconds > 0)
		seconds = link->poll_seconds;
	if (seconds == 0 && link->poll)
		seconds = link->config->heartbeat_seconds;
	if (seconds == 0)
		(void)sd_event_source_set_enabled(link->timer, SD_EVENT_OFF);
	else
		set_timer(link, seconds * CLOCK_USEC_PER_SEC);
}

/* To be ended from the loop, and begun again after *usec*. */
static void end_soon(struct link *link, uint64_t usec)
{
	link->pause_usec = usec;
	link->is_ending = true;
	(void)sd_event_source_set_enabled(link->ending, SD_EVENT_ONESHOT);
}

/* A connection, or the attempt to make one, is over: the handler is told once. */
static void fail(struct link *link, long status, uint64_t retry_after, const char *reason)
{
	if (link->is_ending)
		return;
	end_soon(link, link_pause(link->failures, link->config->reconnect_max_seconds, retry_after,
				  randombytes_random()));
	if (link->failures < DOUBLINGS_MAX)
		link->failures++;
	link->handler->on_close(link->handler->userdata, status, reason);
}

static int on_ending(sd_event_source *source, void *userdata)
{
	struct link *link = userdata;

	(void)source;
	link->websocket = websocket_close(link->websocket);
	link->poll = poll_free(link->poll);
	link->state = LINK_WAITING;
	link->is_ending = false;
	link->connection = 0;
	set_timer(link, link->pause_usec);
	return 0;
}

static uint64_t heartbeat_usec(const struct link *link)
{
	return MAX(link->heartbeat_seconds, (uint64_t)1) * CLOCK_USEC_PER_SEC;
}

static void send_now(struct link *link)
{
	cleanup_free uint8_t *data = NULL;
	size_t size = 0;
	int r;

	/* One poll at a time; what is new goes with the next. */
	if (link->is_ending || (link->poll && poll_is_busy(link->poll)))
		return;
	link->has_news = false;
	link->sent_at = clock_monotonic_usec();
	r = link->handler->compose(link->handler->userdata, link->websocket ? 1 : 0, &data, &size);
	if (r == 0)
		r = link->websocket ? websocket_send(link->websocket, data, size)
				    : poll_send(link->poll, data, size);
	if (r < 0) {
		fail(link, 0, 0, strerrordesc_np(-r));
		return;
	}
	plan_heartbeat(link);
}

/* What is new goes out, though not more often than NEWS_USEC: a server that keeps asking for
 * everything is answered, and not at the speed of the network. */
static void send_news(struct link *link)
{
	uint64_t since = clock_monotonic_usec() - link->sent_at;

	if (since >= NEWS_USEC)
		send_now(link);
	else
		set_timer(link, NEWS_USEC - since);
}

static void begin_connection(struct link *link)
{
	link->pinged_at = clock_monotonic_usec();
	do
		randombytes_buf(&link->connection, sizeof(link->connection));
	while (link->connection == 0);
	link->handler->on_open(link->handler->userdata);
}

static void on_websocket_open(void *userdata)
{
	struct link *link = userdata;

	link->state = LINK_OPEN;
	begin_connection(link);
	send_now(link);
}

static void on_websocket_message(void *userdata, const void *data, size_t size)
{
	struct link *link = userdata;
	size_t offset = 0;

	if (link->is_ending)
		return;
	if (opamp_skip_header(data, size, &offset) != 0) {
		fail(link, 0, 0, "the server sent a message without OpAMP's header");
		return;
	}
	link->handler->on_message(link->handler->userdata, (const uint8_t *)data + offset,
				  size - offset);
}

/* Whether the answer says that there is no WebSocket here, rather than: not now, or not for you. */
static bool has_no_websocket(long status)
{
	return status == 200 || status == 400 || status == 404 || status == 405 || status == 406 ||
	       status == 415 || status == 426 || status == 501;
}

static void on_websocket_end(void *userdata, long status, uint64_t retry_after, const char *reason)
{
	struct link *link = userdata;

	if (link->state == LINK_CONNECTING && link->config->transport == CONFIG_TRANSPORT_AUTO &&
	    has_no_websocket(status)) {
		link->is_http = true;
		link->is_http_until =
			clock_monotonic_usec() + WEBSOCKET_AGAIN_SECONDS * CLOCK_USEC_PER_SEC;
		end_soon(link, SOON_USEC);
		return;
	}
	fail(link, status, retry_after, reason);
}

static void on_poll_answer(void *userdata, const void *data, size_t size)
{
	struct link *link = userdata;

	link->state = LINK_OPEN;
	link->handler->on_message(link->handler->userdata, data, size);
	if (link->has_news)
		send_news(link);
}

static void on_poll_failed(void *userdata, long status, uint64_t retry_after, const char *reason)
{
	struct link *link = userdata;

	fail(link, status, retry_after, reason);
}

static int connect_websocket(struct link *link, const struct strv *headers)
{
	struct websocket_handler handler = {.userdata = link,
					    .on_open = on_websocket_open,
					    .on_message = on_websocket_message,
					    .on_end = on_websocket_end};

	return websocket_open(link->web, link->event, link->config->url, headers, &handler,
			      &link->websocket);
}

static int connect_poll(struct link *link, const struct strv *headers)
{
	struct poll_handler handler = {
		.userdata = link, .on_answer = on_poll_answer, .on_failed = on_poll_failed};
	int r = poll_new(link->web, link->config->url, headers, &handler, &link->poll);

	if (r < 0)
		return r;
	begin_connection(link);
	send_now(link);
	return 0;
}

static void start_connection(struct link *link)
{
	cleanup_strv struct strv headers = STRV_INIT;
	bool is_http;
	int r;

	if (link->is_http && clock_monotonic_usec() > link->is_http_until)
		link->is_http = false;
	is_http = link->is_http || link->config->transport == CONFIG_TRANSPORT_HTTP;
	link->state = LINK_CONNECTING;
	r = link->handler->headers(link->handler->userdata, &headers);
	if (r == 0)
		r = is_http ? connect_poll(link, &headers) : connect_websocket(link, &headers);
	if (r < 0)
		fail(link, 0, 0, strerrordesc_np(-r));
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct link *link = userdata;

	(void)source;
	(void)usec;
	if (link->state == LINK_WAITING) {
		start_connection(link);
		return 0;
	}
	if (link->websocket &&
	    clock_monotonic_usec() + SLACK_USEC >= link->pinged_at + heartbeat_usec(link)) {
		/* Half-open connections show by pings that are not answered. */
		link->pinged_at = clock_monotonic_usec();
		if (websocket_ping(link->websocket) == -ETIMEDOUT) {
			fail(link, 0, 0, "the server does not answer pings");
			return 0;
		}
	}
	send_now(link);
	return 0;
}

int link_new(sd_event *event, struct web *web, const struct config *config,
	     const struct link_handler *handler, struct link **ret)
{
	cleanup_link struct link *link = calloc(1, sizeof(*link));
	int r;

	if (!link)
		return -ENOMEM;
	link->event = sd_event_ref(event);
	link->web = web;
	link->config = config;
	link->handler = handler;
	link->heartbeat_seconds = config->heartbeat_seconds;
	r = sd_event_add_time_relative(event, &link->timer, CLOCK_MONOTONIC, UINT64_MAX / 2,
				       SLACK_USEC, on_timer, link);
	if (r >= 0)
		r = sd_event_add_defer(event, &link->ending, on_ending, link);
	if (r >= 0)
		r = sd_event_source_set_enabled(link->ending, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(link);
	return 0;
}

struct link *link_free(struct link *link)
{
	if (!link)
		return NULL;
	(void)websocket_close(link->websocket);
	(void)poll_free(link->poll);
	(void)sd_event_source_disable_unref(link->timer);
	(void)sd_event_source_disable_unref(link->ending);
	(void)sd_event_unref(link->event);
	free(link);
	return NULL;
}

int link_start(struct link *link)
{
	link->is_started = true;
	set_timer(link, 0);
	return 0;
}

void link_confirm(struct link *link)
{
	link->failures = 0;
}

void link_send(struct link *link)
{
	link->has_news = true;
	if (link->state == LINK_OPEN && !link->is_ending)
		send_news(link);
}

void link_reconnect(struct link *link, uint64_t pause)
{
	uint64_t usec = link_pause(0, 0, pause, randombytes_random());

	if (link->state != LINK_WAITING)
		end_soon(link, MAX(usec, SOON_USEC));
}

void link_restart(struct link *link)
{
	link->failures = 0;
	link->is_http = false;
	link->poll_seconds = 0;
	if (!link->is_started)
		return;
	if (link->state != LINK_WAITING || link->is_ending)
		end_soon(link, SOON_USEC);
	else
		set_timer(link, 0);
}

void link_set_heartbeat(struct link *link, uint64_t seconds)
{
	link->heartbeat_seconds = seconds;
	if (link->state == LINK_OPEN)
		plan_heartbeat(link);
}

void link_set_poll(struct link *link, uint64_t seconds)
{
	link->poll_seconds = seconds;
	if (link->state == LINK_OPEN)
		plan_heartbeat(link);
}

uint64_t link_connection(const struct link *link)
{
	return link->is_ending ? 0 : link->connection;
}

const char *link_transport(const struct link *link)
{
	return link->poll ? "http" : "websocket";
}

void link_say_goodbye(struct link *link, const void *data, size_t size)
{
	/* websocket_close() writes out what is queued. */
	if (link->state == LINK_OPEN && link->websocket)
		ignore_result(websocket_send(link->websocket, data, size));
}
