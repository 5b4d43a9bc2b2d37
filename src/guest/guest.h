/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

struct guest_options {
	const char *port_path; /* of virtio-serial; NULL: the one that has our name */
	unsigned vsock_port;
	unsigned peer;       /* the CID whose connections are taken */
	bool takes_any_port; /* of the peer's, not those of its root alone, for a shutdown */
};

/* Serves vsock and the port for ever, each when it is there. -errno where that cannot be; -EPERM or
 * -EACCES where there is a port that may not be opened. */
must_check int guest_run(const struct guest_options *options);
