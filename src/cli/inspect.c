/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix inspect`: what a bundle says of itself. Nothing is verified, and the answer says so first:
 * a bundle that lies is shown lying.
 */

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/json.h"
#include "bundle/bundle.h"
#include "cli/commands.h"
#include "crypto/minisign.h"

#define SIGNATURE_SUFFIX ".minisig"

/* What was found; the signature is as unverified as the rest. */
struct inspection {
	const char *path;
	uint64_t file_size;
	struct bundle *bundle;
	bool has_signature;
	struct minisign_signature signature;
};

static void inspection_done(struct inspection *inspection)
{
	(void)bundle_free(inspection->bundle);
}

static int parse_options(int argc, char **argv, bool *ret_json, const char **ret_path)
{
	static const struct option long_options[] = {
		{"json", no_argument, NULL, 'j'},
                {0 }
        };
	int option;

	while ((option = command_option(&command_inspect, argc, argv, ":", long_options)) != -1) {
		if (option != 'j')
			return COMMAND_USAGE;
		*ret_json = true;
	}
	if (argc - optind != 1)
		return command_usage(&command_inspect, "one bundle is wanted");
	*ret_path = argv[optind];
	return COMMAND_DONE;
}

/* A signature that is not there, or is none, is none to show. */
static int load_signature(struct inspection *inspection)
{
	cleanup_free char *path = NULL;
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r = str_format(&path, "%s" SIGNATURE_SUFFIX, inspection->path);

	if (r < 0)
		return r;
	r = command_read_file(path, MINISIGN_FILE_MAX, &text, &size);
	if (r == 0)
		inspection->has_signature =
			minisign_signature_parse(text, size, &inspection->signature) == 0;
	return r == -ENOMEM ? r : 0;
}

static int inspect(struct inspection *inspection, struct refusal *reterr_refusal)
{
	cleanup_fd int fd = -EBADF;
	struct stat status;
	int r = command_open_file(inspection->path, &fd);

	if (r < 0)
		return r;
	if (fstat(fd, &status) < 0)
		return -errno;
	inspection->file_size = (uint64_t)status.st_size;
	r = bundle_open(fd, NULL, NULL, &inspection->bundle, reterr_refusal);
	return r != 0 ? r : load_signature(inspection);
}

static void print_field(const char *name, const char *value)
{
	cleanup_free char *safe = str_escape(value, strlen(value), REFUSAL_TEXT_MAX);

	(void)printf("%-16s%s\n", name, safe ? safe : "?");
}

static void print_list(const char *name, const struct strv *list)
{
	(void)printf("%-16s", name);
	for (size_t i = 0; i < list->count; i++)
		(void)printf("%s%s", i > 0 ? " " : "", list->items[i]);
	(void)printf("%s\n", list->count == 0 ? "none" : "");
}

static void print_entries(const struct bundle *bundle)
{
	(void)printf("entries\n");
	for (size_t i = 0; i < bundle->n_entries; i++) {
		const struct bundle_entry *entry = &bundle->entries[i];
		char digest[DIGEST_TEXT_SIZE];

		digest_to_string(&entry->digest, digest);
		(void)printf("  %s %10llu  %.16s  %s\n", entry->is_binary ? "0755" : "0644",
			     (unsigned long long)entry->size, digest, entry->name);
	}
}

static void print_signature(const struct inspection *inspection)
{
	char key_id[MINISIGN_KEY_ID_TEXT_SIZE];

	if (!inspection->has_signature) {
		print_field("signature", "none beside the bundle");
		return;
	}
	minisign_key_id_to_string(inspection->signature.key_id, key_id);
	(void)printf("%-16sUNVERIFIED, key %s\n", "signature", key_id);
	(void)printf("%-16sUNVERIFIED, %s\n", "comment", inspection->signature.trusted_comment);
}

static void print_text(const struct inspection *inspection, const struct bundle *bundle)
{
	const struct manifest *manifest = bundle->manifest;
	char digest[DIGEST_TEXT_SIZE];

	digest_to_string(&bundle->digest, digest);
	(void)printf(
		"UNVERIFIED: this is what the bundle says of itself; 'affix verify' checks its "
		"signature\n");
	print_field("id", bundle->identity.id);
	print_field("version", bundle->identity.version);
	(void)printf("%-16s%s/%s\n", "platform", bundle->identity.os, bundle->identity.arch);
	print_field("name", manifest->name);
	print_field("supervision", manifest_supervision_to_string(manifest->supervision));
	print_field("run_as", manifest->run_as);
	print_list("os_capabilities", &manifest->os_capabilities);
	print_field("digest", digest);
	(void)printf("%-16s%llu bytes, %llu unpacked\n", "size",
		     (unsigned long long)inspection->file_size, (unsigned long long)bundle->size);
	print_signature(inspection);
	print_entries(bundle);
}

static int add_digest(json_t *json, const struct digest *digest)
{
	char text[DIGEST_TEXT_SIZE];

	digest_to_string(digest, text);
	return json_add_string(json, "digest", text);
}

static int add_entries(json_t *json, const struct bundle *bundle)
{
	cleanup_json json_t *list = json_array();

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < bundle->n_entries; i++) {
		const struct bundle_entry *entry = &bundle->entries[i];
		cleanup_json json_t *item = json_object();

		if (!item || json_add_string(item, "name", entry->name) < 0 ||
		    json_add_string(item, "mode", entry->is_binary ? "0755" : "0644") < 0 ||
		    json_add_uint(item, "size", entry->size) < 0 ||
		    add_digest(item, &entry->digest) < 0 || json_append(list, TAKE_PTR(item)) < 0)
			return -ENOMEM;
	}
	return json_add(json, "entries", TAKE_PTR(list));
}

static int add_signature(json_t *json, const struct inspection *inspection)
{
	cleanup_json json_t *signature = NULL;
	char key_id[MINISIGN_KEY_ID_TEXT_SIZE];

	if (!inspection->has_signature)
		return json_add(json, "signature", json_null());
	minisign_key_id_to_string(inspection->signature.key_id, key_id);
	signature = json_object();
	if (!signature || json_add(signature, "verified", json_false()) < 0 ||
	    json_add_string(signature, "key_id", key_id) < 0 ||
	    json_add_string(signature, "comment", inspection->signature.trusted_comment) < 0)
		return -ENOMEM;
	return json_add(json, "signature", TAKE_PTR(signature));
}

static int add_capabilities(json_t *json, const struct strv *names)
{
	cleanup_json json_t *list = json_array();

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < names->count; i++) {
		if (json_append(list, json_string(names->items[i])) < 0)
			return -ENOMEM;
	}
	return json_add(json, "os_capabilities", TAKE_PTR(list));
}

static int add_bundle(json_t *json, const struct inspection *inspection,
		      const struct bundle *bundle)
{
	const struct manifest *manifest = bundle->manifest;

	if (json_add(json, "verified", json_false()) < 0 ||
	    json_add_string(json, "id", bundle->identity.id) < 0 ||
	    json_add_string(json, "version", bundle->identity.version) < 0 ||
	    json_add_string(json, "os", bundle->identity.os) < 0 ||
	    json_add_string(json, "arch", bundle->identity.arch) < 0 ||
	    json_add_string(json, "name", manifest->name) < 0 ||
	    json_add_string(json, "supervision",
			    manifest_supervision_to_string(manifest->supervision)) < 0 ||
	    json_add_string(json, "run_as", manifest->run_as) < 0 ||
	    add_capabilities(json, &manifest->os_capabilities) < 0 ||
	    add_digest(json, &bundle->digest) < 0 ||
	    json_add_uint(json, "size", inspection->file_size) < 0 ||
	    json_add_uint(json, "unpacked_size", bundle->size) < 0 ||
	    add_signature(json, inspection) < 0)
		return -ENOMEM;
	return add_entries(json, bundle);
}

static int print_json(const struct inspection *inspection)
{
	cleanup_json json_t *json = command_json_new();

	if (!json || add_bundle(json, inspection, inspection->bundle) < 0)
		return command_broke(-ENOMEM, "the answer could not be made");
	return command_print_json(json);
}

static int run_inspect(int argc, char **argv)
{
	CLEANUP(inspection_done) struct inspection inspection = {0};
	struct refusal refusal = REFUSAL_INIT;
	bool json = false;
	int r = parse_options(argc, argv, &json, &inspection.path);

	if (r != COMMAND_DONE)
		return r;
	r = inspect(&inspection, &refusal);
	if (r < 0)
		return command_broke(r, "the bundle '%s' could not be read", inspection.path);
	if (r > 0)
		return command_refuse(&refusal);
	assert(inspection.bundle);
	if (json)
		return print_json(&inspection);
	print_text(&inspection, inspection.bundle);
	return COMMAND_DONE;
}

const struct command command_inspect = {
	.name = "inspect",
	.run = run_inspect,
	.synopsis = "BUNDLE [--json]",
	.summary = "show what a bundle says of itself, unverified",
	.options = "  --json  the same for programs\n"
		   "\n"
		   "The bundle must be well-formed; its signature is shown, not checked.\n",
};
