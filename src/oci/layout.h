/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "oci/cache.h"
#include "oci/condition.h"
#include "oci/document.h"
#include "oci/registry.h"

/* OCI image layout 1.0: a directory with oci-layout, index.json and blobs/sha256/HEX. */

/* Opens *path* and reads its index. 0; OCI_NOT_FOUND, OCI_BAD_IMAGE; -errno. */
must_check int oci_layout_open(const char *path, int *ret_fd, struct oci_text *ret_index,
			       struct problem *reterr_problem);
/* A blob of it: a regular file of *size* bytes. Its digest is not checked. */
must_check int oci_layout_blob(int layout_fd, const char *digest, uint64_t size, int *ret_fd,
			       struct problem *reterr_problem);

/* The image called *tag* in a layout's index (annotation org.opencontainers.image.ref.name). */
must_check int oci_layout_choose(const struct oci_document *index, const char *tag,
				 const struct oci_descriptor **ret, struct problem *reterr_problem);

/* Reads a tar of a layout (not compressed): its blobs, checked, into the cache, its index into
 * *ret_index*. */
must_check int oci_archive_read(const char *path, const struct oci_cache *cache,
				struct oci_text *ret_index, struct problem *reterr_problem);
