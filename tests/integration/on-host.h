/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"

/* What the cmocka tests share that run as root inside a scratch host, started by a script. */

/* The script makes it: nobody runs these on a machine by accident. */
#define ON_HOST_MARK "/etc/affix-scratch-host"
/* Where the script puts affix-test-daemon. */
#define ON_HOST_DAEMON "/opt/affix-test-daemon"

#define SECOND CLOCK_USEC_PER_SEC
/* For what must not take long, also on a busy machine. */
#define MUCH_LATER (20 * SECOND)

static inline void on_host_require(void)
{
	if (faccessat(AT_FDCWD, ON_HOST_MARK, F_OK, 0) < 0) {
		(void)fputs("runs in a scratch host only\n", stderr);
		exit(77);
	}
}

static inline void on_host_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* A shell command that must succeed. */
static inline void on_host_shell(const char *command)
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)execl("/bin/sh", "sh", "-euc", command, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("'%s' ended with status %x", command, (unsigned)status);
}

/* The tests that match the first argument, or all. */
#define ON_HOST_RUN(tests, argc, argv)                       \
	({                                                   \
		if ((argc) > 1)                              \
			cmocka_set_test_filter((argv)[1]);   \
		cmocka_run_group_tests((tests), NULL, NULL); \
	})
