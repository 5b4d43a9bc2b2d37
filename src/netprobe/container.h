/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "netprobe/flow.h"

/*
 * The id of a container in the path of its cgroup: the first run of exactly 64, or exactly 32, hex
 * digits, as containerd, CRI-O, Docker and podman name them ("docker-<64>.scope", "/kubepods/…").
 * False: there is none; *id* is "".
 */
bool container_id_parse(const char *path, char id[FLOW_CONTAINER_MAX + 1]);
