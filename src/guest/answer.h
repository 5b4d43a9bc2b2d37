/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "ipc/guest.h"
#include "ipc/result.h"

/*
 * The answer to a line, whatever is in it. *may_end*: whoever sent it may end the guest.
 * *ret_ends*: the answer is to be sent and then answer_end_guest() called. 0 or -ENOMEM.
 */
must_check int answer_line(const char *line, size_t size, bool may_end, struct result *ret,
			   bool *ret_ends);

/* The answer to a line that is too long to be looked at. */
must_check int answer_too_long(struct result *ret);

/* Has systemd stop everything in order and power off. */
void answer_end_guest(void);
