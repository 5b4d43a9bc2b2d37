/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "netprobe/flow.h"

/*
 * Whose container a cgroup is, by the names that runtimes give: Docker, podman, CRI-O, containerd
 * and nerdctl their 64 hex digits, LXC and systemd-nspawn the machine's name. What looks like an id
 * elsewhere is none.
 */

/* What a directory says of those in it. */
enum container_place {
	CONTAINER_ANY,    /* nothing */
	CONTAINER_DIGITS, /* one whose name is an id is a container */
	CONTAINER_BELOW,  /* also further below */
	CONTAINER_NAMES,  /* each is a container */
};

/* The same for directory *name* (*length*), in one that said *place*. *id* is its own, or "". */
enum container_place container_step(enum container_place place, const char *name, size_t length,
				    char id[FLOW_CONTAINER_MAX + 1]);
/* The first container in a path, such as a line of /proc/PID/cgroup. False: there is none; *id* is
 * "". */
bool container_id_parse(const char *path, char id[FLOW_CONTAINER_MAX + 1]);
