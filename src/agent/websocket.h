/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/web.h"
#include "base/cleanup.h"

/* A client's WebSocket (RFC 6455), binary messages only. */
struct websocket;

struct websocket_handler {
	void *userdata;
	void (*on_open)(void *userdata);
	void (*on_message)(void *userdata, const void *data, size_t size);
	/* It has ended, or never began: *status* is the HTTP status of a server that did not
	 * upgrade (0: none), *retry_after* its wish in seconds. Called at most once, last of all.
	 * The websocket is to be closed, though not in this call. */
	void (*on_end)(void *userdata, long status, uint64_t retry_after, const char *reason);
};

/* Connects to *url* (http or https) with "KEY: VALUE" headers. Callbacks come from the loop; none
 * of them may close the websocket. 0 or -errno. */
must_check int websocket_open(struct web *web, sd_event *event, const char *url,
			      const struct strv *headers, const struct websocket_handler *handler,
			      struct websocket **ret);
/* Says goodbye where it can, and ends at once. */
struct websocket *websocket_close(struct websocket *websocket);

DEFINE_CLEANUP(struct websocket *, websocket, websocket_close)
#define cleanup_websocket CLEANUP(cleanup_websocket)

/* Queues one message. 0 or -errno. */
must_check int websocket_send(struct websocket *websocket, const void *data, size_t size);
/* Asks the peer for a sign of life; -ETIMEDOUT where the one before was never answered. */
must_check int websocket_ping(struct websocket *websocket);
