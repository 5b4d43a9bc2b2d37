/* SPDX-License-Identifier: Apache-2.0 */

/* Wall clock time, as the wire has it and as people read it. */

#include "netprobe/wall.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t wall_ns(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * WALL_NS_PER_SEC + now.tv_nsec;
}

void wall_format(int64_t ns, char text[WALL_TEXT_SIZE])
{
	time_t seconds = ns / WALL_NS_PER_SEC;
	unsigned milliseconds = (unsigned)(ns % WALL_NS_PER_SEC / WALL_NS_PER_MSEC);
	struct tm tm = {0};
	char day[WALL_TEXT_SIZE - 8];

	if (ns <= 0 || !gmtime_r(&seconds, &tm) ||
	    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		(void)snprintf(text, WALL_TEXT_SIZE, "-");
	else
		(void)snprintf(text, WALL_TEXT_SIZE, "%s.%03uZ", day, milliseconds);
}
