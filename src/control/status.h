/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/assign.h"
#include "control/fleet.h"

/* How an add-on is on a host, and where that differs from what is wanted: affix-rest(7), "Status"
 * and "Drift". */
enum status_state {
	STATUS_RUNNING,
	STATUS_DEGRADED,
	STATUS_UNHEALTHY,
	STATUS_RESTARTING,
	STATUS_STARTING,
	STATUS_STOPPED,
	STATUS_ROLLED_BACK,
	STATUS_QUARANTINED,
	STATUS_UNSUPPORTED,
	STATUS_STALE,
	STATUS_STATE_N,
	STATUS_STATE_INVALID = -1,
};

enum status_drift {
	STATUS_DRIFT_NOT_INSTALLED,
	STATUS_DRIFT_VERSION,
	STATUS_DRIFT_CONFIG,
	STATUS_DRIFT_BYTES,
	STATUS_DRIFT_UNITS,
	STATUS_DRIFT_CAPABILITIES,
	STATUS_DRIFT_LOCAL_OVERRIDE,
	STATUS_DRIFT_HELD,
	STATUS_DRIFT_UNASSIGNED,
	STATUS_DRIFT_UNHEALTHY,
	STATUS_DRIFT_STALE,
	STATUS_DRIFT_N,
	STATUS_DRIFT_INVALID = -1,
};

const char *status_state_to_string(enum status_state state);
enum status_state status_state_from_string(const char *name);
const char *status_drift_to_string(enum status_drift drift);
enum status_drift status_drift_from_string(const char *name);

/* What a host reported of an add-on; texts may be NULL where that place said nothing. */
struct status_report {
	const char *said_state;
	const char *said_version;
	bool has_health;
	bool is_healthy;
	const char *health_status;
	bool has_package;
	unsigned package_status; /* OpAMP's PackageStatusEnum */
	const char *package_version;
};

/* The state that follows from it: our own message first, then what the package is going through,
 * then health. */
enum status_state status_resolve(const struct status_report *report);

/* Whether the state says that this version failed here. */
bool status_is_failure(enum status_state state);

/*
 * All add-ons that a host has or should have, as the objects of GET /api/v1/status. *last_seen* is
 * what the database has. The caller owns *ret*, an array. 0 or -errno.
 */
must_check int status_of_host(struct fleet *fleet, const struct assign_host *host,
			      uint64_t last_seen, json_t **ret);
