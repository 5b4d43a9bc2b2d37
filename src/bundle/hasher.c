/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Digesting takes as long as decompressing does, and needs nothing from it but the bytes: on two
 * cores a large bundle is read in little more than half the time. Jobs are done in the order they
 * were posted; numbers tell which are done, so that buffers can be used again in turn.
 *
 * The thread makes no system call but the waiting, and the reads that it is asked for: to change
 * files is the first thread's, so that what happens to them stays one sequence.
 */

#include "bundle/hasher.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/fd.h"
#include "base/thread.h"

/* More jobs than this may not wait. Pieces and inputs take turns: there are seldom more. */
#define QUEUE_SIZE 32U
/* The threads wake each other when this much has gathered, not for every job: on a busy machine
 * each wake-up is a wait for a processor. */
#define BATCH_SIZE (256UL << 10)

struct job {
	struct digest_state *state;
	const void *data;
	size_t size;
	struct hasher_read read; /* before that, if it has a result */
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
	size_t gathered; /* bytes since the thread was woken */
	bool is_busy;    /* one of the two has taken the next job */
	bool is_stopping;
	uint64_t wanted; /* the job that is waited for */
};

static int read_data(const struct hasher_read *read)
{
	size_t n = 0;
	int r = fd_pread_full(read->fd, read->data, read->size, read->offset, &n);

	return r == 0 && n < read->size ? -ENODATA : r;
}

static void do_job(const struct job *job)
{
	int *result = job->read.result;

	if (result && *result == 0)
		*result = read_data(&job->read);
	if (!result || *result == 0)
		digest_add(job->state, job->data, job->size);
}

/* With the mutex, which is let go meanwhile. There is one, and nobody has taken it. */
static void do_one(struct hasher *hasher)
{
	struct job job = hasher->queue[hasher->n_done % QUEUE_SIZE];

	hasher->is_busy = true;
	(void)pthread_mutex_unlock(&hasher->mutex);
	do_job(&job);
	(void)pthread_mutex_lock(&hasher->mutex);
	hasher->is_busy = false;
	hasher->n_done++;
}

static void *work(void *argument)
{
	struct hasher *hasher = argument;

	(void)pthread_mutex_lock(&hasher->mutex);
	for (;;) {
		bool is_idle = hasher->n_done == hasher->n_posted;

		if (is_idle && hasher->is_stopping)
			break;
		if (is_idle || hasher->is_busy) {
			(void)pthread_cond_wait(&hasher->posted, &hasher->mutex);
			continue;
		}
		do_one(hasher);
		if (hasher->n_done >= hasher->wanted)
			(void)pthread_cond_signal(&hasher->done);
	}
	(void)pthread_mutex_unlock(&hasher->mutex);
	return NULL;
}

int hasher_new(struct hasher **ret)
{
	struct hasher *hasher = calloc(1, sizeof(*hasher));

	if (!hasher)
		return -ENOMEM;
	hasher->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	hasher->posted = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	hasher->done = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	hasher->has_thread = thread_start(&hasher->thread, NULL, work, hasher) == 0;
	*ret = hasher;
	return 0;
}

struct hasher *hasher_free(struct hasher *hasher)
{
	if (!hasher)
		return NULL;
	if (hasher->has_thread)
		thread_end(hasher->thread, &hasher->mutex, &hasher->posted, &hasher->is_stopping);
	(void)pthread_cond_destroy(&hasher->done);
	(void)pthread_cond_destroy(&hasher->posted);
	(void)pthread_mutex_destroy(&hasher->mutex);
	free(hasher);
	return NULL;
}

/* With the mutex. Whoever waits has nothing else to do: what the thread has not begun is done here,
 * which for little takes less time than waking it. */
static void wait_until(struct hasher *hasher, uint64_t last)
{
	hasher->wanted = last;
	while (hasher->n_done < last) {
		if (hasher->is_busy)
			(void)pthread_cond_wait(&hasher->done, &hasher->mutex);
		else
			do_one(hasher);
	}
	if (hasher->n_done < hasher->n_posted)
		(void)pthread_cond_signal(&hasher->posted);
}

static void post(struct hasher *hasher, const struct job *job)
{
	if (!hasher->has_thread) {
		do_job(job);
		return;
	}
	(void)pthread_mutex_lock(&hasher->mutex);
	if (hasher->n_posted - hasher->n_done == QUEUE_SIZE)
		wait_until(hasher, hasher->n_posted - QUEUE_SIZE / 2);
	hasher->queue[hasher->n_posted++ % QUEUE_SIZE] = *job;
	hasher->gathered += job->size;
	if (hasher->gathered >= BATCH_SIZE) {
		hasher->gathered = 0;
		(void)pthread_cond_signal(&hasher->posted);
	}
	(void)pthread_mutex_unlock(&hasher->mutex);
}

void hasher_post(struct hasher *hasher, struct digest_state *state, const void *data, size_t size)
{
	post(hasher, &(struct job){.state = state, .data = data, .size = size});
}

void hasher_post_read(struct hasher *hasher, struct digest_state *state,
		      const struct hasher_read *read)
{
	post(hasher,
	     &(struct job){
		     .state = state, .data = read->data, .size = read->digested, .read = *read});
}

uint64_t hasher_last(const struct hasher *hasher)
{
	/* Only the thread that asks posts. */
	return hasher->n_posted;
}

static bool is_done(struct hasher *hasher, uint64_t last)
{
	bool is_done;

	(void)pthread_mutex_lock(&hasher->mutex);
	is_done = !hasher->has_thread || hasher->n_done >= last;
	(void)pthread_mutex_unlock(&hasher->mutex);
	return is_done;
}

void hasher_wait(struct hasher *hasher, uint64_t last)
{
	(void)pthread_mutex_lock(&hasher->mutex);
	if (hasher->has_thread)
		wait_until(hasher, last);
	(void)pthread_mutex_unlock(&hasher->mutex);
}

unsigned hasher_turn(struct hasher *hasher, struct hasher_turns *turns)
{
	unsigned next = (turns->current + 1) % HASHER_BUFFERS;
	unsigned half = (turns->current + HASHER_BUFFERS / 2) % HASHER_BUFFERS;

	turns->last[turns->current] = hasher_last(hasher);
	turns->current = next;
	if (!is_done(hasher, turns->last[next]))
		hasher_wait(hasher, turns->last[half]);
	return next;
}
