/* SPDX-License-Identifier: Apache-2.0 */

#include "netprobe/command_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

static void arguments_are_counted_and_not_kept(void **state)
{
	static const char line[] = "/usr/bin/curl\0--header\0Authorization: secret";
	struct command_line parsed = {0};

	(void)state;
	command_line_parse(line, sizeof(line), &parsed);
	assert_string_equal(parsed.word, "/usr/bin/curl");
	assert_int_equal(parsed.arguments, 2);
	assert_null(memmem(&parsed, sizeof(parsed), "secret", 6));
}

static void no_command_line_is_an_empty_word(void **state)
{
	struct command_line parsed;

	(void)state;
	command_line_parse("", 0, &parsed);
	assert_string_equal(parsed.word, "");
	assert_int_equal(parsed.arguments, 0);
	command_line_parse("sh", 2, &parsed);
	assert_string_equal(parsed.word, "sh");
	assert_int_equal(parsed.arguments, 0);
}

/* Characters of two bytes each, from *offset* to the end. */
static void fill(char *line, size_t size, size_t offset)
{
	for (size_t i = offset; i + 1 < size; i += 2) {
		line[i] = '\xc3';
		line[i + 1] = '\xa4';
	}
}

static void a_long_word_is_cut_where_a_character_ends(void **state)
{
	char line[400];
	struct command_line parsed;

	(void)state;
	/* From an odd offset they fill the room, from an even one the last does not fit. */
	line[0] = '/';
	fill(line, sizeof(line), 1);
	command_line_parse(line, sizeof(line) - 1, &parsed);
	assert_int_equal(strlen(parsed.word), FLOW_CMDLINE_MAX - 1);
	assert_true(str_is_utf8(parsed.word, strlen(parsed.word)));
	line[1] = 'a';
	fill(line, sizeof(line), 2);
	command_line_parse(line, sizeof(line) - 1, &parsed);
	assert_int_equal(strlen(parsed.word), FLOW_CMDLINE_MAX - 2);
	assert_true(str_is_utf8(parsed.word, strlen(parsed.word)));
}

static void bytes_that_nobody_can_print_are_replaced(void **state)
{
	struct command_line parsed;

	(void)state;
	command_line_parse("a\xff\x1b[2Jb\xc3", 9, &parsed);
	assert_string_equal(parsed.word, "a??[2Jb?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_are_counted_and_not_kept),
		cmocka_unit_test(no_command_line_is_an_empty_word),
		cmocka_unit_test(a_long_word_is_cut_where_a_character_ends),
		cmocka_unit_test(bytes_that_nobody_can_print_are_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
