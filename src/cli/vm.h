/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "ipc/guest.h"
#include "ipc/result.h"

/* The verbs of `affix vm`. */
extern const struct command command_vm_ping;
extern const struct command command_vm_health;
extern const struct command command_vm_shutdown;

/* Where a VM's guest agent is reached. */
struct vm_address {
	const char *path;     /* a Unix socket; or NULL, then it is vsock */
	bool has_preface;     /* the socket is Firecracker's: it wants to be told the port first */
	unsigned cid;         /* vsock */
	unsigned port;        /* vsock, and of a socket with a preface */
	const char *as_given; /* for messages */
};

/* CID[:PORT], or else the path of a socket. 0, or -EINVAL for a number that is none. */
must_check int vm_address_parse(const char *text, struct vm_address *ret);

/*
 * Asks, and waits for the answer at most *usec* in all; a guest that is not there yet is waited
 * for. 0; -errno: -ETIMEDOUT it did not answer, -ENOENT, -ECONNREFUSED nobody has the socket,
 * -ENODEV no vsock here or no such VM; -EPERM a shutdown over vsock is not ours to ask for.
 */
must_check int vm_ask(const struct vm_address *address, enum guest_verb verb, uint64_t usec,
		      struct result *ret);
