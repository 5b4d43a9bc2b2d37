/* SPDX-License-Identifier: Apache-2.0 */

#include "bundle/hasher.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

#define BUFFER_SIZE 65536U
#define ROUNDS      200U

static unsigned n_threads; /* that can be had */
static sigset_t thread_mask;

int __real_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*start)(void *),
			  void *argument);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*start)(void *),
			  void *argument);

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*start)(void *),
			  void *argument)
{
	(void)pthread_sigmask(SIG_SETMASK, NULL, &thread_mask);
	if (n_threads == 0)
		return EAGAIN;
	n_threads--;
	return __real_pthread_create(ret, attributes, start, argument);
}

/* Fills buffers in turn with what changes every time, and digests them both ways. */
static void assert_same_digest(void)
{
	static uint8_t buffers[HASHER_BUFFERS][BUFFER_SIZE];
	cleanup_hasher struct hasher *hasher = NULL;
	struct hasher_turns turns = {};
	struct digest_state wanted_state;
	struct digest_state state;
	struct digest wanted;
	struct digest digest;

	assert_int_equal(hasher_new(&hasher), 0);
	digest_begin(&state);
	digest_begin(&wanted_state);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint8_t *buffer = buffers[hasher_turn(hasher, &turns)];

		memset(buffer, (int)(i & 0xff), BUFFER_SIZE);
		digest_add(&wanted_state, buffer, BUFFER_SIZE);
		/* Several jobs about one buffer, more than the queue holds now and then. */
		for (size_t at = 0; at < BUFFER_SIZE; at += BUFFER_SIZE / 32)
			hasher_post(hasher, &state, buffer + at, BUFFER_SIZE / 32);
	}
	hasher_wait(hasher, hasher_last(hasher));
	digest_end(&state, &digest);
	digest_end(&wanted_state, &wanted);
	assert_true(digest_is_equal(&digest, &wanted));
}

static void digest_is_that_of_the_bytes_in_order(void **state)
{
	(void)state;
	n_threads = 1;
	assert_same_digest();
}

static void without_a_thread_the_digest_is_the_same(void **state)
{
	(void)state;
	n_threads = 0;
	assert_same_digest();
}

static void signals_stay_with_the_first_thread(void **state)
{
	cleanup_hasher struct hasher *hasher = NULL;
	sigset_t mask;

	(void)state;
	n_threads = 1;
	assert_int_equal(hasher_new(&hasher), 0);
	assert_int_equal(sigismember(&thread_mask, SIGTERM), 1);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
	assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

static void end_waits_for_what_was_posted(void **state)
{
	static uint8_t buffer[BUFFER_SIZE];
	struct hasher *hasher = NULL;
	struct digest_state digest_state;
	struct digest digest;
	struct digest wanted;

	(void)state;
	n_threads = 1;
	assert_int_equal(hasher_new(&hasher), 0);
	digest_begin(&digest_state);
	hasher_post(hasher, &digest_state, buffer, BUFFER_SIZE);
	assert_null(hasher_free(hasher));
	digest_end(&digest_state, &digest);
	digest_of(buffer, BUFFER_SIZE, &wanted);
	assert_true(digest_is_equal(&digest, &wanted));
	assert_null(hasher_free(NULL));
}

/* Too little to be woken for, and more of it than is read ahead. */
static void end_waits_for_little_before_the_first_read(void **state)
{
	static uint8_t buffer[BUFFER_SIZE];
	cleanup_fd int fd = memfd_create("content", MFD_CLOEXEC);
	const size_t size = BUFFER_SIZE / 16;

	(void)state;
	assert_int_equal(ftruncate(fd, BUFFER_SIZE), 0);
	for (unsigned i = 0; i < 20; i++) {
		struct hasher *hasher = NULL;
		struct digest_state digest_state;
		struct digest digest;
		struct digest wanted;
		int result = 0;

		n_threads = 2;
		assert_int_equal(hasher_new(&hasher), 0);
		digest_begin(&digest_state);
		/* Else the thread may begin so late that it has not to be woken. */
		assert_int_equal(usleep(1000), 0);
		for (unsigned j = 0; j < HASHER_READS; j++)
			hasher_post(hasher, &digest_state, buffer, size);
		hasher_post_read(hasher, &digest_state,
				 &(struct hasher_read){.fd = fd,
						       .data = buffer + size,
						       .size = size,
						       .digested = size,
						       .result = &result});
		assert_null(hasher_free(hasher));
		assert_int_equal(result, 0);
		digest_end(&digest_state, &digest);
		digest_of(buffer, (HASHER_READS + 1) * size, &wanted);
		assert_true(digest_is_equal(&digest, &wanted));
	}
}

#define READ_SIZE 512U
#define READS     (HASHER_READS * 50U) /* more than the queue holds */

/* Pieces of a file from its end on, through as many buffers as are wanted, of each only the first
 * bytes; of the file, its last byte may be missing. */
static void assert_reads(bool is_cut_off)
{
	static uint8_t content[READS * READ_SIZE];
	uint8_t data[HASHER_READS][READ_SIZE];
	cleanup_hasher struct hasher *hasher = NULL;
	cleanup_fd int fd = memfd_create("content", MFD_CLOEXEC);
	struct digest_state wanted_state;
	struct digest_state state;
	struct digest wanted;
	struct digest digest;
	int result = 0;

	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 7 + i / READ_SIZE);
	assert_int_equal(write(fd, content, sizeof(content) - is_cut_off),
			 sizeof(content) - is_cut_off);
	assert_int_equal(hasher_new(&hasher), 0);
	digest_begin(&state);
	digest_begin(&wanted_state);
	for (unsigned i = READS; i-- > 0;) {
		hasher_post_read(hasher, &state,
				 &(struct hasher_read){.fd = fd,
						       .offset = i * READ_SIZE,
						       .data = data[i % HASHER_READS],
						       .size = READ_SIZE,
						       .digested = READ_SIZE - i % 8,
						       .result = &result});
		if (!is_cut_off)
			digest_add(&wanted_state, content + i * READ_SIZE, READ_SIZE - i % 8);
	}
	hasher_wait(hasher, hasher_last(hasher));
	digest_end(&state, &digest);
	digest_end(&wanted_state, &wanted);
	assert_int_equal(result, is_cut_off ? -ENODATA : 0);
	/* Behind a failure nothing is digested. */
	assert_true(digest_is_equal(&digest, &wanted));
}

static void what_is_read_first_is_digested_or_said_to_be_missing(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		n_threads = i / 2;
		assert_reads(i % 2 != 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digest_is_that_of_the_bytes_in_order),
		cmocka_unit_test(without_a_thread_the_digest_is_the_same),
		cmocka_unit_test(signals_stay_with_the_first_thread),
		cmocka_unit_test(end_waits_for_what_was_posted),
		cmocka_unit_test(end_waits_for_little_before_the_first_read),
		cmocka_unit_test(what_is_read_first_is_digested_or_said_to_be_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
