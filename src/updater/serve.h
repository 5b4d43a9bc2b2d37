/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"

/*
 * Serves the one request of the connection *fd*: receives it, decides by the socket's own address
 * what its peer may ask for, has the engine carry it out, logs and answers. A peer that went away
 * is no error. 0 or -errno: then there was no answer.
 */
must_check int serve_connection(int fd);
