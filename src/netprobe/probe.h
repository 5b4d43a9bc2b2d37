/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netprobe/config.h"

/* The daemon: a configuration, the collector that it asks for, and the clients of its socket. */
struct probe;

/* Takes over *fd*, which listens. 0 or -errno. */
must_check int probe_new(sd_event *event, int fd, struct probe **ret);
struct probe *probe_free(struct probe *probe);

DEFINE_CLEANUP(struct probe *, probe, probe_free)
#define cleanup_probe CLEANUP(cleanup_probe)

/* Takes over *config* where it is followed. 0; CONFIG_E_BAD with a sentence in *why*. */
must_check int probe_apply(struct probe *probe, struct config **config, char why[CONFIG_WHY_MAX]);
/* The metrics as Prometheus reads them. 0 or -ENOMEM. */
must_check int probe_metrics(struct probe *probe, struct buffer *buffer);
