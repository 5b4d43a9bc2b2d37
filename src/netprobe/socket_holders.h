/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <bpf/netprobe.h>

#include "base/cleanup.h"

/* Which processes hold which sockets, from the descriptors in /proc that may be read. */
struct socket_holders;

must_check int socket_holders_load(struct socket_holders **ret);
struct socket_holders *socket_holders_free(struct socket_holders *holders);
DEFINE_CLEANUP(struct socket_holders *, socket_holders, socket_holders_free)
#define cleanup_socket_holders CLEANUP(cleanup_socket_holders)

/*
 * The one process that holds the socket with this inode; of several the oldest where *first* is
 * asked for, else none. NULL: nobody that can be named.
 */
const struct probe_owner *socket_holders_find(const struct socket_holders *holders, uint32_t inode,
					      bool first);
