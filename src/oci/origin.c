/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Images and artifacts, wherever they lie. Documents are small and read whole; each is held against
 * the digest it was named by. From an index down to a manifest there are at most
 * OCI_INDEX_DEPTH_MAX steps.
 */

#include "oci/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "oci/layout.h"
#include "oci/media.h"

#define LAYOUT_PREFIX  "oci:"
#define ARCHIVE_PREFIX "oci-archive:"

void oci_options_platform(const struct oci_options *options, struct oci_platform *ret)
{
	struct oci_platform machine;

	oci_platform_of_machine(&machine);
	*ret = machine;
	if (options->os)
		(void)snprintf(ret->os, sizeof(ret->os), "%s", options->os);
	if (options->arch && strcmp(options->arch, machine.arch) != 0) {
		(void)snprintf(ret->arch, sizeof(ret->arch), "%s", options->arch);
		ret->variant[0] = '\0';
	}
	if (options->variant)
		(void)snprintf(ret->variant, sizeof(ret->variant), "%s", options->variant);
}

static bool is_layout_directory(const char *path)
{
	cleanup_free char *mark = NULL;
	struct stat st;

	return str_format(&mark, "%s/oci-layout", path) == 0 && stat(mark, &st) == 0 &&
	       S_ISREG(st.st_mode);
}

bool oci_origin_is_named(const char *where)
{
	struct oci_reference reference;

	return str_starts_with(where, LAYOUT_PREFIX) || str_starts_with(where, ARCHIVE_PREFIX) ||
	       is_layout_directory(where) || oci_reference_parse(where, &reference, NULL) == 0;
}

/* PATH[:TAG]: what stands behind the last ':' is a tag, if no '/' is in it. */
static int split_tag(const char *text, char **ret_path, char **ret_tag,
		     struct problem *reterr_problem)
{
	const char *colon = strrchr(text, ':');

	if (colon && strchr(colon, '/'))
		colon = NULL;
	if (colon && !oci_tag_is_valid(colon + 1))
		return oci_fail(reterr_problem, OCI_BAD_REFERENCE,
				"'%.300s' names no image of a layout: expected a tag behind the "
				"last ':'",
				text);
	*ret_path = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);
	*ret_tag = colon ? strdup(colon + 1) : NULL;
	return !*ret_path || (colon && !*ret_tag) ? -ENOMEM : 0;
}

static int open_cache(struct oci_origin *origin, const struct oci_options *options,
		      struct problem *reterr_problem)
{
	int r = oci_cache_open(options->cache_path, &origin->cache, reterr_problem);

	origin->has_cache = r == 0;
	return r;
}

static int open_registry(struct oci_origin *origin, const char *where,
			 const struct oci_options *options, struct problem *reterr_problem)
{
	int r = oci_reference_parse(where, &origin->reference, reterr_problem);

	if (r == 0)
		r = open_cache(origin, options, reterr_problem);
	if (r == 0)
		r = oci_registry_open(&origin->reference, options, false, &origin->registry,
				      reterr_problem);
	return r;
}

int oci_origin_open(const char *where, const struct oci_options *options, struct oci_origin *ret,
		    struct problem *reterr_problem)
{
	bool is_archive = str_starts_with(where, ARCHIVE_PREFIX);
	cleanup_free char *path = NULL;
	int r;

	*ret = OCI_ORIGIN_INIT;
	if (is_archive || str_starts_with(where, LAYOUT_PREFIX)) {
		r = split_tag(strchr(where, ':') + 1, &path, &ret->tag, reterr_problem);
		if (r == 0 && is_archive)
			r = open_cache(ret, options, reterr_problem);
		if (r == 0 && is_archive)
			r = oci_archive_read(path, &ret->cache, &ret->index, reterr_problem);
		else if (r == 0)
			r = oci_layout_open(path, &ret->layout_fd, &ret->index, reterr_problem);
	} else if (is_layout_directory(where)) {
		r = oci_layout_open(where, &ret->layout_fd, &ret->index, reterr_problem);
	} else {
		r = open_registry(ret, where, options, reterr_problem);
	}
	if (r != 0)
		oci_origin_close(ret);
	return r;
}

void oci_origin_close(struct oci_origin *origin)
{
	(void)oci_registry_free(origin->registry);
	(void)fd_close(origin->layout_fd);
	free(origin->tag);
	oci_text_done(&origin->index);
	oci_cache_close(&origin->cache);
	*origin = OCI_ORIGIN_INIT;
}

bool oci_origin_is_verified(const struct oci_origin *origin)
{
	return origin->layout_fd < 0;
}

/* The bytes of a small blob, held against its digest. */
static int read_checked(int fd, const struct oci_descriptor *what, struct oci_text *ret,
			struct problem *reterr_problem)
{
	char hex[SHA256_TEXT_SIZE];
	int r = fd_read_all(fd, OCI_DOCUMENT_MAX, &ret->data, &ret->size);

	if (r == 0)
		r = sha256_of(ret->data, ret->size, hex);
	if (r < 0)
		return r;
	if (strcmp(hex, what->digest + strlen(OCI_DIGEST_PREFIX)) != 0)
		return oci_fail(reterr_problem, OCI_BAD_DIGEST,
				"the blob %s has SHA-256 %s: it is damaged, or somebody changed it",
				what->digest, hex);
	(void)snprintf(ret->type, sizeof(ret->type), "%s", what->media_type);
	return 0;
}

static int get_text(struct oci_origin *origin, const struct oci_descriptor *what,
		    struct oci_text *ret, struct problem *reterr_problem)
{
	cleanup_fd int fd = -EBADF;
	int r;

	if (what->size > OCI_DOCUMENT_MAX)
		return oci_fail(reterr_problem, OCI_BAD_IMAGE,
				"the document %s has more than the %u bytes that it may have",
				what->digest, OCI_DOCUMENT_MAX);
	if (origin->layout_fd >= 0) {
		r = oci_layout_blob(origin->layout_fd, what->digest, what->size, &fd,
				    reterr_problem);
		return r == 0 ? read_checked(fd, what, ret, reterr_problem) : r;
	}
	if (oci_cache_find(&origin->cache, what->digest, what->size, &fd) == 0)
		return read_checked(fd, what, ret, reterr_problem);
	if (!origin->registry)
		return oci_fail(reterr_problem, OCI_NOT_FOUND, "the archive has no blob %s",
				what->digest);
	r = oci_registry_get_manifest(origin->registry, what->digest, ret, reterr_problem);
	if (r != 0)
		return r;
	if (ret->size != what->size)
		return oci_fail(reterr_problem, OCI_BAD_DIGEST,
				"the document %s has %zu bytes: expected %llu", what->digest,
				ret->size, (unsigned long long)what->size);
	return oci_cache_put(&origin->cache, what->digest, ret->data, ret->size, reterr_problem);
}

int oci_origin_document(struct oci_origin *origin, const struct oci_descriptor *what,
			struct oci_document **ret, struct problem *reterr_problem)
{
	cleanup_oci_text struct oci_text text = {0};
	int r = get_text(origin, what, &text, reterr_problem);

	if (r != 0)
		return r;
	return oci_document_parse(text.data, text.size, what->media_type, what->digest, ret,
				  reterr_problem);
}

int oci_origin_root(struct oci_origin *origin, struct oci_document **ret,
		    char ret_digest[OCI_DIGEST_TEXT_SIZE], struct problem *reterr_problem)
{
	cleanup_oci_document struct oci_document *index = NULL;
	cleanup_oci_text struct oci_text text = {0};
	const struct oci_descriptor *chosen = NULL;
	int r;

	*ret_digest = '\0';
	if (origin->registry) {
		const char *wanted = oci_reference_wanted(&origin->reference);

		r = oci_registry_get_manifest(origin->registry, wanted, &text, reterr_problem);
		if (r != 0)
			return r;
		memcpy(ret_digest, text.digest, OCI_DIGEST_TEXT_SIZE);
		return oci_document_parse(text.data, text.size, text.type, "the manifest", ret,
					  reterr_problem);
	}
	r = oci_document_parse(origin->index.data, origin->index.size, OCI_MEDIA_INDEX,
			       "index.json", &index, reterr_problem);
	if (r != 0)
		return r;
	if (origin->tag)
		r = oci_layout_choose(index, origin->tag, &chosen, reterr_problem);
	else if (index->count == 1)
		chosen = &index->items[0];
	if (r != 0)
		return r;
	if (!chosen) {
		*ret = TAKE_PTR(index);
		return 0;
	}
	memcpy(ret_digest, chosen->digest, OCI_DIGEST_TEXT_SIZE);
	return oci_origin_document(origin, chosen, ret, reterr_problem);
}

static int no_platform(const struct oci_document *index, const struct oci_platform *wanted,
		       struct problem *reterr_problem)
{
	cleanup_buffer struct buffer have = BUFFER_INIT;

	for (size_t i = 0; i < index->count && have.size < 300; i++) {
		const struct oci_descriptor *item = &index->items[i];
		/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a count has items */
		cleanup_free char *shown = str_escape(item->arch, strlen(item->arch), 32);

		if (*item->arch && buffer_format(&have, "%s%s", have.size > 0 ? ", " : "",
						 shown ? shown : "?") < 0)
			return -ENOMEM;
	}
	return oci_fail(reterr_problem, OCI_NO_PLATFORM,
			"there is no image for %s/%s%s%s; there are: %s", wanted->os, wanted->arch,
			*wanted->variant ? "/" : "", wanted->variant,
			have.size > 0 ? have.data : "none that name a platform");
}

int oci_origin_manifest(struct oci_origin *origin, const struct oci_platform *wanted,
			struct oci_document **ret, char ret_digest[OCI_DIGEST_TEXT_SIZE],
			struct problem *reterr_problem)
{
	cleanup_oci_document struct oci_document *document = NULL;
	int r = oci_origin_root(origin, &document, ret_digest, reterr_problem);

	for (unsigned i = 0; r == 0 && document->kind == OCI_DOCUMENT_INDEX; i++) {
		const struct oci_descriptor *chosen = oci_platform_choose(document, wanted);
		struct oci_document *next = NULL;

		if (!chosen)
			return no_platform(document, wanted, reterr_problem);
		if (i == OCI_INDEX_DEPTH_MAX)
			return oci_fail(reterr_problem, OCI_BAD_IMAGE,
					"indexes in indexes, more than %u deep",
					OCI_INDEX_DEPTH_MAX);
		memcpy(ret_digest, chosen->digest, OCI_DIGEST_TEXT_SIZE);
		r = oci_origin_document(origin, chosen, &next, reterr_problem);
		(void)oci_document_free(document);
		document = next;
	}
	if (r == 0)
		*ret = TAKE_PTR(document);
	return r;
}

int oci_origin_blobs(struct oci_origin *origin, const struct oci_descriptor *const *items,
		     size_t count, int *ret_fds, struct problem *reterr_problem)
{
	int r = 0;

	if (origin->registry)
		return oci_registry_pull(origin->registry, &origin->cache, items, count, ret_fds,
					 reterr_problem);
	for (size_t i = 0; i < count && r == 0; i++) {
		if (origin->layout_fd >= 0) {
			r = oci_layout_blob(origin->layout_fd, items[i]->digest, items[i]->size,
					    &ret_fds[i], reterr_problem);
			continue;
		}
		r = oci_cache_find(&origin->cache, items[i]->digest, items[i]->size, &ret_fds[i]);
		if (r == -ENOENT)
			r = oci_fail(reterr_problem, OCI_NOT_FOUND, "the archive has no blob %s",
				     items[i]->digest);
	}
	return r;
}
