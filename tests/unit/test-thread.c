/* SPDX-License-Identifier: Apache-2.0 */

#include "base/thread.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

static bool has_no_threads;

int __real_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*start)(void *),
			  void *argument);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*start)(void *),
			  void *argument);

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*start)(void *),
			  void *argument)
{
	return has_no_threads ? EAGAIN : __real_pthread_create(ret, attributes, start, argument);
}

static void *tell_mask(void *argument)
{
	(void)pthread_sigmask(SIG_SETMASK, NULL, argument);
	return NULL;
}

static void assert_maker_takes_signals(void)
{
	sigset_t mask;

	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
	assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

static void signals_are_for_the_maker_alone(void **state)
{
	sigset_t mask;
	pthread_t thread;

	(void)state;
	(void)sigemptyset(&mask);
	assert_int_equal(thread_start(&thread, NULL, tell_mask, &mask), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(sigismember(&mask, SIGTERM), 1);
	assert_int_equal(sigismember(&mask, SIGCHLD), 1);
	assert_maker_takes_signals();
}

static void without_a_thread_the_makers_signals_are_as_before(void **state)
{
	pthread_t thread;

	(void)state;
	has_no_threads = true;
	assert_int_equal(thread_start(&thread, NULL, tell_mask, NULL), -EAGAIN);
	has_no_threads = false;
	assert_maker_takes_signals();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_are_for_the_maker_alone),
		cmocka_unit_test(without_a_thread_the_makers_signals_are_as_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
