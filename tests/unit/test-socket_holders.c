/* SPDX-License-Identifier: Apache-2.0 */

#include "netprobe/socket_holders.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

static uint32_t inode_of(int fd)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	return (uint32_t)status.st_ino;
}

/* A child that holds what its parent holds. */
static pid_t holder(void)
{
	pid_t child = fork();

	if (child == 0) {
		(void)pause();
		_exit(0);
	}
	return child;
}

static void end(pid_t child)
{
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void who_alone_holds_a_socket_is_named(void **state)
{
	cleanup_socket_holders struct socket_holders *holders = NULL;
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const struct probe_owner *owner;

	(void)state;
	assert_int_equal(prctl(PR_SET_NAME, "a-name"), 0);
	assert_int_equal(socket_holders_load(&holders), 0);
	owner = socket_holders_find(holders, inode_of(fd), false);
	assert_non_null(owner);
	assert_int_equal(owner->tgid, getpid());
	assert_string_equal(owner->comm, "a-name");
	assert_null(socket_holders_find(holders, UINT32_MAX, false));
}

static void of_two_holders_only_the_oldest_may_be_asked_for(void **state)
{
	cleanup_socket_holders struct socket_holders *holders = NULL;
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct probe_owner *owner;
	pid_t child;

	(void)state;
	/* Starts are told in ticks: the child's is a later one. */
	assert_int_equal(usleep(20000), 0);
	child = holder();
	assert_int_equal(socket_holders_load(&holders), 0);
	assert_null(socket_holders_find(holders, inode_of(fd), false));
	owner = socket_holders_find(holders, inode_of(fd), true);
	assert_non_null(owner);
	assert_int_equal(owner->tgid, getpid());
	end(child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_alone_holds_a_socket_is_named),
		cmocka_unit_test(of_two_holders_only_the_oldest_may_be_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
