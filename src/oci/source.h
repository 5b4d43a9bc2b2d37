/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "oci/condition.h"
#include "oci/options.h"

/* One layer, lowest first. */
struct oci_layer {
	char *digest;     /* "sha256:" and 64 digits, of the bytes in *fd* */
	char *media_type; /* as the manifest has it; oci/media.h tells the kinds */
	uint64_t size;    /* of the file behind *fd*, checked */
	int fd;           /* the blob as it is stored (compressed or not), at position 0; owned */
	/* False for layers of a layout directory: whoever reads the bytes digests them, and refuses
	 * at the end. */
	bool is_verified;
};

/* An image for one platform, with all its layers at hand. */
struct oci_source {
	struct oci_layer *layers;
	size_t layer_count;
	char *os;     /* from the image's configuration */
	char *arch;   /* GOARCH: amd64, arm64 … */
	char *digest; /* of the manifest: "sha256:…" */
};

#define OCI_SOURCE_INIT     \
	(struct oci_source) \
	{                   \
	}

/*
 * Opens *where*: `REGISTRY/NAME[:TAG|@DIGEST]` (what is missing in the cache is pulled into it);
 * `oci:DIR[:TAG]`, or a directory that has a file oci-layout; `oci-archive:FILE[:TAG]`, a tar of
 * one, which is read into the cache. 0; a condition; -errno.
 */
must_check int oci_source_open(const char *where, const struct oci_options *options,
			       struct oci_source *ret, struct problem *reterr_problem);
void oci_source_close(struct oci_source *source);
#define cleanup_oci_source CLEANUP(oci_source_close)
