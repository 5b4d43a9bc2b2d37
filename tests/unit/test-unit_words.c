/* SPDX-License-Identifier: Apache-2.0 */

#include "unit/unit_words.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The words of *text* must be *expected*, each in "[]"; NULL: broken. */
static void assert_words(const char *text, const char *expected)
{
	char joined[256] = "";
	int r;

	do {
		cleanup_free char *word = NULL;

		r = unit_word_next(&text, &word);
		if (r > 0) {
			assert_true(strlen(joined) + strlen(word) + 3 < sizeof(joined));
			(void)strncat(joined, "[", 2);
			(void)strncat(joined, word, sizeof(joined) - strlen(joined) - 1);
			(void)strncat(joined, "]", 2);
		}
	} while (r > 0);
	assert_int_equal(r, expected ? 0 : -EINVAL);
	if (expected)
		assert_string_equal(joined, expected);
}

static void words_are_unquoted_as_systemd_does(void **state)
{
	(void)state;
	assert_words("", "");
	assert_words(" \t ", "");
	assert_words(" a  b\tc ", "[a][b][c]");
	assert_words("\"a b\" 'c d'", "[a b][c d]");
	assert_words("a\"b c\"d", "[ab cd]");
	assert_words("\"\" ''", "[][]");
	assert_words("\"it's\" 'say \"x\"'", "[it's][say \"x\"]");
	assert_words("a=\"b c\"'d e'f", "[a=b cd ef]");
}

static void escapes_are_resolved_inside_and_outside_of_quotes(void **state)
{
	(void)state;
	assert_words("a\\x20b \"\\x41\\102\" '\\s'", "[a b][AB][ ]");
	assert_words("\\u00e9 \\U0001F600 \\u20ac", "[\xc3\xa9][\xf0\x9f\x98\x80][\xe2\x82\xac]");
	assert_words("\\\" \\' \\\\", "[\"]['][\\]");
	assert_words("\\t\\n", "[\t\n]");
}

static void broken_quotes_and_escapes_are_errors(void **state)
{
	static const char *const bad[] = {"\"a",     "'a",          "a\\",     "\\q",   "\\x4",
					  "\\xzz",   "\\x00",       "\\000",   "\\777", "\\u12",
					  "\\ud800", "\\U00110000", "\\u0000", "\\x1b", "\\a",
					  "\\xff",   "\\u202e",     "\\ ",     "\"\\",  "\\12"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_words(bad[i], NULL);
}

static void specifiers_are_credentials_and_percent_only(void **state)
{
	(void)state;
	assert_true(unit_specifiers_are_known("a%%b %d/c %%d", true));
	assert_true(unit_specifiers_are_known("%%", false));
	assert_false(unit_specifiers_are_known("%d", false));
	assert_false(unit_specifiers_are_known("%%%", true));
	assert_false(unit_specifiers_are_known("%%%h", true));
	assert_false(unit_specifiers_are_known("%", true));
}

static void assert_span(const char *text, uint64_t expected)
{
	uint64_t usec = 0;

	assert_int_equal(unit_parse_span(text, &usec), 0);
	assert_true(usec == expected);
}

static void spans_have_the_units_of_systemd(void **state)
{
	static const char *const bad[] = {"",   "s",   "-1", "1 2 x", "1.s",       "1..2", "1e3",
					  "+1", "0x1", "1S", "1H",    "infinity1", "1ss"};
	uint64_t usec = 0;

	(void)state;
	assert_span("0", 0);
	assert_span("5", 5000000);
	assert_span("5min 20s", 320000000);
	assert_span("1h30", 3630000000);
	assert_span("2 ms", 2000);
	assert_span("1.5s", 2000000);
	assert_span("1M", 2629800000000);
	assert_span("1m", 60000000);
	assert_span("10 5", 15000000);
	assert_span("infinity", UNIT_SPAN_INFINITY);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(unit_parse_span(bad[i], &usec), -EINVAL);
	assert_int_equal(unit_parse_span("18446744073709551615", &usec), -EINVAL);
	assert_int_equal(unit_parse_span("292472y", &usec), -EINVAL);
}

static void numbers_and_sizes_do_not_overflow(void **state)
{
	uint64_t n = 0;

	(void)state;
	assert_int_equal(unit_parse_number("18446744073709551615", 20, &n), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(unit_parse_number("18446744073709551616", 20, &n), -EINVAL);
	assert_int_equal(unit_parse_number("", 0, &n), -EINVAL);
	assert_int_equal(unit_parse_number("12x", 2, &n), 0);
	assert_int_equal(unit_parse_size("15E", 3, &n), 0);
	assert_true(n == 15ULL << 60);
	assert_int_equal(unit_parse_size("16E", 3, &n), -EINVAL);
	assert_int_equal(unit_parse_size("K", 1, &n), -EINVAL);
	assert_int_equal(unit_parse_size("1k", 2, &n), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_unquoted_as_systemd_does),
		cmocka_unit_test(escapes_are_resolved_inside_and_outside_of_quotes),
		cmocka_unit_test(broken_quotes_and_escapes_are_errors),
		cmocka_unit_test(specifiers_are_credentials_and_percent_only),
		cmocka_unit_test(spans_have_the_units_of_systemd),
		cmocka_unit_test(numbers_and_sizes_do_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
