/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/diagnostic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

static void sorting_goes_by_file_line_and_column(void **state)
{
	cleanup_diagnostics struct diagnostics list = DIAGNOSTICS_INIT;

	(void)state;
	assert_int_equal(diagnostics_add(&list, REFUSAL_BAD_UNIT, "b", 1, 1, "4"), 0);
	assert_int_equal(diagnostics_add(&list, REFUSAL_BAD_UNIT, "a", 10, 1, "3"), 0);
	assert_int_equal(diagnostics_add(&list, REFUSAL_BAD_UNIT, "a", 2, 9, "2"), 0);
	assert_int_equal(diagnostics_add(&list, REFUSAL_BAD_UNIT, "a", 2, 1, "1"), 0);
	diagnostics_sort(&list);
	for (size_t i = 0; i < list.count; i++)
		assert_int_equal(list.items[i].message[0], "1234"[i]);
}

static void refusing_names_the_first_and_counts_the_rest(void **state)
{
	cleanup_diagnostics struct diagnostics list = DIAGNOSTICS_INIT;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	assert_int_equal(diagnostics_refuse(&list, &refusal), 0);
	assert_int_equal(diagnostics_add(&list, REFUSAL_UNIT_USER, "x.service", 3, 1, "no"), 0);
	assert_int_equal(diagnostics_refuse(&list, &refusal), REFUSAL_UNIT_USER);
	assert_string_equal(refusal.text, "x.service:3:1: no");
	assert_int_equal(diagnostics_add(&list, REFUSAL_UNIT_EXEC, "x.service", 4, 1, "no"), 0);
	assert_int_equal(diagnostics_refuse(&list, &refusal), REFUSAL_UNIT_USER);
	assert_non_null(strstr(refusal.text, "1 more"));
}

static void a_problem_per_byte_ends_in_one_sentence(void **state)
{
	cleanup_diagnostics struct diagnostics list = DIAGNOSTICS_INIT;

	(void)state;
	for (unsigned i = 0; i < DIAGNOSTICS_MAX * 2; i++)
		assert_int_equal(diagnostics_add(&list, REFUSAL_BAD_MANIFEST, "f", i, 1, "x"), 0);
	assert_int_equal(list.count, DIAGNOSTICS_MAX);
	assert_non_null(strstr(list.items[list.count - 1].message, "left out"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorting_goes_by_file_line_and_column),
		cmocka_unit_test(refusing_names_the_first_and_counts_the_rest),
		cmocka_unit_test(a_problem_per_byte_ends_in_one_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
