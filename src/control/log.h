/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/syslog.h>

#include "base/cleanup.h"

/* Which process speaks, in front of each of its lines: "store", "front 2". Borrowed. */
void log_set_name(const char *name);

/* One line to stderr with LOG_… as *priority*; where stderr is the journal, with the prefix that
 * journald takes a priority from. Control characters are escaped. */
void log_line(int priority, const char *format, ...) format_check(2, 3);
