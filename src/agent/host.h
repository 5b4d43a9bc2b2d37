/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* One add-on as the updater's `status` tells it; texts are borrowed from the answer. */
struct host_addon {
	const char *id;
	const char *version; /* or NULL */
	const char *state;   /* affix-updater's word */
	const char *reason;  /* or NULL */
	const char *hold_reason;
	const char *plan;     /* digest of the current plan, or NULL */
	const char *previous; /* the version committed before, or NULL */
	bool is_installed;
	bool is_local; /* installed by the administrator */
	bool is_held;
	bool is_changing; /* a transaction is open */
	bool is_starting; /* a unit is being started, or started again */
	uint64_t restarts;
	const json_t *quarantine; /* array of {"plan", "version", …} */
	const json_t *drift;      /* array of items, NULL: none or not known */
};

struct host {
	json_t *answer; /* the status */
	json_t *drift;  /* the last drift answer, or NULL */
	struct host_addon *items;
	size_t count;
	bool is_known; /* the updater answered */
};

#define HOST_INIT     \
	(struct host) \
	{             \
	}

void host_done(struct host *host);
#define cleanup_host CLEANUP(host_done)

/* Takes over the `data` of a status, and of the last drift (may be NULL). 0; 1 for anything that is
 * no such answer; -ENOMEM. */
must_check int host_read(json_t *status, json_t *drift, struct host *ret);
const struct host_addon *host_find(const struct host *host, const char *id);

/* Whether the plan, or with NULL anything of *version*, stands in the add-on's quarantine. */
bool host_has_quarantined(const struct host_addon *addon, const char *plan, const char *version);
