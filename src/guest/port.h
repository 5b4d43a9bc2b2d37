/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <limits.h>

#include "base/cleanup.h"

#define PORT_PATH_MAX (NAME_MAX + 16U)

/*
 * Opens the character device at *path*; NULL: the port of virtio-serial that has our name. 0;
 * -errno, -ENOENT where there is none. *ret_path* is what was opened.
 */
must_check int port_open(const char *path, char ret_path[PORT_PATH_MAX], int *ret_fd);
