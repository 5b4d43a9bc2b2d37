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
