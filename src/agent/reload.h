/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "agent/config.h"
#include "base/cleanup.h"

struct agent;

/* config_load(), with everything that is wrong in the journal. 0; 1 with the first problem in
 * *reterr_problem*, as FILE:LINE:COLUMN; -errno, likewise. */
must_check int reload_load_config(const char *path, struct config **ret, char *reterr_problem,
				  size_t size);

/* Reads agent.yaml again and heeds it: labels, the way to the server, and the rest from now on. A
 * file that is wrong changes nothing, and is reported until it is mended. */
void reload(struct agent *agent);
