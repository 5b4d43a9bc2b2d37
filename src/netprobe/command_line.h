/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "netprobe/flow.h"

/*
 * What is kept of a command line: its first word, and how many follow. Arguments hold secrets, and
 * are never stored.
 */
struct command_line {
	char word[FLOW_CMDLINE_MAX]; /* UTF-8 that may be printed; cut at a character's border */
	uint32_t arguments;
};

/* *data* as in /proc/PID/cmdline: words that end in NUL. */
void command_line_parse(const char *data, size_t size, struct command_line *ret);
