/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "netprobe/frame.h"

#define SERVER_CLIENTS_MAX 16U

/* The clients of one socket. */
struct server;
struct server_client;

struct server_handler {
	void *context;
	/* A request came. What it is answered goes out in the order of server_reply(). */
	void (*request)(void *context, struct server_client *client,
			const Netprobe__NetprobeFrame *frame);
	/* Somebody connected; may be NULL. */
	void (*connected)(void *context, struct server_client *client);
};

struct server_counts {
	unsigned clients;
	uint64_t connections, refused; /* of them those that were one too many */
	uint64_t requests, malformed;  /* frames */
	uint64_t events_sent;          /* per client that was to get them */
	uint64_t events_dropped;       /* clients were too slow for */
};

/* Takes over *fd*, which listens. 0 or -errno. */
must_check int server_new(sd_event *event, int fd, const struct server_handler *handler,
			  struct server **ret);
struct server *server_free(struct server *server);

DEFINE_CLEANUP(struct server *, server, server_free)
#define cleanup_server CLEANUP(cleanup_server)

struct server_counts server_counts(const struct server *server);
bool server_has_clients(const struct server *server);
/* So many events for everybody. */
void server_events(struct server *server, struct frame *frame, unsigned events);
/* To everybody, but not to those who are behind: what is complete in itself, and comes again. */
void server_snapshot(struct server *server, struct frame *frame);

/* A client that cannot be answered is disconnected. */
void server_reply(struct server_client *client, uint64_t sequence, struct frame *frame);
void server_reply_message(struct server_client *client, uint64_t sequence, uint32_t arm,
			  const void *payload);
void server_reply_error(struct server_client *client, uint64_t sequence, const char *code,
			const char *message);
/* A long answer: *next* is called again and again, each time that the client has read enough, and
 * gives a part of it by server_reply(). 1: there is more; 0; < 0: the client cannot be answered.
 * Meanwhile other requests of this client wait. *done* ends *stream*, whatever happens. */
void server_stream(struct server_client *client,
		   int (*next)(void *stream, struct server_client *client),
		   void (*done)(void *stream), void *stream);
/* Who it was when it connected, as the kernel says; (uid_t)-1: not known. */
uid_t server_client_uid(const struct server_client *client);
/* Events that this one lost. */
uint64_t server_client_dropped(const struct server_client *client);
