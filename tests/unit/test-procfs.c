/* SPDX-License-Identifier: Apache-2.0 */

#include "netprobe/procfs.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t boot_ns(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void a_process_is_read_with_its_name_start_and_user(void **state)
{
	struct procfs_process process;
	uint64_t before = boot_ns();
	pid_t child;

	(void)state;
	/* What runs may be valgrind, by its own name. */
	assert_int_equal(prctl(PR_SET_NAME, "a-name"), 0);
	child = fork();
	if (child == 0) {
		(void)pause();
		_exit(0);
	}
	assert_int_equal(procfs_read_process((uint32_t)child, &process), 0);
	assert_true(process.start_ns + PROCFS_TICK_NS >= before && process.start_ns <= boot_ns());
	assert_int_equal(process.uid, geteuid());
	assert_string_not_equal(process.command_line.word, "");
	assert_string_equal(process.comm, "a-name");
	assert_false(process.is_kernel);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(procfs_read_process((uint32_t)child, &process), -ESRCH);
}

static void a_name_with_brackets_and_spaces_is_only_a_name(void **state)
{
	struct procfs_process process;

	(void)state;
	assert_int_equal(prctl(PR_SET_NAME, "a) S 1 (b"), 0);
	assert_int_equal(procfs_read_process((uint32_t)getpid(), &process), 0);
	assert_string_equal(process.comm, "a) S 1 (b");
	assert_true(process.start_ns > 0 && process.start_ns <= boot_ns());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_is_read_with_its_name_start_and_user),
		cmocka_unit_test(a_name_with_brackets_and_spaces_is_only_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
