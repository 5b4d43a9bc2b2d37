/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#include "base/clock.h"
#include "unit/manager.h"
#include "unit/systemd.h"

/* What the files of the manager share: its connection and its calls. */

/* An answer may take so long: PID 1 reads unit files in between, nothing slower. */
#define MANAGER_CALL_USEC (30 * CLOCK_USEC_PER_SEC)

#define MANAGER_NAME   "org.freedesktop.systemd1"
#define MANAGER_PATH   "/org/freedesktop/systemd1"
#define MANAGER_OBJECT "org.freedesktop.systemd1.Manager"
#define MANAGER_JOB    "org.freedesktop.systemd1.Job"

struct manager {
	sd_bus *bus;
	const char *destination; /* NULL on the private connection, where nobody else is */
	bool has_changed;        /* a unit did since the last manager_wait() */
	char job[128];           /* the job that is waited for, "" when it has ended */
	char job_result[32];
	char error[512];
};

DEFINE_CLEANUP(sd_bus_message *, bus_message, sd.bus_message_unref)
#define cleanup_bus_message CLEANUP(cleanup_bus_message)

/* A method and its place. */
struct manager_method {
	const char *path;
	const char *interface;
	const char *member;
	uint64_t timeout_usec; /* 0: MANAGER_CALL_USEC */
};

/*
 * Calls it with arguments as sd_bus_message_append() takes them. It must be one that may be said
 * twice: a connection that broke is made again. *ret* may be NULL. 0 or -errno, manager_error()
 * says more: -ENOENT no such unit, -ENXIO no such object.
 */
must_check int manager_call(struct manager *manager, const struct manager_method *method,
			    sd_bus_message **ret, const char *types, ...);

/* Sends *message* once. */
must_check int manager_send(struct manager *manager, sd_bus_message *message, uint64_t timeout_usec,
			    sd_bus_message **ret);

/* Takes what has come, and waits at most *timeout_usec* for the first of it. */
must_check int manager_dispatch(struct manager *manager, uint64_t timeout_usec);

/* Waits until the job in *manager->job* is gone. -ETIMEDOUT. */
must_check int manager_wait_job(struct manager *manager, uint64_t timeout_usec);
