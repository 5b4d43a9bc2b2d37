/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pulls that cannot be ended: their processes wait for a disk that does not answer, where SIGKILL
 * does not reach them. Time is forty times faster.
 */

#include "control/package_pull.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/reap.h"
#include "control/package_arrival.h"

#define SPEED 40

static bool is_out_of_reach;

int __real_kill(pid_t pid, int signal);
int __wrap_kill(pid_t pid, int signal);
uint64_t __real_clock_monotonic_usec(void);
uint64_t __wrap_clock_monotonic_usec(void);

int __wrap_kill(pid_t pid, int signal)
{
	return is_out_of_reach ? 0 : __real_kill(pid, signal);
}

uint64_t __wrap_clock_monotonic_usec(void)
{
	return __real_clock_monotonic_usec() * SPEED;
}

/* The process of a pull that was given up, and is still there. */
static pid_t leave_one(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		for (;;)
			(void)pause();
	}
	assert_int_equal(reap_child(pid, 0, NULL), -ETIMEDOUT);
	return pid;
}

/* A pull that would find no directory of affixd's. */
static int pull(struct api_problem *ret)
{
	cleanup_package_arrival struct package_arrival *arrival = calloc(1, sizeof(*arrival));

	assert_non_null(arrival);
	arrival->fd = arrival->dirfd = arrival->data_dirfd = arrival->trust_dirfd = -EBADF;
	arrival->pull = calloc(1, sizeof(*arrival->pull));
	assert_non_null(arrival->pull);
	package_pull_check(arrival);
	assert_true(arrival->is_checked);
	*ret = arrival->problem;
	return arrival->result;
}

static void nothing_more_is_pulled_while_eight_cannot_be_ended(void **state)
{
	struct api_problem problem = {0};
	pid_t pids[REAP_LEFT_MAX];

	(void)state;
	is_out_of_reach = true;
	for (size_t i = 0; i < REAP_LEFT_MAX; i++) {
		assert_true(pull(&problem) < 0);
		pids[i] = leave_one();
	}
	assert_int_equal(pull(&problem), 1);
	assert_int_equal(problem.status, 503);
	assert_string_equal(problem.name, "busy");
	assert_string_equal(problem.path, "/reference");
	assert_non_null(strstr(problem.message, "see to the disk of affixd"));
	/* One ends after all. */
	is_out_of_reach = false;
	assert_int_equal(kill(pids[0], SIGKILL), 0);
	while (reap_left() == REAP_LEFT_MAX)
		clock_sleep_usec(1000);
	assert_true(pull(&problem) < 0);
	for (size_t i = 1; i < REAP_LEFT_MAX; i++)
		assert_int_equal(kill(pids[i], SIGKILL), 0);
	while (reap_left() > 0)
		clock_sleep_usec(1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_more_is_pulled_while_eight_cannot_be_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
