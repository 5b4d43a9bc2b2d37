/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the store can take is not asked but seen: places times what leaves them, divided by the time
 * that was spent in them (Little's law). That holds while places are empty for lack of hosts, too,
 * and follows the store when it is slow, because many come by other fronts or its disk is.
 */

#include "control/front_admission.h"

#include "base/cleanup.h"

#define MSEC_PER_SEC 1000U
/* Hosts come when they were told to, or up to as much later, each at its own time: with no more
 * promises than there are places for, a third of those would stay empty. */
#define PROMISES   3U
#define PER_PLACES 2U

bool admission_has_room(const struct admission *admission)
{
	return admission->inside < ADMISSION_AT_ONCE;
}

unsigned admission_rate(const struct admission *admission)
{
	return admission->rate > 0 ? admission->rate : ADMISSION_RATE_FIRST;
}

static void count_time(struct admission *admission, uint64_t now)
{
	admission->waited += (now - admission->changed) * admission->inside;
	admission->changed = now;
}

/* Once a second at most. Where nothing left its place that long, half of what was thought. */
static void measure(struct admission *admission, uint64_t now)
{
	uint64_t seen;

	if (now - admission->measured < MSEC_PER_SEC || admission->waited == 0)
		return;
	seen = (uint64_t)ADMISSION_AT_ONCE * MSEC_PER_SEC * admission->left / admission->waited;
	seen = (admission_rate(admission) + seen) / 2;
	admission->rate = (unsigned)MIN(MAX(seen, (uint64_t)ADMISSION_RATE_MIN),
					(uint64_t)ADMISSION_RATE_MAX);
	admission->measured = now;
	admission->waited = 0;
	admission->left = 0;
}

void admission_enter(struct admission *admission, uint64_t now)
{
	count_time(admission, now);
	measure(admission, now);
	admission->inside++;
}

void admission_leave(struct admission *admission, uint64_t now)
{
	count_time(admission, now);
	admission->inside--;
	admission->left++;
	measure(admission, now);
}

unsigned admission_return(uint32_t agents)
{
	return MIN(1 + agents / ADMISSION_RETURN_RATE, ADMISSION_SECONDS_MAX);
}

static void forget_past(struct admission *admission, uint64_t second)
{
	for (unsigned i = 0; admission->second < second && i < ADMISSION_SECONDS_MAX; i++)
		admission->promised[admission->second++ % ADMISSION_SECONDS_MAX] = 0;
	admission->second = second;
}

unsigned admission_postpone(struct admission *admission, uint64_t now)
{
	unsigned rate;

	count_time(admission, now);
	measure(admission, now);
	forget_past(admission, now / MSEC_PER_SEC);
	rate = admission_rate(admission) * PROMISES / PER_PLACES;
	for (unsigned i = 1; i < ADMISSION_SECONDS_MAX; i++) {
		uint16_t *promised =
			&admission->promised[(admission->second + i) % ADMISSION_SECONDS_MAX];

		if (*promised >= rate)
			continue;
		(*promised)++;
		return i;
	}
	/* They are evenly spread at least. */
	return 1 + admission->beyond++ % ADMISSION_SECONDS_MAX;
}
