/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "oci/cache.h"
#include "oci/condition.h"
#include "oci/document.h"
#include "oci/options.h"
#include "oci/reference.h"

/*
 * One repository of a registry (https://github.com/opencontainers/distribution-spec 1.1), over TLS;
 * a registry on this machine may speak http. Asked for credentials, it takes them from config.json.
 * What fails for a reason that passes is tried again, after growing pauses.
 */
struct oci_registry;

/* *options* and *reference* must outlive it. 0; a condition; -errno. */
must_check int oci_registry_open(const struct oci_reference *reference,
				 const struct oci_options *options, bool wants_push,
				 struct oci_registry **ret, struct problem *reterr_problem);
struct oci_registry *oci_registry_free(struct oci_registry *registry);

DEFINE_CLEANUP(struct oci_registry *, oci_registry, oci_registry_free)
#define cleanup_oci_registry CLEANUP(cleanup_oci_registry)

/* Bytes of a manifest or index as the registry has them. */
struct oci_text {
	char *data;
	size_t size;
	char type[OCI_TYPE_MAX + 1];
	char digest[OCI_DIGEST_TEXT_SIZE];
};

void oci_text_done(struct oci_text *text);
#define cleanup_oci_text CLEANUP(oci_text_done)

/* The manifest under a tag or digest; one that was named by its digest has it. */
must_check int oci_registry_get_manifest(struct oci_registry *registry, const char *wanted,
					 struct oci_text *ret, struct problem *reterr_problem);
/*
 * The blobs of *items* into the cache, several at once; those that are there are not asked for.
 * Each of *ret_fds* (set to -EBADF by the caller) is open for reading then.
 */
must_check int oci_registry_pull(struct oci_registry *registry, const struct oci_cache *cache,
				 const struct oci_descriptor *const *items, size_t count,
				 int *ret_fds, struct problem *reterr_problem);

/* What is pushed: *fd* from its start, or *data* where that is not NULL. */
struct oci_upload {
	char digest[OCI_DIGEST_TEXT_SIZE];
	uint64_t size;
	const void *data;
	int fd;
};

/* Uploads it, unless the registry has it. */
must_check int oci_registry_push_blob(struct oci_registry *registry, const struct oci_upload *blob,
				      struct problem *reterr_problem);
/* Puts a manifest or index under a tag or its digest. */
must_check int oci_registry_push_manifest(struct oci_registry *registry, const char *wanted,
					  const char *type, const char *text, size_t size,
					  struct problem *reterr_problem);
