/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Add-ons in registries, downwards. What a manifest says of an add-on decides which bytes are
 * fetched and nothing else: the caller verifies them, and learns from the signature what they are.
 */

#include "oci/artifact.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

#define BUNDLE_MAX (1ULL << 30) /* no bundle is larger: affix-bundle(5) */

void oci_pulled_list_done(struct oci_pulled_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		(void)fd_close(list->items[i].bundle_fd);
		free(list->items[i].signature);
	}
	free(list->items);
	*list = (struct oci_pulled_list){0};
}

/* The layer of a type, which must be there once. */
static const struct oci_descriptor *find_layer(const struct oci_document *manifest,
					       const char *type, const char *other)
{
	const struct oci_descriptor *found = NULL;

	for (size_t i = 0; i < manifest->count; i++) {
		const char *own = manifest->items[i].media_type;

		if (strcmp(own, type) != 0 && (!other || strcmp(own, other) != 0))
			continue;
		if (found)
			return NULL;
		found = &manifest->items[i];
	}
	return found;
}

static int no_addon(const char *digest, const char *why, struct problem *reterr_problem)
{
	return oci_fail(reterr_problem, OCI_BAD_IMAGE, "%s is no add-on that 'affix push' made: %s",
			*digest ? digest : "what was named", why);
}

/* The bundle and the signature of one manifest. */
static int pull_manifest(struct oci_origin *origin, const struct oci_document *manifest,
			 const char *digest, struct oci_pulled *ret, struct problem *reterr_problem)
{
	const struct oci_descriptor *items[2] = {
		find_layer(manifest, OCI_BUNDLE_TYPE, OCI_BUNDLE_GZIP),
		find_layer(manifest, OCI_SIGNATURE_TYPE, NULL)};
	cleanup_fd int signature = -EBADF;
	int fds[2] = {-EBADF, -EBADF};
	int r;

	if (manifest->kind != OCI_DOCUMENT_MANIFEST || !items[0] || !items[1])
		return no_addon(digest, "it does not have one bundle and one signature",
				reterr_problem);
	if (items[0]->size > BUNDLE_MAX || items[1]->size > OCI_SIGNATURE_MAX)
		return no_addon(digest, "its bundle or its signature is too large", reterr_problem);
	r = oci_origin_blobs(origin, items, ARRAY_SIZE(items), fds, reterr_problem);
	ret->bundle_fd = fds[0];
	signature = fds[1];
	if (r != 0)
		return r;
	(void)snprintf(ret->digest, sizeof(ret->digest), "%s", digest);
	return fd_read_all(signature, OCI_SIGNATURE_MAX, &ret->signature, &ret->signature_size);
}

static int pull_item(struct oci_origin *origin, const struct oci_descriptor *item,
		     struct oci_pulled_list *list, struct problem *reterr_problem)
{
	cleanup_oci_document struct oci_document *manifest = NULL;
	struct oci_pulled *pulled = &list->items[list->count];
	int r = oci_origin_document(origin, item, &manifest, reterr_problem);

	if (r != 0)
		return r;
	*pulled = (struct oci_pulled){.bundle_fd = -EBADF};
	list->count++;
	memcpy(pulled->os, item->os, sizeof(pulled->os));
	memcpy(pulled->arch, item->arch, sizeof(pulled->arch));
	return pull_manifest(origin, manifest, item->digest, pulled, reterr_problem);
}

static int pull_index(struct oci_origin *origin, const struct oci_document *index,
		      const struct oci_platform *wanted, struct oci_pulled_list *list,
		      struct problem *reterr_problem)
{
	const struct oci_descriptor *chosen = NULL;
	int r = 0;

	if (wanted) {
		chosen = oci_platform_choose(index, wanted);
		if (!chosen)
			return oci_fail(reterr_problem, OCI_NO_PLATFORM,
					"there is no bundle for %s/%s in it: name another with "
					"--platform OS/ARCH, or take --all",
					wanted->os, wanted->arch);
		return pull_item(origin, chosen, list, reterr_problem);
	}
	if (index->count > OCI_PLATFORMS_MAX)
		return no_addon("", "its index has too many platforms", reterr_problem);
	for (size_t i = 0; i < index->count && r == 0; i++)
		r = pull_item(origin, &index->items[i], list, reterr_problem);
	return r;
}

int oci_addon_pull(struct oci_origin *origin, const struct oci_platform *wanted,
		   struct oci_pulled_list *ret, struct problem *reterr_problem)
{
	cleanup_oci_pulled_list struct oci_pulled_list list = {0};
	cleanup_oci_document struct oci_document *root = NULL;
	char digest[OCI_DIGEST_TEXT_SIZE] = "";
	int r;

	list.items = calloc(OCI_PLATFORMS_MAX, sizeof(*list.items));
	if (!list.items)
		return -ENOMEM;
	r = oci_origin_root(origin, &root, digest, reterr_problem);
	if (r != 0)
		return r;
	if (root->kind == OCI_DOCUMENT_INDEX) {
		r = pull_index(origin, root, wanted, &list, reterr_problem);
	} else {
		list.items[list.count++].bundle_fd = -EBADF;
		r = pull_manifest(origin, root, digest, &list.items[0], reterr_problem);
	}
	if (r != 0)
		return r;
	*ret = list;
	list = (struct oci_pulled_list){0};
	return 0;
}
