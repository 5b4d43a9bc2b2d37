/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <netprobe.pb-c.h>

/* An event or a flow as an object: names as on the wire, times in RFC 3339, nothing that is empty.
 * NULL: no memory. */
json_t *event_json(const Netprobe__FlowAttributionEvent *event);
/* For a listing: without what only an event has. */
json_t *event_json_flow(const Netprobe__FlowAttributionEvent *event);
