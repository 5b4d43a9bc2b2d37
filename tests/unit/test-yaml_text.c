/* SPDX-License-Identifier: Apache-2.0 */

#include "manifest/yaml_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MARK "\xef\xbb\xbf"

/* The problem that *text* has, if it has one, stands at *line* and *column*; 0: it has none. */
static void assert_text(const char *text, unsigned line, unsigned column, const char *part)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	struct yaml_reader reader = {
		.file = "addon.yaml", .code = REFUSAL_BAD_MANIFEST, .diagnostics = &problems};

	assert_int_equal(yaml_text_check(text, strlen(text), &reader), line == 0);
	assert_int_equal(problems.count, line == 0 ? 0 : 1);
	if (line == 0)
		return;
	assert_int_equal(problems.items[0].line, line);
	assert_int_equal(problems.items[0].column, column);
	assert_non_null(strstr(problems.items[0].message, part));
}

static void a_byte_order_mark_stands_before_everything_else(void **state)
{
	(void)state;
	assert_text("", 0, 0, NULL);
	assert_text(MARK, 0, 0, NULL);
	assert_text(MARK "a: b\n", 0, 0, NULL);
}

/* libfyaml would take it for a letter of the text that it stands in. */
static void a_byte_order_mark_elsewhere_is_refused_where_it_stands(void **state)
{
	static const char what[] = "a byte order mark";

	(void)state;
	assert_text("a: b\nc: d" MARK "e\n", 2, 5, what);
	assert_text("a: 'b" MARK "'\n", 1, 6, what);
	assert_text("a: |\r\n " MARK "b\r\n", 2, 2, what);
	assert_text("\xc3\xa4" MARK ": b\n", 1, 2, what);
	assert_text("a: b\n# " MARK "\n", 2, 3, what);
	assert_text("a: b\n" MARK "c: d\n", 2, 1, what);
	assert_text("a: b\n" MARK, 2, 1, what);
	assert_text(MARK "a" MARK ": b\n", 1, 2, what);
	assert_text(MARK MARK, 1, 1, what);
}

static void bytes_that_are_not_utf8_are_refused_before_the_mark(void **state)
{
	(void)state;
	assert_text("a: \xff\n" MARK, 1, 4, "0xff is not UTF-8");
	assert_text("a: \xef\xbb", 1, 4, "0xef is not UTF-8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_byte_order_mark_stands_before_everything_else),
		cmocka_unit_test(a_byte_order_mark_elsewhere_is_refused_where_it_stands),
		cmocka_unit_test(bytes_that_are_not_utf8_are_refused_before_the_mark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
