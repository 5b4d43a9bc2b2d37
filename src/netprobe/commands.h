/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "netprobe/client.h"
#include "netprobe/command.h"

int command_ping(const struct command_options *options);
int command_flows(const struct command_options *options);
int command_listeners(const struct command_options *options);
int command_watch(const struct command_options *options);
int command_top(const struct command_options *options);

/* Connects, or says why not. 0 or -errno. */
must_check int command_connect(struct client *client, const struct command_options *options);
/* Says what became of a connection; *r* is what client_next() returned. The exit code 1. */
int command_lost(int r);
/* Says what the daemon answered instead of what it was asked. The exit code 1. */
int command_refused(const Netprobe__NetprobeFrame *frame);
