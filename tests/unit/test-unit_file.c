/* SPDX-License-Identifier: Apache-2.0 */

#include "unit/unit_file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

/* Parses what must be accepted. */
static struct unit_file *parse(const char *text)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	struct unit_file *unit = NULL;

	assert_int_equal(unit_file_parse(text, strlen(text), "u", &unit, &diagnostics), 0);
	assert_int_equal(diagnostics.count, 0);
	return unit;
}

/* Parses what must be refused, with *message* somewhere in the first diagnostic, at *line*. */
static void assert_refused_bytes(const char *text, size_t size, unsigned line, const char *message)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	struct unit_file *unit = NULL;

	assert_int_equal(unit_file_parse(text, size, "u.service", &unit, &diagnostics), 1);
	assert_null(unit);
	assert_true(diagnostics.count > 0);
	assert_int_equal(diagnostics.items[0].code, REFUSAL_BAD_UNIT);
	assert_string_equal(diagnostics.items[0].file, "u.service");
	assert_int_equal(diagnostics.items[0].line, line);
	if (!strstr(diagnostics.items[0].message, message))
		fail_msg("'%s' lacks '%s'", diagnostics.items[0].message, message);
}

static void assert_refused(const char *text, unsigned line, const char *message)
{
	assert_refused_bytes(text, strlen(text), line, message);
}

static void reads_sections_and_assignments_in_order(void **state)
{
	cleanup_unit_file struct unit_file *unit = parse(
		"# one\n[Unit]\nDescription = a  b\t\n\n  [Service]\n\tUser=x\n; two\nUser=y");

	(void)state;
	assert_int_equal(unit->n_sections, 2);
	assert_string_equal(unit->sections[1].name, "Service");
	assert_int_equal(unit->sections[1].line, 5);
	assert_int_equal(unit->count, 3);
	assert_string_equal(unit->entries[0].section, "Unit");
	assert_string_equal(unit->entries[0].key, "Description");
	assert_string_equal(unit->entries[0].value, "a  b");
	assert_int_equal(unit->entries[0].line, 3);
	assert_int_equal(unit->entries[0].column, 15);
	assert_string_equal(unit->entries[1].value, "x");
	assert_int_equal(unit->entries[1].column, 7);
	assert_int_equal(unit->entries[2].line, 8);
}

static void last_assignment_counts_and_sections_are_apart(void **state)
{
	cleanup_unit_file struct unit_file *unit =
		parse("[Service]\nUser=a\n[Unit]\nUser=b\n[Service]\nUser=c\nGroup=g\nGroup=\n");

	(void)state;
	assert_string_equal(unit_file_get(unit, "Service", "User"), "c");
	assert_string_equal(unit_file_get(unit, "Unit", "User"), "b");
	assert_string_equal(unit_file_get(unit, "Service", "Group"), "");
	assert_null(unit_file_get(unit, "Service", "user"));
	assert_null(unit_file_get(unit, "Install", "User"));
	assert_true(unit_file_has_section(unit, "Unit"));
	assert_false(unit_file_has_section(unit, "Install"));
}

static void value_keeps_what_follows_the_first_equals_sign(void **state)
{
	cleanup_unit_file struct unit_file *unit =
		parse("[Service]\nEnvironment=\"A=b c\" 'D=e' # no comment\nX==\n");

	(void)state;
	assert_string_equal(unit->entries[0].value, "\"A=b c\" 'D=e' # no comment");
	assert_string_equal(unit->entries[1].value, "=");
}

static void continuation_reads_as_systemd_does(void **state)
{
	cleanup_unit_file struct unit_file *unit =
		parse("[Service]\nExecStart=/x \\\n  --a\\\n# comment \\\n ; other\n--b\n"
		      "A=1 \\\n\nB=2\nC=\\\\\nD=3\nE=\\\\\\\n4\nF=\\\n  5\n# g \\\nH=6\n"
		      "I=7\\\n[Unit]\n");

	(void)state;
	assert_int_equal(unit->n_sections, 1);
	assert_int_equal(unit->count, 9);
	assert_string_equal(unit->entries[0].value, "/x    --a --b");
	assert_int_equal(unit->entries[0].line, 2);
	assert_string_equal(unit->entries[1].value, "1");
	assert_string_equal(unit->entries[2].value, "2");
	assert_string_equal(unit->entries[3].value, "\\\\");
	assert_string_equal(unit->entries[4].value, "3");
	assert_string_equal(unit->entries[5].value, "\\\\ 4");
	assert_string_equal(unit->entries[6].value, "5");
	assert_string_equal(unit->entries[7].key, "H");
	assert_string_equal(unit->entries[8].value, "7 [Unit]");
}

static void place_of_a_continued_value_is_in_its_first_line(void **state)
{
	cleanup_unit_file struct unit_file *unit = parse("[Service]\nExecStart=\\\n  /x\n");

	(void)state;
	assert_string_equal(unit->entries[0].value, "/x");
	assert_int_equal(unit->entries[0].line, 2);
	assert_int_equal(unit->entries[0].column, 12);
}

static void refuses_what_systemd_only_warns_about(void **state)
{
	(void)state;
	assert_refused("User=root\n[Service]\n", 1, "outside a section");
	assert_refused("[Service]\nUser\n", 2, "neither");
	assert_refused("[Unit]\n.include /etc/passwd\n", 2, "neither");
	assert_refused("[Service]\n = x\n", 2, "no key");
	assert_refused("[Service\nUser=x\n", 1, "section header");
	assert_refused("[Service] # x\n", 1, "section header");
	assert_refused("[Service]\\\nUser=x\n", 1, "section header");
	assert_refused("[]\n", 1, "section header");
	assert_refused("[Unit]\n[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n", 2, "section header");
	assert_refused("[Unit]\nDescription=x\\", 2, "ends inside");
	assert_refused("[Unit]\nDescription=x \\\n# y\n", 2, "ends inside");
	assert_refused("[Unit]\nDescription=x\\ \nUser=root\n", 2, "blanks follow");
	assert_refused("", 1, "masked");
}

static void refuses_bytes_that_a_reader_does_not_see(void **state)
{
	static const char nul[] = "[Service]\nUser=x\0\nUser=root\n";

	(void)state;
	assert_refused_bytes(nul, sizeof(nul) - 1, 2, "NUL");
	assert_refused("[Service]\r\nUser=x\r\n", 1, "carriage return");
	assert_refused("[Service]\nUser=x\rUser=root\n", 2, "carriage return");
	assert_refused("\xef\xbb\xbf[Service]\n", 1, "byte order mark");
	assert_refused("[Service]\nUser=\x1bx\n", 2, "printable");
	assert_refused("[Service]\nUser=\xff\n", 2, "printable");
	assert_refused("[Service]\nUser=\xc2\x85\n", 2, "printable");
	assert_refused("[Service]\nUser=\xe2\x80\xaex\n", 2, "printable");
	assert_refused("[Service]\n# a\x0b\n", 2, "comment");
	assert_refused("[Service]\n# a\rUser=root\n", 2, "comment");
}

static void every_problem_is_reported_once_with_its_line(void **state)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	static const char text[] = "x\n[Service]\ny\n\x01 \\\n\x01 \\\nz\nUser=a\n=\n";
	struct unit_file *unit = NULL;

	(void)state;
	assert_int_equal(unit_file_parse(text, strlen(text), "u", &unit, &diagnostics), 1);
	assert_int_equal(diagnostics.count, 4);
	assert_int_equal(diagnostics.items[0].line, 1);
	assert_int_equal(diagnostics.items[1].line, 3);
	assert_int_equal(diagnostics.items[2].line, 4);
	assert_int_equal(diagnostics.items[3].line, 8);
}

static void full_list_of_problems_does_not_make_a_bad_unit_good(void **state)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	struct unit_file *unit = NULL;

	(void)state;
	for (unsigned i = 0; i < DIAGNOSTICS_MAX; i++)
		assert_int_equal(
			diagnostics_add(&diagnostics, REFUSAL_BAD_UNIT, "v", 1, 1, "%s", "full"),
			0);
	assert_int_equal(unit_file_parse("x\n", 2, "u", &unit, &diagnostics), 1);
}

/* "[Unit]\nA=" and *length* times 'x' in lines of *width*, continued. */
static char *make_long(size_t length, size_t width)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	assert_int_equal(buffer_format(&text, "[Unit]\nA="), 0);
	for (size_t i = 1; i <= length; i++)
		assert_int_equal(buffer_format(&text, "%s", i % width == 0 ? "x\\\n" : "x"), 0);
	assert_int_equal(buffer_format(&text, "\n"), 0);
	return TAKE_PTR(text.data);
}

static void limits_count_joined_lines_and_the_whole_file(void **state)
{
	cleanup_free char *whole = make_long(UNIT_FILE_LINE_MAX - 2, SIZE_MAX);
	cleanup_free char *longer = make_long(UNIT_FILE_LINE_MAX - 1, SIZE_MAX);
	cleanup_free char *joined = make_long(UNIT_FILE_LINE_MAX, 100);
	cleanup_free char *large = malloc(UNIT_FILE_SIZE_MAX + 2);
	struct unit_file *unit;

	(void)state;
	unit = parse(whole);
	assert_int_equal(strlen(unit->entries[0].value), UNIT_FILE_LINE_MAX - 2);
	(void)unit_file_free(unit);
	assert_refused(longer, 2, "4096");
	assert_refused(joined, 42, "4096");

	assert_non_null(large);
	memset(large, '\n', UNIT_FILE_SIZE_MAX + 1);
	large[UNIT_FILE_SIZE_MAX] = '\0';
	(void)unit_file_free(parse(large));
	large[UNIT_FILE_SIZE_MAX] = '\n';
	large[UNIT_FILE_SIZE_MAX + 1] = '\0';
	assert_refused(large, 1, "64 KiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_sections_and_assignments_in_order),
		cmocka_unit_test(last_assignment_counts_and_sections_are_apart),
		cmocka_unit_test(value_keeps_what_follows_the_first_equals_sign),
		cmocka_unit_test(continuation_reads_as_systemd_does),
		cmocka_unit_test(place_of_a_continued_value_is_in_its_first_line),
		cmocka_unit_test(refuses_what_systemd_only_warns_about),
		cmocka_unit_test(refuses_bytes_that_a_reader_does_not_see),
		cmocka_unit_test(every_problem_is_reported_once_with_its_line),
		cmocka_unit_test(full_list_of_problems_does_not_make_a_bad_unit_good),
		cmocka_unit_test(limits_count_joined_lines_and_the_whole_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
