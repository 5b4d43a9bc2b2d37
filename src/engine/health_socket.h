/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/fd.h"
#include "engine/health.h"

enum health_socket_state {
	HEALTH_SOCKET_PENDING,
	HEALTH_SOCKET_ACCEPTED,
	HEALTH_SOCKET_REFUSED,
};

/* One attempt to be let in. */
struct health_socket {
	const struct tree *tree;
	const char *path;
	int fd;              /* -EBADF: the backlog is full */
	uint64_t begin_usec; /* CLOCK_MONOTONIC */
	enum health_socket_state state;
	char reason[256]; /* when refused, and while pending */
};

#define HEALTH_SOCKET_INIT     \
	(struct health_socket) \
	{                      \
		.fd = -EBADF   \
	}

/*
 * Begins an attempt at the stream or seqpacket socket *path* (a socket itself, no links on the way)
 * below *tree*. Both are borrowed. Never blocks. 0 with a state, or -errno.
 */
must_check int health_socket_begin(struct health_socket *probe, const struct tree *tree,
				   const char *path);
/* Looks how it goes on; a state that is not pending stays. Refused after *limit_usec*. */
must_check int health_socket_check(struct health_socket *probe, uint64_t limit_usec);
void health_socket_done(struct health_socket *probe);
