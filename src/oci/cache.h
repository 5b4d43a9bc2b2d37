/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "crypto/sha256.h"
#include "oci/condition.h"
#include "oci/reference.h"

/*
 * Blobs by their digest, in a directory of the user's:
 *
 *     blobs/sha256/HEX     whole, checked when it got its name, never changed
 *     partial/HEX          what came of one so far; locked by whoever adds to it
 *     lock                 shared by whoever uses the cache, exclusive while it is pruned
 *
 * Any number of processes may use one at once. A blob that is open stays readable when it is
 * pruned.
 */
struct oci_cache {
	int fd; /* of the directory */
	int blobs_fd;
	int partial_fd;
	int lock_fd;
	char *path;
};

#define OCI_CACHE_INIT                                                                    \
	(struct oci_cache)                                                                \
	{                                                                                 \
		.fd = -EBADF, .blobs_fd = -EBADF, .partial_fd = -EBADF, .lock_fd = -EBADF \
	}

/* Opens, and makes, the cache at *path*, or $XDG_CACHE_HOME/affix/oci where that is NULL. 0;
 * OCI_BUSY while it is pruned; -errno. */
must_check int oci_cache_open(const char *path, struct oci_cache *ret,
			      struct problem *reterr_problem);
void oci_cache_close(struct oci_cache *cache);
#define cleanup_oci_cache CLEANUP(oci_cache_close)

/* A whole blob, open for reading, noted as used now; -ENOENT, also for one of another size. */
must_check int oci_cache_find(const struct oci_cache *cache, const char *digest, uint64_t size,
			      int *ret_fd);

/* A blob that is being written. */
struct oci_cache_blob {
	const struct oci_cache *cache;
	char digest[OCI_DIGEST_TEXT_SIZE];
	uint64_t size;    /* that it will have */
	uint64_t written; /* so far; what an earlier attempt left is counted */
	struct sha256 hash;
	int fd;
	bool is_named; /* in partial/; else unnamed, because another process has that */
};

#define OCI_CACHE_BLOB_INIT     \
	(struct oci_cache_blob) \
	{                       \
		.fd = -EBADF    \
	}

/* Begins, where an earlier attempt ended. -ENOSPC where there is no room for it; -errno. */
must_check int oci_cache_begin(const struct oci_cache *cache, const char *digest, uint64_t size,
			       struct oci_cache_blob *ret);
/* -EMSGSIZE for more than *size* bytes; -errno. */
must_check int oci_cache_add(struct oci_cache_blob *blob, const void *data, size_t size);
/* Forgets all that was written. */
must_check int oci_cache_restart(struct oci_cache_blob *blob);
/* Checks size and digest, and gives it its name; what is wrong is deleted. *ret_fd* is open for
 * reading, at position 0. 0; OCI_BAD_DIGEST; -errno. */
must_check int oci_cache_commit(struct oci_cache_blob *blob, int *ret_fd,
				struct problem *reterr_problem);
/* Ends; what was not committed stays for the next attempt. */
void oci_cache_blob_done(struct oci_cache_blob *blob);
/* Ends; nothing stays. Not after a commit. */
void oci_cache_discard(struct oci_cache_blob *blob);
#define cleanup_oci_cache_blob CLEANUP(oci_cache_blob_done)

/* Bytes at once: a document. */
must_check int oci_cache_put(const struct oci_cache *cache, const char *digest, const void *data,
			     size_t size, struct problem *reterr_problem);

/* What is in it. */
struct oci_cache_entry {
	char digest[OCI_DIGEST_TEXT_SIZE];
	uint64_t size;
	uint64_t used; /* seconds since 1970 */
	bool is_partial;
};

struct oci_cache_list {
	struct oci_cache_entry *items;
	size_t count;
};

/* By digest. -errno. */
must_check int oci_cache_list(const struct oci_cache *cache, struct oci_cache_list *ret);
void oci_cache_list_done(struct oci_cache_list *list);
#define cleanup_oci_cache_list CLEANUP(oci_cache_list_done)

/* Removes what was not used since *before* (seconds; UINT64_MAX: everything). 0; OCI_BUSY where
 * another process uses the cache; -errno. */
must_check int oci_cache_prune(struct oci_cache *cache, uint64_t before, uint64_t *ret_count,
			       uint64_t *ret_size, struct problem *reterr_problem);
