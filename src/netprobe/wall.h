/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#define WALL_NS_PER_SEC  1000000000LL
#define WALL_NS_PER_MSEC 1000000LL
#define WALL_TEXT_SIZE   40U

/* CLOCK_REALTIME in nanoseconds: the time of the wire. */
int64_t wall_ns(void);
/* RFC 3339 in UTC with milliseconds, "2026-01-31T12:00:00.250Z"; "-" for 0. */
void wall_format(int64_t ns, char text[WALL_TEXT_SIZE]);
