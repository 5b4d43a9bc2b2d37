/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/config.h"
#include "agent/web.h"
#include "base/cleanup.h"

/*
 * The way to the server: WebSocket, or HTTP polling where the server has none; kept up with
 * growing, jittered pauses; a heartbeat when there is nothing else to say.
 */
struct link;

struct link_handler {
	void *userdata;
	/* Adds "KEY: VALUE" lines for the next connection: who we are. 0 or -errno. */
	int (*headers)(void *userdata, struct strv *headers);
	/* A new connection: the next message must tell everything. */
	void (*on_open)(void *userdata);
	/* The next message behind *prefix* zero bytes. 0 or -errno; link frees *ret*. */
	int (*compose)(void *userdata, size_t prefix, uint8_t **ret, size_t *ret_size);
	/* A ServerToAgent's bytes. */
	void (*on_message)(void *userdata, const void *data, size_t size);
	/* The connection ended; *status* is the server's refusal (0: none). */
	void (*on_close)(void *userdata, long status, const char *reason);
};

/* All borrowed, for the link's life. 0 or -errno. */
must_check int link_new(sd_event *event, struct web *web, const struct config *config,
			const struct link_handler *handler, struct link **ret);
struct link *link_free(struct link *link);

DEFINE_CLEANUP(struct link *, link, link_free)
#define cleanup_link CLEANUP(cleanup_link)

/* Connects as soon as the loop runs. */
must_check int link_start(struct link *link);
/* The server takes us: pauses begin small again when this connection ends. */
void link_confirm(struct link *link);
/* There is something to say. */
void link_send(struct link *link);
/* Ends the connection and makes another: soon, or after *pause* seconds and up to as many again, so
 * that not all come at once. May be called from the handler. */
void link_reconnect(struct link *link, uint64_t pause);
/* The way to the server is another: whatever was tried and learnt of the old one is forgotten, and
 * a connection is made at once. Nothing, before link_start(). */
void link_restart(struct link *link);
/* Heartbeats and polls come this often from now on; 0: no heartbeats, and polls as before. */
void link_set_heartbeat(struct link *link, uint64_t seconds);
/* The same for polls alone; 0: as heartbeats. */
void link_set_poll(struct link *link, uint64_t seconds);
/* A number that no other connection of this or another process has; 0: not connected. */
uint64_t link_connection(const struct link *link);
/* "websocket" or "http". */
const char *link_transport(const struct link *link);
/* Tells the server the *size* bytes of a last message, as far as that goes without waiting. */
void link_say_goodbye(struct link *link, const void *data, size_t size);

/* The pause before attempt *n* (from 0): half of it certain, half by *random*; at least and spread
 * over *retry_after*. Seconds in, microseconds out. */
uint64_t link_pause(unsigned n, uint64_t max, uint64_t retry_after, uint32_t random);
