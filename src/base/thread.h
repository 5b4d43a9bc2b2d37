/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/cleanup.h"

/* Starts a thread that gets no signal: they are for the first one. *attributes* may be NULL. 0 or
 * -errno; then do the work without it. */
must_check int thread_start(pthread_t *ret, const pthread_attr_t *attributes,
			    void *(*run)(void *argument), void *argument);

/* Ends a thread that looks for *is_ending* whenever *changed* wakes it: tells it so, and waits. */
void thread_end(pthread_t thread, pthread_mutex_t *mutex, pthread_cond_t *changed, bool *is_ending);
