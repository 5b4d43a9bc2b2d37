/* SPDX-License-Identifier: Apache-2.0 */

#include "netprobe/socket_diag.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fd.h"

struct wanted {
	uint64_t cookie;
	struct socket_diag_answer answer;
	unsigned found;
};

static void keep(void *context, const struct socket_diag_answer *answer)
{
	struct wanted *wanted = context;

	if (answer->record.cookie != wanted->cookie)
		return;
	wanted->answer = *answer;
	wanted->found++;
}

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size), 0);
	return cookie;
}

static void a_listener_is_found_by_its_cookie_and_only_among_listeners(void **state)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6};
	cleanup_fd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cleanup_fd int diag = -EBADF;
	struct wanted wanted = {.cookie = cookie_of(fd)};
	socklen_t size = sizeof(address);
	struct stat status;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(socket_diag_open(&diag), 0);
	assert_int_equal(socket_diag_dump(diag, AF_INET6, IPPROTO_TCP, false, keep, &wanted), 0);
	assert_int_equal(wanted.found, 0);
	assert_int_equal(socket_diag_dump(diag, AF_INET6, IPPROTO_TCP, true, keep, &wanted), 0);
	assert_int_equal(wanted.found, 1);
	assert_int_equal(wanted.answer.inode, status.st_ino);
	assert_int_equal(wanted.answer.record.tuple.local_port, ntohs(address.sin6_port));
	assert_int_equal(wanted.answer.record.flags, PROBE_LISTENER);
}

static void a_mapped_address_is_ipv4_and_bytes_are_counted(void **state)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6};
	cleanup_fd int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cleanup_fd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cleanup_fd int diag = -EBADF;
	struct wanted wanted = {.cookie = cookie_of(fd)};
	const uint8_t loopback[4] = {127, 0, 0, 1};
	socklen_t size = sizeof(address);

	(void)state;
	address.sin6_addr.s6_addr[10] = 0xff;
	address.sin6_addr.s6_addr[11] = 0xff;
	memcpy(address.sin6_addr.s6_addr + 12, loopback, sizeof(loopback));
	assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(send(fd, "12345", 5, MSG_NOSIGNAL), 5);
	assert_int_equal(socket_diag_open(&diag), 0);
	assert_int_equal(socket_diag_dump(diag, AF_INET6, IPPROTO_TCP, false, keep, &wanted), 0);
	assert_int_equal(wanted.found, 1);
	assert_int_equal(wanted.answer.record.tuple.family, AF_INET);
	assert_memory_equal(wanted.answer.record.tuple.remote.bytes, loopback, sizeof(loopback));
	assert_int_equal(wanted.answer.record.tuple.remote_port, ntohs(address.sin6_port));
	assert_int_equal(wanted.answer.record.counters.bytes_sent, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listener_is_found_by_its_cookie_and_only_among_listeners),
		cmocka_unit_test(a_mapped_address_is_ipv4_and_bytes_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
