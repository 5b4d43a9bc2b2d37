/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"
#include "netprobe/collector.h"

/* The tiers as a configuration names them. 0 or -EINVAL. */
must_check int config_tier_from_string(const char *text, enum collector_tier *ret);
