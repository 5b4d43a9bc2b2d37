/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The ends of children. Nobody waits for one without a limit. What is left behind stands in a table
 * that any thread may look through: each of its places is a process or 0.
 */

#include "base/reap.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "base/clock.h"

#define KILLED_USEC (1 * CLOCK_USEC_PER_SEC)
#define PAUSE_MIN   100U
#define PAUSE_MAX   20000U

static atomic_int left[REAP_LEFT_MAX];

static int wait_until(pid_t pid, uint64_t end, int *status)
{
	for (uint64_t pause = PAUSE_MIN;; pause = MIN(pause + pause / 4, (uint64_t)PAUSE_MAX)) {
		pid_t r = waitpid(pid, status, WNOHANG);

		if (r == pid)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (clock_monotonic_usec() >= end)
			return -ETIMEDOUT;
		clock_sleep_usec(pause);
	}
}

/* Where there is no place for it, it stays a zombie as long as this process lives. */
static void leave_behind(pid_t pid)
{
	bool has_place = false;

	for (size_t i = 0; i < REAP_LEFT_MAX && !has_place; i++) {
		int nobody = 0;

		has_place = atomic_compare_exchange_strong(&left[i], &nobody, pid);
	}
}

int reap_child(pid_t pid, uint64_t usec, int *ret_status)
{
	int status = 0;
	int r = wait_until(pid, clock_monotonic_usec() + usec, &status);

	if (r == -ETIMEDOUT) {
		(void)kill(pid, SIGKILL);
		if (wait_until(pid, clock_monotonic_usec() + KILLED_USEC, &status) == -ETIMEDOUT)
			leave_behind(pid);
	}
	if (r == 0 && ret_status)
		*ret_status = status;
	return r;
}

unsigned reap_left(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < REAP_LEFT_MAX; i++) {
		int pid = atomic_load(&left[i]);

		if (pid == 0)
			continue;
		/* Another thread may have collected it, and somebody else have its place by now. */
		if (waitpid(pid, NULL, WNOHANG) != 0)
			(void)atomic_compare_exchange_strong(&left[i], &pid, 0);
		else
			n++;
	}
	return n;
}
