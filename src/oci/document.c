/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Documents of strangers. What is read is taken by name and type and bounded in number; what is not
 * known is left alone, as the specification wants; nothing nests but what json.c allows.
 */

#include "oci/document.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "oci/media.h"

#define SHOWN_MAX 200

/* A document that is being read, for its sentences. */
struct reader {
	const char *what;
	struct problem *problem;
};

static int wrong(const struct reader *reader, const char *where, const char *expected)
{
	return oci_fail(reader->problem, OCI_BAD_IMAGE,
			"%s: '%s' is not what it may be: expected %s", reader->what, where,
			expected);
}

/* A string that fits *text* of *size* bytes; "" where there is none and none is needed. */
static int read_string(const struct reader *reader, const json_t *object, const char *key,
		       bool is_needed, char *text, size_t size)
{
	const char *value = NULL;
	int r = json_member_string(object, key, &value);

	if (r == -ENOENT && !is_needed)
		value = "";
	else if (r < 0 || strlen(value) >= size)
		return wrong(reader, key, "a string, not so long");
	(void)snprintf(text, size, "%s", value);
	return 0;
}

static int read_annotations(const struct reader *reader, const json_t *object, json_t **ret)
{
	json_t *annotations = NULL;
	const char *key;
	json_t *value;
	int r = json_member_object(object, "annotations", &annotations);

	/* null is written by some instead of nothing. */
	if (r == -ENOENT || json_is_null(json_object_get(object, "annotations")))
		return 0;
	if (r < 0)
		return wrong(reader, "annotations", "an object of strings");
	json_object_foreach(annotations, key, value)
	{
		if (!json_is_string(value))
			return wrong(reader, "annotations", "an object of strings");
	}
	*ret = json_incref(annotations);
	return 0;
}

static int read_platform(const struct reader *reader, const json_t *object,
			 struct oci_descriptor *ret)
{
	json_t *platform = json_object_get(object, "platform");
	int r;

	if (!platform || json_is_null(platform))
		return 0;
	if (!json_is_object(platform))
		return wrong(reader, "platform", "an object");
	r = read_string(reader, platform, "os", true, ret->os, sizeof(ret->os));
	if (r == 0)
		r = read_string(reader, platform, "architecture", true, ret->arch,
				sizeof(ret->arch));
	if (r == 0)
		r = read_string(reader, platform, "variant", false, ret->variant,
				sizeof(ret->variant));
	return r;
}

static int read_descriptor(const struct reader *reader, const json_t *object, const char *where,
			   struct oci_descriptor *ret)
{
	const char *digest = NULL;
	int r;

	if (!json_is_object(object))
		return wrong(reader, where, "a descriptor with mediaType, digest and size");
	r = read_string(reader, object, "mediaType", true, ret->media_type,
			sizeof(ret->media_type));
	if (r == 0)
		r = read_string(reader, object, "artifactType", false, ret->artifact_type,
				sizeof(ret->artifact_type));
	if (r != 0)
		return r;
	if (json_member_string(object, "digest", &digest) < 0 || !oci_digest_is_valid(digest))
		return wrong(reader, "digest",
			     "sha256: and 64 lower-case digits, the one kind that is read");
	memcpy(ret->digest, digest, sizeof(ret->digest));
	if (json_member_uint(object, "size", OCI_BLOB_SIZE_MAX, &ret->size) < 0)
		return wrong(reader, "size", "a number of bytes up to 16 TiB");
	r = read_annotations(reader, object, &ret->annotations);
	return r == 0 ? read_platform(reader, object, ret) : r;
}

static int read_items(const struct reader *reader, const json_t *root, const char *key, size_t max,
		      struct oci_document *document)
{
	json_t *items = NULL;
	size_t count;

	if (json_member_array(root, key, &items) < 0 || json_array_size(items) > max)
		return wrong(reader, key, "an array, and not so long");
	count = json_array_size(items);
	document->items = calloc(count + 1, sizeof(*document->items));
	if (!document->items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		int r = read_descriptor(reader, json_array_get(items, i), key,
					&document->items[document->count++]);

		if (r != 0)
			return r;
	}
	return 0;
}

/* What the document is: by its own word, by that of whoever named it, by its members. */
static int find_kind(const struct reader *reader, const json_t *root, const char *said,
		     enum oci_document_kind *ret)
{
	char own[OCI_TYPE_MAX + 1] = "";
	bool is_index;
	int r = read_string(reader, root, "mediaType", false, own, sizeof(own));

	if (r != 0)
		return r;
	if (*own && *said && oci_media_is_index(own) != oci_media_is_index(said))
		return wrong(reader, "mediaType", "what it was announced as");
	if (!*own)
		(void)snprintf(own, sizeof(own), "%.*s", (int)OCI_TYPE_MAX, said);
	is_index = *own ? oci_media_is_index(own) : json_object_get(root, "manifests") != NULL;
	if (*own && !is_index && !oci_media_is_manifest(own))
		return oci_fail(reader->problem, OCI_BAD_IMAGE,
				"%s is of type '%.*s': expected an OCI manifest or index, or those "
				"of Docker's schema 2",
				reader->what, SHOWN_MAX, own);
	/* Both would be read differently by whoever is told another type. */
	if (json_object_get(root, "manifests") && json_object_get(root, "layers"))
		return wrong(reader, "manifests", "manifests or layers, not both");
	*ret = is_index ? OCI_DOCUMENT_INDEX : OCI_DOCUMENT_MANIFEST;
	return 0;
}

static int read_root(const struct reader *reader, const json_t *root, const char *media_type,
		     struct oci_document *document)
{
	uint64_t version = 0;
	int r;

	if (json_member_uint(root, "schemaVersion", UINT32_MAX, &version) < 0 || version != 2)
		return wrong(reader, "schemaVersion", "2: older schemas are not read");
	r = find_kind(reader, root, media_type, &document->kind);
	if (r == 0)
		r = read_string(reader, root, "artifactType", false, document->artifact_type,
				sizeof(document->artifact_type));
	if (r == 0)
		r = read_annotations(reader, root, &document->annotations);
	if (r != 0)
		return r;
	if (document->kind == OCI_DOCUMENT_INDEX)
		return read_items(reader, root, "manifests", OCI_MANIFESTS_MAX, document);
	r = read_descriptor(reader, json_object_get(root, "config"), "config", &document->config);
	return r == 0 ? read_items(reader, root, "layers", OCI_LAYERS_MAX, document) : r;
}

int oci_document_parse(const char *text, size_t size, const char *media_type, const char *what,
		       struct oci_document **ret, struct problem *reterr_problem)
{
	cleanup_oci_document struct oci_document *document = calloc(1, sizeof(*document));
	const struct reader reader = {.what = what, .problem = reterr_problem};
	cleanup_json json_t *root = NULL;
	struct json_problem problem;
	int r;

	if (!document)
		return -ENOMEM;
	if (size > OCI_DOCUMENT_MAX)
		return oci_fail(reterr_problem, OCI_BAD_IMAGE,
				"%s has more than the %u bytes that a manifest may have", what,
				OCI_DOCUMENT_MAX);
	r = json_parse_object(text, size, &root, &problem);
	if (r > 0)
		return oci_fail(reterr_problem, OCI_BAD_IMAGE, "%s is not JSON: %s", what,
				problem.text);
	if (r == 0)
		r = read_root(&reader, root, media_type, document);
	if (r != 0)
		return r;
	*ret = TAKE_PTR(document);
	return 0;
}

struct oci_document *oci_document_free(struct oci_document *document)
{
	if (!document)
		return NULL;
	for (size_t i = 0; i < document->count; i++)
		json_decref(document->items[i].annotations);
	free(document->items);
	json_decref(document->config.annotations);
	json_decref(document->annotations);
	free(document);
	return NULL;
}

const char *oci_annotation(const json_t *annotations, const char *key)
{
	return json_string_value(json_object_get(annotations, key));
}

int oci_config_parse(const char *text, size_t size, struct oci_platform *ret,
		     struct problem *reterr_problem)
{
	const struct reader reader = {.what = "the image's configuration",
				      .problem = reterr_problem};
	struct oci_platform platform = {0};
	cleanup_json json_t *root = NULL;
	struct json_problem problem;
	int r;

	if (size > OCI_DOCUMENT_MAX)
		return oci_fail(reterr_problem, OCI_BAD_IMAGE,
				"%s has more than the %u bytes that it may have", reader.what,
				OCI_DOCUMENT_MAX);
	r = json_parse_object(text, size, &root, &problem);
	if (r > 0)
		return oci_fail(reterr_problem, OCI_BAD_IMAGE, "%s is not JSON: %s", reader.what,
				problem.text);
	if (r == 0)
		r = read_string(&reader, root, "os", true, platform.os, sizeof(platform.os));
	if (r == 0)
		r = read_string(&reader, root, "architecture", true, platform.arch,
				sizeof(platform.arch));
	if (r == 0)
		r = read_string(&reader, root, "variant", false, platform.variant,
				sizeof(platform.variant));
	if (r == 0)
		*ret = platform;
	return r;
}
