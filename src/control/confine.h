/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/*
 * Takes away from a front, for good, what it has no use for once its sockets and keys are there: of
 * all files only those of *artifacts_fd* may be opened, for reading, and new ones made and removed
 * in *incoming_fd*; no program may be started, no socket made, no other process touched.
 * *ret_has_files* is false where the kernel cannot confine files (before 5.13, or without
 * Landlock). 0 or -errno.
 */
must_check int confine(int artifacts_fd, int incoming_fd, bool *ret_has_files);

/*
 * The same for what talks to registries: what TLS and name resolution need of the system is read
 * (and *auth_file*, *ca_file*, if not NULL), and files made and removed in the two directories
 * only; no program may be started, no other process touched, nobody listened to. *ret_has_files*:
 * since 5.19.
 */
must_check int confine_puller(int cache_fd, int incoming_fd, const char *auth_file,
			      const char *ca_file, bool *ret_has_files);
