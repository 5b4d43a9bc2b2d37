/* SPDX-License-Identifier: Apache-2.0 */

/* What the cache holds, and taking it away. Whoever prunes has the cache for himself. */

#include "oci/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"

static int add_entry(struct oci_cache_list *list, int dirfd, const char *name, bool is_partial)
{
	struct oci_cache_entry entry = {.is_partial = is_partial};
	struct oci_cache_entry *larger;
	struct stat st;

	(void)snprintf(entry.digest, sizeof(entry.digest), OCI_DIGEST_PREFIX "%.64s", name);
	/* What is gone meanwhile, or is not of ours, is not in it. */
	if (!oci_digest_is_valid(entry.digest) || strlen(name) != SHA256_TEXT_SIZE - 1 ||
	    fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	entry.size = (uint64_t)st.st_size;
	entry.used = (uint64_t)st.st_mtim.tv_sec;
	larger = reallocarray(list->items, list->count + 1, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	list->items = larger;
	larger[list->count++] = entry;
	return 0;
}

static int list_directory(struct oci_cache_list *list, int dirfd, bool is_partial)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;
	int r = dir_open(dirfd, &dir);

	while (r == 0) {
		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;
		r = add_entry(list, dirfd, entry->d_name, is_partial);
	}
	return r;
}

static int compare(const void *a, const void *b)
{
	const struct oci_cache_entry *left = a;
	const struct oci_cache_entry *right = b;
	int order = strcmp(left->digest, right->digest);

	return order != 0 ? order : (int)left->is_partial - (int)right->is_partial;
}

int oci_cache_list(const struct oci_cache *cache, struct oci_cache_list *ret)
{
	cleanup_oci_cache_list struct oci_cache_list list = {0};
	int r = list_directory(&list, cache->blobs_fd, false);

	if (r == 0)
		r = list_directory(&list, cache->partial_fd, true);
	if (r < 0)
		return r;
	if (list.count > 0)
		qsort(list.items, list.count, sizeof(*list.items), compare);
	*ret = list;
	list = (struct oci_cache_list){0};
	return 0;
}

void oci_cache_list_done(struct oci_cache_list *list)
{
	free(list->items);
	*list = (struct oci_cache_list){0};
}

int oci_cache_prune(struct oci_cache *cache, uint64_t before, uint64_t *ret_count,
		    uint64_t *ret_size, struct problem *reterr_problem)
{
	cleanup_oci_cache_list struct oci_cache_list list = {0};
	int r;

	*ret_count = 0;
	*ret_size = 0;
	if (flock(cache->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
			       ? oci_fail(reterr_problem, OCI_BUSY,
					  "the cache '%s' is in use: try again when the other "
					  "'affix' is done",
					  cache->path)
			       : -errno;
	r = oci_cache_list(cache, &list);
	for (size_t i = 0; i < list.count && r == 0; i++) {
		const struct oci_cache_entry *item = &list.items[i];

		if (item->used >= before)
			continue;
		if (unlinkat(item->is_partial ? cache->partial_fd : cache->blobs_fd,
			     item->digest + strlen(OCI_DIGEST_PREFIX), 0) < 0) {
			r = -errno;
			break;
		}
		(*ret_count)++;
		*ret_size += item->size;
	}
	/* Back to one of many, whatever came of it. */
	if (flock(cache->lock_fd, LOCK_SH | LOCK_NB) < 0 && r == 0)
		r = -errno;
	return r;
}
