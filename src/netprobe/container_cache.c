/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A small table in which a later cgroup takes the place of an earlier one with the same hash. What
 * is not in it costs one pass over the hierarchy, which finds a cgroup whose process is gone. Who
 * makes many cgroups and many short processes asks for many passes of many directories, so both
 * have bounds, and what they cost is counted.
 */

#include "netprobe/container_cache.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/fd.h"
#include "netprobe/container.h"
#include "netprobe/hash.h"

#define PLACES    1024U
#define DEPTH_MAX 16U
/* Of one pass; and how many passes there may be at once, and then again each so often. */
#define DIRECTORIES_MAX 20000U
#define PASSES_MAX      20U
#define PASS_USEC       100000U

struct known {
	uint64_t cgroup; /* 0: nothing is known */
	char id[FLOW_CONTAINER_MAX + 1];
};

struct container_cache {
	int root;
	unsigned left;        /* directories, of the pass that runs */
	unsigned passes;      /* that may be made yet */
	uint64_t passes_usec; /* when that was counted, CLOCK_MONOTONIC */
	uint64_t missed;
	struct hash_key key;
	struct known known[PLACES];
};

struct container_cache *container_cache_new(int root)
{
	struct container_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	cache->root = root;
	cache->key = hash_key_new();
	cache->passes = PASSES_MAX;
	cache->passes_usec = clock_monotonic_usec();
	return cache;
}

struct container_cache *container_cache_free(struct container_cache *cache)
{
	free(cache);
	return NULL;
}

static struct known *place_of(struct container_cache *cache, uint64_t cgroup)
{
	return &cache->known[hash_of(&cache->key, &cgroup, sizeof(cgroup)) % PLACES];
}

void container_cache_add(struct container_cache *cache, uint64_t cgroup, const char *id)
{
	struct known *known = place_of(cache, cgroup);

	known->cgroup = cgroup;
	(void)snprintf(known->id, sizeof(known->id), "%s", id);
}

/* A directory, as a pass comes to it: what it says of those in it, and the container it is of. */
struct place {
	enum container_place place;
	unsigned depth;
	char id[FLOW_CONTAINER_MAX + 1];
};

/* Whether *cgroup* is in the directory *name* of *parent*; *ret_id* is its container. */
static bool search(struct container_cache *cache, int parent, const char *name,
		   const struct place *above, uint64_t cgroup, char ret_id[FLOW_CONTAINER_MAX + 1])
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;

	if (fd < 0 || dir_take(fd, &dir) < 0)
		return false;
	while (cache->left > 0 && dir_next(dir, &entry) == 0 && entry) {
		struct place own = {.depth = above->depth + 1};

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		cache->left--;
		own.place =
			container_step(above->place, entry->d_name, strlen(entry->d_name), own.id);
		/* The first id in a path counts. */
		if (above->id[0] != '\0')
			memcpy(own.id, above->id, sizeof(own.id));
		if (entry->d_ino == cgroup) {
			memcpy(ret_id, own.id, sizeof(own.id));
			return true;
		}
		if (own.depth <= DEPTH_MAX &&
		    search(cache, dirfd(dir), entry->d_name, &own, cgroup, ret_id))
			return true;
	}
	return false;
}

static bool may_pass(struct container_cache *cache)
{
	uint64_t earned = (clock_monotonic_usec() - cache->passes_usec) / PASS_USEC;

	cache->passes = (unsigned)MIN(cache->passes + earned, (uint64_t)PASSES_MAX);
	cache->passes_usec += earned * PASS_USEC;
	if (cache->passes == 0)
		return false;
	cache->passes--;
	return true;
}

/* False: not everywhere was looked, so that it may be there. */
static bool look_for(struct container_cache *cache, uint64_t cgroup,
		     char ret_id[FLOW_CONTAINER_MAX + 1])
{
	const struct place root = {.place = CONTAINER_ANY};

	if (cache->root < 0)
		return true;
	if (!may_pass(cache))
		return false;
	cache->left = DIRECTORIES_MAX;
	return search(cache, cache->root, ".", &root, cgroup, ret_id) || cache->left > 0;
}

const char *container_cache_find(struct container_cache *cache, uint64_t cgroup)
{
	struct known *known = place_of(cache, cgroup);
	char id[FLOW_CONTAINER_MAX + 1] = "";

	if (cgroup == 0)
		return "";
	if (known->cgroup == cgroup)
		return known->id;
	if (!look_for(cache, cgroup, id)) {
		cache->missed++;
		return "";
	}
	container_cache_add(cache, cgroup, id);
	return known->id;
}

uint64_t container_cache_missed(const struct container_cache *cache)
{
	return cache->missed;
}
