/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <syslog.h>

#include "base/cleanup.h"

/*
 * One line of the journal, about the add-on *id* (field AFFIX_ADDON=) or, with NULL, about the
 * agent itself; to standard error where that is no journal. *priority*: LOG_ERR … LOG_DEBUG.
 */
void agent_log(int priority, const char *id, const char *format, ...) format_check(3, 4);
