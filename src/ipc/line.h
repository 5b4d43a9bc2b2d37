/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

enum {
	LINE_E_MORE = 1, /* all was taken, and no line has ended */
	LINE_E_TOO_LONG, /* there was a line of more than `max` bytes; it was passed over */
};

/* Cuts a stream of bytes into lines, in memory of *max* bytes. */
struct line {
	char *text;
	size_t size;
	size_t max;
	bool is_taken;    /* the caller has seen it: the next byte begins another */
	bool is_skipping; /* it is too long: what is still to come of it is thrown away */
};

#define LINE_INIT     \
	(struct line) \
	{             \
	}

/* 0 or -ENOMEM. */
must_check int line_init(struct line *line, size_t max);
void line_done(struct line *line);
#define cleanup_line CLEANUP(line_done)

/*
 * Takes bytes off the front of *data* until a line has ended, without its '\n' and a '\r' before
 * it; empty lines are none. 0: it is in line->text, with a NUL behind its line->size bytes, until
 * the next call; LINE_E_MORE; LINE_E_TOO_LONG.
 */
must_check int line_take(struct line *line, const char **data, size_t *size);
