/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

#define MAX_SIZE 8U

/* What comes of *text*, cut after each *step* bytes: lines between bars, "!" for one too long. */
static void read_all(const char *text, size_t step, struct buffer *ret)
{
	cleanup_line struct line line = LINE_INIT;
	size_t left = strlen(text);

	assert_int_equal(line_init(&line, MAX_SIZE), 0);
	while (left > 0) {
		const char *data = text;
		size_t size = step < left ? step : left;
		int r;

		text += size;
		left -= size;
		while ((r = line_take(&line, &data, &size)) != LINE_E_MORE) {
			assert_true(r == 0 || r == LINE_E_TOO_LONG);
			assert_int_equal(buffer_format(ret, "%s|", r == 0 ? line.text : "!"), 0);
			if (r == 0)
				assert_int_equal(line.size, strlen(line.text));
		}
		assert_int_equal(size, 0);
	}
}

static void check(const char *text, const char *wanted)
{
	for (size_t step = 1; step <= strlen(text); step++) {
		cleanup_buffer struct buffer found = BUFFER_INIT;

		assert_int_equal(buffer_add(&found, "", 0), 0);
		read_all(text, step, &found);
		assert_string_equal(found.data, wanted);
	}
}

static void a_stream_is_the_same_lines_however_it_is_cut(void **state)
{
	(void)state;
	check("one\ntwo\nthree", "one|two|");
	check("12345678\nx\n", "12345678|x|");
}

static void empty_lines_are_none_and_a_carriage_return_is_not_of_it(void **state)
{
	(void)state;
	check("\n\none\r\n\r\n\n", "one|");
	check("a\rb\n", "a\rb|");
}

static void a_line_too_long_is_passed_over_once_and_the_next_is_whole(void **state)
{
	(void)state;
	check("123456789\nnext\n", "!|next|");
	check("1234567890123456789012345678901234567890\n\nnext\n123456789", "!|next|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_is_the_same_lines_however_it_is_cut),
		cmocka_unit_test(empty_lines_are_none_and_a_carriage_return_is_not_of_it),
		cmocka_unit_test(a_line_too_long_is_passed_over_once_and_the_next_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
