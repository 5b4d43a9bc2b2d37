/* SPDX-License-Identifier: Apache-2.0 */

#include "manifest/version.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void accepts_what_semver_2_accepts(void **state)
{
	static const char *const good[] = {
		"0.0.0",
		"1.2.3",
		"10.20.30",
		"1.2.3-rc.1",
		"1.0.0-alpha.beta.1",
		"1.0.0-0A.is.legal",
		"1.0.0-0",
		"1.0.0--",
		"1.0.0-x-y-z.--",
		"1.0.0+21AF26D3---117B344092BD",
		"1.0.0-rc.1+build.001",
		"9223372036854775807.0.0",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(version_is_valid(good[i]));
}

static void refuses_everything_else(void **state)
{
	static const char *const bad[] = {
		"",
		"1",
		"1.2",
		"1.2.3.4",
		"v1.2.3",
		"01.2.3",
		"1.02.3",
		"1.2.03",
		"1.2.3-",
		"1.2.3+",
		"1.2.3-01",
		"1.2.3-a..b",
		"1.2.3-a_b",
		"1.2.3+a+b",
		" 1.2.3",
		"1.2.3 ",
		"1.2.3\n",
		"-1.2.3",
		"1.2.x",
		"not-semver",
		"../../x",
		"1.0.0-a/b",
		"9223372036854775808.0.0",
		"99999999999999999999999.0.0",
		"1.0.0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(version_is_valid(bad[i]));
}

static void precedence_is_that_of_the_specification(void **state)
{
	/* Each precedes the next; the middle of the list is SemVer's own example. */
	static const char *const order[] = {
		"0.9.9",
		"1.0.0-1",
		"1.0.0-2",
		"1.0.0-10",
		"1.0.0-99999999999999999998",
		"1.0.0-99999999999999999999",
		"1.0.0--",
		"1.0.0-alpha",
		"1.0.0-alpha.1",
		"1.0.0-alpha.beta",
		"1.0.0-alphabet",
		"1.0.0-beta",
		"1.0.0-beta.2",
		"1.0.0-beta.11",
		"1.0.0-rc.1",
		"1.0.0",
		"1.0.1-0",
		"1.0.1",
		"1.1.0",
		"1.10.0",
		"2.0.0",
		"10.0.0",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(order); j++) {
			int r = version_compare(order[i], order[j]);

			assert_true(i < j ? r < 0 : i > j ? r > 0 : r == 0);
		}
	}
}

static void build_metadata_has_no_precedence(void **state)
{
	(void)state;
	assert_int_equal(version_compare("1.0.0+a", "1.0.0+b"), 0);
	assert_int_equal(version_compare("1.0.0-rc.1+a", "1.0.0-rc.1"), 0);
}

static bool satisfies(const char *version, const char *constraint)
{
	bool result = false;

	assert_int_equal(version_satisfies(version, constraint, &result), 0);
	return result;
}

static void constraints_hold_or_not(void **state)
{
	(void)state;
	assert_true(satisfies("1.2.0", ">=1.2.0"));
	assert_false(satisfies("1.1.9", ">=1.2.0"));
	assert_false(satisfies("1.2.0-rc.1", ">=1.2.0"));
	assert_true(satisfies("1.2.1", "> 1.2.0"));
	assert_false(satisfies("1.2.0", ">1.2.0"));
	assert_true(satisfies("1.2.0", "<=1.2.0"));
	assert_false(satisfies("1.2.0", "<1.2.0"));
	assert_true(satisfies("1.2.0", "=1.2.0"));
	assert_true(satisfies("1.2.0+x", "1.2.0"));
	assert_false(satisfies("1.2.1", "1.2.0"));
}

static void all_comparisons_of_a_constraint_must_hold(void **state)
{
	(void)state;
	assert_true(satisfies("1.5.0", ">=1.2.0, <2.0.0"));
	assert_true(satisfies("1.5.0", " >=1.2.0 <2.0.0 "));
	assert_false(satisfies("2.0.0", ">=1.2.0,<2.0.0"));
	assert_false(satisfies("1.1.0", ">=1.2.0,<2.0.0"));
}

static void caret_and_tilde_stay_within_their_series(void **state)
{
	(void)state;
	assert_true(satisfies("1.9.0", "^1.2.3"));
	assert_false(satisfies("1.2.2", "^1.2.3"));
	assert_false(satisfies("2.0.0", "^1.2.3"));
	assert_false(satisfies("2.0.0-rc.1", "^1.2.3"));
	assert_true(satisfies("0.2.9", "^0.2.3"));
	assert_false(satisfies("0.3.0", "^0.2.3"));
	assert_true(satisfies("0.0.3", "^0.0.3"));
	assert_false(satisfies("0.0.4", "^0.0.3"));
	assert_true(satisfies("1.2.9", "~1.2.3"));
	assert_false(satisfies("1.3.0", "~1.2.3"));
	assert_false(satisfies("1.3.0-0", "~1.2.3"));
}

static void unknown_syntax_is_an_error_and_never_a_pass(void **state)
{
	static const char *const bad[] = {
		"",        " ",       "*",       "1.x",           ">=1.2",    ">=v1.2.0",
		"!=1.0.0", "==1.0.0", ">=",      ">=1.0.0,",      ",>=1.0.0", ">=1.0.0,,<2.0.0",
		"latest",  ">1<2",    "~>1.0.0", ">=1.0.0 || <2", "=>1.0.0",  ">=1.0.0;<2.0.0",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		bool result = false;

		assert_int_equal(version_satisfies("1.5.0", bad[i], &result), -EINVAL);
		assert_false(result);
	}
	assert_int_equal(version_satisfies("1.5", ">=1.0.0", &(bool){false}), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_what_semver_2_accepts),
		cmocka_unit_test(refuses_everything_else),
		cmocka_unit_test(precedence_is_that_of_the_specification),
		cmocka_unit_test(build_metadata_has_no_precedence),
		cmocka_unit_test(constraints_hold_or_not),
		cmocka_unit_test(all_comparisons_of_a_constraint_must_hold),
		cmocka_unit_test(caret_and_tilde_stay_within_their_series),
		cmocka_unit_test(unknown_syntax_is_an_error_and_never_a_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
