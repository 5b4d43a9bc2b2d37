/* SPDX-License-Identifier: Apache-2.0 */

#include "guest/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include <cmocka.h>

#include "base/fd.h"
#include "guest/answer.h"

#define LISTENER 1000

/* Who comes; an AF_UNIX address where the family says so. */
static struct sockaddr_vm caller;
static socklen_t caller_size;
static int caller_fd;

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	assert_int_equal(fd, LISTENER);
	assert_int_equal(flags & SOCK_CLOEXEC, SOCK_CLOEXEC);
	assert_int_equal(*size, sizeof(caller));
	memcpy(address, &caller, sizeof(caller));
	*size = caller_size;
	caller_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(caller_fd >= 0);
	return caller_fd;
}

static void come(unsigned cid, sa_family_t family, socklen_t size)
{
	caller = (struct sockaddr_vm){.svm_family = family, .svm_cid = cid, .svm_port = 1023};
	caller_size = size;
}

static void the_host_is_let_in(void **state)
{
	cleanup_fd int fd = -EBADF;
	bool is_privileged = false;

	(void)state;
	come(VMADDR_CID_HOST, AF_VSOCK, sizeof(caller));
	assert_int_equal(listen_accept(LISTENER, VMADDR_CID_HOST, &is_privileged, &fd), 0);
	assert_int_equal(fd, caller_fd);
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
}

static bool is_privileged_from(unsigned port)
{
	cleanup_fd int fd = -EBADF;
	bool is_privileged = port >= 1024;

	come(VMADDR_CID_HOST, AF_VSOCK, sizeof(caller));
	caller.svm_port = port;
	assert_int_equal(listen_accept(LISTENER, VMADDR_CID_HOST, &is_privileged, &fd), 0);
	return is_privileged;
}

static void the_hosts_root_is_told_from_others_by_its_port(void **state)
{
	(void)state;
	assert_true(is_privileged_from(1));
	assert_true(is_privileged_from(1023));
	assert_false(is_privileged_from(1024));
	assert_false(is_privileged_from(1U << 30));
	assert_false(is_privileged_from(VMADDR_PORT_ANY));
}

static void turned_away(unsigned cid, sa_family_t family, socklen_t size)
{
	bool is_privileged = false;
	int fd = -EBADF;

	come(cid, family, size);
	assert_int_equal(listen_accept(LISTENER, VMADDR_CID_HOST, &is_privileged, &fd),
			 LISTEN_E_STRANGER);
	assert_int_equal(fd, -EBADF);
	assert_false(is_privileged);
	/* And closed. */
	assert_int_equal(fcntl(caller_fd, F_GETFD), -1);
}

static void everybody_else_is_turned_away(void **state)
{
	(void)state;
	turned_away(VMADDR_CID_LOCAL, AF_VSOCK, sizeof(caller));
	turned_away(VMADDR_CID_HYPERVISOR, AF_VSOCK, sizeof(caller));
	turned_away(VMADDR_CID_ANY, AF_VSOCK, sizeof(caller));
	turned_away(3, AF_VSOCK, sizeof(caller));
	turned_away(VMADDR_CID_HOST, AF_UNIX, sizeof(caller));
	turned_away(VMADDR_CID_HOST, AF_VSOCK, sizeof(caller) - 1);
}

static void ask(const char *verb, bool may_end, enum result_outcome outcome)
{
	cleanup_result struct result result = RESULT_INIT;
	bool ends = false;
	char line[64];

	(void)snprintf(line, sizeof(line), "{\"schema\":1,\"verb\":\"%s\"}", verb);
	assert_int_equal(answer_line(line, strlen(line), may_end, &result, &ends), 0);
	assert_int_equal(result.outcome, outcome);
	assert_false(ends);
	if (outcome == RESULT_REFUSED)
		assert_string_equal(result.name, "forbidden");
}

static void who_may_not_end_the_guest_is_refused_that_alone(void **state)
{
	(void)state;
	ask("shutdown", false, RESULT_REFUSED);
	ask("ping", false, RESULT_DONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_host_is_let_in),
		cmocka_unit_test(the_hosts_root_is_told_from_others_by_its_port),
		cmocka_unit_test(everybody_else_is_turned_away),
		cmocka_unit_test(who_may_not_end_the_guest_is_refused_that_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
