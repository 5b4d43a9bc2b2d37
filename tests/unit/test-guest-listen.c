/* SPDX-License-Identifier: Apache-2.0 */

#include "guest/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include <cmocka.h>

#include "base/fd.h"

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
	caller = (struct sockaddr_vm){.svm_family = family, .svm_cid = cid, .svm_port = 1234};
	caller_size = size;
}

static void the_host_is_let_in(void **state)
{
	cleanup_fd int fd = -EBADF;

	(void)state;
	come(VMADDR_CID_HOST, AF_VSOCK, sizeof(caller));
	assert_int_equal(listen_accept(LISTENER, VMADDR_CID_HOST, &fd), 0);
	assert_int_equal(fd, caller_fd);
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
}

static void turned_away(unsigned cid, sa_family_t family, socklen_t size)
{
	int fd = -EBADF;

	come(cid, family, size);
	assert_int_equal(listen_accept(LISTENER, VMADDR_CID_HOST, &fd), LISTEN_E_STRANGER);
	assert_int_equal(fd, -EBADF);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_host_is_let_in),
		cmocka_unit_test(everybody_else_is_turned_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
