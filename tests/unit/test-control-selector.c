/* SPDX-License-Identifier: Apache-2.0 */

#include "control/selector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct selector_label labels[] = {
	{"os",        "linux" },
	{"arch",      "amd64" },
	{"env",       "prod"  },
	{"team/zone", "eu-1.a"},
	{"empty",     ""      }
};

static bool matches(const char *text)
{
	cleanup_selector struct selector *selector = NULL;
	char problem[SELECTOR_PROBLEM_MAX] = "";

	if (selector_parse(text, &selector, problem) != 0)
		fail_msg("'%s': %s", text, problem);
	return selector_matches(selector, labels, ARRAY_SIZE(labels));
}

static void all_terms_must_hold(void **state)
{
	(void)state;
	assert_true(matches("env=prod,arch!=arm64"));
	assert_false(matches("env=prod,arch=arm64"));
	assert_false(matches("env=test,arch=amd64"));
	assert_true(matches(" env = prod , team/zone = eu-1.a "));
}

static void no_term_is_every_host(void **state)
{
	(void)state;
	assert_true(matches(""));
	assert_true(matches("  "));
}

static void not_equal_holds_where_there_is_no_such_label(void **state)
{
	(void)state;
	assert_true(matches("rack!=7"));
	assert_true(matches("rack notin (7,8)"));
	assert_false(matches("rack=7"));
	assert_false(matches("rack in (7,8)"));
}

static void presence_and_absence(void **state)
{
	(void)state;
	assert_true(matches("env"));
	assert_true(matches("empty"));
	assert_true(matches("!rack"));
	assert_false(matches("!env"));
	assert_false(matches("rack"));
}

static void sets_of_values(void **state)
{
	(void)state;
	assert_true(matches("env in (test, prod)"));
	assert_false(matches("env notin (test,prod)"));
	/* A key may be called like a word of the language. */
	assert_false(matches("in"));
	assert_false(matches("notin=x"));
	assert_false(matches("in in (in)"));
}

static void what_is_not_understood_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *text;
		const char *place;
	} bad[] = {
		{"=prod",          "byte 1" },
                {"env=",           "byte 5" },
                {"env=prod,",      "byte 10"},
		{"env==prod",      "byte 5" },
                {"env=a b",        "byte 7" },
                {"env>5",          "byte 4" },
		{"env in a",       "byte 8" },
                {"env in (a",      "byte 10"},
                {"env in ()",      "byte 9" },
		{",",              "byte 1" },
                {"env=pr\xc3\xb6", "byte"   },
                {"!env=a",         "byte 5" },
		{"-env=a",         "byte 1" },
                {"env=prod;x",     "byte 9" },
                {"env=a-",         "byte 5" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_selector struct selector *selector = NULL;
		char problem[SELECTOR_PROBLEM_MAX] = "";

		if (selector_parse(bad[i].text, &selector, problem) != 1)
			fail_msg("'%s' is taken", bad[i].text);
		if (!strstr(problem, bad[i].place))
			fail_msg("'%s': %s", bad[i].text, problem);
	}
}

static void terms_values_and_length_are_bounded(void **state)
{
	cleanup_selector struct selector *selector = NULL;
	char problem[SELECTOR_PROBLEM_MAX] = "";
	char text[SELECTOR_SIZE_MAX + 2] = "k in (";
	size_t n = strlen(text);

	(void)state;
	for (size_t i = 0; i <= SELECTOR_TERMS_MAX; i++)
		memcpy(text + n + 2 * i, "a,", 3);
	text[n + 2 * SELECTOR_TERMS_MAX + 1] = '\0';
	assert_int_equal(selector_parse(text + n, &selector, problem), 1);
	text[n + 2 * SELECTOR_VALUES_MAX + 1] = ')';
	text[n + 2 * SELECTOR_VALUES_MAX + 2] = '\0';
	assert_int_equal(selector_parse(text, &selector, problem), 1);
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(selector_parse(text, &selector, problem), 1);
	text[SELECTOR_NAME_MAX + 1] = '\0';
	assert_int_equal(selector_parse(text, &selector, problem), 1);
}

static void it_is_written_in_one_way(void **state)
{
	static const char *const pairs[][2] = {
		{" env = prod ,arch != arm64", "env=prod,arch!=arm64"},
		{"env in (prod)",              "env=prod"            },
		{"a notin ( b , c ),!d,e",     "a notin (b,c),!d,e"  },
		{"",			   ""                    },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		cleanup_selector struct selector *selector = NULL;
		cleanup_free char *text = NULL;
		char problem[SELECTOR_PROBLEM_MAX];

		assert_int_equal(selector_parse(pairs[i][0], &selector, problem), 0);
		text = selector_to_string(selector);
		assert_string_equal(text, pairs[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_terms_must_hold),
		cmocka_unit_test(no_term_is_every_host),
		cmocka_unit_test(not_equal_holds_where_there_is_no_such_label),
		cmocka_unit_test(presence_and_absence),
		cmocka_unit_test(sets_of_values),
		cmocka_unit_test(what_is_not_understood_is_refused_with_its_place),
		cmocka_unit_test(terms_values_and_length_are_bounded),
		cmocka_unit_test(it_is_written_in_one_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
