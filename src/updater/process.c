/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a root process must not take over from whoever started it. systemd hands us a clean process;
 * this is for the day on which somebody else does.
 */

#include "updater/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_PASSED_FD 3U
#define NOTIFY_SOCKET   "NOTIFY_SOCKET"

/* systemd takes death by SIGTERM for a clean end and would not start what settles the rest. */
static void end_with_failure(int signal_number)
{
	(void)signal_number;
	_exit(EXIT_FAILURE);
}

static int sanitise_descriptors(unsigned n_passed)
{
	int fd;

	do {
		/* Without O_CLOEXEC: these three stay open in children as well. */
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			return -errno;
	} while (fd <= STDERR_FILENO);
	(void)close(fd);
	if (close_range(FIRST_PASSED_FD + n_passed, UINT_MAX, 0) < 0)
		return -errno;
	return 0;
}

static int sanitise_signals(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;

	/* The numbers that libc keeps for itself, and KILL and STOP, answer with an error. */
	for (int i = 1; i <= SIGRTMAX; i++)
		(void)sigaction(i, &action, NULL);
	action.sa_handler = SIG_IGN;
	if (sigaction(SIGPIPE, &action, NULL) < 0)
		return -errno;
	action.sa_handler = end_with_failure;
	if (sigaction(SIGTERM, &action, NULL) < 0)
		return -errno;
	(void)sigemptyset(&none);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

/* But for where systemd is told things. */
static int sanitise_environment(void)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): the program has one thread */
	const char *socket = getenv(NOTIFY_SOCKET);
	cleanup_free char *kept = socket ? strdup(socket) : NULL;

	if ((socket && !kept) || clearenv() != 0)
		return -ENOMEM;
	return kept && setenv(NOTIFY_SOCKET, kept, 1) < 0 ? -errno : 0;
	/* NOLINTEND(concurrency-mt-unsafe) */
}

int process_sanitise(unsigned n_passed)
{
	const struct rlimit no_core = {0, 0};
	int r;

	r = sanitise_descriptors(n_passed);
	if (r == 0)
		r = sanitise_signals();
	if (r == 0)
		r = sanitise_environment();
	if (r < 0)
		return r;
	(void)umask(S_IWGRP | S_IWOTH);
	if (setrlimit(RLIMIT_CORE, &no_core) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return 0;
}
