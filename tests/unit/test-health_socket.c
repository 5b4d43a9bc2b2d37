/* SPDX-License-Identifier: Apache-2.0 */

#include "engine/health_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "own_directory.h"

#define LIMIT (100 * CLOCK_USEC_PER_MSEC)

struct fixture {
	char directory[32];
	struct tree tree;
	int listen_fd;
	struct health_socket probe;
};

static bool has_no_diag;

int wrapped_socket(int domain, int type, int protocol) __asm__("__wrap_socket");
int real_socket(int domain, int type, int protocol) __asm__("__real_socket");

int wrapped_socket(int domain, int type, int protocol)
{
	if (domain == AF_NETLINK && has_no_diag) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	return real_socket(domain, type, protocol);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	own_directory_make(fixture->directory);
	assert_int_equal(tree_open(fixture->directory, false, &fixture->tree), 0);
	fixture->listen_fd = -EBADF;
	fixture->probe = HEALTH_SOCKET_INIT;
	has_no_diag = false;
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	health_socket_done(&fixture->probe);
	(void)fd_close(fixture->listen_fd);
	tree_done(&fixture->tree);
	own_directory_remove(fixture->directory);
	free(fixture);
	return 0;
}

static void serve(struct fixture *fixture, int type, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/ready", fixture->directory);
	fixture->listen_fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	assert_true(fixture->listen_fd >= 0);
	assert_int_equal(bind(fixture->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (type != SOCK_DGRAM)
		assert_int_equal(listen(fixture->listen_fd, backlog), 0);
}

static int serve_accept(struct fixture *fixture)
{
	int fd = accept4(fixture->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void begin(struct fixture *fixture)
{
	assert_int_equal(health_socket_begin(&fixture->probe, &fixture->tree, "/ready"), 0);
}

static enum health_socket_state check(struct fixture *fixture)
{
	assert_int_equal(health_socket_check(&fixture->probe, LIMIT), 0);
	return fixture->probe.state;
}

static void connection_that_waits_is_pending_until_the_limit(void **state)
{
	struct fixture *fixture = *state;

	serve(fixture, SOCK_STREAM, 8);
	begin(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_PENDING);
	clock_sleep_usec(LIMIT);
	assert_int_equal(check(fixture), HEALTH_SOCKET_REFUSED);
	assert_non_null(strstr(fixture->probe.reason, "accepts none"));
}

static void accepted_connection_is_seen(void **state)
{
	struct fixture *fixture = *state;
	cleanup_fd int fd = -EBADF;

	serve(fixture, SOCK_STREAM, 8);
	begin(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_PENDING);
	fd = serve_accept(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_ACCEPTED);
}

static void connection_that_is_closed_at_once_was_accepted(void **state)
{
	struct fixture *fixture = *state;

	serve(fixture, SOCK_STREAM, 8);
	begin(fixture);
	(void)fd_close(serve_accept(fixture));
	assert_int_equal(check(fixture), HEALTH_SOCKET_ACCEPTED);
}

static void seqpacket_socket_is_accepted_too(void **state)
{
	struct fixture *fixture = *state;
	cleanup_fd int fd = -EBADF;

	serve(fixture, SOCK_SEQPACKET, 8);
	begin(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_PENDING);
	fd = serve_accept(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_ACCEPTED);
}

static void datagram_socket_is_refused(void **state)
{
	struct fixture *fixture = *state;

	serve(fixture, SOCK_DGRAM, 0);
	begin(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_REFUSED);
}

static void full_backlog_is_tried_again(void **state)
{
	struct fixture *fixture = *state;
	struct health_socket others[2] = {HEALTH_SOCKET_INIT, HEALTH_SOCKET_INIT};
	cleanup_fd int first = -EBADF;
	cleanup_fd int second = -EBADF;
	cleanup_fd int third = -EBADF;

	/* One more than it says fits in. */
	serve(fixture, SOCK_STREAM, 1);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(health_socket_begin(&others[i], &fixture->tree, "/ready"), 0);
	begin(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_PENDING);
	assert_non_null(strstr(fixture->probe.reason, "backlog is full"));
	first = serve_accept(fixture);
	second = serve_accept(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_PENDING);
	third = serve_accept(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_ACCEPTED);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		health_socket_done(&others[i]);
}

static void socket_without_a_listener_is_refused(void **state)
{
	struct fixture *fixture = *state;

	serve(fixture, SOCK_STREAM, 8);
	fixture->listen_fd = fd_close(fixture->listen_fd);
	begin(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_REFUSED);
	assert_non_null(strstr(fixture->probe.reason, "refuses connections"));
}

static void listener_that_goes_drops_the_connection(void **state)
{
	struct fixture *fixture = *state;

	serve(fixture, SOCK_STREAM, 8);
	begin(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_PENDING);
	fixture->listen_fd = fd_close(fixture->listen_fd);
	assert_int_equal(check(fixture), HEALTH_SOCKET_REFUSED);
	assert_non_null(strstr(fixture->probe.reason, "dropped"));
}

static void link_in_place_of_the_socket_is_not_followed(void **state)
{
	struct fixture *fixture = *state;
	char from[64];
	char to[64];

	serve(fixture, SOCK_STREAM, 8);
	(void)snprintf(from, sizeof(from), "%s/ready", fixture->directory);
	(void)snprintf(to, sizeof(to), "%s/real", fixture->directory);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(symlink("real", from), 0);
	begin(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_REFUSED);
	assert_non_null(strstr(fixture->probe.reason, "not a socket"));
}

static void link_on_the_way_is_not_followed(void **state)
{
	struct fixture *fixture = *state;
	char path[64];

	serve(fixture, SOCK_STREAM, 8);
	(void)snprintf(path, sizeof(path), "%s/way", fixture->directory);
	assert_int_equal(symlink(".", path), 0);
	assert_int_equal(health_socket_begin(&fixture->probe, &fixture->tree, "/way/ready"), 0);
	assert_int_equal(check(fixture), HEALTH_SOCKET_REFUSED);
}

static void absent_socket_and_other_files_are_refused(void **state)
{
	struct fixture *fixture = *state;
	char path[64];

	begin(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_REFUSED);
	(void)snprintf(path, sizeof(path), "%s/ready", fixture->directory);
	/* A fifo would block whoever opens it to read. */
	assert_int_equal(mkfifo(path, 0600), 0);
	begin(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_REFUSED);
	assert_non_null(strstr(fixture->probe.reason, "not a socket"));
}

static void without_sock_diag_a_connection_must_do(void **state)
{
	struct fixture *fixture = *state;

	has_no_diag = true;
	serve(fixture, SOCK_STREAM, 8);
	begin(fixture);
	assert_int_equal(check(fixture), HEALTH_SOCKET_ACCEPTED);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(connection_that_waits_is_pending_until_the_limit),
		TEST(accepted_connection_is_seen),
		TEST(connection_that_is_closed_at_once_was_accepted),
		TEST(seqpacket_socket_is_accepted_too),
		TEST(datagram_socket_is_refused),
		TEST(full_backlog_is_tried_again),
		TEST(socket_without_a_listener_is_refused),
		TEST(listener_that_goes_drops_the_connection),
		TEST(link_in_place_of_the_socket_is_not_followed),
		TEST(link_on_the_way_is_not_followed),
		TEST(absent_socket_and_other_files_are_refused),
		TEST(without_sock_diag_a_connection_must_do),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
