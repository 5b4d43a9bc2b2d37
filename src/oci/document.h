/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "oci/condition.h"
#include "oci/reference.h"

/*
 * The JSON documents of images (OCI image-spec 1.1, Docker schema 2): descriptors in manifests and
 * indexes, and the two words of a configuration that matter here.
 */
#define OCI_DOCUMENT_MAX    (4U << 20) /* bytes of one */
#define OCI_LAYERS_MAX      512U
#define OCI_MANIFESTS_MAX   1024U
#define OCI_TYPE_MAX        255U
#define OCI_BLOB_SIZE_MAX   (1ULL << 44) /* 16 TiB */
#define OCI_INDEX_DEPTH_MAX 4U           /* of indexes in indexes */

struct oci_descriptor {
	char media_type[OCI_TYPE_MAX + 1];
	char artifact_type[OCI_TYPE_MAX + 1]; /* or "" */
	char digest[OCI_DIGEST_TEXT_SIZE];
	uint64_t size;
	char os[32]; /* of "platform", or "" */
	char arch[32];
	char variant[32];
	json_t *annotations; /* an object, owned, or NULL */
};

enum oci_document_kind {
	OCI_DOCUMENT_MANIFEST,
	OCI_DOCUMENT_INDEX,
};

/* A manifest: *config* and the layers in *items*. An index: its manifests in *items*. */
struct oci_document {
	enum oci_document_kind kind;
	char artifact_type[OCI_TYPE_MAX + 1];
	struct oci_descriptor config;
	struct oci_descriptor *items;
	size_t count;
	json_t *annotations;
};

/*
 * *media_type* is what it was said to be by whoever named it, or "" where nobody said; it must
 * agree with the document's own "mediaType". *what* names the document in sentences. 0;
 * OCI_BAD_IMAGE; -ENOMEM.
 */
must_check int oci_document_parse(const char *text, size_t size, const char *media_type,
				  const char *what, struct oci_document **ret,
				  struct problem *reterr_problem);
struct oci_document *oci_document_free(struct oci_document *document);

DEFINE_CLEANUP(struct oci_document *, oci_document, oci_document_free)
#define cleanup_oci_document CLEANUP(cleanup_oci_document)

/* The annotation called *key* of a descriptor's or document's *annotations*, or NULL; borrowed. */
const char *oci_annotation(const json_t *annotations, const char *key);

/* The platform of an image's configuration. 0 or OCI_BAD_IMAGE. */
struct oci_platform {
	char os[32];
	char arch[32];
	char variant[32];
};

must_check int oci_config_parse(const char *text, size_t size, struct oci_platform *ret,
				struct problem *reterr_problem);

/*
 * The manifest of *index* for a platform: OS and architecture equal; among several the variant that
 * was asked for, with the highest that the machine runs below it (arm64 has v8; arm v7 runs v6 and
 * v5), else the first. NULL: none.
 */
const struct oci_descriptor *oci_platform_choose(const struct oci_document *index,
						 const struct oci_platform *wanted);
/* What this program runs on. */
void oci_platform_of_machine(struct oci_platform *ret);
