/* SPDX-License-Identifier: Apache-2.0 */

#include "base/library.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LIBM "libm.so.6"

struct mathematics {
	__typeof__(floor) *floor;
	__typeof__(ceil) *ceil;
};

/* Not in the order of the struct. */
static const struct library_function functions[] = {
	LIBRARY_FUNCTION(mathematics, ceil, "ceil"),
	LIBRARY_FUNCTION(mathematics, floor, "floor"),
};

static void each_function_goes_to_its_member(void **state)
{
	struct mathematics table = {0};
	const char *reason = "untouched";

	(void)state;
	assert_int_equal(library_load(LIBM, functions, 2, &table, &reason), 0);
	assert_true(table.floor(2.5) < 2.25 && table.ceil(2.5) > 2.75);
	assert_string_equal(reason, "untouched");
}

static void a_missing_library_is_named(void **state)
{
	struct mathematics table = {0};
	const char *reason = NULL;

	(void)state;
	assert_int_equal(library_load("libaffix-missing.so.9", functions, 2, &table, &reason),
			 -ELIBACC);
	assert_non_null(strstr(reason, "libaffix-missing.so.9"));
	assert_int_equal(library_load("libaffix-missing.so.9", functions, 2, &table, NULL),
			 -ELIBACC);
}

static void a_missing_function_is_named(void **state)
{
	const struct library_function missing[] = {
		LIBRARY_FUNCTION(mathematics, floor, "floor"),
		LIBRARY_FUNCTION(mathematics, ceil, "affix_no_ceil"),
	};
	struct mathematics table = {0};
	const char *reason = NULL;

	(void)state;
	assert_int_equal(library_load(LIBM, missing, 2, &table, &reason), -ELIBACC);
	assert_non_null(strstr(reason, "affix_no_ceil"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_function_goes_to_its_member),
		cmocka_unit_test(a_missing_library_is_named),
		cmocka_unit_test(a_missing_function_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
