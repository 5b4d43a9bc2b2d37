/* SPDX-License-Identifier: Apache-2.0 */

#include "unit/systemd.h"

#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "unit/manager.h"

/* Whether libsystemd is there, as the test wants it. */
static bool is_missing;

void *__real_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags);

void *__wrap_dlopen(const char *name, int flags)
{
	return is_missing ? NULL : __real_dlopen(name, flags);
}

static int ask_without_library(void)
{
	cleanup_manager struct manager *manager = NULL;
	cleanup_strv struct strv lines = STRV_INIT;

	is_missing = true;
	if (manager_open(&manager) != -ELIBACC)
		return 1;
	return manager_log_tail("x.service", 0, 1, &lines) == -ELIBACC ? 0 : 2;
}

/* The library is looked for once in a process. */
static void without_libsystemd_nothing_is_asked(void **state)
{
	int status = -1;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		_exit(ask_without_library());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void every_function_is_there(void **state)
{
	void *functions[sizeof(sd) / sizeof(void *)];

	(void)state;
	assert_int_equal(systemd_load(), 0);
	assert_int_equal(systemd_load(), 0);
	memcpy(functions, &sd, sizeof(sd));
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		assert_non_null(functions[i]);
}

static void whether_it_runs_is_what_systemd_says(void **state)
{
	(void)state;
	assert_int_equal(systemd_is_booted(), sd_booted() > 0);
}

int main(void)
{
	/* The first has a process in which nothing was loaded. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_libsystemd_nothing_is_asked),
		cmocka_unit_test(every_function_is_there),
		cmocka_unit_test(whether_it_runs_is_what_systemd_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
