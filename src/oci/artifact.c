/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Add-ons in registries, upwards. The same bundles make the same bytes, so pushing again moves
 * nothing. Members stand in the order in which Go's programs write them, and the index has those
 * only that skopeo of Debian 12 knows (no artifactType): it writes an index anew when it copies it,
 * and what it writes is the same. Blobs go first, then manifests, then the index, because a
 * registry refuses what points to nothing.
 */

#include "oci/artifact.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "oci/media.h"

#define EMPTY_TEXT "{}"
#define EMPTY_SIZE 2U
#define TITLE      "org.opencontainers.image.title"
#define VERSION    "org.opencontainers.image.version"
#define SUFFIX     ".minisig"

/* A descriptor that is being written. */
struct piece {
	const char *type;
	const char *digest;
	uint64_t size;
	const char *title; /* or NULL */
};

static json_t *make_descriptor(const struct piece *piece)
{
	cleanup_json json_t *json = json_object();
	cleanup_json json_t *annotations = NULL;

	if (!json || json_add_string(json, "mediaType", piece->type) < 0 ||
	    json_add_string(json, "digest", piece->digest) < 0 ||
	    json_add_uint(json, "size", piece->size) < 0)
		return NULL;
	if (!piece->title)
		return TAKE_PTR(json);
	annotations = json_object();
	if (!annotations || json_add_string(annotations, TITLE, piece->title) < 0 ||
	    json_add(json, "annotations", TAKE_PTR(annotations)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int add_annotations(json_t *json, const struct oci_addon *addon)
{
	cleanup_json json_t *annotations = json_object();

	if (!annotations || json_add_string(annotations, OCI_ADDON_ID, addon->id) < 0 ||
	    json_add_string(annotations, OCI_ADDON_VERSION, addon->version) < 0 ||
	    json_add_string(annotations, TITLE, addon->id) < 0 ||
	    json_add_string(annotations, VERSION, addon->version) < 0)
		return -ENOMEM;
	return json_add(json, "annotations", TAKE_PTR(annotations));
}

static json_t *make_root(const char *type)
{
	cleanup_json json_t *json = json_object();

	if (!json || json_add_uint(json, "schemaVersion", 2) < 0 ||
	    json_add_string(json, "mediaType", type) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int push_bytes(struct oci_registry *registry, const char *data, size_t size,
		      struct oci_upload *ret, struct problem *reterr_problem)
{
	char hex[SHA256_TEXT_SIZE];
	int r = sha256_of(data, size, hex);

	if (r < 0)
		return r;
	*ret = (struct oci_upload){.data = data, .size = size, .fd = -EBADF};
	(void)snprintf(ret->digest, sizeof(ret->digest), OCI_DIGEST_PREFIX "%s", hex);
	return oci_registry_push_blob(registry, ret, reterr_problem);
}

static int push_file(struct oci_registry *registry, const struct oci_addon_part *part,
		     struct oci_upload *ret, struct problem *reterr_problem)
{
	char hex[SHA256_TEXT_SIZE];
	int r;

	*ret = (struct oci_upload){.fd = part->bundle_fd};
	r = sha256_of_fd(part->bundle_fd, hex, &ret->size);
	if (r < 0)
		return r;
	(void)snprintf(ret->digest, sizeof(ret->digest), OCI_DIGEST_PREFIX "%s", hex);
	return oci_registry_push_blob(registry, ret, reterr_problem);
}

/* Writes a document and puts it under *tag*, or its digest where that is NULL. */
static int push_document(struct oci_registry *registry, const char *tag, const char *type,
			 const json_t *json, struct oci_upload *ret, struct problem *reterr_problem)
{
	cleanup_free char *text = json_dumps(json, JSON_COMPACT);
	char hex[SHA256_TEXT_SIZE];
	int r = text ? sha256_of(text, strlen(text), hex) : -ENOMEM;

	if (r < 0)
		return r;
	*ret = (struct oci_upload){.size = strlen(text), .fd = -EBADF};
	(void)snprintf(ret->digest, sizeof(ret->digest), OCI_DIGEST_PREFIX "%s", hex);
	return oci_registry_push_manifest(registry, tag ? tag : ret->digest, type, text,
					  strlen(text), reterr_problem);
}

/* The manifest of one platform, from the blobs that were pushed. */
static json_t *make_manifest(const struct oci_addon *addon, const struct oci_addon_part *part,
			     const struct oci_upload blobs[3])
{
	cleanup_json json_t *json = make_root(OCI_MEDIA_MANIFEST);
	cleanup_json json_t *layers = json_array();
	cleanup_free char *signature_name = NULL;

	if (!json || !layers || str_format(&signature_name, "%s" SUFFIX, part->file_name) < 0 ||
	    json_add_string(json, "artifactType", OCI_ADDON_TYPE) < 0 ||
	    json_add(json, "config",
		     make_descriptor(&(struct piece){OCI_MEDIA_EMPTY, blobs[0].digest,
						     blobs[0].size, NULL})) < 0 ||
	    json_append(layers, make_descriptor(&(struct piece){part->bundle_type, blobs[1].digest,
								blobs[1].size, part->file_name})) <
		    0 ||
	    json_append(layers, make_descriptor(&(struct piece){OCI_SIGNATURE_TYPE, blobs[2].digest,
								blobs[2].size, signature_name})) <
		    0 ||
	    json_add(json, "layers", TAKE_PTR(layers)) < 0 || add_annotations(json, addon) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int add_to_index(json_t *manifests, const struct oci_addon_part *part,
			const struct oci_upload *pushed)
{
	cleanup_json json_t *item = make_descriptor(
		&(struct piece){OCI_MEDIA_MANIFEST, pushed->digest, pushed->size, NULL});
	cleanup_json json_t *platform = json_object();

	if (!item || !platform || json_add_string(platform, "architecture", part->arch) < 0 ||
	    json_add_string(platform, "os", part->os) < 0 ||
	    json_add(item, "platform", TAKE_PTR(platform)) < 0)
		return -ENOMEM;
	return json_append(manifests, TAKE_PTR(item));
}

static int push_part(struct oci_registry *registry, const struct oci_addon *addon,
		     const struct oci_addon_part *part, json_t *manifests,
		     struct problem *reterr_problem)
{
	cleanup_json json_t *manifest = NULL;
	struct oci_upload blobs[3] = {0};
	struct oci_upload pushed = {0};
	int r;

	r = push_bytes(registry, EMPTY_TEXT, EMPTY_SIZE, &blobs[0], reterr_problem);
	if (r == 0)
		r = push_file(registry, part, &blobs[1], reterr_problem);
	if (r == 0)
		r = push_bytes(registry, part->signature, part->signature_size, &blobs[2],
			       reterr_problem);
	if (r != 0)
		return r;
	manifest = make_manifest(addon, part, blobs);
	if (!manifest)
		return -ENOMEM;
	r = push_document(registry, NULL, OCI_MEDIA_MANIFEST, manifest, &pushed, reterr_problem);
	return r == 0 ? add_to_index(manifests, part, &pushed) : r;
}

int oci_addon_push(struct oci_registry *registry, const char *tag, const struct oci_addon *addon,
		   char ret_digest[OCI_DIGEST_TEXT_SIZE], struct problem *reterr_problem)
{
	cleanup_json json_t *index = make_root(OCI_MEDIA_INDEX);
	cleanup_json json_t *manifests = json_array();
	struct oci_upload pushed = {0};
	int r = index && manifests ? 0 : -ENOMEM;

	for (size_t i = 0; i < addon->count && r == 0; i++)
		r = push_part(registry, addon, &addon->parts[i], manifests, reterr_problem);
	if (r == 0)
		r = json_add(index, "manifests", TAKE_PTR(manifests));
	if (r == 0)
		r = add_annotations(index, addon);
	if (r == 0)
		r = push_document(registry, tag, OCI_MEDIA_INDEX, index, &pushed, reterr_problem);
	if (r == 0)
		memcpy(ret_digest, pushed.digest, OCI_DIGEST_TEXT_SIZE);
	return r;
}
