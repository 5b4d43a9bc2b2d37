/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/cleanup.h"

enum doctor_verdict {
	DOCTOR_OK,
	DOCTOR_SKIPPED, /* it cannot be known from here; the text says why */
	DOCTOR_WARN,    /* works, but not as it should */
	DOCTOR_FAIL,    /* installs will fail, or something may be done by who may not */
	DOCTOR_VERDICT_N,
};

/* What was found so far. */
struct doctor {
	json_t *checks; /* {"name", "verdict", "text"} each */
	bool has_failed;
	bool is_root;
	int rootfd; /* "/" */
};

/* Adds a finding. Short of memory it is lost, and *has_failed* is set. */
void doctor_say(struct doctor *doctor, const char *name, enum doctor_verdict verdict,
		const char *format, ...) format_check(4, 5);

/* The checks, in the order in which a broken host is best understood. */
void doctor_check_systemd(struct doctor *doctor);
void doctor_check_cgroups(struct doctor *doctor);
void doctor_check_directories(struct doctor *doctor);
void doctor_check_filesystem(struct doctor *doctor);
void doctor_check_policy(struct doctor *doctor);
void doctor_check_trust(struct doctor *doctor);
void doctor_check_sockets(struct doctor *doctor);
void doctor_check_records(struct doctor *doctor);
