/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

enum command_sort {
	COMMAND_SORT_RATE,
	COMMAND_SORT_BYTES,
	COMMAND_SORT_RETRANSMITS,
	COMMAND_SORT_PROCESS,
	COMMAND_SORT_REMOTE,
	COMMAND_SORT_START,
	COMMAND_SORT_N,
};

struct command_options {
	const char *socket;
	const char *filter; /* or NULL */
	enum command_sort sort;
	bool json;
	bool tree;
	unsigned interval; /* seconds */
	unsigned count;    /* 0: until it is ended */
};

/* A word of the command line; run() returns the program's exit code. */
struct command {
	const char *name;
	int (*run)(const struct command_options *options);
};

const struct command *command_find(const char *name);
/* 0 or -EINVAL. */
must_check int command_sort_from_string(const char *text, enum command_sort *ret);
const char *command_sort_to_string(enum command_sort sort);
