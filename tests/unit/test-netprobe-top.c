/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "netprobe/text.h"
#include "netprobe/top_view.h"
#include "netprobe/wall.h"

static void add(struct top *top, uint64_t cookie, const char *comm, uint32_t tgid, uint64_t bytes,
		int64_t started)
{
	Netprobe__FlowAttributionEvent flow = NETPROBE__FLOW_ATTRIBUTION_EVENT__INIT;

	flow.socket_address = cookie;
	flow.comm = (char *)comm;
	flow.tgid = tgid;
	flow.bytes_sent = bytes;
	flow.started_unix_nano = started;
	flow.local_ip = (char *)"192.0.2.1";
	flow.remote_ip = (char *)"2001:db8::2";
	flow.remote_port = 443;
	flow.transport_protocol = (char *)"tcp";
	assert_int_equal(top_add(top, &flow), 0);
}

static const struct top_row *row_of(const struct top *top, uint64_t cookie)
{
	for (size_t i = 0; i < top->now.count; i++) {
		if (top->now.items[i].cookie == cookie)
			return &top->now.items[i];
	}
	fail_msg("no flow %llu", (unsigned long long)cookie);
	return NULL;
}

static void a_rate_is_what_moved_between_two_looks(void **state)
{
	cleanup_top struct top top = TOP_INIT;

	(void)state;
	top_begin(&top, 10 * WALL_NS_PER_SEC);
	add(&top, 1, "a", 1, 5000, 1);
	add(&top, 2, "b", 2, 900, 1);
	top_end(&top);
	/* Nothing is known of what was before the first. */
	assert_int_equal(row_of(&top, 1)->rate, 0);
	top_begin(&top, 12 * WALL_NS_PER_SEC);
	add(&top, 3, "new", 3, 600, 11 * WALL_NS_PER_SEC);
	add(&top, 4, "found", 3, 600, 1);
	add(&top, 2, "b", 2, 800, 1);
	add(&top, 1, "a", 1, 7000, 1);
	top_end(&top);
	assert_int_equal(row_of(&top, 1)->rate, 1000);
	assert_int_equal(row_of(&top, 2)->rate, 0);
	assert_int_equal(row_of(&top, 3)->rate, 300);
	assert_int_equal(row_of(&top, 4)->rate, 0);
}

static void a_tree_sums_up_each_process_above_its_flows(void **state)
{
	const struct top_order order = {.sort = COMMAND_SORT_BYTES, .tree = true};
	cleanup_top struct top top = TOP_INIT;
	struct top_rows rows = {0};

	(void)state;
	top_begin(&top, WALL_NS_PER_SEC);
	add(&top, 1, "small", 1, 10, 1);
	add(&top, 2, "large", 2, 100, 1);
	add(&top, 3, "small", 1, 20, 1);
	add(&top, 4, "", 0, 5, 1);
	top_end(&top);
	assert_int_equal(top_arrange(&top, &order, &rows), 0);
	assert_int_equal(rows.count, 7);
	assert_string_equal(rows.items[0].process, "large[2]");
	assert_int_equal(rows.items[2].flows, 2);
	assert_int_equal(rows.items[2].bytes, 30);
	assert_int_equal(rows.items[3].cookie, 3);
	assert_int_equal(rows.items[4].cookie, 1);
	assert_string_equal(rows.items[5].process, "?");
	free(rows.items);
}

static void nothing_at_all_is_a_head(void **state)
{
	cleanup_top struct top top = TOP_INIT;
	cleanup_buffer struct buffer lines = BUFFER_INIT;
	struct top_view view = {.tree = true, .scroll = 5};

	(void)state;
	top_begin(&top, WALL_NS_PER_SEC);
	top_end(&top);
	assert_int_equal(top_view_lines(&view, &top, "now", 80, 24, &lines), 0);
	assert_int_equal(strncmp(lines.data, "now  by rate  tree\nPROCESS ", 27), 0);
	assert_int_equal(view.scroll, 0);
}

/* In characters, the longest line and how many there are. */
static size_t widest(const char *lines, size_t *ret_count)
{
	size_t most = 0;
	size_t columns = 0;

	*ret_count = 0;
	for (; *lines; lines++) {
		if (*lines == '\n') {
			most = MAX(most, columns);
			columns = 0;
			(*ret_count)++;
		} else {
			columns += ((unsigned char)*lines & 0xc0U) != 0x80U;
		}
	}
	return most;
}

static void every_size_of_a_terminal_is_kept_to(void **state)
{
	cleanup_top struct top top = TOP_INIT;
	struct top_view view = {0};

	(void)state;
	top_begin(&top, WALL_NS_PER_SEC);
	for (unsigned i = 1; i <= 40; i++)
		add(&top, i, "\xc3\xa9\xe2\x82\xacxx", i, i, 1);
	top_end(&top);
	for (size_t width = 1; width < 200; width++) {
		cleanup_buffer struct buffer lines = BUFFER_INIT;
		size_t height = 3 + width % 50;
		size_t count = 0;

		assert_int_equal(top_view_lines(&view, &top, "now", width, height, &lines), 0);
		assert_true(widest(lines.data, &count) <= width);
		assert_int_equal(count, MIN(height, 42UL));
		assert_true(str_is_utf8(lines.data, lines.size));
	}
}

static void wide_characters_have_two_columns(void **state)
{
	static const char wide[] = "\xe6\x97\xa5\xe6\x9c\xac";
	cleanup_top struct top top = TOP_INIT;
	cleanup_buffer struct buffer lines = BUFFER_INIT;
	struct top_view view = {0};
	char container[TEXT_CONTAINER_SIZE];
	size_t columns = 0;

	(void)state;
	top_begin(&top, WALL_NS_PER_SEC);
	add(&top, 1, wide, 1, 1, 1);
	top_end(&top);
	assert_int_equal(top_view_lines(&view, &top, "now", 80, 24, &lines), 0);
	/* Four columns and "[1]" are followed by so many blanks as 24 have left. */
	assert_int_equal(buffer_add(&lines, "", 1), 0);
	assert_non_null(strstr(lines.data, "\xe6\x97\xa5\xe6\x9c\xac[1]                  -"));
	assert_int_equal(text_blanks(wide, 10), 6);
	assert_int_equal(text_blanks(wide, 3), 0);
	text_container(wide, container);
	assert_string_equal(container, "\xe6\x97\xa5\xe6\x9c\xac        ");
	/* Also what another user called a cgroup. */
	text_container("\033[2J", container);
	assert_string_equal(container, "\\x1b[2J     ");
	text_container("0123456789abcdef", container);
	assert_string_equal(container, "0123456789ab");
	text_container("", container);
	assert_string_equal(container, "-           ");
	assert_int_equal(text_fit(wide, 3, &columns), 3);
	assert_int_equal(columns, 2);
	/* What stands above another one has none. */
	assert_int_equal(text_fit("e\xcc\x81", 1, &columns), 3);
	assert_int_equal(columns, 1);
}

static void keys_are_typed_into_a_filter_until_enter(void **state)
{
	struct top_view view = {0};
	char many[TOP_FILTER_MAX * 2];

	(void)state;
	top_view_keys(&view, "/qx\177p\r", 6);
	assert_string_equal(view.filter, "qp");
	assert_false(view.is_over || view.is_paused || view.is_typing);
	top_view_keys(&view, "\033", 1);
	assert_string_equal(view.filter, "");
	memset(many, 'a', sizeof(many));
	top_view_keys(&view, "/", 1);
	top_view_keys(&view, many, sizeof(many));
	assert_int_equal(strlen(view.filter), TOP_FILTER_MAX);
	top_view_keys(&view, "\177\177\r", 3);
	assert_int_equal(strlen(view.filter), TOP_FILTER_MAX - 2);
}

static void keys_change_what_is_shown(void **state)
{
	struct top_view view = {0};

	(void)state;
	top_view_keys(&view, "sr", 2);
	assert_int_equal(view.sort, COMMAND_SORT_BYTES);
	assert_true(view.reverse);
	top_view_keys(&view, "ssssst p", 8);
	assert_int_equal(view.sort, COMMAND_SORT_RATE);
	assert_true(view.tree);
	assert_false(view.is_paused);
	top_view_keys(&view, "\033[B\033[B\033[A", 9);
	assert_int_equal(view.scroll, 1);
	top_view_keys(&view, "\033[A\033[A", 6);
	assert_int_equal(view.scroll, 0);
	top_view_keys(&view, "q", 1);
	assert_true(view.is_over);
}

static void counts_are_short(void **state)
{
	static const struct {
		uint64_t value;
		const char *text;
	} cases[] = {
		{0,          "0"     },
                {999,        "999"   },
                {1000,       "1.0K"  },
                {999999,     "999.9K"},
		{1000000,    "1.0M"  },
                {12345678,   "12.3M" },
                {UINT64_MAX, "18.4E" }
        };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[TEXT_COUNT_SIZE];

		text_count(cases[i].value, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void times_are_rfc_3339(void **state)
{
	char text[WALL_TEXT_SIZE];

	(void)state;
	wall_format(1700000000250000000, text);
	assert_string_equal(text, "2023-11-14T22:13:20.250Z");
	wall_format(0, text);
	assert_string_equal(text, "-");
	wall_format(INT64_MAX, text);
	assert_string_equal(text, "2262-04-11T23:47:16.854Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rate_is_what_moved_between_two_looks),
		cmocka_unit_test(a_tree_sums_up_each_process_above_its_flows),
		cmocka_unit_test(nothing_at_all_is_a_head),
		cmocka_unit_test(every_size_of_a_terminal_is_kept_to),
		cmocka_unit_test(wide_characters_have_two_columns),
		cmocka_unit_test(keys_are_typed_into_a_filter_until_enter),
		cmocka_unit_test(keys_change_what_is_shown),
		cmocka_unit_test(counts_are_short),
		cmocka_unit_test(times_are_rfc_3339),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
