/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/* Ends a process that does not get a request answered in so many seconds. */
#define SERVE_ANSWER_SECONDS 40U

/*
 * Answers a connection's requests, one after another, until its other side ends it, sends no
 * whole line for half a minute, or does not take its answers. *in* and *out* may be the same; both
 * are left non-blocking. *may_end*: the other side may end the guest. 0 or -errno.
 */
must_check int serve_connection(int in, int out, bool may_end);

/*
 * Answers what comes out of a port: a character device whose other side comes and goes. Whatever
 * was begun when it went is forgotten. -errno when the port is gone (-EIO, -ENODEV); it does not
 * return otherwise. SIGIO is blocked and may come at any time.
 */
must_check int serve_port(int fd);
