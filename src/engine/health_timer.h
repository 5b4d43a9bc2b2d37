/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/health.h"

/* A timer and the service that it starts, look by look. Pointers are borrowed. */
struct health_timer {
	struct manager *manager;
	const struct plan *plan;
	const struct tree *tree;
	const char *unit;
	bool run_once; /* the service is to be started and to succeed first */
	bool is_run;   /* it was started */
	bool has_succeeded;
	uint64_t run_end; /* CLOCK_MONOTONIC: it must have by then */
	char before[33];  /* the service's invocation before that, "" if it ran */
};

#define HEALTH_TIMER_INIT     \
	(struct health_timer) \
	{                     \
	}

/* One look: as health_service_look(). */
must_check int health_timer_look(struct health_timer *timer, struct health *ret);
