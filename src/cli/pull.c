/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix pull`: an add-on's bundles from an OCI registry, or a layout, each with its signature
 * beside it. What is written was verified where it lies, before it had a name; its name is what the
 * signature says it is, whatever the registry calls it. All of it gets its names, or nothing; what
 * was there before is replaced by what was verified, and never lost.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "bundle/output.h"
#include "cli/commands.h"
#include "cli/transfer.h"
#include "cli/verify.h"
#include "oci/artifact.h"

#define SIGNATURE_SUFFIX ".minisig"
#define PIECE_SIZE       262144U

struct pull_options {
	const char *key_path;
	const char *trust_path;
	const char *directory;
	const char *where;
	char os[32];
	char arch[32];
	bool all;
	bool json;
	struct transfer transfer;
};

/* One bundle that is being written. */
struct pull_item {
	struct output bundle;
	struct output signature;
	struct identity identity;
	char *name;
	char *signature_name;
};

struct pull_items {
	struct pull_item *items;
	size_t count;
	bool is_kept;
};

static void items_done(struct pull_items *items)
{
	for (size_t i = 0; i < items->count; i++) {
		struct pull_item *item = &items->items[i];

		if (!items->is_kept) {
			output_retract(&item->bundle);
			output_retract(&item->signature);
		}
		output_done(&item->bundle);
		output_done(&item->signature);
		free(item->name);
		free(item->signature_name);
	}
	free(items->items);
}

static int parse_option(int option, const char *value, struct pull_options *ret)
{
	if (transfer_option(&ret->transfer, option, value))
		return COMMAND_DONE;
	switch (option) {
	case 'p':
		ret->key_path = value;
		return COMMAND_DONE;
	case 't':
		ret->trust_path = value;
		return COMMAND_DONE;
	case 'o':
		ret->directory = value;
		return COMMAND_DONE;
	case 'a':
		ret->all = true;
		return COMMAND_DONE;
	case 'j':
		ret->json = true;
		return COMMAND_DONE;
	case 'f':
		if (transfer_platform(value, ret->os, ret->arch))
			return COMMAND_DONE;
		return command_usage(&command_pull,
				     "--platform '%s' is not OS/ARCH, such as linux/arm64", value);
	default:
		return COMMAND_USAGE;
	}
}

static int parse_options(int argc, char **argv, struct pull_options *ret)
{
	static const struct option long_options[] = {
		{"trust",            required_argument, NULL, 't'},
		{"platform",              required_argument, NULL, 'f'},
		{"all",                  no_argument, NULL, 'a'},
		{"json",no_argument, NULL, 'j'},
		TRANSFER_OPTIONS,
		{0              },
	};
	int option;

	ret->directory = ".";
	while ((option = command_option(&command_pull, argc, argv, ":p:o:", long_options)) != -1) {
		int code = parse_option(option, optarg, ret);

		if (code != COMMAND_DONE)
			return code;
	}
	if (ret->key_path && ret->trust_path)
		return command_usage(&command_pull, "either -p or --trust, not both");
	if (ret->all && *ret->os)
		return command_usage(&command_pull, "either --platform or --all, not both");
	if (argc - optind != 1)
		return command_usage(&command_pull, "one reference is wanted");
	ret->where = argv[optind];
	ret->transfer.is_quiet |= ret->json;
	return COMMAND_DONE;
}

static int copy_file(int from, int to)
{
	cleanup_free char *piece = malloc(PIECE_SIZE);
	uint64_t offset = 0;
	size_t n = 0;
	int r = piece ? 0 : -ENOMEM;

	while (r == 0) {
		r = fd_pread_full(from, piece, PIECE_SIZE, offset, &n);
		if (r < 0 || n == 0)
			break;
		offset += n;
		r = fd_write_full(to, piece, n);
	}
	return r;
}

/* The platform that the registry named must be that of the signature. */
static int check_platform(const struct oci_pulled *pulled, const struct identity *identity,
			  struct refusal *reterr_refusal)
{
	if (!*pulled->os ||
	    (strcmp(pulled->os, identity->os) == 0 && strcmp(pulled->arch, identity->arch) == 0))
		return 0;
	return refuse(reterr_refusal, REFUSAL_IDENTITY_MISMATCH,
		      "the registry has it for %s/%s, and it was signed for %s/%s", pulled->os,
		      pulled->arch, identity->os, identity->arch);
}

/* Verifies what was pulled, in files that have no names yet. */
static int take_in(const struct oci_pulled *pulled, const struct trust *trust, int dirfd,
		   struct pull_item *item, struct refusal *reterr_refusal)
{
	struct minisign_signature signature;
	struct verdict verdict = {0};
	int r;

	r = trust_signature_parse(pulled->signature, pulled->signature_size, &signature,
				  reterr_refusal);
	if (r == 0)
		r = output_open(&item->bundle, dirfd, "bundle", OUTPUT_MODE);
	if (r == 0)
		r = copy_file(pulled->bundle_fd, item->bundle.fd);
	if (r == 0)
		r = verify_bundle(item->bundle.fd, trust, &signature, &verdict, reterr_refusal);
	if (r == 0)
		r = check_platform(pulled, &verdict.identity, reterr_refusal);
	if (r == 0)
		r = identity_file_name(&verdict.identity, &item->name);
	if (r == 0)
		r = str_format(&item->signature_name, "%s" SIGNATURE_SUFFIX, item->name);
	if (r == 0)
		r = output_open(&item->signature, dirfd, item->signature_name, OUTPUT_MODE);
	if (r == 0)
		r = fd_write_full(item->signature.fd, pulled->signature, pulled->signature_size);
	item->identity = verdict.identity;
	return r;
}

/* Names for all of them, the signature first: a bundle without one is never there. */
static int publish(int dirfd, struct pull_items *items)
{
	int r = 0;

	/* What may fail and what takes long comes first: the names come close together. */
	for (size_t i = 0; i < items->count && r == 0; i++) {
		r = output_sync(&items->items[i].signature);
		if (r == 0)
			r = output_sync(&items->items[i].bundle);
	}
	for (size_t i = 0; i < items->count && r == 0; i++) {
		struct pull_item *item = &items->items[i];

		r = output_publish(&item->signature, item->signature_name);
		if (r == 0)
			r = output_publish(&item->bundle, item->name);
	}
	return r == 0 ? dir_sync(dirfd) : r;
}

static int print_items(const struct pull_options *options, const struct oci_pulled_list *pulled,
		       const struct pull_items *items)
{
	cleanup_json json_t *json = options->json ? command_json_new() : NULL;
	cleanup_json json_t *list = json_array();

	for (size_t i = 0; i < items->count; i++) {
		const struct pull_item *item = &items->items[i];
		cleanup_json json_t *one = json_object();
		cleanup_free char *path = NULL;

		if (!list || !one ||
		    str_format(&path, "%s/%s", options->directory, item->name) < 0 ||
		    json_add_string(one, "file", path) < 0 ||
		    json_add_string(one, "id", item->identity.id) < 0 ||
		    json_add_string(one, "version", item->identity.version) < 0 ||
		    json_add_string(one, "os", item->identity.os) < 0 ||
		    json_add_string(one, "arch", item->identity.arch) < 0 ||
		    json_add_string(one, "manifest", pulled->items[i].digest) < 0 ||
		    json_append(list, TAKE_PTR(one)) < 0)
			return command_broke(-ENOMEM, "the answer could not be made");
		if (!options->json)
			(void)printf("%s: %s %s for %s/%s\n", path, item->identity.id,
				     item->identity.version, item->identity.os,
				     item->identity.arch);
	}
	if (!options->json)
		return COMMAND_DONE;
	if (!json || json_add_string(json, "outcome", "done") < 0 ||
	    json_add(json, "bundles", TAKE_PTR(list)) < 0)
		return command_broke(-ENOMEM, "the answer could not be made");
	return command_print_json(json);
}

static int write_items(const struct pull_options *options, const struct trust *trust,
		       const struct oci_pulled_list *pulled)
{
	CLEANUP(items_done) struct pull_items items = {0};
	cleanup_fd int dirfd = open(options->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct refusal refusal = REFUSAL_INIT;
	int r = 0;

	if (dirfd < 0)
		return command_broke(-errno, "the directory '%s' could not be opened",
				     options->directory);
	items.items = calloc(pulled->count + 1, sizeof(*items.items));
	if (!items.items)
		return command_broke(-ENOMEM, "nothing was written");
	for (size_t i = 0; i < pulled->count && r == 0; i++) {
		struct pull_item *item = &items.items[items.count++];

		*item = (struct pull_item){.bundle = OUTPUT_INIT, .signature = OUTPUT_INIT};
		r = take_in(&pulled->items[i], trust, dirfd, item, &refusal);
	}
	if (r == 0)
		r = publish(dirfd, &items);
	if (r < 0)
		return command_broke(r, "what was pulled could not be written into '%s'",
				     options->directory);
	if (r > 0)
		return command_refuse(&refusal);
	items.is_kept = true;
	command_note_change();
	return print_items(options, pulled, &items);
}

static int pull(struct pull_options *options, const struct trust *trust)
{
	cleanup_oci_pulled_list struct oci_pulled_list pulled = {0};
	cleanup_oci_origin struct oci_origin origin = OCI_ORIGIN_INIT;
	struct problem problem = PROBLEM_INIT;
	struct oci_platform wanted;
	int r;

	if (*options->os) {
		options->transfer.oci.os = options->os;
		options->transfer.oci.arch = options->arch;
	}
	oci_options_platform(&options->transfer.oci, &wanted);
	transfer_begin(&options->transfer);
	r = oci_origin_open(options->where, &options->transfer.oci, &origin, &problem);
	if (r == 0)
		r = oci_addon_pull(&origin, options->all ? NULL : &wanted, &pulled, &problem);
	transfer_end(&options->transfer);
	if (r != 0)
		return transfer_failed(r, &problem, "the add-on could not be pulled");
	return write_items(options, trust, &pulled);
}

static int run_pull(int argc, char **argv)
{
	cleanup_trust struct trust *trust = NULL;
	struct refusal refusal = REFUSAL_INIT;
	struct pull_options options = {0};
	int code = parse_options(argc, argv, &options);
	int r;

	if (code != COMMAND_DONE)
		return code;
	r = verify_load_trust(options.key_path, options.trust_path, &trust, &refusal);
	if (r < 0)
		return command_broke(r, "the trusted keys could not be read");
	if (r > 0)
		return command_refuse(&refusal);
	code = pull(&options, trust);
	transfer_done(&options.transfer);
	return code;
}

const struct command command_pull = {
	.name = "pull",
	.run = run_pull,
	.synopsis = "[-p PUB | --trust DIR] [-o DIR] [OPTION…] REF",
	.summary = "fetch an add-on's bundle and signature from an OCI registry, verified",
	.options = "  -p PUB            trust this key alone\n"
		   "  --trust DIR       trust the keys of DIR instead of " TRUST_PATH "\n"
		   "  -o DIR            write there, not here\n"
		   "  --platform OS/ARCH  for another platform than this machine's\n"
		   "  --all             for every platform that there is\n" TRANSFER_HELP
		   "  --json            a JSON object: affix(1), JSON OUTPUT\n"
		   "\n"
		   "REF is REGISTRY/NAME[:TAG|@DIGEST], oci:DIR[:TAG] or oci-archive:FILE[:TAG].\n",
};
