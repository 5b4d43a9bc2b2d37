/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whoever is asked for the guest's state may hang, above all in a guest that is not well. So each
 * question is a process of its own that can be ended, and its answer is bounded in time and size.
 */

#include "guest/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/reap.h"
#include "base/str.h"

#define CHUNK_SIZE 4096U

__attribute__((noreturn)) static void run(int (*work)(const void *context), const void *context,
					  int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	/* The parent's signals are not what it executes expects. */
	(void)sigemptyset(&none);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* With the parent gone, nobody ends it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || null < 0 ||
	    dup2(null, STDIN_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
	    dup2(fd, STDOUT_FILENO) < 0)
		_exit(EXIT_FAILURE);
	_exit(work(context));
}

/* What comes until the end of it. 0, -ETIMEDOUT, -EFBIG or -errno. */
static int read_until(int fd, uint64_t end, size_t max, struct buffer *ret)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	char chunk[CHUNK_SIZE];
	uint64_t now;

	while ((now = clock_monotonic_usec()) < end) {
		ssize_t n;
		int r = poll(&poller, 1, (int)((end - now) / CLOCK_USEC_PER_MSEC) + 1);

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0)
			continue;
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if ((size_t)n > max - ret->size)
			return -EFBIG;
		r = buffer_add(ret, chunk, (size_t)n);
		if (r < 0)
			return r;
	}
	return -ETIMEDOUT;
}

/* Its end, until *end* or, where *r* is an error, at once. 0, *r*, -ETIMEDOUT or -ECHILD. */
static int reap(pid_t pid, uint64_t end, int r)
{
	int status = 0;
	int ended = reap_child(pid, r < 0 ? 0 : end - MIN(end, clock_monotonic_usec()), &status);

	if (r < 0 || ended < 0)
		return r < 0 ? r : ended;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}

int child_read(int (*work)(const void *context), const void *context, uint64_t usec, size_t max,
	       char **ret_text)
{
	uint64_t end = clock_monotonic_usec() + usec;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_fd int in = -EBADF;
	int fds[2];
	pid_t pid;
	int r;

	if (reap_left() >= REAP_LEFT_MAX)
		return -EBUSY;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	in = fds[0];
	pid = fork();
	if (pid == 0)
		run(work, context, fds[1]);
	r = pid < 0 ? -errno : 0;
	(void)fd_close(fds[1]);
	if (r < 0)
		return r;
	r = buffer_add(&text, "", 0);
	if (r == 0)
		r = read_until(in, end, max, &text);
	r = reap(pid, end, r);
	if (r < 0)
		return r;
	*ret_text = TAKE_PTR(text.data);
	return 0;
}
