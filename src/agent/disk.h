/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

struct agent;

/* Opens the agent's directory and takes what is in it: who this host is, the last offer, what is
 * remembered. A directory that cannot be written is no failure: see disk_keep(). 0 or -errno. */
must_check int disk_load(struct agent *agent);

/* Writes what is not there yet as it should be. Sets what is wrong with the directory, "" for
 * nothing, and logs when that changes; whether it did. */
bool disk_keep(struct agent *agent);
