/* SPDX-License-Identifier: Apache-2.0 */

/* Threads are helpers that work on memory: what comes from outside, signals above all, is the first
 * thread's business. */

#include "base/thread.h"

#include <signal.h>

int thread_start(pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *argument),
		 void *argument)
{
	sigset_t all;
	sigset_t before;
	int r;

	(void)sigfillset(&all);
	r = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (r != 0)
		return -r;
	/* A thread begins with the mask of the one that makes it. */
	r = pthread_create(ret, attributes, run, argument);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

void thread_end(pthread_t thread, pthread_mutex_t *mutex, pthread_cond_t *changed, bool *is_ending)
{
	(void)pthread_mutex_lock(mutex);
	*is_ending = true;
	(void)pthread_cond_signal(changed);
	(void)pthread_mutex_unlock(mutex);
	(void)pthread_join(thread, NULL);
}
