/* SPDX-License-Identifier: Apache-2.0 */

#include "updater/process.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The answers of a child, whose process is spoilt first and sanitised then: exit 0 for all good. */
static int in_child(int (*check)(void))
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		_exit(check());
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int check_descriptors(void)
{
	int low = dup2(STDOUT_FILENO, 3);
	int high = dup2(STDOUT_FILENO, 77);

	if (low < 0 || high < 0)
		return 1;
	(void)close(STDIN_FILENO);
	(void)close(STDERR_FILENO);
	if (process_sanitise(1) < 0)
		return 2;
	for (int fd = 0; fd <= 3; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			return 3;
	}
	return fcntl(high, F_GETFD) < 0 && fcntl(4, F_GETFD) < 0 ? 0 : 4;
}

static int check_signals(void)
{
	struct sigaction action = {.sa_handler = SIG_IGN};
	sigset_t set;

	(void)sigfillset(&set);
	if (sigaction(SIGALRM, &action, NULL) < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return 1;
	if (process_sanitise(0) < 0)
		return 2;
	if (sigaction(SIGALRM, NULL, &action) < 0 || action.sa_handler != SIG_DFL)
		return 3;
	if (sigaction(SIGPIPE, NULL, &action) < 0 || action.sa_handler != SIG_IGN)
		return 4;
	if (sigprocmask(SIG_BLOCK, NULL, &set) < 0 || sigismember(&set, SIGTERM))
		return 5;
	return 0;
}

static int check_the_rest(void)
{
	struct rlimit limit;

	(void)setenv("LD_PRELOAD", "/tmp/evil.so",
		     1); /* NOLINT(concurrency-mt-unsafe): one thread */
	(void)umask(0);
	if (process_sanitise(0) < 0)
		return 1;
	if (environ && environ[0])
		return 2;
	if (umask(0) != 022)
		return 3;
	if (getrlimit(RLIMIT_CORE, &limit) < 0 || limit.rlim_cur != 0 || limit.rlim_max != 0)
		return 4;
	return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : 5;
}

static int check_termination(void)
{
	if (process_sanitise(0) < 0)
		return 2;
	(void)raise(SIGTERM);
	return 3;
}

static void stdio_is_open_and_nothing_else_is(void **state)
{
	(void)state;
	assert_int_equal(in_child(check_descriptors), 0);
}

static void inherited_signal_settings_are_gone(void **state)
{
	(void)state;
	assert_int_equal(in_child(check_signals), 0);
}

static void environment_umask_cores_and_tracing_are_settled(void **state)
{
	(void)state;
	assert_int_equal(in_child(check_the_rest), 0);
}

static void being_told_to_stop_is_a_failure_that_systemd_sees(void **state)
{
	(void)state;
	assert_int_equal(in_child(check_termination), EXIT_FAILURE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stdio_is_open_and_nothing_else_is),
		cmocka_unit_test(inherited_signal_settings_are_gone),
		cmocka_unit_test(environment_umask_cores_and_tracing_are_settled),
		cmocka_unit_test(being_told_to_stop_is_a_failure_that_systemd_sees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
