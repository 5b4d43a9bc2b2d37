/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The parent: it listens, and has a process for each connection and one for the port, so that one
 * that hangs, or is asked something that takes its time, is in nobody's way, and dies alone. What
 * is not there yet, a module that loads late or a port that is plugged in, is looked for again.
 *
 * A process may leave children behind that nothing can end (child.h). How many, it says as it ends;
 * from then on they are the parent's, which thereby notices when one of them ends after all, and
 * tells the number to each process that it starts. Not counted are those of processes that live: so
 * it is REAP_LEFT_MAX of one after the other, and fewer than as many more of each that is served at
 * the same time.
 */

#include "guest/guest.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/reap.h"
#include "guest/child.h"
#include "guest/listen.h"
#include "guest/port.h"
#include "guest/serve.h"

#define CONNECTIONS_MAX 8U
/* Looking for what is not there: often while the guest boots, seldom later. */
#define LOOK_SECONDS       1
#define LOOK_SECONDS_LATER 30
#define LOOKS_AT_BOOT      60U
/* A port that may not be opened ends it, but no sooner: vsock is served meanwhile. */
#define LOOKS_IF_DENIED 5U

struct guest {
	const struct guest_options *options;
	int listener;
	pid_t port_pid;                         /* 0: nobody serves it */
	uint64_t port_after;                    /* it is not looked for before */
	pid_t connection_pids[CONNECTIONS_MAX]; /* 0: nobody's place */
	unsigned connections;
	unsigned left; /* children that those before could not end */
	unsigned looks;
	int port_error;   /* 0, or why a port that is there may not be opened */
	int listen_error; /* what was said of it last */
	sigset_t waiting; /* the signals that are blocked while it waits */
};

static void on_signal(int number)
{
	(void)number;
}

/* A death of a child is noticed while waiting and at no other time. SIGIO is for children. */
static int prepare_signals(struct guest *guest)
{
	const struct sigaction action = {.sa_handler = on_signal};
	sigset_t blocked;

	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGCHLD);
	(void)sigaddset(&blocked, SIGIO);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigaction(SIGCHLD, &action, NULL) < 0)
		return -errno;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	if (sigprocmask(SIG_BLOCK, &blocked, &guest->waiting) < 0)
		return -errno;
	(void)sigdelset(&guest->waiting, SIGCHLD);
	(void)sigaddset(&guest->waiting, SIGIO);
	return 0;
}

/* Whether *pid* served somebody. */
static bool forget_server(struct guest *guest, pid_t pid)
{
	if (pid == guest->port_pid) {
		guest->port_pid = 0;
		return true;
	}
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		if (guest->connection_pids[i] != pid)
			continue;
		guest->connection_pids[i] = 0;
		guest->connections--;
		return true;
	}
	return false;
}

static void reap(struct guest *guest)
{
	unsigned ended = 0;
	int status = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (!forget_server(guest, pid))
			ended++;
		else if (WIFEXITED(status))
			guest->left += (unsigned)WEXITSTATUS(status);
	}
	/* Those of a process that was killed nobody has counted. */
	guest->left -= MIN(ended, guest->left);
}

/* A child serves *fd*; the parent's copy is closed. *may_end*: of a connection. Its pid, or -1. */
static pid_t serve_in_child(struct guest *guest, int fd, bool is_port, bool may_end)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid == 0) {
		guest->listener = fd_close(guest->listener);
		/* The parent may have ended before this is said. */
		if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0 || getppid() != parent)
			_exit(0);
		child_set_left_by_others(guest->left);
		/* Whoever was served has gone: there is nobody to tell an error. */
		ignore_result(is_port ? serve_port(fd) : serve_connection(fd, fd, may_end));
		_exit((int)reap_left());
	}
	return pid;
}

static void look_for_vsock(struct guest *guest)
{
	int r = listen_on_vsock(guest->options->vsock_port, &guest->listener);

	if (r == 0)
		(void)fprintf(stderr, "listening on port %u of vsock\n",
			      guest->options->vsock_port);
	else if (r != guest->listen_error)
		(void)fprintf(stderr, "vsock cannot be listened on: %s, retrying\n",
			      strerrordesc_np(-r));
	guest->listen_error = r;
}

/* systemd makes a unit's rules for devices of those that there are when it starts
 * (systemd.resource-control(5)): one that came later is opened after another start, by Restart=. */
static void note_denied_port(struct guest *guest, const char *path, int error)
{
	if (guest->port_error == 0)
		(void)fprintf(stderr,
			      "'%s' may not be opened: %s; affix-guestd ends, for systemd to start "
			      "it with the devices that there are now\n",
			      path, strerrordesc_np(-error));
	guest->port_error = error;
}

static void look_for_port(struct guest *guest)
{
	cleanup_fd int fd = -EBADF;
	char path[PORT_PATH_MAX];
	pid_t pid;
	int r;

	guest->port_after = clock_monotonic_usec() + LOOK_SECONDS * CLOCK_USEC_PER_SEC;
	r = port_open(guest->options->port_path, path, &fd);
	if (r == -EPERM || r == -EACCES) {
		note_denied_port(guest, path, r);
		return;
	}
	guest->port_error = 0;
	if (r < 0)
		return;
	pid = serve_in_child(guest, fd, true, true);
	if (pid <= 0)
		return;
	guest->port_pid = pid;
	(void)fprintf(stderr, "serving '%s'\n", path);
}

/* There is a place: wait_for_work(). */
static void add_connection(struct guest *guest, pid_t pid)
{
	size_t i = 0;

	while (guest->connection_pids[i] != 0)
		i++;
	guest->connection_pids[i] = pid;
	guest->connections++;
}

static void take_connection(struct guest *guest)
{
	cleanup_fd int fd = -EBADF;
	bool is_privileged = false;
	pid_t pid = 0;
	int r = listen_accept(guest->listener, guest->options->peer, &is_privileged, &fd);
	bool may_end = is_privileged || guest->options->takes_any_port;

	if (r == LISTEN_E_STRANGER)
		(void)fprintf(stderr, "a connection was not the host's, and was closed\n");
	if (r == 0)
		pid = serve_in_child(guest, fd, false, may_end);
	if (pid > 0)
		add_connection(guest, pid);
}

static int wait_for_work(struct guest *guest)
{
	bool is_full = guest->connections >= CONNECTIONS_MAX;
	bool is_looking = guest->listener < 0 || guest->port_pid == 0;
	struct pollfd poller = {.fd = is_full ? -1 : guest->listener, .events = POLLIN};
	const struct timespec soon = {.tv_sec = guest->looks < LOOKS_AT_BOOT ? LOOK_SECONDS
									     : LOOK_SECONDS_LATER};
	int r = ppoll(&poller, 1, is_looking ? &soon : NULL, &guest->waiting);

	if (r < 0 && errno != EINTR)
		return -errno;
	if (r <= 0)
		return 0;
	/* Before another process is told what is left. */
	reap(guest);
	take_connection(guest);
	return 0;
}

int guest_run(const struct guest_options *options)
{
	struct guest guest = {.options = options, .listener = -EBADF};
	int r = prepare_signals(&guest);

	/* What children leave behind is this process's. */
	if (r == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		r = -errno;
	while (r == 0) {
		reap(&guest);
		if (guest.listener < 0)
			look_for_vsock(&guest);
		if (guest.port_pid == 0 && clock_monotonic_usec() >= guest.port_after)
			look_for_port(&guest);
		if (guest.looks < LOOKS_AT_BOOT)
			guest.looks++;
		/* Nobody's conversation is cut. */
		if (guest.looks >= LOOKS_IF_DENIED && guest.connections == 0)
			r = guest.port_error;
		if (r == 0)
			r = wait_for_work(&guest);
	}
	(void)fd_close(guest.listener);
	return r;
}
