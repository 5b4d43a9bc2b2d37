/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <link.pb-c.h>
#include <stddef.h>

#include "base/cleanup.h"

/*
 * One end of the socket between a front and the store (proto/link.proto). It belongs to whatever
 * event loop its owner has: link_fd() is readable when link_receive() has something to do, and
 * writable when link_flush() has.
 */
struct link;

/* Larger frames are an error on either side. An AgentReport holds less than what it was decoded
 * from, at most 1 MiB; a request's body is at most 1 MiB; the rest is room for headers. */
#define LINK_FRAME_MAX 8388608U /* 8 MiB */

/* Takes *fd*, also on failure, and makes it non-blocking. 0 or -errno. */
must_check int link_new(int fd, struct link **ret);
struct link *link_free(struct link *link);
int link_fd(const struct link *link);

/* Queues a frame; link_flush() sends. 0, -EMSGSIZE, -ENOMEM. */
must_check int link_send(struct link *link, const Link__Frame *frame);

/* Writes what the socket takes. 0, also where something is left; -errno (-EPIPE: the peer is gone).
 */
must_check int link_flush(struct link *link);

/* Bytes that wait to be written. */
size_t link_queued(const struct link *link);

/*
 * Reads what is there, at most a few MiB, and calls *handler* for each frame until it returns
 * another value than 0, which is then returned. 0; -ECONNRESET: the peer is gone; -EBADMSG: what
 * came is no frame; -errno.
 */
must_check int link_receive(struct link *link,
			    int (*handler)(void *userdata, const Link__Frame *frame),
			    void *userdata);

DEFINE_CLEANUP(struct link *, link, link_free)
#define cleanup_link CLEANUP(cleanup_link)
