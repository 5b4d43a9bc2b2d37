/* SPDX-License-Identifier: Apache-2.0 */

#include "oci/document.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "oci/media.h"

#define HEX    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "\"digest\":\"sha256:" HEX "\""
#define CONFIG "{\"mediaType\":\"" OCI_MEDIA_CONFIG "\"," DIGEST ",\"size\":7}"
#define LAYER \
	"{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\"," DIGEST ",\"size\":9}"
#define GOOD "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER "]}"
#define ITEM(arch, variant)                                                    \
	"{\"mediaType\":\"" OCI_MEDIA_MANIFEST "\"," DIGEST ",\"size\":" #arch \
	",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm\"" variant "}}"

static int parse(const char *text, const char *type, struct oci_document **ret)
{
	struct problem problem = PROBLEM_INIT;
	int r = oci_document_parse(text, strlen(text), type, "it", ret, &problem);

	if (r > 0)
		assert_true(*problem.text);
	return r;
}

static void a_manifest_has_a_configuration_and_layers(void **state)
{
	cleanup_oci_document struct oci_document *found = NULL;

	(void)state;
	assert_int_equal(parse(GOOD, "", &found), 0);
	assert_int_equal(found->kind, OCI_DOCUMENT_MANIFEST);
	assert_int_equal(found->config.size, 7);
	assert_int_equal(found->count, 1);
	assert_string_equal(found->items[0].digest, "sha256:" HEX);
	assert_int_equal(found->items[0].size, 9);
}

static void an_index_has_manifests_by_platform(void **state)
{
	cleanup_oci_document struct oci_document *found = NULL;

	(void)state;
	assert_int_equal(parse("{\"schemaVersion\":2,\"manifests\":[" ITEM(1, "") "]}",
			       DOCKER_MEDIA_LIST, &found),
			 0);
	assert_int_equal(found->kind, OCI_DOCUMENT_INDEX);
	assert_string_equal(found->items[0].os, "linux");
	assert_string_equal(found->items[0].arch, "arm");
}

static void annotations_are_strings_by_name(void **state)
{
	cleanup_oci_document struct oci_document *found = NULL;
	cleanup_oci_document struct oci_document *bad = NULL;

	(void)state;
	assert_int_equal(parse("{\"schemaVersion\":2,\"annotations\":{\"a\":\"b\"},\"layers\":[],"
			       "\"config\":" CONFIG "}",
			       "", &found),
			 0);
	assert_string_equal(oci_annotation(found->annotations, "a"), "b");
	assert_null(oci_annotation(found->annotations, "c"));
	assert_null(oci_annotation(NULL, "c"));
	assert_int_equal(parse("{\"schemaVersion\":2,\"annotations\":{\"a\":1},\"layers\":[],"
			       "\"config\":" CONFIG "}",
			       "", &bad),
			 OCI_BAD_IMAGE);
}

static void what_is_no_document_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"schemaVersion\":1}",
		"{\"schemaVersion\":2}",
		"{\"schemaVersion\":2,\"config\":" CONFIG "}",
		"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":{}}",
		"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[1]}",
		"{\"schemaVersion\":2,\"config\":{},\"layers\":[]}",
		"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a\",\"digest\":\"sha256:0\",\"size\":"
		"1},"
		"\"layers\":[]}",
		"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a\"," DIGEST
		",\"size\":-1},\"layers\":[]}",
		"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a\"," DIGEST
		",\"size\":1e3},\"layers\":[]}",
		"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a\"," DIGEST
		",\"size\":99999999999999},\"layers\":[]}",
		"{\"schemaVersion\":2,\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[]}",
		"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[],\"manifests\":[]}",
		"{\"schemaVersion\":2,\"mediaType\":\"text/plain\",\"config\":" CONFIG
		",\"layers\":[]}",
		GOOD "x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cleanup_oci_document struct oci_document *found = NULL;

		if (parse(bad[i], "", &found) != OCI_BAD_IMAGE)
			fail_msg("taken for a document: %s", bad[i]);
		assert_null(found);
	}
}

static void a_document_is_what_it_was_announced_as(void **state)
{
	cleanup_oci_document struct oci_document *found = NULL;

	(void)state;
	assert_int_equal(parse("{\"schemaVersion\":2,\"mediaType\":\"" OCI_MEDIA_MANIFEST
			       "\",\"config\":" CONFIG ",\"layers\":[]}",
			       OCI_MEDIA_INDEX, &found),
			 OCI_BAD_IMAGE);
	assert_int_equal(parse(GOOD, OCI_MEDIA_INDEX, &found), OCI_BAD_IMAGE);
}

static void numbers_have_a_border(void **state)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_oci_document struct oci_document *found = NULL;

	(void)state;
	assert_int_equal(buffer_format(&text, "{\"schemaVersion\":2,\"config\":" CONFIG
					      ",\"layers\":[" LAYER),
			 0);
	for (unsigned i = 1; i <= OCI_LAYERS_MAX; i++)
		assert_int_equal(buffer_format(&text, "," LAYER), 0);
	assert_int_equal(buffer_format(&text, "]}"), 0);
	assert_int_equal(parse(text.data, "", &found), OCI_BAD_IMAGE);
	assert_int_equal(oci_document_parse(GOOD, OCI_DOCUMENT_MAX + 1, "", "it", &found, NULL),
			 OCI_BAD_IMAGE);
}

/* The size tells which one was chosen. */
static uint64_t choose(const char *manifests, const char *arch, const char *variant)
{
	cleanup_oci_document struct oci_document *index = NULL;
	const struct oci_descriptor *chosen;
	struct oci_platform wanted = {.os = "linux"};
	char text[4096];

	(void)snprintf(text, sizeof(text), "{\"schemaVersion\":2,\"manifests\":[%s]}", manifests);
	(void)snprintf(wanted.arch, sizeof(wanted.arch), "%s", arch);
	(void)snprintf(wanted.variant, sizeof(wanted.variant), "%s", variant);
	assert_int_equal(parse(text, "", &index), 0);
	chosen = oci_platform_choose(index, &wanted);
	return chosen ? chosen->size : 0;
}

#define V(v) ",\"variant\":\"" v "\""

static void the_best_variant_that_runs_is_chosen(void **state)
{
	(void)state;
	assert_int_equal(
		choose(ITEM(5, V("v5")) "," ITEM(7, V("v7")) "," ITEM(6, V("v6")), "arm", "v7"), 7);
	assert_int_equal(
		choose(ITEM(5, V("v5")) "," ITEM(7, V("v7")) "," ITEM(6, V("v6")), "arm", "v6"), 6);
	assert_int_equal(choose(ITEM(5, V("v5")) "," ITEM(7, V("v7")), "arm", "v6"), 5);
	assert_int_equal(choose(ITEM(7, V("v7")), "arm", "v6"), 0);
	assert_int_equal(choose(ITEM(7, V("v7")) "," ITEM(5, V("v5")), "arm", ""), 5);
	assert_int_equal(choose(ITEM(1, "") "," ITEM(2, ""), "arm", "v7"), 1);
	assert_int_equal(choose(ITEM(1, ""), "amd64", ""), 0);
}

static void a_configuration_names_its_platform(void **state)
{
	struct oci_platform found;
	static const char good[] = "{\"os\":\"linux\",\"architecture\":\"arm64\",\"x\":[1]}";
	static const char bad[] = "{\"os\":\"linux\"}";

	(void)state;
	assert_int_equal(oci_config_parse(good, strlen(good), &found, NULL), 0);
	assert_string_equal(found.arch, "arm64");
	assert_int_equal(oci_config_parse(bad, strlen(bad), &found, NULL), OCI_BAD_IMAGE);
	assert_int_equal(oci_config_parse("[", 1, &found, NULL), OCI_BAD_IMAGE);
}

static void layers_are_known_by_their_type(void **state)
{
	(void)state;
	assert_int_equal(oci_media_compression("application/vnd.oci.image.layer.v1.tar"),
			 OCI_COMPRESSION_NONE);
	assert_int_equal(oci_media_compression("application/vnd.oci.image.layer.v1.tar+zstd"),
			 OCI_COMPRESSION_ZSTD);
	assert_int_equal(oci_media_compression("application/vnd.docker.image.rootfs.diff.tar.gzip"),
			 OCI_COMPRESSION_GZIP);
	assert_int_equal(oci_media_compression("application/vnd.oci.image.layer.v1.tar+lz4"),
			 OCI_COMPRESSION_INVALID);
	assert_int_equal(
		oci_media_compression("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
		OCI_COMPRESSION_INVALID);
	assert_true(oci_media_is_index(OCI_MEDIA_INDEX "; charset=utf-8"));
	assert_false(oci_media_is_index(OCI_MEDIA_INDEX "x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_manifest_has_a_configuration_and_layers),
		cmocka_unit_test(an_index_has_manifests_by_platform),
		cmocka_unit_test(annotations_are_strings_by_name),
		cmocka_unit_test(what_is_no_document_is_refused),
		cmocka_unit_test(a_document_is_what_it_was_announced_as),
		cmocka_unit_test(numbers_have_a_border),
		cmocka_unit_test(the_best_variant_that_runs_is_chosen),
		cmocka_unit_test(a_configuration_names_its_platform),
		cmocka_unit_test(layers_are_known_by_their_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
