/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What registries say: documents, references, challenges, credentials. The first byte chooses. What
 * is accepted is within its bounds.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"
#include "oci/challenge.h"
#include "oci/document.h"
#include "oci/layout.h"
#include "oci/media.h"
#include "oci/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_descriptor(const struct oci_descriptor *item)
{
	must(oci_digest_is_valid(item->digest));
	must(item->size <= OCI_BLOB_SIZE_MAX);
	must(strlen(item->media_type) <= OCI_TYPE_MAX);
	(void)oci_media_compression(item->media_type);
}

static void try_document(const char *text, size_t size, const char *type)
{
	cleanup_oci_document struct oci_document *document = NULL;
	const struct oci_platform wanted = {.os = "linux", .arch = "arm", .variant = "v7"};
	const struct oci_descriptor *chosen = NULL;
	struct problem problem = PROBLEM_INIT;
	int r = oci_document_parse(text, size, type, "it", &document, &problem);

	must(r >= 0 && (r == 0) == (document != NULL) && (r == 0 || *problem.text));
	if (!document)
		return;
	must(document->count <= OCI_MANIFESTS_MAX);
	for (size_t i = 0; i < document->count; i++)
		check_descriptor(&document->items[i]);
	if (document->kind == OCI_DOCUMENT_MANIFEST)
		check_descriptor(&document->config);
	chosen = oci_platform_choose(document, &wanted);
	must(!chosen || strcmp(chosen->arch, "arm") == 0);
	ignore_result(oci_layout_choose(document, "v1", &chosen, NULL));
}

static void try_reference(const char *text)
{
	struct oci_reference reference;
	char again[OCI_HOST_MAX + OCI_NAME_MAX + OCI_TAG_MAX + OCI_DIGEST_TEXT_SIZE + 4];
	struct oci_reference second;

	if (oci_reference_parse(text, &reference, NULL) != 0)
		return;
	must(!strpbrk(reference.host, "/@\\?# ") && !strpbrk(reference.name, ":@\\?# "));
	must(!strstr(reference.name, ".."));
	(void)snprintf(again, sizeof(again), "%s/%s%s%s%s%s", reference.host, reference.name,
		       *reference.tag ? ":" : "", reference.tag, *reference.digest ? "@" : "",
		       reference.digest);
	must(oci_reference_parse(again, &second, NULL) == 0);
	must(strcmp(reference.host, second.host) == 0 && strcmp(reference.name, second.name) == 0);
	(void)oci_host_is_loopback(reference.host);
}

static void try_challenge(const char *text)
{
	struct oci_challenge challenge;

	oci_challenge_parse(text, &challenge);
	must(challenge.kind != OCI_CHALLENGE_BEARER || *challenge.realm);
	must(!strpbrk(challenge.realm, "\r\n") && !strpbrk(challenge.service, "\r\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size == 0)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	if (!text)
		return 0;
	switch (data[0]) {
	case 'r':
		try_reference(text);
		break;
	case 'w':
		try_challenge(text);
		break;
	case 'c': {
		struct oci_platform platform;

		ignore_result(oci_config_parse((const char *)data + 1, size - 1, &platform, NULL));
		break;
	}
	case 'i':
		try_document((const char *)data + 1, size - 1, OCI_MEDIA_INDEX);
		break;
	default:
		try_document((const char *)data + 1, size - 1, "");
		break;
	}
	free(text);
	return 0;
}
