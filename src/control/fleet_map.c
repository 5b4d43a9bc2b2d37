/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Open addressing with linear probing, at most three quarters full; removal moves what follows
 * back, so that there are no graves. libc's hsearch cannot remove, and glib is more than this
 * needs.
 */

#include "control/fleet_map.h"

#include <errno.h>

#define SIZE_MIN 64U

static size_t slot_of(const struct fleet_map *map, uint64_t key)
{
	key ^= key >> 33;
	key *= 0xff51afd7ed558ccdULL;
	key ^= key >> 33;
	return key & (map->size - 1);
}

static struct fleet_map_slot *find(const struct fleet_map *map, uint64_t key)
{
	size_t i = slot_of(map, key);

	while (map->slots[i].key != 0 && map->slots[i].key != key)
		i = (i + 1) & (map->size - 1);
	return &map->slots[i];
}

void *fleet_map_get(const struct fleet_map *map, uint64_t key)
{
	return map->size > 0 ? find(map, key)->value : NULL;
}

static int grow(struct fleet_map *map)
{
	struct fleet_map larger = {.size = map->size > 0 ? map->size * 2 : SIZE_MIN};

	larger.slots = calloc(larger.size, sizeof(*larger.slots));
	if (!larger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < map->size; i++) {
		if (map->slots[i].key != 0)
			*find(&larger, map->slots[i].key) = map->slots[i];
	}
	larger.count = map->count;
	free(map->slots);
	*map = larger;
	return 0;
}

int fleet_map_put(struct fleet_map *map, uint64_t key, void *value)
{
	struct fleet_map_slot *slot;
	int r;

	if ((map->count + 1) * 4 > map->size * 3) {
		r = grow(map);
		if (r < 0)
			return r;
	}
	slot = find(map, key);
	if (slot->key == 0)
		map->count++;
	*slot = (struct fleet_map_slot){key, value};
	return 0;
}

void fleet_map_remove(struct fleet_map *map, uint64_t key)
{
	size_t hole;
	size_t i;

	if (map->size == 0 || find(map, key)->key == 0)
		return;
	hole = (size_t)(find(map, key) - map->slots);
	map->count--;
	for (i = (hole + 1) & (map->size - 1); map->slots[i].key != 0;
	     i = (i + 1) & (map->size - 1)) {
		size_t home = slot_of(map, map->slots[i].key);

		/* Only what may stand at the hole, seen from its home, moves there. */
		if (((i - home) & (map->size - 1)) >= ((i - hole) & (map->size - 1))) {
			map->slots[hole] = map->slots[i];
			hole = i;
		}
	}
	map->slots[hole] = (struct fleet_map_slot){};
}

void fleet_map_done(struct fleet_map *map)
{
	free(map->slots);
	*map = FLEET_MAP_INIT;
}
