/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "agent/addon_state.h"

/* All that is known of one add-on; *wanted*, *host* and *memory* may be NULL. */
struct report_addon {
	const struct step *step;
	const struct wanted *wanted;
	const struct host_addon *host;
	const struct memory_addon *memory;
	struct addon_state state;
};

/*
 * The status message, affix-agent(8), "Status message":
 *
 *   {"schema":1,"addons":[{"id", "wanted": VERSION|null, "version": VERSION|null, "state",
 * "reason", "name", "restarts", "since": SECONDS, "drift": [WORD], "origin", "held", "plan"}]}
 *
 * NULL: no memory.
 */
json_t *report_status(const struct report_addon *addons, size_t count);
