/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/* Listens on a port of vsock, of whatever CID this machine has or will have. 0 or -errno
 * (-EAFNOSUPPORT: the kernel has no vsock, or not yet). */
must_check int listen_on_vsock(unsigned port, int *ret_fd);

enum {
	LISTEN_E_STRANGER = 1
};

/* Takes a connection of the machine *peer*: anybody else's is closed. *ret_is_privileged*: it is
 * from a port that only the peer's root may use. 0; LISTEN_E_STRANGER; -errno. */
must_check int listen_accept(int listener, unsigned peer, bool *ret_is_privileged, int *ret_fd);
