/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A small table in which a later cgroup takes the place of an earlier one with the same hash. What
 * is not in it costs one pass over the hierarchy, which finds a cgroup whose process is gone.
 */

#include "netprobe/container_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "netprobe/container.h"

#define PLACES    1024U
#define DEPTH_MAX 16U

struct known {
	uint64_t cgroup; /* 0: nothing is known */
	char id[FLOW_CONTAINER_MAX + 1];
};

struct container_cache {
	int root;
	struct known known[PLACES];
};

struct container_cache *container_cache_new(int root)
{
	struct container_cache *cache = calloc(1, sizeof(*cache));

	if (cache)
		cache->root = root;
	return cache;
}

struct container_cache *container_cache_free(struct container_cache *cache)
{
	free(cache);
	return NULL;
}

static struct known *place_of(struct container_cache *cache, uint64_t cgroup)
{
	return &cache->known[cgroup * 0x9e3779b97f4a7c15ULL >> 54];
}

void container_cache_add(struct container_cache *cache, uint64_t cgroup, const char *id)
{
	struct known *known = place_of(cache, cgroup);

	known->cgroup = cgroup;
	(void)snprintf(known->id, sizeof(known->id), "%s", id);
}

static void close_directory(DIR **directory)
{
	if (*directory)
		(void)closedir(*directory);
}

/* Whether *cgroup* is below *parent*, which is of container *id*; *ret_id* is its own. */
static bool search(int parent, const char *name, enum container_place place, const char *id,
		   unsigned depth, uint64_t cgroup, char ret_id[FLOW_CONTAINER_MAX + 1])
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *directory CLEANUP(close_directory) = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!directory) {
		(void)fd_close(fd);
		return false;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): of a stream that nobody else reads */
	while ((entry = readdir(directory))) {
		enum container_place inner;
		char own[FLOW_CONTAINER_MAX + 1];

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		inner = container_step(place, entry->d_name, strlen(entry->d_name), own);
		/* The first id in a path counts. */
		if (id[0] != '\0')
			(void)snprintf(own, sizeof(own), "%s", id);
		if (entry->d_ino == cgroup) {
			memcpy(ret_id, own, sizeof(own));
			return true;
		}
		if (depth < DEPTH_MAX &&
		    search(dirfd(directory), entry->d_name, inner, own, depth + 1, cgroup, ret_id))
			return true;
	}
	return false;
}

const char *container_cache_find(struct container_cache *cache, uint64_t cgroup)
{
	struct known *known = place_of(cache, cgroup);
	char id[FLOW_CONTAINER_MAX + 1] = "";

	if (cgroup == 0)
		return "";
	if (known->cgroup != cgroup) {
		if (cache->root >= 0)
			(void)search(cache->root, ".", CONTAINER_ANY, "", 0, cgroup, id);
		container_cache_add(cache, cgroup, id);
	}
	return known->id;
}
