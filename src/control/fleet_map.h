/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* A hash table from numbers to pointers that it does not own. 0 is no key. */
struct fleet_map {
	struct fleet_map_slot *slots;
	size_t size; /* a power of two, or 0 */
	size_t count;
};

struct fleet_map_slot {
	uint64_t key;
	void *value;
};

#define FLEET_MAP_INIT     \
	(struct fleet_map) \
	{                  \
	}

void *fleet_map_get(const struct fleet_map *map, uint64_t key);
/* Replaces what was there. 0 or -ENOMEM. */
must_check int fleet_map_put(struct fleet_map *map, uint64_t key, void *value);
void fleet_map_remove(struct fleet_map *map, uint64_t key);
void fleet_map_done(struct fleet_map *map);
