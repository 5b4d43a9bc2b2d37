/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* Which container a cgroup is of, by its id in cgroup2, which is its directory's inode. */
struct container_cache;

/* Borrows *root*, the directory of the hierarchy; < 0: there is none, and nothing is found in it.
 */
struct container_cache *container_cache_new(int root);
struct container_cache *container_cache_free(struct container_cache *cache);
DEFINE_CLEANUP(struct container_cache *, container_cache, container_cache_free)
#define cleanup_container_cache CLEANUP(cleanup_container_cache)

/* Notes that *cgroup* is of the container *id*. */
void container_cache_add(struct container_cache *cache, uint64_t cgroup, const char *id);
/* What was noted; else the hierarchy is looked through, as far and as often as is bearable. "":
 * none, it is gone, or not looked for. Valid until the next call. */
const char *container_cache_find(struct container_cache *cache, uint64_t cgroup);
/* How often it was not looked for, or not everywhere. */
uint64_t container_cache_missed(const struct container_cache *cache);
