/* SPDX-License-Identifier: Apache-2.0 */

/* A child that waits for a file system that does not answer is one that SIGKILL does not reach. */

#include "base/reap.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static bool is_out_of_reach;

int __real_kill(pid_t pid, int signal);
int __wrap_kill(pid_t pid, int signal);

int __wrap_kill(pid_t pid, int signal)
{
	return is_out_of_reach ? 0 : __real_kill(pid, signal);
}

static pid_t start(uint64_t usec)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		clock_sleep_usec(usec);
		_exit(7);
	}
	return pid;
}

static void assert_gone(pid_t pid)
{
	assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_child_that_ends_in_time_tells_how(void **state)
{
	int status = 0;

	(void)state;
	assert_int_equal(reap_child(start(20000), 10 * CLOCK_USEC_PER_SEC, &status), 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void a_child_that_takes_too_long_is_killed(void **state)
{
	pid_t pid = start(60 * CLOCK_USEC_PER_SEC);

	(void)state;
	assert_int_equal(reap_child(pid, 20000, NULL), -ETIMEDOUT);
	assert_gone(pid);
	assert_int_equal(reap_left(), 0);
}

static void a_child_that_cannot_be_killed_is_left_and_collected_later(void **state)
{
	uint64_t begin = clock_monotonic_usec();
	pid_t pid = start(60 * CLOCK_USEC_PER_SEC);

	(void)state;
	is_out_of_reach = true;
	assert_int_equal(reap_child(pid, 0, NULL), -ETIMEDOUT);
	assert_true(clock_monotonic_usec() - begin < 10 * CLOCK_USEC_PER_SEC);
	assert_int_equal(reap_left(), 1);
	is_out_of_reach = false;
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (reap_left() > 0)
		clock_sleep_usec(1000);
	assert_gone(pid);
}

static void what_is_no_child_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(reap_child(getpid(), CLOCK_USEC_PER_SEC, NULL), -ECHILD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_that_ends_in_time_tells_how),
		cmocka_unit_test(a_child_that_takes_too_long_is_killed),
		cmocka_unit_test(a_child_that_cannot_be_killed_is_left_and_collected_later),
		cmocka_unit_test(what_is_no_child_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
