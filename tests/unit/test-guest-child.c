/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A systemctl that waits for a disk that does not answer is one that SIGKILL does not reach: here
 * one that nobody kills but the test. Time is forty times faster.
 */

#include "guest/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/reap.h"
#include "guest/guest.h"
#include "guest/listen.h"
#include "guest/port.h"

#define SPEED       40
#define PATIENCE_MS 10000
#define HEALTH      "{\"schema\":1,\"verb\":\"health\"}\n"
#define IS_UNKNOWN  "\"state\":\"unknown\""
#define ANSWER_SIZE 4096U
#define HUNG_MAX    64U

static bool is_out_of_reach;
static int hung_fds[2] = {-EBADF, -EBADF}; /* each that hangs says its number */
static pid_t hung[HUNG_MAX];
static size_t n_hung;
static int listener = -EBADF;
static pid_t guestd;

int __real_kill(pid_t pid, int signal);
int __wrap_kill(pid_t pid, int signal);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_execve(const char *path, char *const *arguments, char *const *environment);
uint64_t __real_clock_monotonic_usec(void);
uint64_t __wrap_clock_monotonic_usec(void);
int __wrap_listen_on_vsock(unsigned port, int *ret_fd);
int __wrap_listen_accept(int fd, unsigned peer, bool *ret_is_privileged, int *ret_fd);
int __wrap_port_open(const char *path, char ret_path[PORT_PATH_MAX], int *ret_fd);

int __wrap_kill(pid_t pid, int signal)
{
	return is_out_of_reach ? 0 : __real_kill(pid, signal);
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return __real_poll(fds, n, timeout / SPEED + 1);
}

uint64_t __wrap_clock_monotonic_usec(void)
{
	return __real_clock_monotonic_usec() * SPEED;
}

static int hang(const void *context)
{
	pid_t pid = getpid();

	(void)context;
	/* Nor does the death of its parent end it. */
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	if (write(hung_fds[1], &pid, sizeof(pid)) != sizeof(pid))
		return 1;
	(void)close_range(STDERR_FILENO, ~0U, 0);
	for (;;)
		(void)pause();
}

int __wrap_execve(const char *path, char *const *arguments, char *const *environment)
{
	(void)path;
	(void)arguments;
	(void)environment;
	return hang(NULL);
}

int __wrap_listen_on_vsock(unsigned port, int *ret_fd)
{
	(void)port;
	*ret_fd = dup(listener);
	return 0;
}

int __wrap_listen_accept(int fd, unsigned peer, bool *ret_is_privileged, int *ret_fd)
{
	(void)peer;
	*ret_is_privileged = false;
	*ret_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

int __wrap_port_open(const char *path, char ret_path[PORT_PATH_MAX], int *ret_fd)
{
	(void)path;
	ret_path[0] = '\0';
	*ret_fd = -EBADF;
	return -ENOENT;
}

/* As many as are *wanted* hang now that were not there when it was asked last, and no more. */
static void expect_new(size_t wanted)
{
	struct pollfd poller = {.fd = hung_fds[0], .events = POLLIN};
	size_t n = 0;

	while (n_hung < HUNG_MAX && __real_poll(&poller, 1, n < wanted ? PATIENCE_MS : 0) > 0) {
		assert_int_equal(read(hung_fds[0], &hung[n_hung++], sizeof(pid_t)), sizeof(pid_t));
		n++;
	}
	assert_int_equal(n, wanted);
}

static void end_last(void)
{
	assert_true(n_hung > 0);
	assert_int_equal(__real_kill(hung[--n_hung], SIGKILL), 0);
}

static int begin(void **state)
{
	(void)state;
	return pipe2(hung_fds, O_CLOEXEC);
}

static int end(void **state)
{
	(void)state;
	if (guestd > 0) {
		(void)__real_kill(guestd, SIGKILL);
		(void)waitpid(guestd, NULL, 0);
	}
	guestd = 0;
	is_out_of_reach = false;
	expect_new(0);
	while (n_hung > 0)
		end_last();
	(void)close(hung_fds[0]);
	(void)close(hung_fds[1]);
	listener = fd_close(listener);
	return 0;
}

static int say(const void *context)
{
	return write(STDOUT_FILENO, context, strlen(context)) > 0 ? 0 : 1;
}

static int ask(int (*work)(const void *context), unsigned seconds)
{
	cleanup_free char *text = NULL;

	return child_read(work, "yes", seconds * CLOCK_USEC_PER_SEC, 16, &text);
}

static void nothing_more_is_asked_while_eight_cannot_be_ended(void **state)
{
	(void)state;
	is_out_of_reach = true;
	for (size_t i = 0; i < REAP_LEFT_MAX; i++)
		assert_int_equal(ask(hang, 5), -ETIMEDOUT);
	expect_new(REAP_LEFT_MAX);
	assert_int_equal(ask(say, 10 * SPEED), -EBUSY);
	end_last();
	while (reap_left() == REAP_LEFT_MAX)
		clock_sleep_usec(1000);
	assert_int_equal(ask(say, 10 * SPEED), 0);
	child_set_left_by_others(1);
	assert_int_equal(ask(say, 10 * SPEED), -EBUSY);
	child_set_left_by_others(0);
	while (n_hung > 0)
		end_last();
	while (reap_left() > 0)
		clock_sleep_usec(1000);
}

static pid_t parent_of(pid_t pid)
{
	char path[64];
	char line[512];
	const char *behind = NULL;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fgets(line, sizeof(line), file))
		behind = strrchr(line, ')');
	(void)fclose(file);
	/* It may have ended since. */
	if (!behind)
		return 0;
	return (int)strtol(behind + strlen(") S "), NULL, 10);
}

static void wait_for_parent(pid_t pid, pid_t parent)
{
	for (int i = 0; i < PATIENCE_MS && parent_of(pid) != parent; i++)
		clock_sleep_usec(1000);
	assert_int_equal(parent_of(pid), parent);
}

static void start_guestd(struct sockaddr_un *address)
{
	const struct guest_options options = {.vsock_port = 1};
	socklen_t size = sizeof(*address);

	/* A name that the kernel finds. */
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(listener >= 0);
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	assert_int_equal(bind(listener, (struct sockaddr *)address, sizeof(sa_family_t)), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)address, &size), 0);
	assert_int_equal(listen(listener, 8), 0);
	guestd = fork();
	assert_true(guestd >= 0);
	if (guestd == 0) {
		is_out_of_reach = true;
		_exit(guest_run(&options) < 0);
	}
}

/* The health of a guest whose systemctl hangs, over a connection of its own; *wanted* hang then. */
static void ask_health(const struct sockaddr_un *address, size_t wanted)
{
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + 6;
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char answer[ANSWER_SIZE] = "";
	size_t have = 0;
	ssize_t n;

	assert_int_equal(connect(fd, (const struct sockaddr *)address, size), 0);
	assert_int_equal(write(fd, HEALTH, strlen(HEALTH)), strlen(HEALTH));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	while ((n = read(fd, answer + have, sizeof(answer) - 1 - have)) > 0)
		have += (size_t)n;
	answer[have] = '\0';
	assert_non_null(strstr(answer, IS_UNKNOWN));
	expect_new(wanted);
	if (wanted > 0)
		wait_for_parent(hung[n_hung - 1], guestd);
}

static void connections_count_what_those_before_them_left(void **state)
{
	struct sockaddr_un address;

	(void)state;
	start_guestd(&address);
	for (size_t i = 0; i < REAP_LEFT_MAX; i++)
		ask_health(&address, 1);
	for (size_t i = 0; i < 3; i++)
		ask_health(&address, 0);
	/* One ends after all, and another takes its place. */
	end_last();
	wait_for_parent(hung[n_hung], 0);
	ask_health(&address, 1);
	ask_health(&address, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_more_is_asked_while_eight_cannot_be_ended,
						begin, end),
		cmocka_unit_test_setup_teardown(connections_count_what_those_before_them_left,
						begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
