/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * How many hosts a front enrols at once. Each costs the store many times what a known host costs,
 * so only a few are on their way at a time; all others are told when to come back. Those times are
 * given out as in a diary, no more to a second than can be enrolled in one: the longer the queue,
 * the longer the interval over which it comes back.
 *
 * Times are monotonic milliseconds.
 */
#define ADMISSION_AT_ONCE     128U
#define ADMISSION_SECONDS_MAX 64U /* nobody stays away for longer because of one slow moment */
/* How many a second: where nothing is known yet (who comes too early asks again), and bounds. */
#define ADMISSION_RATE_FIRST 512U
#define ADMISSION_RATE_MIN   16U
#define ADMISSION_RATE_MAX   2048U
/* Known hosts cost the store little: so many a second may come back to each front that stopped. */
#define ADMISSION_RETURN_RATE 1000U

struct admission {
	unsigned inside;  /* on their way now */
	unsigned left;    /* since *measured* */
	unsigned rate;    /* 0: not known yet */
	uint64_t waited;  /* milliseconds of all that were inside since *measured*, added up */
	uint64_t changed; /* when *inside* did */
	uint64_t measured;
	uint64_t second;                          /* promises before it are over */
	unsigned beyond;                          /* how many found every second promised */
	uint16_t promised[ADMISSION_SECONDS_MAX]; /* by second */
};

/* How many a second can be enrolled, as far as is known. */
unsigned admission_rate(const struct admission *admission);
/* Whether there is room for one more. */
bool admission_has_room(const struct admission *admission);
/* One more is on its way to the store, and what became of it is known. */
void admission_enter(struct admission *admission, uint64_t now);
void admission_leave(struct admission *admission, uint64_t now);
/* Over how many seconds *agents* that are known should come back, all of which leave now: at
 * least 1.
 */
unsigned admission_return(uint32_t agents);
/* Promises a time to one for whom there is no room: seconds from now, at least 1. */
unsigned admission_postpone(struct admission *admission, uint64_t now);
