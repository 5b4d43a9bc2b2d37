/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The parent of affixd's processes. It makes what needs names (sockets and directories), gives each
 * child its part by descriptor, and then only watches: it reads no byte that came from the network.
 * Fronts hold nothing that their peers cannot say again, so one that dies is started anew; without
 * the store there is nothing to serve, so its end is ours.
 */

#include "control/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "control/child.h"
#include "control/listen.h"
#include "control/log.h"

#define RESTART_DELAY_USEC (500 * CLOCK_USEC_PER_MSEC)
#define STOP_FRONTS_USEC   (5 * CLOCK_USEC_PER_SEC)
#define STOP_STORE_USEC    (20 * CLOCK_USEC_PER_SEC)
#define TIMER_ACCURACY     (50 * CLOCK_USEC_PER_MSEC)
#define DIRECTORY_MODE     0700

struct supervisor;

struct front_child {
	struct supervisor *supervisor;
	unsigned number; /* from 1 */
	int listen_fd;
	pid_t pid; /* 0: does not run */
	sd_event_source *watch;
	sd_event_source *restart;
};

struct supervisor {
	const struct config *config;
	struct config *effective; /* with the public URL filled in */
	sd_event *event;
	int data_fd;
	int artifacts_fd;
	int incoming_fd;
	int trust_fd;
	int control_fd;
	unsigned port;
	pid_t store_pid;
	sd_event_source *store_watch;
	sd_event_source *control_watch;
	struct front_child fronts[CONFIG_FRONTS_MAX];
	unsigned renewing; /* the front that is being started anew, 0: none */
	bool is_ready;
	bool is_stopping;
};

static void supervisor_done(struct supervisor *supervisor)
{
	for (unsigned i = 0; i < CONFIG_FRONTS_MAX; i++) {
		struct front_child *front = &supervisor->fronts[i];

		if (front->pid > 0)
			(void)kill(front->pid, SIGKILL);
		front->watch = sd_event_source_unref(front->watch);
		front->restart = sd_event_source_unref(front->restart);
		front->listen_fd = fd_close(front->listen_fd);
	}
	if (supervisor->store_pid > 0)
		(void)kill(supervisor->store_pid, SIGKILL);
	supervisor->store_watch = sd_event_source_unref(supervisor->store_watch);
	supervisor->control_watch = sd_event_source_unref(supervisor->control_watch);
	supervisor->event = sd_event_unref(supervisor->event);
	supervisor->control_fd = fd_close(supervisor->control_fd);
	supervisor->trust_fd = fd_close(supervisor->trust_fd);
	supervisor->incoming_fd = fd_close(supervisor->incoming_fd);
	supervisor->artifacts_fd = fd_close(supervisor->artifacts_fd);
	supervisor->data_fd = fd_close(supervisor->data_fd);
}

static int complain(int r, const char *what, const char *name)
{
	log_line(LOG_ERR, "%s '%s': %s", what, name, strerrordesc_np(-r));
	return r;
}

static int open_directory_at(int dirfd, const char *name, int *ret_fd)
{
	int fd;

	if (mkdirat(dirfd, name, DIRECTORY_MODE) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int open_data(struct supervisor *supervisor)
{
	const struct config *config = supervisor->config;
	int r;

	if (mkdir(config->data, DIRECTORY_MODE) < 0 && errno != EEXIST)
		return complain(-errno, "the data directory could not be made:", config->data);
	supervisor->data_fd = open(config->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (supervisor->data_fd < 0)
		return complain(-errno, "the data directory could not be opened:", config->data);
	r = open_directory_at(supervisor->data_fd, "artifacts", &supervisor->artifacts_fd);
	if (r == 0)
		r = open_directory_at(supervisor->data_fd, "incoming", &supervisor->incoming_fd);
	if (r < 0)
		return complain(r, "the directories could not be made in", config->data);
	if (!config->trust)
		return 0;
	supervisor->trust_fd = open(config->trust, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return supervisor->trust_fd < 0
		       ? complain(-errno, "the keys could not be opened:", config->trust)
		       : 0;
}

static int open_sockets(struct supervisor *supervisor)
{
	const struct config *config = supervisor->config;
	int fds[CONFIG_FRONTS_MAX];
	int r;

	r = listen_open(config->listen, config->fronts, fds, &supervisor->port);
	if (r < 0)
		return complain(r, "cannot listen on", config->listen);
	for (unsigned i = 0; i < config->fronts; i++)
		supervisor->fronts[i].listen_fd = fds[i];
	if (config->public_url)
		return 0;
	supervisor->effective->is_url_guessed = true;
	return listen_default_url(config->listen, config->tls_certificate, supervisor->port,
				  &supervisor->effective->public_url);
}

static int on_front_end(sd_event_source *source, const siginfo_t *info, void *userdata);
static int on_store_end(sd_event_source *source, const siginfo_t *info, void *userdata);

static int start_front(struct front_child *front)
{
	struct supervisor *supervisor = front->supervisor;
	const int fds[] = {front->listen_fd, -EBADF, supervisor->artifacts_fd,
			   supervisor->incoming_fd};
	cleanup_fd int store_end = -EBADF;
	cleanup_fd int front_end = -EBADF;
	pid_t parent = getpid();
	int ends[2];
	int r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	store_end = ends[0];
	front_end = ends[1];
	r = child_send_front(supervisor->control_fd, front->number, store_end);
	if (r < 0)
		return r;
	front->pid = fork();
	if (front->pid < 0)
		return -errno;
	if (front->pid == 0) {
		int passed[ARRAY_SIZE(fds)];

		memcpy(passed, fds, sizeof(passed));
		passed[FRONT_FD_LINK - CHILD_FD_FIRST] = front_end;
		r = child_prepare(passed, ARRAY_SIZE(passed), parent);
		_exit(r < 0 ? EXIT_FAILURE : front_run(supervisor->effective, front->number));
	}
	front->watch = sd_event_source_unref(front->watch);
	return sd_event_add_child(supervisor->event, &front->watch, front->pid, WEXITED,
				  on_front_end, front);
}

static int start_store(struct supervisor *supervisor)
{
	cleanup_fd int child_end = -EBADF;
	pid_t parent = getpid();
	int ends[2];
	int r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	supervisor->control_fd = ends[0];
	child_end = ends[1];
	supervisor->store_pid = fork();
	if (supervisor->store_pid < 0)
		return -errno;
	if (supervisor->store_pid == 0) {
		const int fds[] = {child_end, supervisor->data_fd, supervisor->trust_fd};

		r = child_prepare(fds, ARRAY_SIZE(fds), parent);
		_exit(r < 0 ? EXIT_FAILURE : store_run(supervisor->effective));
	}
	return sd_event_add_child(supervisor->event, &supervisor->store_watch,
				  supervisor->store_pid, WEXITED, on_store_end, supervisor);
}

static void log_end(const char *what, const siginfo_t *info, const char *tail)
{
	if (info->si_code == CLD_EXITED)
		log_line(LOG_ERR, "%s ended with exit code %d%s", what, info->si_status, tail);
	else
		log_line(LOG_ERR, "%s was ended by signal %d%s", what, info->si_status, tail);
}

static int on_kill_store(sd_event_source *source, uint64_t usec, void *userdata)
{
	const struct supervisor *supervisor = userdata;

	(void)source;
	(void)usec;
	log_line(LOG_ERR, "the store did not end in time and is killed; what it had committed is "
			  "on disk");
	(void)kill(supervisor->store_pid, SIGKILL);
	return 0;
}

static int add_timer(const struct supervisor *supervisor, uint64_t usec,
		     sd_event_time_handler_t handler, void *userdata, sd_event_source **ret)
{
	return sd_event_add_time_relative(supervisor->event, ret, CLOCK_MONOTONIC, usec,
					  TIMER_ACCURACY, handler, userdata);
}

/* With the last front gone nothing is on its way to the store any more. */
static int stop_store_after_fronts(struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->config->fronts; i++) {
		if (supervisor->fronts[i].pid > 0)
			return 0;
	}
	if (supervisor->store_pid <= 0)
		return sd_event_exit(supervisor->event, 0);
	(void)kill(supervisor->store_pid, SIGTERM);
	return add_timer(supervisor, STOP_STORE_USEC, on_kill_store, supervisor, NULL);
}

static int on_restart(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct front_child *front = userdata;
	int r;

	(void)source;
	(void)usec;
	if (front->supervisor->is_stopping)
		return 0;
	r = start_front(front);
	return r < 0 ? complain(r,
				"a front could not be started:", front->supervisor->config->listen)
		     : 0;
}

/* One after another, so that the others serve meanwhile. */
static void renew_next(struct supervisor *supervisor)
{
	supervisor->renewing++;
	if (supervisor->renewing > supervisor->config->fronts)
		supervisor->renewing = 0;
	else if (supervisor->fronts[supervisor->renewing - 1].pid > 0)
		(void)kill(supervisor->fronts[supervisor->renewing - 1].pid, SIGTERM);
	else
		renew_next(supervisor);
}

static int on_front_end(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct front_child *front = userdata;
	cleanup_free char *what = NULL;
	int r;

	(void)source;
	front->pid = 0;
	if (front->supervisor->is_stopping)
		return stop_store_after_fronts(front->supervisor);
	if (front->supervisor->renewing == front->number) {
		r = start_front(front);
		if (r >= 0)
			renew_next(front->supervisor);
		return r < 0 ? complain(r, "a front could not be started:",
					front->supervisor->config->listen)
			     : 0;
	}
	if (str_format(&what, "front %u", front->number) < 0)
		return -ENOMEM;
	log_end(what, info, ", restarting it");
	front->restart = sd_event_source_unref(front->restart);
	return add_timer(front->supervisor, RESTART_DELAY_USEC, on_restart, front, &front->restart);
}

static int on_store_end(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct supervisor *supervisor = userdata;
	bool is_clean = info->si_code == CLD_EXITED && info->si_status == 0;

	(void)source;
	supervisor->store_pid = 0;
	if (supervisor->is_stopping && is_clean)
		return sd_event_exit(supervisor->event, 0);
	log_end("the store", info, "; affixd ends");
	return sd_event_exit(supervisor->event, -EPIPE);
}

static int on_kill_fronts(sd_event_source *source, uint64_t usec, void *userdata)
{
	const struct supervisor *supervisor = userdata;

	(void)source;
	(void)usec;
	for (unsigned i = 0; i < supervisor->config->fronts; i++) {
		if (supervisor->fronts[i].pid > 0)
			(void)kill(supervisor->fronts[i].pid, SIGKILL);
	}
	return 0;
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct supervisor *supervisor = userdata;

	(void)source;
	(void)info;
	if (supervisor->is_stopping)
		return 0;
	supervisor->is_stopping = true;
	(void)sd_notify(0, "STOPPING=1");
	for (unsigned i = 0; i < supervisor->config->fronts; i++) {
		if (supervisor->fronts[i].pid > 0)
			(void)kill(supervisor->fronts[i].pid, SIGTERM);
	}
	if (add_timer(supervisor, STOP_FRONTS_USEC, on_kill_fronts, supervisor, NULL) < 0)
		(void)on_kill_fronts(NULL, 0, supervisor);
	return stop_store_after_fronts(supervisor);
}

/* Certificates and keys are read again by fronts that start. */
static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct supervisor *supervisor = userdata;

	(void)source;
	(void)info;
	if (supervisor->is_stopping || supervisor->renewing > 0)
		return 0;
	log_line(LOG_INFO, "the fronts are started anew, one after another");
	renew_next(supervisor);
	return 0;
}

/* The store can serve: now there may be connections. */
static int on_control(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct supervisor *supervisor = userdata;
	char byte = 0;
	int r = 0;

	(void)events;
	if (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) != 1 || supervisor->is_ready)
		return sd_event_source_set_enabled(source, SD_EVENT_OFF);
	supervisor->is_ready = true;
	for (unsigned i = 0; i < supervisor->config->fronts && r == 0; i++)
		r = start_front(&supervisor->fronts[i]);
	if (r < 0)
		return complain(r, "the fronts could not be started for",
				supervisor->config->listen);
	log_line(LOG_INFO, "serving %s with %u front%s; hosts reach it at %s",
		 supervisor->config->data, supervisor->config->fronts,
		 supervisor->config->fronts == 1 ? "" : "s", supervisor->effective->public_url);
	(void)sd_notifyf(0, "READY=1\nSTATUS=Serving at %s", supervisor->effective->public_url);
	return 0;
}

static int set_up_events(struct supervisor *supervisor)
{
	sigset_t handled;
	int r;

	(void)sigemptyset(&handled);
	(void)sigaddset(&handled, SIGTERM);
	(void)sigaddset(&handled, SIGINT);
	(void)sigaddset(&handled, SIGHUP);
	(void)sigaddset(&handled, SIGCHLD);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	if (sigprocmask(SIG_BLOCK, &handled, NULL) < 0)
		return -errno;
	r = sd_event_new(&supervisor->event);
	if (r >= 0)
		r = sd_event_add_signal(supervisor->event, NULL, SIGTERM, on_stop, supervisor);
	if (r >= 0)
		r = sd_event_add_signal(supervisor->event, NULL, SIGINT, on_stop, supervisor);
	if (r >= 0)
		r = sd_event_add_signal(supervisor->event, NULL, SIGHUP, on_reload, supervisor);
	if (r >= 0)
		r = sd_event_set_watchdog(supervisor->event, 1);
	return r < 0 ? r : 0;
}

static int run(struct supervisor *supervisor)
{
	int r;

	r = open_data(supervisor);
	if (r == 0)
		r = open_sockets(supervisor);
	if (r < 0)
		return r;
	r = set_up_events(supervisor);
	if (r == 0)
		r = start_store(supervisor);
	if (r >= 0)
		r = sd_event_add_io(supervisor->event, &supervisor->control_watch,
				    supervisor->control_fd, EPOLLIN, on_control, supervisor);
	if (r < 0)
		return complain(r, "affixd could not be started for", supervisor->config->data);
	return sd_event_loop(supervisor->event);
}

int supervise(const struct config *config)
{
	struct config effective = *config;
	CLEANUP(supervisor_done)
	struct supervisor supervisor = {
		.config = config,
		.effective = &effective,
		.data_fd = -EBADF,
		.artifacts_fd = -EBADF,
		.incoming_fd = -EBADF,
		.trust_fd = -EBADF,
		.control_fd = -EBADF,
	};
	int r;

	for (unsigned i = 0; i < CONFIG_FRONTS_MAX; i++)
		supervisor.fronts[i] = (struct front_child){
			.supervisor = &supervisor, .number = i + 1, .listen_fd = -EBADF};
	(void)umask(S_IRWXG | S_IRWXO);
	r = run(&supervisor);
	if (!config->public_url)
		free(effective.public_url);
	return r;
}
