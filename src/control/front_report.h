/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/link.h"
#include "opamp/decode.h"

/*
 * Sends what an agent said to the store, as proto/link.proto has it. *message* is borrowed, and so
 * is all that the frame holds. 0; 1: it holds more than a report may (OPAMP_E_TOO_LARGE in all but
 * name); -errno.
 */
struct report {
	uint64_t connection;
	bool is_after_gap;
	const Opamp__Proto__AgentToServer *message;
};

must_check int report_send(struct link *link, const struct report *report);

/* Whether a message says nothing but that its agent lives. */
bool report_is_heartbeat(const Opamp__Proto__AgentToServer *message);
