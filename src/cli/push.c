/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix push`: bundles of one add-on, one for each platform, into a registry under one name. Each
 * is read, and must be what its signature says; only then is anything sent. Whose the signature is,
 * is judged where a key is named.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "cli/commands.h"
#include "cli/transfer.h"
#include "cli/verify.h"
#include "oci/artifact.h"

#define SIGNATURE_SUFFIX ".minisig"

struct push_options {
	const char *key_path;
	const char *trust_path;
	const char *signature_path;
	bool json;
	struct transfer transfer;
};

/* One bundle of the command line. */
struct push_item {
	const char *path;
	int fd;
	char *signature;
	size_t signature_size;
	struct identity identity;
	char *name;
};

struct push_items {
	struct push_item *items;
	size_t count;
};

static void items_done(struct push_items *items)
{
	for (size_t i = 0; i < items->count; i++) {
		(void)fd_close(items->items[i].fd);
		free(items->items[i].signature);
		free(items->items[i].name);
	}
	free(items->items);
}

static int parse_options(int argc, char **argv, struct push_options *ret)
{
	static const struct option long_options[] = {
		{"trust",            required_argument, NULL, 't'},
		{"signature",              required_argument, NULL, 'x'},
		{"json",                  no_argument, NULL, 'j'},
		TRANSFER_OPTIONS,
		{0},
	};
	int option;

	while ((option = command_option(&command_push, argc, argv, ":p:", long_options)) != -1) {
		if (transfer_option(&ret->transfer, option, optarg))
			continue;
		if (option == 'p')
			ret->key_path = optarg;
		else if (option == 't')
			ret->trust_path = optarg;
		else if (option == 'x')
			ret->signature_path = optarg;
		else if (option == 'j')
			ret->json = true;
		else
			return COMMAND_USAGE;
	}
	if (ret->key_path && ret->trust_path)
		return command_usage(&command_push, "either -p or --trust, not both");
	if (argc - optind < 2)
		return command_usage(&command_push, "a reference and a bundle are wanted");
	if (ret->signature_path && argc - optind > 2)
		return command_usage(&command_push, "--signature is for one bundle");
	if (argc - optind - 1 > (int)OCI_PLATFORMS_MAX)
		return command_usage(&command_push, "at most %u bundles go together",
				     OCI_PLATFORMS_MAX);
	ret->transfer.is_quiet |= ret->json;
	return COMMAND_DONE;
}

static int read_signature(const struct push_options *options, struct push_item *item,
			  struct minisign_signature *ret, struct refusal *reterr_refusal)
{
	cleanup_free char *beside = NULL;
	const char *path;
	int r;

	if (str_format(&beside, "%s" SIGNATURE_SUFFIX, item->path) < 0)
		return -ENOMEM;
	path = options->signature_path ? options->signature_path : beside;
	r = command_read_file(path, MINISIGN_FILE_MAX, &item->signature, &item->signature_size);
	if (r == -ENOENT)
		return command_unsigned(item->path, path, reterr_refusal);
	if (r == -EFBIG)
		return refuse(reterr_refusal, REFUSAL_MALFORMED_SIGNATURE,
			      "the signature file has more than %u bytes; no signature has",
			      MINISIGN_FILE_MAX);
	return r < 0 ? r
		     : trust_signature_parse(item->signature, item->signature_size, ret,
					     reterr_refusal);
}

/* What the signature says, and the bundle is: with a key, verified. */
static int identify(struct push_item *item, const struct trust *trust,
		    const struct minisign_signature *signature, struct refusal *reterr_refusal)
{
	cleanup_bundle struct bundle *bundle = NULL;
	struct verdict verdict = {0};
	int r;

	if (trust) {
		r = verify_bundle(item->fd, trust, signature, &verdict, reterr_refusal);
		item->identity = verdict.identity;
		return r;
	}
	if (identity_parse(signature->trusted_comment, &item->identity) != 0)
		return refuse(reterr_refusal, REFUSAL_BAD_COMMENT,
			      "the signature of '%s' does not say what it is for: sign it with "
			      "'affix sign'",
			      item->path);
	return bundle_open(item->fd, &item->identity, NULL, &bundle, reterr_refusal);
}

static int load_item(const struct push_options *options, const struct trust *trust,
		     struct push_item *item)
{
	struct refusal refusal = REFUSAL_INIT;
	struct minisign_signature signature;
	int r = command_open_file(item->path, &item->fd);

	if (r == 0)
		r = read_signature(options, item, &signature, &refusal);
	if (r == 0)
		r = identify(item, trust, &signature, &refusal);
	if (r == 0)
		r = identity_file_name(&item->identity, &item->name);
	if (r < 0)
		return command_broke(r, "the bundle '%s' could not be read", item->path);
	return r > 0 ? command_refuse(&refusal) : COMMAND_DONE;
}

/* Together they are one version of one add-on, once for each platform. */
static int check_items(const struct push_items *items)
{
	const struct push_item *first = &items->items[0];

	for (size_t i = 1; i < items->count; i++) {
		const struct push_item *item = &items->items[i];

		if (strcmp(item->identity.id, first->identity.id) != 0 ||
		    strcmp(item->identity.version, first->identity.version) != 0)
			return command_error("'%s' is %s %s and '%s' is %s %s: under one name goes "
					     "one version of one add-on",
					     first->path, first->identity.id,
					     first->identity.version, item->path, item->identity.id,
					     item->identity.version);
		for (size_t j = 0; j < i; j++) {
			if (strcmp(items->items[j].name, item->name) == 0)
				return command_error("'%s' and '%s' are for the same platform",
						     items->items[j].path, item->path);
		}
	}
	return COMMAND_DONE;
}

static int load_items(const struct push_options *options, char **paths, struct push_items *items)
{
	cleanup_trust struct trust *trust = NULL;
	struct refusal refusal = REFUSAL_INIT;
	int code = COMMAND_DONE;
	int r = 0;

	if (options->key_path || options->trust_path)
		r = verify_load_trust(options->key_path, options->trust_path, &trust, &refusal);
	if (r < 0)
		return command_broke(r, "'%s' could not be read",
				     options->key_path ? options->key_path : options->trust_path);
	if (r > 0)
		return command_refuse(&refusal);
	for (; *paths && code == COMMAND_DONE; paths++) {
		struct push_item *item = &items->items[items->count++];

		*item = (struct push_item){.path = *paths, .fd = -EBADF};
		code = load_item(options, trust, item);
	}
	return code == COMMAND_DONE ? check_items(items) : code;
}

static int print_result(const struct push_options *options, const struct oci_reference *reference,
			const struct push_items *items, const char *digest)
{
	const struct identity *identity = &items->items[0].identity;
	cleanup_json json_t *json = NULL;

	if (!options->json) {
		(void)printf("%s %s: %s/%s:%s@%s\n", identity->id, identity->version,
			     reference->host, reference->name, reference->tag, digest);
		return COMMAND_DONE;
	}
	json = command_json_new();
	if (!json || json_add_string(json, "outcome", "done") < 0 ||
	    json_add_string(json, "id", identity->id) < 0 ||
	    json_add_string(json, "version", identity->version) < 0 ||
	    json_add_string(json, "registry", reference->host) < 0 ||
	    json_add_string(json, "name", reference->name) < 0 ||
	    json_add_string(json, "tag", reference->tag) < 0 ||
	    json_add_string(json, "digest", digest) < 0)
		return command_broke(-ENOMEM, "the answer could not be made");
	return command_print_json(json);
}

static int push(struct push_options *options, const struct oci_reference *reference,
		const struct push_items *items)
{
	cleanup_oci_registry struct oci_registry *registry = NULL;
	struct oci_addon_part parts[OCI_PLATFORMS_MAX] = {0};
	struct problem problem = PROBLEM_INIT;
	struct oci_addon addon = {.id = items->items[0].identity.id,
				  .version = items->items[0].identity.version,
				  .parts = parts,
				  .count = items->count};
	char digest[OCI_DIGEST_TEXT_SIZE] = "";
	int r;

	for (size_t i = 0; i < items->count; i++) {
		const struct push_item *item = &items->items[i];

		parts[i] = (struct oci_addon_part){.os = item->identity.os,
						   .arch = item->identity.arch,
						   .file_name = item->name,
						   .bundle_fd = item->fd,
						   .bundle_type = OCI_BUNDLE_TYPE,
						   .signature = item->signature,
						   .signature_size = item->signature_size};
	}
	transfer_begin(&options->transfer);
	r = oci_registry_open(reference, &options->transfer.oci, true, &registry, &problem);
	if (r == 0)
		r = oci_addon_push(registry, reference->tag, &addon, digest, &problem);
	transfer_end(&options->transfer);
	if (r != 0)
		return transfer_failed(r, &problem, "the add-on could not be pushed");
	command_note_change();
	return print_result(options, reference, items, digest);
}

static int run_push(int argc, char **argv)
{
	CLEANUP(items_done) struct push_items items = {0};
	struct problem problem = PROBLEM_INIT;
	struct push_options options = {0};
	struct oci_reference reference;
	int code = parse_options(argc, argv, &options);
	int r;

	if (code != COMMAND_DONE)
		return code;
	r = oci_reference_parse(argv[optind], &reference, &problem);
	if (r != 0)
		return transfer_failed(r, &problem, "the reference");
	if (*reference.digest)
		return command_usage(&command_push,
				     "a push goes to a tag: the digest follows from what is "
				     "pushed");
	items.items = calloc((size_t)(argc - optind), sizeof(*items.items));
	if (!items.items)
		return command_broke(-ENOMEM, "nothing was pushed");
	code = load_items(&options, argv + optind + 1, &items);
	if (code == COMMAND_DONE)
		code = push(&options, &reference, &items);
	transfer_done(&options.transfer);
	return code;
}

const struct command command_push = {
	.name = "push",
	.run = run_push,
	.synopsis = "[-p PUB | --trust DIR] [OPTION…] REF BUNDLE…",
	.summary = "put an add-on's bundles and signatures into an OCI registry",
	.options = "  -p PUB            push only what this key signed\n"
		   "  --trust DIR       push only what a key of DIR signed\n"
		   "  --signature FILE  the signature, if it is not BUNDLE.minisig\n" TRANSFER_HELP
		   "  --json            a JSON object: affix(1), JSON OUTPUT\n"
		   "\n"
		   "REF is REGISTRY/NAME[:TAG]; one bundle for each platform.\n",
};
