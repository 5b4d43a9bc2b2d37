/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/api_problem.h"
#include "control/fleet.h"

/*
 * An operator's word that a host may remove add-ons although that is most of what it has. It holds
 * for the add-ons *list* names (NULL: all that the host has and is not offered), and as long as the
 * host's offer stays what it is now. *ret* is {"host", "addons"}. 0; 1 with *reterr*; -errno.
 */
must_check int fleet_confirm_removal(struct fleet *fleet, int64_t host, const json_t *list,
				     json_t **ret, struct api_problem *reterr);
