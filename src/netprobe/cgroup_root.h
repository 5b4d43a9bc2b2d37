/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"

/* Opens the root directory of the cgroup2 hierarchy, wherever it is mounted. -ENOENT: nowhere. */
must_check int cgroup_root_open(int *ret_fd);

/* The mount point in one line of mountinfo, if it is of cgroup2 and shows its root; else NULL. The
 * line is cut up. */
char *cgroup_root_parse(char *line);
