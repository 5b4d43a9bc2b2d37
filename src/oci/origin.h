/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "oci/cache.h"
#include "oci/condition.h"
#include "oci/document.h"
#include "oci/options.h"
#include "oci/registry.h"

/* Where documents and blobs come from: a registry, a layout directory, or an archive of one. */
struct oci_origin {
	struct oci_reference reference; /* of a registry */
	struct oci_registry *registry;  /* or NULL */
	int layout_fd;                  /* of the directory that has oci-layout, or -EBADF */
	char *tag;                      /* of a layout; NULL: the one image it has */
	struct oci_text index;          /* of a layout */
	bool has_cache;
	struct oci_cache cache; /* where blobs are, but those of a layout directory */
};

#define OCI_ORIGIN_INIT                                      \
	(struct oci_origin)                                  \
	{                                                    \
		.layout_fd = -EBADF, .cache = OCI_CACHE_INIT \
	}

/* As oci_source_open() takes it. The origin must stay where it is, and *options* outlive it. */
must_check int oci_origin_open(const char *where, const struct oci_options *options,
			       struct oci_origin *ret, struct problem *reterr_problem);
void oci_origin_close(struct oci_origin *origin);
#define cleanup_oci_origin CLEANUP(oci_origin_close)

/* The document that was named; of a layout without a tag its index.json, whose digest is "". */
must_check int oci_origin_root(struct oci_origin *origin, struct oci_document **ret,
			       char ret_digest[OCI_DIGEST_TEXT_SIZE],
			       struct problem *reterr_problem);
/* The document that *what* describes, checked against its digest. */
must_check int oci_origin_document(struct oci_origin *origin, const struct oci_descriptor *what,
				   struct oci_document **ret, struct problem *reterr_problem);
/* The manifest for one platform: from the root through indexes down. */
must_check int oci_origin_manifest(struct oci_origin *origin, const struct oci_platform *wanted,
				   struct oci_document **ret, char ret_digest[OCI_DIGEST_TEXT_SIZE],
				   struct problem *reterr_problem);
/* Blobs, open for reading; sizes are checked, digests are where oci_origin_is_verified(). *ret_fds*
 * are -EBADF before; the caller closes them, also after a failure. */
must_check int oci_origin_blobs(struct oci_origin *origin,
				const struct oci_descriptor *const *items, size_t count,
				int *ret_fds, struct problem *reterr_problem);
bool oci_origin_is_verified(const struct oci_origin *origin);

/* What *options* ask for, or this machine. */
void oci_options_platform(const struct oci_options *options, struct oci_platform *ret);
/* Whether *where* can name one: it has the form of a reference, or is a layout that exists. */
bool oci_origin_is_named(const char *where);
