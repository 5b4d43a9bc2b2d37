/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "oci/condition.h"
#include "oci/document.h"
#include "oci/origin.h"
#include "oci/registry.h"

/*
 * An add-on as an OCI artifact (image-spec 1.1): an index by platform; under each platform a
 * manifest of artifactType OCI_ADDON_TYPE with the empty configuration and two layers, the bundle
 * and its signature. The annotations say what it is; what is believed is the signature.
 */
#define OCI_ADDON_TYPE     "application/vnd.affix.addon.v1"
#define OCI_BUNDLE_TYPE    "application/vnd.affix.bundle.v1.tar+zstd"
#define OCI_BUNDLE_GZIP    "application/vnd.affix.bundle.v1.tar+gzip"
#define OCI_SIGNATURE_TYPE "application/vnd.affix.signature.v1"
#define OCI_ADDON_ID       "io.affix.addon.id"
#define OCI_ADDON_VERSION  "io.affix.addon.version"
#define OCI_PLATFORMS_MAX  16U
#define OCI_SIGNATURE_MAX  4096U

/* One platform's bundle, as it is pushed; all borrowed. */
struct oci_addon_part {
	const char *os;
	const char *arch;
	const char *file_name;
	int bundle_fd;
	uint64_t bundle_size;
	const char *bundle_type; /* OCI_BUNDLE_TYPE or OCI_BUNDLE_GZIP */
	const char *signature;
	size_t signature_size;
};

struct oci_addon {
	const char *id;
	const char *version;
	const struct oci_addon_part *parts;
	size_t count;
};

/* Pushes all of it, and the index under the reference's tag last: until then the tag is as it was.
 * *ret_digest* is the index's. */
must_check int oci_addon_push(struct oci_registry *registry, const char *tag,
			      const struct oci_addon *addon, char ret_digest[OCI_DIGEST_TEXT_SIZE],
			      struct problem *reterr_problem);

/* One platform's bundle and signature, as they were pulled: not verified by anybody's key. */
struct oci_pulled {
	char os[32];
	char arch[32];
	char digest[OCI_DIGEST_TEXT_SIZE]; /* of the manifest */
	int bundle_fd;
	char *signature;
	size_t signature_size;
};

struct oci_pulled_list {
	struct oci_pulled *items;
	size_t count;
};

void oci_pulled_list_done(struct oci_pulled_list *list);
#define cleanup_oci_pulled_list CLEANUP(oci_pulled_list_done)

/* The bundles of an add-on, of one platform, or all where *wanted* is NULL. */
must_check int oci_addon_pull(struct oci_origin *origin, const struct oci_platform *wanted,
			      struct oci_pulled_list *ret, struct problem *reterr_problem);
