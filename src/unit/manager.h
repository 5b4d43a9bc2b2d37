/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/str.h"

/* PID 1 of the running system, by sd-bus over /run/systemd/private, the system bus second. */
struct manager;

/* What the manager says of a unit now. */
struct manager_unit {
	char load_state[32];
	char active_state[32]; /* "active", "activating", "failed", … */
	char sub_state[32];
	char result[32];
	char fragment_path[256];
	char exec_type[24]; /* Type= of a service, or "" */
	char triggers[256]; /* timers: the unit that they start */
	struct strv drop_in_paths;
	bool need_daemon_reload;
	bool has_job;       /* one is queued or runs */
	pid_t main_pid;     /* services; 0: none */
	unsigned restarts;  /* NRestarts */
	int exec_main_code; /* CLD_*; 0 while it runs */
	int exec_main_status;
	uint64_t active_enter_usec;  /* CLOCK_MONOTONIC; 0: never */
	uint64_t start_timeout_usec; /* services: TimeoutStartSec=, UINT64_MAX: none */
	bool timer_is_finite;        /* timers: a next elapse is known */
	uint64_t last_trigger_usec;  /* timers, CLOCK_REALTIME */
	char invocation_id[33];
	char control_group[512];
};

#define MANAGER_UNIT_INIT     \
	(struct manager_unit) \
	{                     \
	}

/*
 * 0, or -errno (-ENOENT, -ECONNREFUSED: systemd does not run here). No call waits for ever: where
 * PID 1 does not answer, each is -ETIMEDOUT. A connection that PID 1 drops (it re-executes itself)
 * is made again.
 */
must_check int manager_open(struct manager **ret);
struct manager *manager_close(struct manager *manager);

DEFINE_CLEANUP(struct manager *, manager, manager_close)
#define cleanup_manager CLEANUP(cleanup_manager)

/* What PID 1 said to the call that failed last, for people; "" where it said nothing. Borrowed. */
const char *manager_error(const struct manager *manager);

must_check int manager_reload(struct manager *manager, uint64_t timeout_usec);
/*
 * Starts or stops units and waits until their jobs are done. A job that fails is no error here:
 * look at the unit. Units that do not exist are skipped by stop, and -ENOENT for start. -ETIMEDOUT
 * when a job is still waiting after *timeout_usec*: it goes on. *ret_job* (may be NULL) is the
 * job's result ("done", "failed", "timeout", "dependency", …; "unknown" where PID 1 re-executed
 * itself meanwhile).
 */
must_check int manager_start(struct manager *manager, const char *unit, uint64_t timeout_usec,
			     char ret_job[32]);
must_check int manager_stop(struct manager *manager, const char *unit, uint64_t timeout_usec,
			    char ret_job[32]);
must_check int manager_reset_failed(struct manager *manager, const char *unit);
/*
 * Replaces whatever job is queued for it by a stop and kills what is left of it with SIGKILL, its
 * Restart= notwithstanding. 0 when nothing is left; -ETIMEDOUT when something does not die.
 */
must_check int manager_kill(struct manager *manager, const char *unit);

/* The unit as it is now; loads it if need be. *ret* is overwritten; end it with
 * manager_unit_done(). */
must_check int manager_get_unit(struct manager *manager, const char *unit,
				struct manager_unit *ret);
void manager_unit_done(struct manager_unit *unit);
#define cleanup_manager_unit CLEANUP(manager_unit_done)

/* Waits at most *timeout_usec* for some unit to change, or less: the caller looks again. */
must_check int manager_wait(struct manager *manager, uint64_t timeout_usec);

/*
 * Runs *argv* (absolute path first) as a transient oneshot service and waits: its exit status in
 * *ret_status*, 128 + the signal that killed it. -ETIMEDOUT, and it is killed, if it takes longer.
 */
must_check int manager_run(struct manager *manager, const char *description,
			   const char *const *argv, uint64_t timeout_usec, int *ret_status);

/*
 * The last *max_lines* journal lines of *unit* and of PID 1 about it, "PROGRAM: MESSAGE", oldest
 * first, control characters escaped, each at most MANAGER_LOG_LINE_MAX bytes, since *since_usec*
 * (CLOCK_REALTIME). What was written until now is in the journal first. No journal, no lines.
 */
#define MANAGER_LOG_LINE_MAX 1024U
must_check int manager_log_tail(const char *unit, uint64_t since_usec, size_t max_lines,
				struct strv *ret);
