/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Digesting takes as long as decompressing does, and needs nothing from it but the bytes: on two
 * cores a large bundle is read in little more than half the time. Jobs are done in the order they
 * were posted; numbers tell which are done, so that buffers can be used again in turn.
 *
 * What is read from a disk first is read by a third thread, a few jobs ahead: the disk and the core
 * work at the same time. Without it the second one reads.
 *
 * They make no system call but the waiting, and the reads that are asked for: to change files is
 * the first thread's, so that what happens to them stays one sequence.
 */

#include "bundle/hasher.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/fd.h"
#include "base/thread.h"

/* More jobs than this may not wait. Pieces and inputs take turns: there are seldom more. */
#define QUEUE_SIZE 64U
/* The threads wake each other when this much has gathered, not for every job: on a busy machine
 * each wake-up is a wait for a processor. */
#define BATCH_SIZE (256UL << 10)

struct job {
	struct digest_state *state;
	const void *data;
	size_t size;
	struct hasher_read read; /* before that, if it has a result */
	bool is_read;            /* that is done, and ended with: */
	int read_result;
};

struct hasher {
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t mutex;
	pthread_cond_t posted; /* or read, or stopping */
	pthread_cond_t done;
	pthread_t reader;
	bool has_reader;
	bool was_read;                /* it was tried to have one */
	pthread_cond_t wants_reading; /* or stopping */
	uint64_t n_read;              /* jobs that it is through with */
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
		*result = job->is_read ? job->read_result : read_data(&job->read);
	if (!result || *result == 0)
		digest_add(job->state, job->data, job->size);
}

/* With the mutex: the next job can be done, and nobody has taken it. */
static bool can_do_one(const struct hasher *hasher)
{
	return hasher->n_done < (hasher->has_reader ? hasher->n_read : hasher->n_posted) &&
	       !hasher->is_busy;
}

/* With the mutex, which is let go meanwhile. */
static void do_one(struct hasher *hasher)
{
	struct job job = hasher->queue[hasher->n_done % QUEUE_SIZE];

	hasher->is_busy = true;
	(void)pthread_mutex_unlock(&hasher->mutex);
	do_job(&job);
	(void)pthread_mutex_lock(&hasher->mutex);
	hasher->is_busy = false;
	hasher->n_done++;
	if (hasher->has_reader)
		(void)pthread_cond_signal(&hasher->wants_reading);
}

static void *work(void *argument)
{
	struct hasher *hasher = argument;

	(void)pthread_mutex_lock(&hasher->mutex);
	while (hasher->n_done < hasher->n_posted || !hasher->is_stopping) {
		if (!can_do_one(hasher)) {
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

/* With the mutex, which is let go meanwhile. The job stays where it is: it is not done. */
static void read_one(struct hasher *hasher)
{
	struct job *job = &hasher->queue[hasher->n_read % QUEUE_SIZE];

	if (job->read.result) {
		struct hasher_read read = job->read;
		int r;

		(void)pthread_mutex_unlock(&hasher->mutex);
		r = read_data(&read);
		(void)pthread_mutex_lock(&hasher->mutex);
		job->is_read = true;
		job->read_result = r;
	}
	hasher->n_read++;
	(void)pthread_cond_signal(&hasher->posted);
}

static void *read_ahead(void *argument)
{
	struct hasher *hasher = argument;

	(void)pthread_mutex_lock(&hasher->mutex);
	while (hasher->n_read < hasher->n_posted || !hasher->is_stopping) {
		if (hasher->n_read < hasher->n_posted &&
		    hasher->n_read < hasher->n_done + HASHER_READS)
			read_one(hasher);
		else
			(void)pthread_cond_wait(&hasher->wants_reading, &hasher->mutex);
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
	hasher->wants_reading = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	hasher->has_thread = thread_start(&hasher->thread, NULL, work, hasher) == 0;
	*ret = hasher;
	return 0;
}

struct hasher *hasher_free(struct hasher *hasher)
{
	if (!hasher)
		return NULL;
	if (hasher->has_reader)
		thread_end(hasher->reader, &hasher->mutex, &hasher->wants_reading,
			   &hasher->is_stopping);
	if (hasher->has_thread)
		thread_end(hasher->thread, &hasher->mutex, &hasher->posted, &hasher->is_stopping);
	(void)pthread_cond_destroy(&hasher->wants_reading);
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
		if (can_do_one(hasher))
			do_one(hasher);
		else
			(void)pthread_cond_wait(&hasher->done, &hasher->mutex);
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
	if (hasher->has_reader)
		(void)pthread_cond_signal(&hasher->wants_reading);
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

/* With the mutex free, before the first job that is about a file. */
static void start_reader(struct hasher *hasher)
{
	(void)pthread_mutex_lock(&hasher->mutex);
	hasher->n_read = hasher->n_posted;
	hasher->has_reader = thread_start(&hasher->reader, NULL, read_ahead, hasher) == 0;
	/* The reader waits for what it is not to read, which may be too little to be woken for.
	 * From now on the thread is woken for each job. */
	(void)pthread_cond_signal(&hasher->posted);
	(void)pthread_mutex_unlock(&hasher->mutex);
}

void hasher_post_read(struct hasher *hasher, struct digest_state *state,
		      const struct hasher_read *read)
{
	if (hasher->has_thread && !hasher->was_read) {
		hasher->was_read = true;
		start_reader(hasher);
	}
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
