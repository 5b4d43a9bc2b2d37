/* SPDX-License-Identifier: Apache-2.0 */

#include "control/slots.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MANY 1000

static void a_number_names_its_item_until_it_is_removed(void **state)
{
	struct slots slots = SLOTS_INIT;
	int items[MANY];
	uint64_t numbers[MANY];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(slots_add(&slots, &items[i], &numbers[i]), 0);
		assert_true(numbers[i] != 0 && numbers[i] < 1ULL << 48);
	}
	assert_int_equal(slots.used, MANY);
	for (int i = 0; i < MANY; i += 2)
		slots_remove(&slots, numbers[i]);
	for (int i = 0; i < MANY; i++)
		assert_ptr_equal(slots_get(&slots, numbers[i]), i % 2 ? &items[i] : NULL);
	assert_int_equal(slots.used, MANY / 2);
	slots_done(&slots);
}

static void a_place_that_is_used_again_has_another_number(void **state)
{
	struct slots slots = SLOTS_INIT;
	int first;
	int second;
	uint64_t old = 0;
	uint64_t new = 0;

	(void)state;
	assert_int_equal(slots_add(&slots, &first, &old), 0);
	slots_remove(&slots, old);
	assert_int_equal(slots_add(&slots, &second, &new), 0);
	assert_true(old != new);
	assert_null(slots_get(&slots, old));
	/* A late "remove" of the first does not hit the second. */
	slots_remove(&slots, old);
	assert_ptr_equal(slots_get(&slots, new), &second);
	slots_done(&slots);
}

static void numbers_that_were_never_given_name_nothing(void **state)
{
	struct slots slots = SLOTS_INIT;
	int item;
	uint64_t number = 0;

	(void)state;
	assert_null(slots_get(&slots, 0));
	assert_null(slots_get(&slots, UINT64_MAX));
	assert_int_equal(slots_add(&slots, &item, &number), 0);
	assert_null(slots_get(&slots, number + 1));
	assert_null(slots_get(&slots, number + (1ULL << 24)));
	assert_null(slots_at(&slots, slots.count));
	slots_done(&slots);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_names_its_item_until_it_is_removed),
		cmocka_unit_test(a_place_that_is_used_again_has_another_number),
		cmocka_unit_test(numbers_that_were_never_given_name_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
