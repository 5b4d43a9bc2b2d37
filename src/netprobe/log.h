/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <sys/syslog.h>

#include "base/cleanup.h"

/* JSON, a line each: timestamp_unix_nano, level, target, message. Otherwise text. */
void log_set_json(bool is_json);

/* One line to stderr with LOG_… as *priority*; where stderr is the journal and lines are text, with
 * the prefix that journald takes a priority from. Control characters are escaped. */
void log_line(int priority, const char *format, ...) format_check(2, 3);
