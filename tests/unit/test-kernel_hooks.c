/* SPDX-License-Identifier: Apache-2.0 */

#include "netprobe/kernel_hooks.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A kernel before Linux 6.3 that has all functions but *lacking*. */
static struct trial before_linux_6_3(const char *lacking)
{
	struct trial trial = {{0}};

	trial.error[hook_find("length_sent")] = ENOENT;
	trial.error[hook_find("length_received")] = ENOENT;
	trial.error[hook_find(lacking)] = ESRCH;
	trial_settle(&trial);
	return trial;
}

static void functions_stand_in_for_tracepoints_without_those_that_a_kernel_may_lack(void **state)
{
	struct trial trial;

	(void)state;
	trial = before_linux_6_3("page_sent");
	assert_true(trial_traces(&trial, "length_sent"));
	assert_true(trial_uses(&trial, hook_find("ipv6_sent")));
	trial = before_linux_6_3("raw_received");
	assert_true(trial_traces(&trial, "length_received"));
	assert_true(trial_uses(&trial, hook_find("ipv6_received")));
}

static void where_ipv6_may_come_later_no_function_stands_in_for_a_tracepoint(void **state)
{
	struct trial trial;

	(void)state;
	trial = before_linux_6_3("ipv6_sent");
	assert_false(trial_traces(&trial, "length_sent"));
	assert_false(trial_uses(&trial, hook_find("ipv4_sent")));
	assert_false(trial_uses(&trial, hook_find("page_sent")));
	assert_true(trial_traces(&trial, "length_received"));
	trial = before_linux_6_3("ipv6_received");
	assert_false(trial_traces(&trial, "length_received"));
	assert_false(trial_uses(&trial, hook_find("ipv4_received")));
	assert_true(trial_traces(&trial, "length_sent"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			functions_stand_in_for_tracepoints_without_those_that_a_kernel_may_lack),
		cmocka_unit_test(where_ipv6_may_come_later_no_function_stands_in_for_a_tracepoint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
