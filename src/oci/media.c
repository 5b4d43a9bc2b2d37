/* SPDX-License-Identifier: Apache-2.0 */

/* What the media types of images mean. Parameters behind ';' say nothing that is needed here. */

#include "oci/media.h"

#include <stddef.h>
#include <string.h>

static bool is_type(const char *type, const char *wanted)
{
	size_t length = strlen(wanted);

	return strncasecmp(type, wanted, length) == 0 &&
	       (type[length] == '\0' || type[length] == ';' || type[length] == ' ');
}

bool oci_media_is_index(const char *type)
{
	return is_type(type, OCI_MEDIA_INDEX) || is_type(type, DOCKER_MEDIA_LIST);
}

bool oci_media_is_manifest(const char *type)
{
	return is_type(type, OCI_MEDIA_MANIFEST) || is_type(type, DOCKER_MEDIA_MANIFEST);
}

enum oci_compression oci_media_compression(const char *type)
{
	static const struct {
		const char *type;
		enum oci_compression compression;
	} layers[] = {
		{"application/vnd.oci.image.layer.v1.tar",            OCI_COMPRESSION_NONE},
		{"application/vnd.oci.image.layer.v1.tar+gzip",       OCI_COMPRESSION_GZIP},
		{"application/vnd.oci.image.layer.v1.tar+zstd",       OCI_COMPRESSION_ZSTD},
		{"application/vnd.docker.image.rootfs.diff.tar",      OCI_COMPRESSION_NONE},
		{"application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_COMPRESSION_GZIP},
		{"application/vnd.docker.image.rootfs.diff.tar.zstd", OCI_COMPRESSION_ZSTD},
	};

	for (size_t i = 0; i < ARRAY_SIZE(layers); i++) {
		if (is_type(type, layers[i].type))
			return layers[i].compression;
	}
	return OCI_COMPRESSION_INVALID;
}
