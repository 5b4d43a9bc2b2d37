/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"

/* A transaction is left open: whoever looks after failed updaters has to. */
#define SERVE_E_UNSETTLED 1

/*
 * Serves the one request of the connection *fd*: receives it, decides by the socket's own address
 * what its peer may ask for, has the engine carry it out, logs and answers. A peer that went away
 * is no error. 0; SERVE_E_UNSETTLED, the answer is given; -errno: then there was none.
 */
must_check int serve_connection(int fd);
