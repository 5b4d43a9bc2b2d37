/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <netprobe.pb-c.h>
#include <stdbool.h>

/* Whether process name, command, container, an address, a port, the protocol or the process id of
 * *flow* has *filter* in it; letters of either case. NULL and "" are in everything. */
bool filter_takes(const char *filter, const Netprobe__FlowAttributionEvent *flow);
