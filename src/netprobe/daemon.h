/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

struct daemon_options {
	const char *socket;
	const char *config;  /* or NULL */
	const char *metrics; /* or NULL */
	bool json;           /* how it logs */
};

/* Serves until SIGTERM or SIGINT. The exit code of the program: 2 where what it was told is wrong.
 */
int daemon_run(const struct daemon_options *options);
