/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <bpf/netprobe.h>

#include "base/cleanup.h"

/* One socket, as the kernel answers. */
struct socket_diag_answer {
	struct probe_record record; /* PROBE_SEEN, without an owner and a network namespace */
	uint32_t inode;             /* 0: no process holds it */
};

/* Opens the netlink socket that answers. -errno. */
must_check int socket_diag_open(int *ret_fd);

/*
 * Every socket of *family* and *protocol* in the network namespace of *fd*: with *listeners* TCP's
 * listeners only, else all the others. Those of UDP have no such difference. 0 or -errno.
 */
must_check int socket_diag_dump(int fd, uint8_t family, uint8_t protocol, bool listeners,
				void (*each)(void *context,
					     const struct socket_diag_answer *answer),
				void *context);
