/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "netprobe/frame.h"

#define CLIENT_WHY_MAX 320U

/* The other end of the daemon's socket, for programs that wait. */
struct client {
	int fd;
	struct frame_reader reader;
	uint64_t sequence; /* of the last request */
};

#define CLIENT_INIT      \
	(struct client)  \
	{                \
		.fd = -1 \
	}

void client_done(struct client *client);
#define cleanup_client CLEANUP(client_done)

/* 0 or -errno with a sentence in *why*. */
must_check int client_open(struct client *client, const char *path, char why[CLIENT_WHY_MAX]);
/* Sends a request, whose sequence is client->sequence then. */
must_check int client_send(struct client *client, uint32_t arm, const void *payload);

enum client_condition {
	CLIENT_E_END = 1, /* the daemon closed the connection, or says what is no frame */
	CLIENT_E_LATE,    /* nothing came in time */
};

/* The next frame, of whatever kind; *timeout* in milliseconds, -1 to wait. The message lives as
 * long as *ret_arena*. 0; enum client_condition; -errno. */
must_check int client_next(struct client *client, int timeout, struct opamp_arena **ret_arena,
			   const Netprobe__NetprobeFrame **ret);
/* The next frame that answers the last request; others are skipped. */
must_check int client_answer(struct client *client, struct opamp_arena **ret_arena,
			     const Netprobe__NetprobeFrame **ret);
