/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/host.h"

/* Whether this machine has the updater's sockets at all. */
bool plan_has_updater(void);

/*
 * `affix plan` where no updater is: the plan by the built-in policy, of a bundle whose signature is
 * not looked at, which is said on stderr. The exit code.
 */
int plan_locally(const struct host_call *call, const char *path);
