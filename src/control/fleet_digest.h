/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/fleet.h"

/* The parts of a report that are written down, each apart from the others. */
enum fleet_part {
	FLEET_PART_DESCRIPTION,
	FLEET_PART_HEALTH,
	FLEET_PART_PACKAGES,
	FLEET_PART_CUSTOM,
	FLEET_PART_EFFECTIVE_CONFIG,
	FLEET_PART_CONFIG_STATUS,
	FLEET_PART_N,
};

/* What a host last said, part by part. 0: never. */
struct fleet_digests {
	uint64_t parts[FLEET_PART_N];
};

bool fleet_part_is_present(const struct fleet_report *report, enum fleet_part part);

/* Over all that is written down of it. Never 0. */
uint64_t fleet_part_digest(const struct fleet_report *report, enum fleet_part part);
