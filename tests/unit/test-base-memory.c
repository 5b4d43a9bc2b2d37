/* SPDX-License-Identifier: Apache-2.0 */

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct pair {
	uint64_t a;
	uint64_t b;
};

static void arrays_grow_and_keep_what_is_in_them(void **state)
{
	struct pair *items = NULL;
	size_t allocated = 0;
	unsigned moves = 0;

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		size_t before = allocated;

		assert_int_equal(memory_make_room(&items, i, &allocated), 0);
		assert_true(allocated > i);
		moves += allocated != before;
		if (items)
			items[i] = (struct pair){i, ~i};
	}
	assert_true(moves < 8);
	for (size_t i = 0; i < 1000; i++)
		assert_true(items && items[i].a == i && items[i].b == ~i);
	free(items);
}

static void an_array_that_cannot_grow_is_as_it_was(void **state)
{
	struct pair *items = malloc(sizeof(*items));
	struct pair *before = items;
	size_t allocated = SIZE_MAX / 16;

	(void)state;
	assert_int_equal(memory_make_room(&items, allocated, &allocated), -ENOMEM);
	assert_ptr_equal(items, before);
	assert_int_equal(allocated, SIZE_MAX / 16);
	allocated = SIZE_MAX / 2 + 1;
	assert_int_equal(memory_make_room(&items, allocated, &allocated), -ENOMEM);
	assert_ptr_equal(items, before);
	free(items);
}

static void large_room_begins_a_page(void **state)
{
	char *room = memory_new_large(3UL << 20);

	(void)state;
	assert_non_null(room);
	assert_int_equal((uintptr_t)room % 4096, 0);
	room[(3UL << 20) - 1] = 1;
	free(room);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrays_grow_and_keep_what_is_in_them),
		cmocka_unit_test(an_array_that_cannot_grow_is_as_it_was),
		cmocka_unit_test(large_room_begins_a_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
