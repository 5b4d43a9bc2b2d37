/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/* Media types of the OCI image specification 1.1, and of Docker's schema 2, which it came from. */
#define OCI_MEDIA_INDEX       "application/vnd.oci.image.index.v1+json"
#define OCI_MEDIA_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define OCI_MEDIA_CONFIG      "application/vnd.oci.image.config.v1+json"
#define OCI_MEDIA_EMPTY       "application/vnd.oci.empty.v1+json"
#define DOCKER_MEDIA_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_MEDIA_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"

/* What a registry is asked for, in a header. */
#define OCI_MEDIA_ACCEPTED \
	OCI_MEDIA_INDEX ", " OCI_MEDIA_MANIFEST ", " DOCKER_MEDIA_LIST ", " DOCKER_MEDIA_MANIFEST

enum oci_compression {
	OCI_COMPRESSION_NONE,
	OCI_COMPRESSION_GZIP,
	OCI_COMPRESSION_ZSTD,
	OCI_COMPRESSION_INVALID = -22, /* no layer of a file system that we know */
};

bool oci_media_is_index(const char *type);
bool oci_media_is_manifest(const char *type);
/* A layer's. */
enum oci_compression oci_media_compression(const char *type);
