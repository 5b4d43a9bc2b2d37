/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "control/config.h"

/* What the two kinds of children of affixd get. Their descriptors stand at these places; nothing
 * else is open but 0 to 2. */
enum child_fd {
	CHILD_FD_FIRST = 3,
	/* a front */
	FRONT_FD_LISTEN = CHILD_FD_FIRST,
	FRONT_FD_LINK,
	FRONT_FD_ARTIFACTS,
	FRONT_FD_INCOMING,
	FRONT_FD_END,
	/* the store */
	STORE_FD_CONTROL = CHILD_FD_FIRST,
	STORE_FD_DATA,
	STORE_FD_TRUST,
	STORE_FD_END,
};

/* How files in DATA/incoming begin that front %u writes. */
#define CHILD_UPLOAD_NAME     "upload-%u-"
#define CHILD_UPLOAD_NAME_MAX 24U

/*
 * The control socket (SOCK_SEQPACKET): for each front that starts, the parent sends its number and
 * the store's end of its link; once it can serve, the store sends one byte. Its end tells the store
 * that the parent is gone.
 */
struct child_front_message {
	uint32_t number; /* from 1 */
};

/*
 * Becomes a child: *fds* (n of them, in order, -EBADF for none) move to CHILD_FD_FIRST and up, all
 * others are closed, signals are as at the start of a program, and it dies with its parent. 0 or
 * -errno.
 */
must_check int child_prepare(const int *fds, unsigned n, pid_t parent);

/* The program of each kind of child: its exit code. */
int front_run(const struct config *config, unsigned number);
int store_run(const struct config *config);

/* Passes a front's link on, and takes one from there: 0 and *ret_fd*, -EAGAIN, -ECONNRESET, -errno.
 */
must_check int child_send_front(int control, unsigned number, int fd);
must_check int child_receive_front(int control, unsigned *ret_number, int *ret_fd);
