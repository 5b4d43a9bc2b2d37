/* SPDX-License-Identifier: Apache-2.0 */

/* `affix image pull`: an image's layers into the cache, so that building from it needs no network,
 * and what they are. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/image.h"
#include "cli/transfer.h"
#include "oci/source.h"

struct pull_options {
	const char *where;
	char os[32];
	char arch[32];
	bool json;
	struct transfer transfer;
};

static int parse_options(int argc, char **argv, struct pull_options *ret)
{
	static const struct option long_options[] = {
		{"platform", required_argument, NULL, 'f'},
		{"json",      no_argument, NULL, 'j'},
		TRANSFER_OPTIONS,
		{0         },
	};
	int option;

	while ((option = command_option(&command_image_pull, argc, argv, ":", long_options)) !=
	       -1) {
		if (transfer_option(&ret->transfer, option, optarg))
			continue;
		if (option == 'j')
			ret->json = true;
		else if (option != 'f')
			return COMMAND_USAGE;
		else if (!transfer_platform(optarg, ret->os, ret->arch))
			return command_usage(&command_image_pull,
					     "--platform '%s' is not OS/ARCH, such as linux/arm64",
					     optarg);
	}
	if (argc - optind != 1)
		return command_usage(&command_image_pull, "one image is wanted");
	ret->where = argv[optind];
	ret->transfer.is_quiet |= ret->json;
	return COMMAND_DONE;
}

static int print_json(const struct oci_source *source)
{
	cleanup_json json_t *json = command_json_new();
	cleanup_json json_t *layers = json_array();

	if (!json || !layers || json_add_string(json, "digest", source->digest) < 0 ||
	    json_add_string(json, "os", source->os) < 0 ||
	    json_add_string(json, "arch", source->arch) < 0)
		return command_broke(-ENOMEM, "the answer could not be made");
	for (size_t i = 0; i < source->layer_count; i++) {
		const struct oci_layer *layer = &source->layers[i];
		cleanup_json json_t *item = json_object();

		if (!item || json_add_string(item, "digest", layer->digest) < 0 ||
		    json_add_string(item, "media_type", layer->media_type) < 0 ||
		    json_add_uint(item, "size", layer->size) < 0 ||
		    json_append(layers, TAKE_PTR(item)) < 0)
			return command_broke(-ENOMEM, "the answer could not be made");
	}
	if (json_add(json, "layers", TAKE_PTR(layers)) < 0)
		return command_broke(-ENOMEM, "the answer could not be made");
	return command_print_json(json);
}

static int print_text(const struct oci_source *source)
{
	(void)printf("%s for %s/%s\n", source->digest, source->os, source->arch);
	for (size_t i = 0; i < source->layer_count; i++)
		(void)printf("%s %12llu\n", source->layers[i].digest,
			     (unsigned long long)source->layers[i].size);
	return COMMAND_DONE;
}

static int run_image_pull(int argc, char **argv)
{
	cleanup_oci_source struct oci_source source = OCI_SOURCE_INIT;
	struct problem problem = PROBLEM_INIT;
	struct pull_options options = {0};
	int code = parse_options(argc, argv, &options);
	int r;

	if (code != COMMAND_DONE)
		return code;
	if (*options.os) {
		options.transfer.oci.os = options.os;
		options.transfer.oci.arch = options.arch;
	}
	transfer_begin(&options.transfer);
	r = oci_source_open(options.where, &options.transfer.oci, &source, &problem);
	transfer_done(&options.transfer);
	if (r != 0)
		return transfer_failed(r, &problem, "the image could not be pulled");
	return options.json ? print_json(&source) : print_text(&source);
}

const struct command command_image_pull = {
	.name = "image pull",
	.run = run_image_pull,
	.synopsis = "[--platform OS/ARCH] [OPTION…] REF",
	.summary = "fetch an image's layers from a registry into the cache",
	.options = "  --platform OS/ARCH  for another platform than this machine's\n" TRANSFER_HELP
		   "  --json            a JSON object: affix(1), JSON OUTPUT\n"
		   "\n"
		   "REF is REGISTRY/NAME[:TAG|@DIGEST], oci:DIR[:TAG] or oci-archive:FILE[:TAG].\n",
};
