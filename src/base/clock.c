/* SPDX-License-Identifier: Apache-2.0 */

/* Clocks, and times as text. */

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t clock_monotonic_usec(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * CLOCK_USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_realtime_sec(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec;
}

void clock_sleep_usec(uint64_t usec)
{
	struct timespec left = {
		.tv_sec = (time_t)(usec / CLOCK_USEC_PER_SEC),
		.tv_nsec = (long)(usec % CLOCK_USEC_PER_SEC * 1000),
	};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

void clock_format(uint64_t seconds, char text[CLOCK_TEXT_SIZE])
{
	time_t t = (time_t)seconds;
	struct tm tm = {0};

	if (!gmtime_r(&t, &tm) || strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		memcpy(text, "?", 2);
}

int clock_parse(const char *text, uint64_t *ret_seconds)
{
	char again[CLOCK_TEXT_SIZE];
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	time_t t;

	if (!end || *end != '\0')
		return -EINVAL;
	t = timegm(&tm);
	if (t < 0)
		return -EINVAL;
	/* strptime() takes more spellings than one; only the canonical one may count. */
	clock_format((uint64_t)t, again);
	if (strcmp(again, text) != 0)
		return -EINVAL;
	*ret_seconds = (uint64_t)t;
	return 0;
}

static uint64_t repeatable; /* 0: none was set */

void clock_set_repeatable(uint64_t seconds)
{
	repeatable = seconds;
}

uint64_t clock_repeatable_sec(void)
{
	const char *epoch =
		getenv("SOURCE_DATE_EPOCH"); /* NOLINT(concurrency-mt-unsafe): read only */
	char *end = NULL;
	uint64_t seconds = 0;

	errno = 0;
	if (epoch && *epoch >= '0' && *epoch <= '9')
		seconds = strtoull(epoch, &end, 10);
	if (end && *end == '\0' && errno == 0)
		return seconds;
	return repeatable > 0 ? repeatable : clock_realtime_sec();
}
