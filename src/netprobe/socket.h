/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"

#define SOCKET_PATH    "/run/affix/netprobe/ipc.sock"
#define SOCKET_WHY_MAX 320U
#define SOCKET_MODE    0660U

/*
 * Listens at *path*: a Unix socket of mode 0660 with the group of its directory, which has to be
 * there. A socket that nobody listens at any more is replaced, one that somebody does is not.
 * 0 or -errno with a sentence in *why*.
 */
must_check int socket_listen(const char *path, int *ret_fd, char why[SOCKET_WHY_MAX]);
/* Connects to it. 0 or -errno with a sentence in *why*. */
must_check int socket_connect(const char *path, int *ret_fd, char why[SOCKET_WHY_MAX]);
/* Removes what socket_listen() made, if it still is what stands there. */
void socket_remove(const char *path, int fd);
