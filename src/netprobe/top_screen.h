/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#include "base/cleanup.h"

/* The terminal while top has it. */
struct top_screen {
	struct termios before;
	bool has_keys;
	bool is_open;
};

#define TOP_SCREEN_INIT     \
	(struct top_screen) \
	{                   \
	}

void top_screen_open(struct top_screen *screen);
/* The terminal as it was. */
void top_screen_close(struct top_screen *screen);
#define cleanup_top_screen CLEANUP(top_screen_close)

void top_screen_size(size_t *ret_width, size_t *ret_height);
/* Shows *lines*, which end in "\n" each and fit the size. 0 or -errno. */
must_check int top_screen_show(const char *lines);
