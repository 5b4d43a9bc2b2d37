/* SPDX-License-Identifier: Apache-2.0 */

/* Preloaded, it gives a program another time of day: AFFIX_TEST_CLOCK seconds ahead (or behind, if
 * negative). Clocks that only go forward stay. Debian's libfaketime was looked at: it shifts the
 * boot clock too, or breaks sd-event's timers. */

#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static time_t shift(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets it */
	const char *text = getenv("AFFIX_TEST_CLOCK");

	return text ? (time_t)strtoll(text, NULL, 10) : 0;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): theirs are reserved */
EXPORT int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret);

	if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ret->tv_sec += shift();
	return r;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): theirs are reserved */
EXPORT time_t time(time_t *ret)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}
