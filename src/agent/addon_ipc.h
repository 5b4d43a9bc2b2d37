/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "agent/desired.h"
#include "agent/host.h"
#include "base/cleanup.h"

/* The sockets of all installed add-ons whose manifest says `ipc: netprobe-frame/1`. */
#define ADDON_IPC_PROTOCOL "netprobe-frame/1"

struct addon_ipc;

/* *installed* and *run* are "/opt/affix" and "/run/affix", borrowed. 0 or -errno. */
must_check int addon_ipc_new(sd_event *event, const char *installed, const char *run,
			     struct addon_ipc **ret);
struct addon_ipc *addon_ipc_free(struct addon_ipc *ipc);

DEFINE_CLEANUP(struct addon_ipc *, addon_ipc, addon_ipc_free)
#define cleanup_addon_ipc CLEANUP(cleanup_addon_ipc)

/* Looks after each: connects, applies what *desired* says, pings; forgets those that are gone. 0 or
 * -ENOMEM. */
must_check int addon_ipc_tick(struct addon_ipc *ipc, const struct host *host,
			      const struct desired *desired);

/* What is wrong with an add-on's IPC; NULL where it has none, or nothing is. */
const char *addon_ipc_problem(const struct addon_ipc *ipc, const char *id);
/* What each sent, {ID: {KIND: COUNT}}. NULL: no memory. */
json_t *addon_ipc_events(const struct addon_ipc *ipc);
