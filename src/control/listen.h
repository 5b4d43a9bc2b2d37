/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/*
 * Makes *n* listening sockets on one address (`listen` of affixd.yaml, which was checked): the
 * kernel spreads connections over them, and a front that is started again finds in its own what
 * came meanwhile. *ret_port* is the port that they have. 0; -errno, of which -EADDRINUSE is
 * somebody else's socket and -ENOENT an address that this host does not have.
 */
must_check int listen_open(const char *listen, unsigned n, int *ret_fds, unsigned *ret_port);

/* http:// or https://, the address (or the host's name, where that is no single one) and the port.
 * 0 or -ENOMEM; the caller frees *ret*. */
must_check int listen_default_url(const char *listen, bool is_tls, unsigned port, char **ret);
