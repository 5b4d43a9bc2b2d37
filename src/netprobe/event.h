/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <arpa/inet.h>
#include <netprobe.pb-c.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netprobe/flow.h"

#define EVENT_REDACTED_MAX 48U

/* A flow as the wire has it. The message's texts are in the struct itself: it is filled where it
 * stands, and not copied. */
struct event {
	Netprobe__FlowAttributionEvent message;
	char local_ip[INET6_ADDRSTRLEN];
	char remote_ip[INET6_ADDRSTRLEN];
	char comm[FLOW_COMM_MAX];
	char cmdline[FLOW_CMDLINE_MAX];
	char redacted[EVENT_REDACTED_MAX];
	char container_id[FLOW_CONTAINER_MAX + 1];
	char *words[2];
};

/* *source* says who saw it, and is borrowed. */
void event_fill(struct event *event, enum flow_event kind, const struct flow *flow,
		const char *source);
/* Adds the message as the sub-message *field* of another. 0 or -ENOMEM. */
must_check int event_add(const struct event *event, uint32_t field, struct buffer *buffer);

/* "connect", … for people; "event N" is "other". */
const char *event_kind_name(uint32_t kind);
