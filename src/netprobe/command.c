/* SPDX-License-Identifier: Apache-2.0 */

/* The words of the command line, and what those that ask the daemon share. */

#include "netprobe/command.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "netprobe/commands.h"

static const struct command commands[] = {
	{"ping",      command_ping     },
        {"flows",     command_flows    },
        {"listeners", command_listeners},
	{"watch",     command_watch    },
        {"top",       command_top      },
};

static const char *const sorts[] = {
	[COMMAND_SORT_RATE] = "rate",
	[COMMAND_SORT_BYTES] = "bytes",
	[COMMAND_SORT_RETRANSMITS] = "retransmits",
	[COMMAND_SORT_PROCESS] = "process",
	[COMMAND_SORT_REMOTE] = "remote",
	[COMMAND_SORT_START] = "start",
};

static_assert(ARRAY_SIZE(sorts) == COMMAND_SORT_N, "every order has a name");

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

int command_sort_from_string(const char *text, enum command_sort *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(sorts); i++) {
		if (strcmp(sorts[i], text) == 0) {
			*ret = (enum command_sort)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *command_sort_to_string(enum command_sort sort)
{
	return sorts[sort];
}
