/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/operation.h"

/*
 * Takes the enablement links of the record's current plan away (stopped: not even a reboot starts
 * it) or puts them back, durably. Taken twice it does nothing. 0 or -errno.
 */
must_check int enablement_set(struct operation *operation, bool enabled);
