/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/* CLOCK_MONOTONIC and CLOCK_REALTIME in microseconds and seconds. */
uint64_t clock_monotonic_usec(void);
uint64_t clock_realtime_sec(void);

/* The time for what is to come out the same each time: SOURCE_DATE_EPOCH's if the environment has
 * one, else what the program set, else the clock's. */
uint64_t clock_repeatable_sec(void);
/* For the whole program, before it has threads: a time that comes with its input. */
void clock_set_repeatable(uint64_t seconds);

/* Sleeps at least *usec*, also through signals. */
void clock_sleep_usec(uint64_t usec);

#define CLOCK_USEC_PER_SEC  1000000ULL
#define CLOCK_USEC_PER_MSEC 1000ULL

/* RFC 3339 in UTC, seconds: "2026-01-31T12:00:00Z". */
#define CLOCK_TEXT_SIZE 32U
void clock_format(uint64_t seconds, char text[CLOCK_TEXT_SIZE]);

/* Reads what clock_format() writes, nothing else. 0 or -EINVAL. */
int clock_parse(const char *text, uint64_t *ret_seconds);
