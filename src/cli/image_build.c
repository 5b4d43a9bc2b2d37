/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix image build`: from layers to an ext4 file system in a file. The file has no name until it
 * is complete and on disk.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/path.h"
#include "bundle/output.h"
#include "cli/image_install.h"
#include "cli/image_options.h"
#include "cli/image_overlay.h"
#include "cli/image_source.h"
#include "ext4/replace.h"
#include "ext4/writer.h"

struct build {
	const char *output;
	const char *modules;
	bool is_json;
	bool has_trust;
	struct strv add_ons;
	struct image_bundles bundles;
	struct image_own own;
	struct image_overlay overlay;
	struct ext4_options options;
	struct ext4_edit shadow;
	char *modules_prefix;
	char os[32];
	char arch[32];
	struct transfer transfer;
	struct image_source source;
};

static struct build *build_free(struct build *build)
{
	if (!build)
		return NULL;
	image_source_done(&build->source);
	image_bundles_done(&build->bundles);
	image_own_done(&build->own);
	strv_done(&build->add_ons);
	transfer_done(&build->transfer);
	free(build->modules_prefix);
	free(build);
	return NULL;
}

DEFINE_CLEANUP(struct build *, build, build_free)
#define cleanup_build CLEANUP(cleanup_build)

enum {
	OPTION_SIZE = 0x200,
	OPTION_HOSTNAME,
	OPTION_PASSWORD,
	OPTION_KEY,
	OPTION_MODULES,
	OPTION_UUID,
	OPTION_ADD_ON,
	OPTION_CONFIG,
	OPTION_TRUST,
	OPTION_WITH_AFFIX,
	OPTION_PROFILE,
	OPTION_JSON,
	OPTION_PLATFORM
};

/* What there is for add-ons. */
static int take_add_on_option(int option, struct build *build)
{
	switch (option) {
	case OPTION_ADD_ON:
		return strv_add(&build->add_ons, optarg) < 0
			       ? command_broke(-ENOMEM, "the options could not be kept")
			       : COMMAND_DONE;
	case OPTION_CONFIG:
		return image_bundles_add_config(&build->bundles, optarg);
	case OPTION_TRUST:
		build->bundles.trust = optarg;
		build->has_trust = true;
		return COMMAND_DONE;
	case OPTION_WITH_AFFIX:
		build->own.with_affix = true;
		return COMMAND_DONE;
	case OPTION_PROFILE:
		return image_own_set_profile(&build->own, &command_image_build, optarg);
	default:
		return COMMAND_USAGE;
	}
}

static int take_option(int option, struct build *build)
{
	if (transfer_option(&build->transfer, option, optarg))
		return COMMAND_DONE;
	switch (option) {
	case 'o':
		build->output = optarg;
		return COMMAND_DONE;
	case OPTION_SIZE:
		if (image_size_parse(optarg, &build->options.size, &build->options.spare) == 0)
			return COMMAND_DONE;
		return command_usage(
			&command_image_build,
			"--size '%s' is neither a size such as 2G, nor free space such "
			"as +512M, nor 'fit'",
			optarg);
	case OPTION_UUID:
		if (image_uuid_parse(optarg, build->options.uuid) == 0)
			return COMMAND_DONE;
		return command_usage(&command_image_build, "--uuid '%s' is no UUID", optarg);
	case OPTION_PLATFORM:
		if (transfer_platform(optarg, build->os, build->arch)) {
			build->transfer.oci.os = build->os;
			build->transfer.oci.arch = build->arch;
			return COMMAND_DONE;
		}
		return command_usage(&command_image_build,
				     "--platform '%s' is not OS/ARCH, such as linux/arm64", optarg);
	case OPTION_HOSTNAME:
		build->overlay.hostname = optarg;
		return COMMAND_DONE;
	case OPTION_PASSWORD:
		build->overlay.password_hash = optarg;
		return COMMAND_DONE;
	case OPTION_KEY:
		build->overlay.ssh_key = optarg;
		return COMMAND_DONE;
	case OPTION_MODULES:
		build->modules = optarg;
		return COMMAND_DONE;
	case OPTION_JSON:
		build->is_json = true;
		build->bundles.is_json = true;
		return COMMAND_DONE;
	default:
		return take_add_on_option(option, build);
	}
}

static int parse_options(int argc, char **argv, struct build *build)
{
	static const struct option long_options[] = {
		{"size",               required_argument, NULL, OPTION_SIZE},
		{"hostname",                required_argument, NULL, OPTION_HOSTNAME},
		{"root-password-hash",                    required_argument, NULL, OPTION_PASSWORD},
		{"ssh-key",required_argument, NULL, OPTION_KEY},
		{"kernel-modules",     required_argument, NULL, OPTION_MODULES},
		{"uuid", required_argument, NULL, OPTION_UUID},
		{"platform",                required_argument, NULL, OPTION_PLATFORM},
		{"add-on",                    required_argument, NULL, OPTION_ADD_ON},
		{"config",                required_argument, NULL, OPTION_CONFIG},
		{"trust",          required_argument, NULL, OPTION_TRUST},
		{"with-affix",     no_argument, NULL, OPTION_WITH_AFFIX},
		{"profile",                required_argument, NULL, OPTION_PROFILE},
		TRANSFER_OPTIONS,
		{"json",                    no_argument, NULL, OPTION_JSON},
		{0  },
	};
	int option;

	build->bundles = IMAGE_BUNDLES_INIT(&command_image_build);
	build->own = IMAGE_OWN_INIT;
	memcpy(build->options.uuid, ext4_default_uuid, sizeof(build->options.uuid));
	while ((option = command_option(&command_image_build, argc, argv, ":o:", long_options)) !=
	       -1) {
		int r = take_option(option, build);

		if (r != COMMAND_DONE)
			return r;
	}
	if (argc == optind)
		return command_usage(&command_image_build,
				     "a source is wanted: an image, a directory, or tar archives, "
				     "lowest layer first");
	if (!build->output)
		return command_usage(&command_image_build, "-o is wanted: the image to be made");
	return image_overlay_check(&build->overlay);
}

/* The directory is a kernel's, DIR/lib/modules/RELEASE, and named so. */
static int add_modules(struct build *build)
{
	cleanup_free char *path = realpath(build->modules, NULL);
	cleanup_fd int dep = -EBADF;
	struct ext4_layer layer = {
		.name = build->modules, .is_directory = true, .is_owned_by_root = true};
	int r;

	if (!path)
		return command_broke(-errno, "'%s' could not be found", build->modules);
	layer.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (layer.fd < 0)
		return command_broke(-errno, "'%s' could not be opened", build->modules);
	dep = openat(layer.fd, "modules.dep", O_PATH | O_CLOEXEC);
	r = str_format(&build->modules_prefix, "lib/modules/%s", path_last_name(path));
	layer.prefix = build->modules_prefix;
	if (r == 0)
		r = image_source_add_layer(&build->source, &layer);
	if (r < 0)
		return command_broke(r, "'%s' could not be taken", build->modules);
	if (dep < 0 || !path_is_safe_name(path_last_name(path)))
		return command_error("'%s' has no modules.dep: expected a kernel's directory such "
				     "as /lib/modules/6.1.0-13-amd64, after depmod",
				     build->modules);
	return COMMAND_DONE;
}

static int add_overlay(struct build *build)
{
	struct ext4_layer layer = {.name = "of this command", .fd = -EBADF};
	int r = image_overlay_open(&build->overlay, &layer.fd);

	if (r == 0 && layer.fd >= 0)
		r = image_source_add_layer(&build->source, &layer);
	if (r < 0)
		return command_broke(r, "the host's name and key could not be read%s%s",
				     build->overlay.ssh_key ? " from " : "",
				     build->overlay.ssh_key ? build->overlay.ssh_key : "");
	if (build->overlay.password_hash) {
		build->shadow = (struct ext4_edit){.path = "etc/shadow",
						   .edit = image_overlay_edit_shadow,
						   .context = &build->overlay,
						   .mode = 0600};
		build->options.edits = &build->shadow;
		build->options.edit_count = 1;
	}
	return COMMAND_DONE;
}

static int open_layers(struct build *build, char **sources)
{
	int r = COMMAND_DONE;

	for (; *sources && r == COMMAND_DONE; sources++)
		r = image_source_add(&build->source, *sources, &build->transfer);
	if (r == COMMAND_DONE && build->modules)
		r = add_modules(build);
	return r == COMMAND_DONE ? add_overlay(build) : r;
}

/* All that can be refused of the add-ons before the layers are read, and the room for them. */
static int open_add_ons(struct build *build)
{
	struct image_bundles *bundles = &build->bundles;
	struct image_bundles_need need = {0};
	int r;

	if (build->add_ons.count == 0 && !build->own.with_affix &&
	    (build->has_trust || bundles->configs.count > 0))
		return command_usage(&command_image_build,
				     "--config and --trust are for what --add-on names, --trust "
				     "also for --with-affix");
	build->own.trust = bundles->trust;
	build->own.has_trust = build->has_trust;
	r = image_own_open(&build->own, &bundles->ids);
	if (r == COMMAND_DONE && build->add_ons.count > 0)
		r = image_bundles_open(bundles, build->add_ons.items, build->add_ons.count);
	if (r == COMMAND_DONE)
		r = image_bundles_measure(bundles, EXT4_BLOCK_SIZE, &need);
	if (r == COMMAND_DONE)
		r = image_own_measure(&build->own, EXT4_BLOCK_SIZE, &need);
	if (bundles->ids.count == 0)
		return r;
	build->options.later_blocks = need.blocks;
	build->options.later_inodes = need.inodes;
	/* The same input gives the same bytes, whenever. */
	clock_set_repeatable(need.created);
	return r;
}

/* Into the file that has no name yet: after a failure it never gets one. */
static int install_add_ons(struct build *build, int fd, struct ext4_summary *summary)
{
	cleanup_image_work struct image_work work = IMAGE_WORK_INIT;
	uint64_t before = summary->free;
	uint64_t blocks = 0;
	uint64_t inodes = 0;
	int r;

	if (build->bundles.count + build->own.count == 0)
		return COMMAND_DONE;
	r = image_begin_new(&work, fd, build->output, &build->bundles.ids);
	if (r == COMMAND_DONE)
		r = image_install(&work, &build->own, &build->bundles);
	if (r != COMMAND_DONE)
		return r;
	edit_room(&work.edit, &blocks, &inodes);
	summary->free = blocks * EXT4_BLOCK_SIZE;
	summary->content += before - summary->free;
	summary->inodes = work.edit.fs->super->s_inodes_count - inodes;
	return COMMAND_DONE;
}

static int print_summary(const struct build *build, const struct ext4_summary *summary)
{
	cleanup_json json_t *json = NULL;

	assert(build->output);
	if (!build->is_json) {
		(void)printf("%s\n", build->output);
		return COMMAND_DONE;
	}
	json = command_json_new();
	if (!json || json_add_string(json, "image", build->output) < 0 ||
	    json_add_uint(json, "size", summary->size) < 0 ||
	    json_add_uint(json, "free", summary->free) < 0 ||
	    json_add_uint(json, "inodes", summary->inodes) < 0 ||
	    json_add_uint(json, "content", summary->content) < 0 ||
	    (build->own.count > 0 && image_own_to_json(&build->own, json) < 0) ||
	    (build->bundles.count > 0 && image_bundles_to_json(&build->bundles, json) < 0))
		return command_broke(-ENOMEM, "the answer could not be made");
	return command_print_json(json);
}

/* *ret_published*: it has the name, also where something failed behind that. */
static int publish(const struct build *build, struct output *output, int dirfd, const char *name,
		   bool *ret_published, struct problem *problem)
{
	cleanup_image_replace struct image_replace replace = IMAGE_REPLACE_INIT;
	int r;

	r = image_replace_begin(dirfd, name, build->output, output->fd, &replace, problem);
	if (r == 0)
		r = output_publish(output, name);
	*ret_published = r == 0;
	if (r == 0)
		r = image_replace_end(&replace);
	return r == 0 ? dir_sync(dirfd) : r;
}

static int write_image(struct build *build)
{
	cleanup_fd int dirfd = -EBADF;
	cleanup_output struct output output = OUTPUT_INIT;
	struct problem problem = PROBLEM_INIT;
	struct ext4_summary summary = {0};
	const char *name = NULL;
	bool published = false;
	int code;
	int r = command_open_parent(build->output, &dirfd, &name);

	if (r == 0)
		r = output_open(&output, dirfd, name, OUTPUT_MODE_PRIVATE);
	if (r < 0)
		return command_broke(r, "'%s' could not be made", build->output);
	r = ext4_write(output.fd, build->source.layers, build->source.layer_count, &build->options,
		       &summary, &problem);
	if (r == 0 && (code = install_add_ons(build, output.fd, &summary)) != COMMAND_DONE)
		return code;
	if (r == 0)
		r = publish(build, &output, dirfd, name, &published, &problem);
	if (r > 0)
		return image_complain(&problem, NULL, r);
	if (r < 0 && published) {
		ignore_result(command_broke(
			r, "'%s' is the new image, but a power cut may undo that; build it again",
			build->output));
		return COMMAND_TRY_AGAIN;
	}
	if (r < 0)
		return command_broke(r, "'%s' could not be written", build->output);
	command_note_change();
	return print_summary(build, &summary);
}

static int run_build(int argc, char **argv)
{
	cleanup_build struct build *build = calloc(1, sizeof(*build));
	int r;

	if (!build)
		return command_broke(-ENOMEM, "the image could not be made");
	r = parse_options(argc, argv, build);
	if (r == COMMAND_DONE)
		r = open_add_ons(build);
	if (r == COMMAND_DONE)
		r = open_layers(build, argv + optind);
	return r == COMMAND_DONE ? write_image(build) : r;
}

const struct command command_image_build = {
	.name = "image build",
	.run = run_build,
	.synopsis =
		"REF|DIR|TAR… -o IMAGE [--size SIZE] [--hostname NAME] [--root-password-hash HASH] "
		"[--ssh-key FILE] [--kernel-modules DIR] [--uuid UUID] [--add-on BUNDLE]… "
		"[--config ID=FILE]… [--trust DIR] [--with-affix] [--profile vm]",
	.summary = "make an ext4 file system of layers, without root",
	.options =
		"  -o IMAGE                   the file to be made, in place of what had its name\n"
		"  --size SIZE                2G; +512M: what is needed and so much free space; "
		"fit (the default)\n"
		"  --hostname NAME            what /etc/hostname is to say\n"
		"  --root-password-hash HASH  as 'openssl passwd -6' makes it; '*' locks it\n"
		"  --ssh-key FILE             root's authorized_keys\n"
		"  --kernel-modules DIR       a kernel's modules, for /lib/modules\n"
		"  --uuid UUID                the file system's; the default is always the same\n"
		"  --add-on BUNDLE            install this add-on; may be given several times\n"
		"  --config ID=FILE           the configuration of one of them, one JSON object\n"
		"  --trust DIR                keys to trust, instead of those in /etc/affix/trust.d here\n"
		"  --with-affix               put affix itself in, with those keys as the image's\n"
		"  --profile vm               what the guest of a virtual machine wants\n"
		"  --platform OS/ARCH         of an image for several; the default is this machine's\n" TRANSFER_HELP
		"  --json                     print the image's size, free space and inodes\n"
		"\n"
		"REF is REGISTRY/NAME[:TAG|@DIGEST], oci:DIR[:TAG] or oci-archive:FILE[:TAG]. Tar archives,\n"
		"plain or compressed by gzip or zstd, and directories are layers, the lowest first.\n"
		"The same input gives the same bytes.\n",
};
