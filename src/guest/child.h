/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/*
 * Runs *work* in a process of its own and reads what it writes to standard output, at most *max*
 * bytes; its exit code is what *work* returns. The caller frees *ret_text*, which ends with NUL. 0;
 * -ETIMEDOUT after *usec*, -EFBIG, -ECHILD where it ended otherwise than with 0: it is killed then;
 * -EBUSY: too many that cannot be are left.
 */
must_check int child_read(int (*work)(const void *context), const void *context, uint64_t usec,
			  size_t max, char **ret_text);
