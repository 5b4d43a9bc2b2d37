/* SPDX-License-Identifier: Apache-2.0 */

#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "own_directory.h"

#define MSEC CLOCK_USEC_PER_MSEC
#define LONG (10 * CLOCK_USEC_PER_SEC)

/* A tree of its own, and a pipe by which children tell what happened, a letter each. */
struct fixture {
	char path[64];
	struct store store;
	int told[2];
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct tree tree;

	assert_non_null(fixture);
	own_directory_make(fixture->path);
	assert_int_equal(tree_open(fixture->path, false, &tree), 0);
	assert_int_equal(mkdirat(tree.rootfd, "var", 0755), 0);
	assert_int_equal(mkdirat(tree.rootfd, "var/lib", 0755), 0);
	assert_int_equal(store_open(&tree, true, &fixture->store), 0);
	tree_done(&tree);
	assert_int_equal(pipe2(fixture->told, O_CLOEXEC), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	store_done(&fixture->store);
	(void)fd_close(fixture->told[0]);
	(void)fd_close(fixture->told[1]);
	own_directory_remove(fixture->path);
	free(fixture);
	return 0;
}

static void tell(const struct fixture *fixture, char what)
{
	if (write(fixture->told[1], &what, 1) != 1)
		_exit(1);
}

static char hear(const struct fixture *fixture)
{
	char what = '\0';

	assert_int_equal(read(fixture->told[0], &what, 1), 1);
	return what;
}

/* A process that takes the lock, tells *what*, keeps the lock for *hold_usec* and ends. */
static pid_t start_holder(const struct fixture *fixture, bool is_admin, uint64_t wait_usec,
			  uint64_t hold_usec, char what)
{
	pid_t pid = fork();
	int fd = -EBADF;

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	if (store_lock(&fixture->store, "foo", is_admin, wait_usec, &fd, NULL) != 0)
		_exit(1);
	tell(fixture, what);
	clock_sleep_usec(hold_usec);
	_exit(0);
}

/* A process that takes the lock for a moment again and again, as a busy agent would. */
static pid_t start_stream(const struct fixture *fixture, uint64_t wait_usec)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	for (;;) {
		cleanup_fd int fd = -EBADF;

		if (store_lock(&fixture->store, "foo", false, wait_usec, &fd, NULL) == 0)
			clock_sleep_usec(5 * MSEC);
	}
}

static void end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void assert_ends_well(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int try_lock(const struct fixture *fixture, const char *id, bool is_admin, uint64_t wait)
{
	cleanup_fd int fd = -EBADF;

	return store_lock(&fixture->store, id, is_admin, wait, &fd, NULL);
}

static void second_is_busy_until_the_first_lets_go(void **state)
{
	struct fixture *fixture = *state;
	struct refusal refusal = REFUSAL_INIT;
	int first = -EBADF;
	int second = -EBADF;

	assert_int_equal(store_lock(&fixture->store, "foo", false, 0, &first, NULL), 0);
	assert_int_equal(store_lock(&fixture->store, "foo", false, 0, &second, &refusal),
			 REFUSAL_BUSY);
	assert_int_equal(second, -EBADF);
	assert_non_null(strstr(refusal.text, "'foo'"));
	first = fd_close(first);
	assert_int_equal(try_lock(fixture, "foo", false, 0), 0);
}

static void ids_do_not_block_each_other(void **state)
{
	struct fixture *fixture = *state;
	cleanup_fd int first = -EBADF;
	cleanup_fd int global = -EBADF;

	assert_int_equal(store_lock(&fixture->store, "foo", true, 0, &first, NULL), 0);
	assert_int_equal(store_lock_switch(&fixture->store, &global), 0);
	assert_int_equal(try_lock(fixture, "foo-bar", false, 0), 0);
	assert_int_equal(try_lock(fixture, "switch", false, 0), 0);
	assert_int_equal(try_lock(fixture, "../foo", false, 0), -EINVAL);
}

static void lock_of_a_killed_process_is_free(void **state)
{
	struct fixture *fixture = *state;
	pid_t holder = start_holder(fixture, true, 0, LONG, 'h');

	assert_int_equal(hear(fixture), 'h');
	assert_int_equal(try_lock(fixture, "foo", false, 0), REFUSAL_BUSY);
	end(holder);
	assert_int_equal(try_lock(fixture, "foo", false, 0), 0);
}

static void waiting_ends_with_its_time_or_with_the_holder(void **state)
{
	struct fixture *fixture = *state;
	pid_t holder = start_holder(fixture, false, 0, LONG, 'h');
	uint64_t start;

	assert_int_equal(hear(fixture), 'h');
	start = clock_monotonic_usec();
	assert_int_equal(try_lock(fixture, "foo", false, 50 * MSEC), REFUSAL_BUSY);
	assert_in_range(clock_monotonic_usec() - start, 50 * MSEC, LONG / 2);
	end(holder);
	holder = start_holder(fixture, false, 0, 200 * MSEC, 'h');
	assert_int_equal(hear(fixture), 'h');
	assert_int_equal(try_lock(fixture, "foo", false, LONG), 0);
	assert_ends_well(holder);
}

static void is_locked_tells_without_taking(void **state)
{
	struct fixture *fixture = *state;
	bool is_locked = true;
	pid_t holder;

	assert_int_equal(store_is_locked(&fixture->store, "foo", &is_locked), 0);
	assert_false(is_locked);
	holder = start_holder(fixture, false, 0, LONG, 'h');
	assert_int_equal(hear(fixture), 'h');
	assert_int_equal(store_is_locked(&fixture->store, "foo", &is_locked), 0);
	assert_true(is_locked);
	end(holder);
	assert_int_equal(store_is_locked(&fixture->store, "foo", &is_locked), 0);
	assert_false(is_locked);
	assert_int_equal(store_is_locked(&fixture->store, "..", &is_locked), -EINVAL);
}

/* Waits until somebody keeps the gate, and does not only pass it. */
static void wait_for_gate(const struct fixture *fixture)
{
	cleanup_fd int fd = openat(fixture->store.dirfd, "locks/foo.gate", O_RDWR | O_CLOEXEC);
	unsigned times = 0;

	assert_true(fd >= 0);
	while (times < 10) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

		assert_int_equal(fcntl(fd, F_OFD_GETLK, &lock), 0);
		times = lock.l_type == F_UNLCK ? 0 : times + 1;
		clock_sleep_usec(5 * MSEC);
	}
}

static void waiting_administrator_comes_before_everybody_else(void **state)
{
	struct fixture *fixture = *state;
	pid_t holder = start_holder(fixture, false, 0, LONG, 'h');
	pid_t waiter;
	pid_t admin;

	assert_int_equal(hear(fixture), 'h');
	/* One of the fleet waits already when the administrator comes. */
	waiter = start_holder(fixture, false, LONG, 0, 'w');
	clock_sleep_usec(50 * MSEC);
	admin = start_holder(fixture, true, LONG, LONG, 'a');
	wait_for_gate(fixture);
	end(holder);
	assert_int_equal(try_lock(fixture, "foo", false, 0), REFUSAL_BUSY);
	assert_int_equal(hear(fixture), 'a');
	end(admin);
	assert_int_equal(hear(fixture), 'w');
	assert_ends_well(waiter);
}

static void stream_of_requests_does_not_starve_the_administrator(void **state)
{
	struct fixture *fixture = *state;
	pid_t streams[4];
	uint64_t start;

	for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
		streams[i] = start_stream(fixture, i % 2 == 0 ? 0 : LONG);
	clock_sleep_usec(50 * MSEC);
	start = clock_monotonic_usec();
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(try_lock(fixture, "foo", true, LONG), 0);
	assert_true(clock_monotonic_usec() - start < LONG / 2);
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
		end(streams[i]);
}

static void switch_lock_waits_for_its_holder(void **state)
{
	struct fixture *fixture = *state;
	cleanup_fd int fd = -EBADF;
	pid_t child = fork();
	uint64_t start;

	assert_true(child >= 0);
	if (child == 0) {
		if (store_lock_switch(&fixture->store, &fd) != 0)
			_exit(1);
		tell(fixture, 's');
		clock_sleep_usec(200 * MSEC);
		_exit(0);
	}
	assert_int_equal(hear(fixture), 's');
	start = clock_monotonic_usec();
	assert_int_equal(store_lock_switch(&fixture->store, &fd), 0);
	assert_true(clock_monotonic_usec() - start > 50 * MSEC);
	assert_ends_well(child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(second_is_busy_until_the_first_lets_go),
		TEST(ids_do_not_block_each_other),
		TEST(lock_of_a_killed_process_is_free),
		TEST(waiting_ends_with_its_time_or_with_the_holder),
		TEST(is_locked_tells_without_taking),
		TEST(waiting_administrator_comes_before_everybody_else),
		TEST(stream_of_requests_does_not_starve_the_administrator),
		TEST(switch_lock_waits_for_its_holder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
