/* SPDX-License-Identifier: Apache-2.0 */

#include "control/front_admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BEGIN    1000000U
#define A_SECOND (ADMISSION_RATE_FIRST * 3 / 2) /* promised where nothing is known yet */

/* Fills all places at *now*. */
static void fill(struct admission *admission, uint64_t now)
{
	while (admission_has_room(admission))
		admission_enter(admission, now);
}

/* *seconds* in which all places are taken anew *turns* times a second. */
static void work(struct admission *admission, uint64_t now, unsigned seconds, unsigned turns)
{
	for (unsigned i = 0; i < seconds * turns; i++) {
		fill(admission, now);
		now += 1000 / turns;
		while (admission->inside > 0)
			admission_leave(admission, now);
	}
}

static void the_more_there_are_the_longer_their_return_takes(void **state)
{
	(void)state;
	assert_int_equal(admission_return(0), 1);
	assert_int_equal(admission_return(ADMISSION_RETURN_RATE - 1), 1);
	assert_int_equal(admission_return(10 * ADMISSION_RETURN_RATE), 11);
	assert_int_equal(admission_return(UINT32_MAX), ADMISSION_SECONDS_MAX);
}

static void there_is_room_for_so_many_at_once_and_no_more(void **state)
{
	struct admission admission = {0};

	(void)state;
	for (unsigned i = 0; i < ADMISSION_AT_ONCE; i++) {
		assert_true(admission_has_room(&admission));
		admission_enter(&admission, BEGIN);
	}
	assert_false(admission_has_room(&admission));
	admission_leave(&admission, BEGIN + 5);
	assert_true(admission_has_room(&admission));
}

static void the_interval_grows_with_the_queue_and_no_second_is_promised_too_often(void **state)
{
	struct admission admission = {0};
	unsigned in_second[ADMISSION_SECONDS_MAX + 1] = {0};
	unsigned last = 0;

	(void)state;
	fill(&admission, BEGIN);
	for (unsigned i = 0; i < 50 * A_SECOND; i++) {
		last = admission_postpone(&admission, BEGIN);
		in_second[last]++;
	}
	assert_int_equal(last, 50);
	for (unsigned i = 1; i <= 50; i++)
		assert_int_equal(in_second[i], A_SECOND);
	assert_int_equal(in_second[0], 0);
}

static void a_promise_is_over_when_its_time_has_come(void **state)
{
	struct admission admission = {0};

	(void)state;
	fill(&admission, BEGIN);
	for (unsigned i = 0; i < 10 * A_SECOND; i++)
		(void)admission_postpone(&admission, BEGIN);
	assert_int_equal(admission_postpone(&admission, BEGIN), 11);
	assert_int_equal(admission_postpone(&admission, BEGIN + 5000), 6);
	assert_int_equal(admission_postpone(&admission, BEGIN + 60000), 1);
	assert_int_equal(admission_postpone(&admission, BEGIN + 86400000), 1);
}

static void who_finds_every_second_promised_stays_away_no_longer_and_is_spread(void **state)
{
	struct admission admission = {0};
	unsigned in_second[ADMISSION_SECONDS_MAX + 1] = {0};

	(void)state;
	fill(&admission, BEGIN);
	for (unsigned i = 0; i < (ADMISSION_SECONDS_MAX - 1) * A_SECOND; i++)
		(void)admission_postpone(&admission, BEGIN);
	for (unsigned i = 0; i < 10 * ADMISSION_SECONDS_MAX; i++) {
		unsigned seconds = admission_postpone(&admission, BEGIN);

		assert_in_range(seconds, 1, ADMISSION_SECONDS_MAX);
		in_second[seconds]++;
	}
	for (unsigned i = 1; i <= ADMISSION_SECONDS_MAX; i++)
		assert_int_equal(in_second[i], 10);
}

static void a_fast_store_is_promised_more_and_a_slow_one_less(void **state)
{
	struct admission admission = {0};
	unsigned fast;

	(void)state;
	work(&admission, BEGIN, 10, 10);
	fast = admission_rate(&admission);
	assert_in_range(fast, ADMISSION_AT_ONCE * 9, ADMISSION_AT_ONCE * 10);
	work(&admission, BEGIN + 10000, 10, 1);
	assert_in_range(admission_rate(&admission), ADMISSION_AT_ONCE, ADMISSION_AT_ONCE * 2);
}

/* Two of the places are in use, each for a tenth of a second: all would be worth as much more. */
static void empty_places_count_as_what_they_could_do(void **state)
{
	struct admission admission = {0};

	(void)state;
	for (uint64_t now = BEGIN; now < BEGIN + 10000; now += 100) {
		admission_enter(&admission, now);
		admission_enter(&admission, now);
		admission_leave(&admission, now + 100);
		admission_leave(&admission, now + 100);
	}
	assert_in_range(admission_rate(&admission), ADMISSION_AT_ONCE * 9, ADMISSION_AT_ONCE * 10);
}

static void a_store_that_stands_still_is_promised_the_least(void **state)
{
	struct admission admission = {0};

	(void)state;
	work(&admission, BEGIN, 10, 10);
	fill(&admission, BEGIN + 10000);
	for (unsigned i = 1; i <= 10; i++)
		(void)admission_postpone(&admission, BEGIN + 10000 + i * 1000);
	assert_int_equal(admission_rate(&admission), ADMISSION_RATE_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_more_there_are_the_longer_their_return_takes),
		cmocka_unit_test(there_is_room_for_so_many_at_once_and_no_more),
		cmocka_unit_test(
			the_interval_grows_with_the_queue_and_no_second_is_promised_too_often),
		cmocka_unit_test(a_promise_is_over_when_its_time_has_come),
		cmocka_unit_test(
			who_finds_every_second_promised_stays_away_no_longer_and_is_spread),
		cmocka_unit_test(a_fast_store_is_promised_more_and_a_slow_one_less),
		cmocka_unit_test(empty_places_count_as_what_they_could_do),
		cmocka_unit_test(a_store_that_stands_still_is_promised_the_least),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
