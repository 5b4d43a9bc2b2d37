/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/health_socket.h"

/* A service that is to run, look by look. Pointers are borrowed. */
struct health_service {
	struct manager *manager;
	const struct plan *plan;
	const struct tree *tree;
	const char *unit;
	uint64_t begin_usec;    /* of the watch; times are CLOCK_MONOTONIC */
	unsigned max_restarts;  /* UINT_MAX: not judged */
	uint64_t accept_usec;   /* how long an attempt, or refusals after a success, may take */
	uint64_t ready_usec;    /* how long the first success may take after the start */
	uint64_t probes_since;  /* good only with an attempt that began then or later */
	pid_t main_pid;         /* of the last look that was active */
	uint64_t pid_since;     /* when it was first seen */
	bool is_right;          /* it is what was granted, as once seen */
	uint64_t accepted_usec; /* begin of the last attempt that was accepted, by this process */
	uint64_t refused_since; /* 0: it is not */
	uint64_t next_probe;
	struct health_socket probe;
	bool is_probing;
	char invocation_id[33];
	unsigned invocations; /* new ones since the first look */
};

#define HEALTH_SERVICE_INIT                 \
	(struct health_service)             \
	{                                   \
		.probe = HEALTH_SOCKET_INIT \
	}

/*
 * One look. HEALTH_GOOD: it runs, is what was granted, and its socket accepts; HEALTH_WAITING: it
 * starts or restarts, with time left; HEALTH_BAD: it never will, or no longer. 0 or -errno.
 */
must_check int health_service_look(struct health_service *service, struct health *ret);
void health_service_done(struct health_service *service);

/* Whether the last look waits for nothing but the socket: the next may be soon. */
bool health_service_is_probing(const struct health_service *service);

/* How the unit's last process ended, as a clause: "its main process exited with status 3". */
void health_service_describe_end(const struct manager_unit *unit, char ret[HEALTH_REASON_MAX]);

/* The unit's own TimeoutStartSec=, bounded. */
uint64_t health_service_start_timeout(const struct manager_unit *unit);

/* Sets state, unit and reason. */
void health_set(struct health *health, enum health_state state, const char *unit,
		const char *format, ...) format_check(4, 5);
