/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/fleet_report.h"
#include "control/store.h"

/* What hosts say in words of their own: texts, our status message, counts of events. */

/* A text of a host's for a column, cut at 1024 bytes. NULL is the null value. */
struct store_value fleet_bounded_text(const char *text);

/* The status message of a report, written down. 0 or -errno. */
must_check int fleet_said_put(struct store *store, int64_t host, const struct fleet_report *report);

/* {KIND: COUNT} of one add-on on a host, taken into the totals. 0 or -errno. */
must_check int fleet_events_put(struct store *store, int64_t host, const char *addon,
				const json_t *events);
