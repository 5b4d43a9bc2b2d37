/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

/*
 * Waits at most *usec* for the end of the child *pid*, then kills it. 0 with *ret_status* (may be
 * NULL) as waitpid(2) has it; -ETIMEDOUT: it had to be killed; -errno. A process that waits in the
 * kernel for a file system that does not answer is not ended by SIGKILL either: such a one is left
 * behind, and collected when it has ended after all.
 */
must_check int reap_child(pid_t pid, uint64_t usec, int *ret_status);

/* How many children are left behind and have not ended yet. Who finds REAP_LEFT_MAX of them starts
 * no more. */
#define REAP_LEFT_MAX 8U
must_check unsigned reap_left(void);
