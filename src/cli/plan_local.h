/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/host.h"

/* Whether this machine has the updater's sockets at all. */
bool plan_has_updater(void);

/*
 * `affix plan` where no updater is: the plan that a host without a policy of its own would make, of
 * a bundle whose signature is not verified, which is said on stderr. The exit code.
 */
int plan_locally(struct host_call *call, const char *path);
