/* SPDX-License-Identifier: Apache-2.0 */

/* An image for one platform, with its layers opened in their order. */

#include "oci/source.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "oci/media.h"
#include "oci/origin.h"

static int check_layers(const struct oci_document *manifest, struct problem *reterr_problem)
{
	for (size_t i = 0; i < manifest->count; i++) {
		cleanup_free char *shown = NULL;
		const char *type = manifest->items[i].media_type;

		if (oci_media_compression(type) != OCI_COMPRESSION_INVALID)
			continue;
		shown = str_escape(type, strlen(type), 200);
		return oci_fail(reterr_problem, OCI_BAD_IMAGE,
				"layer %zu is of type '%s': expected a tar, plain or by gzip or "
				"zstd, that can be had from the registry",
				i + 1, shown ? shown : "?");
	}
	if (manifest->count == 0)
		return oci_fail(reterr_problem, OCI_BAD_IMAGE, "the image has no layers");
	return 0;
}

/* Blob 0 is the configuration, the others are the layers. */
static int open_blobs(struct oci_origin *origin, const struct oci_document *manifest, int *fds,
		      struct problem *reterr_problem)
{
	cleanup_free const struct oci_descriptor **items =
		calloc(manifest->count + 1, sizeof(struct oci_descriptor *));

	if (!items)
		return -ENOMEM;
	items[0] = &manifest->config;
	for (size_t i = 0; i < manifest->count; i++)
		items[i + 1] = &manifest->items[i];
	return oci_origin_blobs(origin, items, manifest->count + 1, fds, reterr_problem);
}

static int read_config(int fd, const struct oci_descriptor *what, struct oci_source *source,
		       struct problem *reterr_problem)
{
	cleanup_free char *text = NULL;
	struct oci_platform platform = {0};
	char hex[SHA256_TEXT_SIZE];
	size_t size = 0;
	int r = fd_read_all(fd, OCI_DOCUMENT_MAX, &text, &size);

	if (r == -EFBIG)
		return oci_fail(reterr_problem, OCI_BAD_IMAGE,
				"the image's configuration has more than the %u bytes that it may "
				"have",
				OCI_DOCUMENT_MAX);
	if (r == 0)
		r = sha256_of(text, size, hex);
	if (r < 0)
		return r;
	if (strcmp(hex, what->digest + strlen(OCI_DIGEST_PREFIX)) != 0)
		return oci_fail(reterr_problem, OCI_BAD_DIGEST,
				"the image's configuration has SHA-256 %s: expected %s", hex,
				what->digest);
	r = oci_config_parse(text, size, &platform, reterr_problem);
	if (r != 0)
		return r;
	source->os = strdup(platform.os);
	source->arch = strdup(platform.arch);
	return source->os && source->arch ? 0 : -ENOMEM;
}

static int fill_layers(const struct oci_document *manifest, bool is_verified, int *fds,
		       struct oci_source *source)
{
	source->layers = calloc(manifest->count, sizeof(*source->layers));
	if (!source->layers)
		return -ENOMEM;
	for (size_t i = 0; i < manifest->count; i++) {
		struct oci_layer *layer = &source->layers[source->layer_count++];

		layer->fd = TAKE_FD(fds[i + 1]);
		layer->size = manifest->items[i].size;
		layer->is_verified = is_verified;
		layer->digest = strdup(manifest->items[i].digest);
		layer->media_type = strdup(manifest->items[i].media_type);
		if (!layer->digest || !layer->media_type)
			return -ENOMEM;
	}
	return 0;
}

static int open_image(struct oci_origin *origin, const struct oci_document *manifest,
		      struct oci_source *source, struct problem *reterr_problem)
{
	size_t count = manifest->count + 1;
	cleanup_free int *fds = calloc(count, sizeof(*fds));
	int r;

	if (!fds)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		fds[i] = -EBADF;
	r = check_layers(manifest, reterr_problem);
	if (r == 0)
		r = open_blobs(origin, manifest, fds, reterr_problem);
	if (r == 0)
		r = read_config(fds[0], &manifest->config, source, reterr_problem);
	if (r == 0)
		r = fill_layers(manifest, oci_origin_is_verified(origin), fds, source);
	for (size_t i = 0; i < count; i++)
		(void)fd_close(fds[i]);
	return r;
}

int oci_source_open(const char *where, const struct oci_options *options, struct oci_source *ret,
		    struct problem *reterr_problem)
{
	cleanup_oci_document struct oci_document *manifest = NULL;
	cleanup_oci_source struct oci_source source = OCI_SOURCE_INIT;
	cleanup_oci_origin struct oci_origin origin = OCI_ORIGIN_INIT;
	char digest[OCI_DIGEST_TEXT_SIZE] = "";
	struct oci_platform wanted;
	int r;

	oci_options_platform(options, &wanted);
	r = oci_origin_open(where, options, &origin, reterr_problem);
	if (r == 0)
		r = oci_origin_manifest(&origin, &wanted, &manifest, digest, reterr_problem);
	if (r == 0)
		r = open_image(&origin, manifest, &source, reterr_problem);
	if (r != 0)
		return r;
	source.digest = strdup(digest);
	if (!source.digest)
		return -ENOMEM;
	*ret = source;
	source = OCI_SOURCE_INIT;
	return 0;
}

void oci_source_close(struct oci_source *source)
{
	for (size_t i = 0; i < source->layer_count; i++) {
		(void)fd_close(source->layers[i].fd);
		free(source->layers[i].digest);
		free(source->layers[i].media_type);
	}
	free(source->layers);
	free(source->os);
	free(source->arch);
	free(source->digest);
	*source = OCI_SOURCE_INIT;
}
