/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a process has to leave behind when it becomes a child of affixd, and how descriptors reach
 * one that runs already. A child is forked and not executed: it shares its parent's pages, which is
 * most of what a front needs.
 */

#include "control/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

/* Above every place where a descriptor of a child may belong. */
#define ASIDE 100

static int move_descriptors(const int *fds, unsigned n)
{
	/* Aside first: a descriptor may stand where another belongs. */
	for (unsigned i = 0; i < n; i++) {
		if (fds[i] >= 0 && dup3(fds[i], ASIDE + (int)i, O_CLOEXEC) < 0)
			return -errno;
	}
	for (unsigned i = 0; i < n; i++) {
		int place = CHILD_FD_FIRST + (int)i;

		if (fds[i] < 0)
			(void)close(place);
		else if (dup3(ASIDE + (int)i, place, O_CLOEXEC) < 0)
			return -errno;
	}
	return close_range(CHILD_FD_FIRST + n, UINT_MAX, 0) < 0 ? -errno : 0;
}

static int reset_signals(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;

	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGCHLD, &action, NULL);
	/* A terminal sends these to all of us; the parent alone decides. */
	action.sa_handler = SIG_IGN;
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGHUP, &action, NULL);
	(void)sigaction(SIGPIPE, &action, NULL);
	(void)sigemptyset(&none);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

int child_prepare(const int *fds, unsigned n, pid_t parent)
{
	struct rlimit limit;
	int r;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	if (getppid() != parent)
		return -ESRCH;
	r = move_descriptors(fds, n);
	if (r == 0)
		r = reset_signals();
	if (r < 0)
		return r;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

int child_send_front(int control, unsigned number, int fd)
{
	struct child_front_message message = {.number = number};

	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} ancillary = {0};
	struct iovec part = {&message, sizeof(message)};
	struct msghdr header = {.msg_iov = &part,
				.msg_iovlen = 1,
				.msg_control = ancillary.space,
				.msg_controllen = sizeof(ancillary.space)};

	ancillary.header.cmsg_level = SOL_SOCKET;
	ancillary.header.cmsg_type = SCM_RIGHTS;
	ancillary.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&ancillary.header), &fd, sizeof(fd));
	return sendmsg(control, &header, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int child_receive_front(int control, unsigned *ret_number, int *ret_fd)
{
	struct child_front_message message = {0};

	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} ancillary = {0};
	struct iovec part = {&message, sizeof(message)};
	struct msghdr header = {.msg_iov = &part,
				.msg_iovlen = 1,
				.msg_control = ancillary.space,
				.msg_controllen = sizeof(ancillary.space)};
	const struct cmsghdr *found;
	ssize_t n;

	n = recvmsg(control, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ECONNRESET;
	found = CMSG_FIRSTHDR(&header);
	if (n != sizeof(message) || !found || found->cmsg_type != SCM_RIGHTS ||
	    found->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EBADMSG;
	memcpy(ret_fd, CMSG_DATA(found), sizeof(*ret_fd));
	*ret_number = message.number;
	return 0;
}
