/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Digesting takes as long as decompressing does, and needs nothing from it but the bytes: on two
 * cores a large bundle is read in little more than half the time. Jobs are done in the order they
 * were posted; numbers tell which are done, so that buffers can be used again in turn.
 *
 * The thread makes no system call but the waiting: files are the first thread's, so that what
 * happens to them stays one sequence.
 */

#include "bundle/hasher.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

/* As many jobs may wait; they are short of work long before. */
#define QUEUE_SIZE 16U

struct job {
	struct digest_state *state;
	const void *data;
	size_t size;
};

struct hasher {
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t mutex;
	pthread_cond_t posted; /* or stopping */
	pthread_cond_t done;
	struct job queue[QUEUE_SIZE]; /* job N is in slot N % QUEUE_SIZE */
	uint64_t n_posted;
	uint64_t n_done;
	bool is_stopping;
};

static void *work(void *argument)
{
	struct hasher *hasher = argument;

	(void)pthread_mutex_lock(&hasher->mutex);
	for (;;) {
		struct job job;

		while (hasher->n_done == hasher->n_posted && !hasher->is_stopping)
			(void)pthread_cond_wait(&hasher->posted, &hasher->mutex);
		if (hasher->n_done == hasher->n_posted)
			break;
		job = hasher->queue[hasher->n_done % QUEUE_SIZE];
		(void)pthread_mutex_unlock(&hasher->mutex);
		digest_add(job.state, job.data, job.size);
		(void)pthread_mutex_lock(&hasher->mutex);
		hasher->n_done++;
		(void)pthread_cond_signal(&hasher->done);
	}
	(void)pthread_mutex_unlock(&hasher->mutex);
	return NULL;
}

/* Signals are for the first thread. */
static bool start_thread(struct hasher *hasher)
{
	sigset_t all;
	sigset_t before;
	bool is_started;

	(void)sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
		return false;
	is_started = pthread_create(&hasher->thread, NULL, work, hasher) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return is_started;
}

int hasher_new(struct hasher **ret)
{
	struct hasher *hasher = calloc(1, sizeof(*hasher));

	if (!hasher)
		return -ENOMEM;
	hasher->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	hasher->posted = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	hasher->done = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	hasher->has_thread = start_thread(hasher);
	*ret = hasher;
	return 0;
}

struct hasher *hasher_free(struct hasher *hasher)
{
	if (!hasher)
		return NULL;
	if (hasher->has_thread) {
		(void)pthread_mutex_lock(&hasher->mutex);
		hasher->is_stopping = true;
		(void)pthread_cond_signal(&hasher->posted);
		(void)pthread_mutex_unlock(&hasher->mutex);
		(void)pthread_join(hasher->thread, NULL);
	}
	(void)pthread_cond_destroy(&hasher->done);
	(void)pthread_cond_destroy(&hasher->posted);
	(void)pthread_mutex_destroy(&hasher->mutex);
	free(hasher);
	return NULL;
}

void hasher_post(struct hasher *hasher, struct digest_state *state, const void *data, size_t size)
{
	if (!hasher->has_thread) {
		digest_add(state, data, size);
		return;
	}
	(void)pthread_mutex_lock(&hasher->mutex);
	while (hasher->n_posted - hasher->n_done == QUEUE_SIZE)
		(void)pthread_cond_wait(&hasher->done, &hasher->mutex);
	hasher->queue[hasher->n_posted++ % QUEUE_SIZE] = (struct job){state, data, size};
	(void)pthread_cond_signal(&hasher->posted);
	(void)pthread_mutex_unlock(&hasher->mutex);
}

uint64_t hasher_last(const struct hasher *hasher)
{
	/* Only the thread that asks posts. */
	return hasher->n_posted;
}

void hasher_wait(struct hasher *hasher, uint64_t last)
{
	(void)pthread_mutex_lock(&hasher->mutex);
	while (hasher->has_thread && hasher->n_done < last)
		(void)pthread_cond_wait(&hasher->done, &hasher->mutex);
	(void)pthread_mutex_unlock(&hasher->mutex);
}

unsigned hasher_turn(struct hasher *hasher, struct hasher_turns *turns)
{
	turns->last[turns->current] = hasher_last(hasher);
	turns->current = 1 - turns->current;
	hasher_wait(hasher, turns->last[turns->current]);
	return turns->current;
}
