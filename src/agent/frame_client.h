/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"

/* How long one frame may be. */
#define FRAME_SIZE_MAX (4UL << 20)
/* Pings without an answer after which an add-on is unwell. */
#define FRAME_MISSED_MAX 3U

/* The agent's end of an add-on's netprobe-frame/1 socket. */
struct frame_client;

/* For the socket *path*, which must lie in a directory of the add-on's user. Nothing is connected
 * yet. 0 or -errno. */
must_check int frame_client_new(sd_event *event, const char *path, struct frame_client **ret);
struct frame_client *frame_client_free(struct frame_client *client);

DEFINE_CLEANUP(struct frame_client *, frame_client, frame_client_free)
#define cleanup_frame_client CLEANUP(cleanup_frame_client)

/* Connects where it is not connected, applies *config* if it is another (by *key*) than on this
 * connection, and pings. What goes wrong is a problem of the add-on's, and tried again next time.
 */
void frame_client_tick(struct frame_client *client, const json_t *config, const char *key);

/* What is wrong, "" for nothing. */
const char *frame_client_problem(const struct frame_client *client);
/* How many messages of each kind came that nobody asked for. NULL: no memory. */
json_t *frame_client_events(const struct frame_client *client);
