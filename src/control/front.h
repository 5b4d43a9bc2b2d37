/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <libwebsockets.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "control/config.h"
#include "control/front_admission.h"
#include "control/front_limit.h"
#include "control/link.h"
#include "control/package_url.h"
#include "control/slots.h"

/*
 * One front process, shared by the files front*.c: a libwebsockets context on a libuv loop, the
 * link to the store, and tables of what is open. Everything happens in callbacks of that loop.
 */

#define FRONT_BODY_MAX 1048576U /* 1 MiB: bodies that are not spooled, before and after gzip */

struct agent;
struct exchange;

/* What is kept for a connection from accept() to close(), whatever is spoken over it. */
struct front_peer {
	struct limit_address *address;
	uint64_t read;  /* bytes, when the last request began or ended: front_reuse.c */
	bool is_used;   /* there was a request */
	bool is_proven; /* somebody with a credential is at the other end */
};

/* What libwebsockets keeps for us with each connection; at most one of them is set. */
struct front_session {
	struct exchange *exchange;
	struct agent *agent;
};

/* Numbers of agents, some perhaps gone by now. */
struct front_numbers {
	uint64_t *items;
	size_t count;
	size_t size;
};

struct front {
	const struct config *config;
	unsigned number;
	uv_loop_t loop;
	uv_poll_t link_poll;
	uv_poll_t listen_poll;
	uv_prepare_t before_sleep;
	uv_timer_t timer;
	uv_signal_t stop_signal;
	struct lws_context *context;
	struct lws_vhost *vhost;
	struct link *link;
	struct limits limits;
	struct admission admission;
	struct slots agents;          /* struct agent, by connection number */
	struct slots requests;        /* struct exchange that wait for a HttpResponse */
	void *polled;                 /* tree (search.h) of agents that poll */
	struct front_numbers seen;    /* agents heard of since the last AgentsSeen */
	struct front_numbers closing; /* agents whose WebSockets are to be closed */
	uint64_t now;                 /* seconds, monotonic */
	uint64_t seen_due;            /* when AgentsSeen goes out next */
	uint64_t stop_due;
	unsigned
		return_seconds; /* over how long those come back that a stopping front sends away */
	uint64_t upload_count;  /* names files in DATA/incoming */
	bool has_key;
	bool is_listening;
	bool is_link_full; /* link_poll waits for room, too */
	bool is_stopping;
	bool is_broken;  /* the store is gone */
	bool has_warned; /* of a URL that is guessed */
	uint8_t key[PACKAGE_URL_KEY_SIZE];
};

/* Queues a frame to the store; it is sent before the loop sleeps. 0 or -errno. */
must_check int front_send(struct front *front, const Link__Frame *frame);

/* The store does not keep up: nothing is to be asked of it that can wait. */
bool front_is_congested(const struct front *front);

/* Whoever is behind the connection has shown a credential. */
void front_prove(struct front *front, struct lws *wsi);
bool front_is_proven(struct lws *wsi);

/* A header's value, copied; NULL where it is absent or out of memory. The caller frees it. */
char *front_header(struct lws *wsi, enum lws_token_indexes token);
/* How the client reached us, "https://HOST:PORT" by its Host header; NULL where that is none, or
 * out of memory. The caller frees it. */
char *front_base_url(struct front *front, struct lws *wsi);
/* A host that the store knows came by *url*, or NULL: says once where that hangs on a header. */
void front_warn_of_guess(struct front *front, const char *url);

/* Milliseconds, monotonic. */
uint64_t front_msec(void);
