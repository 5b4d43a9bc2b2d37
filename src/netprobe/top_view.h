/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netprobe/top.h"

#define TOP_FILTER_MAX 64U

/* What a person chose to see. */
struct top_view {
	enum command_sort sort;
	bool reverse;
	bool tree;
	bool is_paused;
	bool is_typing; /* the filter */
	bool is_over;
	char filter[TOP_FILTER_MAX + 1];
	size_t filter_size;
	size_t scroll; /* rows above the first that is shown */
};

/* Keys as a terminal sends them. */
void top_view_keys(struct top_view *view, const char *keys, size_t n);

/* Lines for *width* columns and *height* lines, each ended by "\n"; without bounds where they are
 * 0. *status* is the first. view->scroll is brought within what there is. 0 or -ENOMEM. */
must_check int top_view_lines(struct top_view *view, const struct top *top, const char *status,
			      size_t width, size_t height, struct buffer *buffer);
