/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/types.h>

#include "engine/health.h"

/* health_process_check(): other answers than 0. */
enum {
	HEALTH_PROCESS_E_GONE = 1, /* or a zombie: PID 1 will say more */
	HEALTH_PROCESS_E_OTHER,    /* it runs another file: perhaps not yet the plan's */
	HEALTH_PROCESS_E_WRONG,    /* it has not what was granted */
};

/*
 * Whether process *pid* runs the plan's binary as its user with exactly the capabilities granted,
 * as the kernel says: needs CAP_SYS_PTRACE. 0, a condition of above with a *reterr_reason*, or
 * -errno.
 */
must_check int health_process_check(const struct plan *plan, const struct tree *tree, pid_t pid,
				    char reterr_reason[HEALTH_REASON_MAX]);
