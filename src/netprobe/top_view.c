/* SPDX-License-Identifier: Apache-2.0 */

/* Keys, and the table as lines. What a terminal is sent besides is not here. */

#include "netprobe/top_view.h"

#include <stdio.h>
#include <string.h>

#include "netprobe/text.h"

#define ESCAPE     '\033'
#define DELETE     '\177'
#define BACKSPACE  '\b'
#define HEAD_LINES 2U
/* Columns besides the ends of a flow, and what is left to those at least. */
#define FIXED_COLUMNS   71U
#define ENDS_MIN        12U
#define ENDS_BOTH       50U
#define ENDS_PIPED      92U
#define LINE_SIZE       512U
#define PROCESS_COLUMNS 24U

static void type(struct top_view *view, char key)
{
	if (key == '\r' || key == '\n') {
		view->is_typing = false;
	} else if (key == ESCAPE) {
		view->is_typing = false;
		view->filter_size = 0;
	} else if (key == DELETE || key == BACKSPACE) {
		view->filter_size -= view->filter_size > 0;
	} else if ((unsigned char)key >= ' ' && view->filter_size < TOP_FILTER_MAX) {
		view->filter[view->filter_size++] = key;
	}
	view->filter[view->filter_size] = '\0';
	view->scroll = 0;
}

static void press(struct top_view *view, char key)
{
	switch (key) {
	case 'q':
		view->is_over = true;
		break;
	case 'p':
	case ' ':
		view->is_paused = !view->is_paused;
		break;
	case 's':
		view->sort = (enum command_sort)((view->sort + 1) % COMMAND_SORT_N);
		view->reverse = false;
		break;
	case 'r':
		view->reverse = !view->reverse;
		break;
	case 't':
		view->tree = !view->tree;
		view->scroll = 0;
		break;
	case '/':
		view->is_typing = true;
		break;
	case ESCAPE:
		view->filter_size = 0;
		view->filter[0] = '\0';
		break;
	default:
		break;
	}
}

void top_view_keys(struct top_view *view, const char *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (keys[i] == ESCAPE && i + 2 < n && keys[i + 1] == '[') {
			if (keys[i + 2] == 'A')
				view->scroll -= view->scroll > 0;
			else if (keys[i + 2] == 'B')
				view->scroll++;
			i += 2;
		} else if (view->is_typing) {
			type(view, keys[i]);
		} else {
			press(view, keys[i]);
		}
	}
}

/* Adds at most *width* columns of *line* (0: all); no character is cut in two. */
static int add_line(struct buffer *buffer, const char *line, size_t width)
{
	size_t columns;
	size_t n = width > 0 ? text_fit(line, width, &columns) : strlen(line);
	int r = n > 0 ? buffer_add(buffer, line, n) : 0;

	return r < 0 ? r : buffer_add(buffer, "\n", 1);
}

/* How many columns the ends of a flow have. */
static size_t ends_width(size_t width)
{
	if (width == 0)
		return ENDS_PIPED;
	return width > FIXED_COLUMNS + ENDS_MIN ? width - FIXED_COLUMNS : ENDS_MIN;
}

static void format_ends(const struct top_row *row, size_t width, char *text, size_t size)
{
	const char *arrow = row->inbound ? "<-" : "->";

	if (row->flows > 0)
		(void)snprintf(text, size, "%u flow%s", row->flows, row->flows > 1 ? "s" : "");
	else if (width >= ENDS_BOTH)
		(void)snprintf(text, size, "%s %s %s", row->local, arrow, row->remote);
	else
		(void)snprintf(text, size, "%s %s", arrow, row->remote);
}

static int add_row(const struct top_view *view, const struct top_row *row, size_t width,
		   struct buffer *buffer)
{
	char line[LINE_SIZE];
	char process[TEXT_PROCESS_SIZE + PROCESS_COLUMNS];
	char container[TEXT_CONTAINER_SIZE];
	char ends[2 * TEXT_END_SIZE + 8];
	char rate[TEXT_COUNT_SIZE];
	char bytes[TEXT_COUNT_SIZE];
	size_t columns = ends_width(width);
	bool is_below = view->tree && row->flows == 0;

	text_column(row->process, is_below ? PROCESS_COLUMNS - 2 : PROCESS_COLUMNS, process,
		    sizeof(process));
	text_container(row->container, container);
	format_ends(row, columns, ends, sizeof(ends));
	text_count(row->rate, rate);
	text_count(row->bytes, bytes);
	(void)snprintf(line, sizeof(line), "%s%s %s %-6s %-*.*s %9s %9s %7u", is_below ? "  " : "",
		       process, container, row->flows > 0 ? "" : row->protocol, (int)columns,
		       (int)columns, ends, rate, bytes, row->retransmits);
	return add_line(buffer, line, width);
}

static int add_head(const struct top_view *view, const char *status, size_t width,
		    struct buffer *buffer)
{
	char line[LINE_SIZE];
	int columns = (int)ends_width(width);
	int r;

	(void)snprintf(line, sizeof(line), "%s  by %s%s%s%s%s%s%s", status,
		       command_sort_to_string(view->sort), view->reverse ? ", reversed" : "",
		       view->is_paused ? "  PAUSED" : "",
		       view->is_typing || view->filter_size > 0 ? "  /" : "", view->filter,
		       view->is_typing ? "_" : "", view->tree ? "  tree" : "");
	r = add_line(buffer, line, width);
	(void)snprintf(line, sizeof(line), "%-24s %-12s %-6s %-*s %9s %9s %7s", "PROCESS",
		       "CONTAINER", "PROTO", columns, "REMOTE", "BYTES/S", "BYTES", "RETRANS");
	return r < 0 ? r : add_line(buffer, line, width);
}

int top_view_lines(struct top_view *view, const struct top *top, const char *status, size_t width,
		   size_t height, struct buffer *buffer)
{
	const struct top_order order = {view->sort, view->reverse, view->tree, view->filter};
	struct top_rows rows = {0};
	size_t room;
	int r = top_arrange(top, &order, &rows);

	if (r < 0)
		return r;
	room = height > HEAD_LINES ? height - HEAD_LINES : 0;
	if (height == 0)
		room = rows.count;
	view->scroll = MIN(view->scroll, rows.count > room ? rows.count - room : 0);
	r = add_head(view, status, width, buffer);
	for (size_t i = view->scroll; r == 0 && i < rows.count && i < view->scroll + room; i++)
		r = add_row(view, &rows.items[i], width, buffer);
	free(rows.items);
	return r;
}
