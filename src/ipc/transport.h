/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "ipc/request.h"
#include "ipc/result.h"

/* A reply up to this size travels in the message, a larger one as a sealed memfd. */
#define TRANSPORT_INLINE_MAX (64UL * 1024)
#define TRANSPORT_REPLY_MAX  (16U << 20)

/* A request as it came: descriptors in the header's order, by kind; -EBADF where none. */
struct transport_request {
	struct request request;
	int fds[REQUEST_FD_N];
	uid_t peer_uid;
	pid_t peer_pid;
};

#define TRANSPORT_REQUEST_INIT                    \
	(struct transport_request)                \
	{                                         \
		.fds = { -EBADF, -EBADF, -EBADF } \
	}

/* How long a reply waits for a peer that does not read. */
#define TRANSPORT_REPLY_USEC (2ULL * 1000 * 1000)

/*
 * Receives one request from a connected SOCK_SEQPACKET socket within REQUEST_DEADLINE_USEC.
 * Surplus, missing and truncated descriptors are refused, and closed; so is everything but regular
 * files open for reading and within the limits of their kind. What a descriptor's file is may still
 * change, and reading it may hang: the peer owns it. 0; refused; -errno (-ETIMEDOUT, -ECONNRESET:
 * nobody to answer). The peer is set in *ret also then.
 */
must_check int transport_receive(int fd, struct transport_request *ret,
				 struct refusal *reterr_refusal);
void transport_request_done(struct transport_request *request);
#define cleanup_transport_request CLEANUP(transport_request_done)

/* Sends the reply. 0; 1 if the peer is gone or does not read, which is no error of the operation;
 * -errno. */
must_check int transport_reply(int fd, const struct result *result);

/*
 * The client's side: connects to *path*, sends, waits for the reply as long as it takes. 0; -errno
 * (-ENOENT, -ECONNREFUSED: no updater listens; -EACCES: not for this user; -ECONNRESET: it ended
 * without an answer; -EBADMSG: the answer is not one).
 */
must_check int transport_call(const char *path, const struct request *request,
			      const int fds[REQUEST_FD_N], struct result *ret);
