/* SPDX-License-Identifier: Apache-2.0 */

/* image inject, image rm-add-on: what is installed in an image, changed. All bundles or none. */

#include <errno.h>

#include "cli/image_install.h"

struct inject {
	struct image_bundles bundles;
	struct image_own own;
};

static void inject_done(struct inject *inject)
{
	image_bundles_done(&inject->bundles);
	image_own_done(&inject->own);
}

static int take_option(struct inject *inject, int option)
{
	struct image_bundles *bundles = &inject->bundles;

	switch (option) {
	case 'c':
		return image_bundles_add_config(bundles, optarg);
	case 'p':
		return image_own_set_profile(&inject->own, bundles->command, optarg);
	case 't':
		bundles->trust = optarg;
		inject->own.has_trust = true;
		return COMMAND_DONE;
	case 'a':
		inject->own.with_affix = true;
		return COMMAND_DONE;
	case 'd':
		bundles->allow_downgrade = true;
		return COMMAND_DONE;
	case 'j':
		bundles->is_json = true;
		return COMMAND_DONE;
	default:
		return COMMAND_USAGE;
	}
}

static int read_options(struct inject *inject, int argc, char **argv)
{
	static const struct option options[] = {
		{"config",           required_argument, NULL, 'c'},
		{"trust",              required_argument, NULL, 't'},
		{"with-affix",                  no_argument, NULL, 'a'},
		{"profile",required_argument, NULL, 'p'},
		{"allow-downgrade",               no_argument, NULL, 'd'},
		{"json",       no_argument, NULL, 'j'},
		{0             },
	};
	int code = COMMAND_DONE;
	int option;

	while (code == COMMAND_DONE &&
	       (option = command_option(inject->bundles.command, argc, argv, ":", options)) != -1)
		code = take_option(inject, option);
	inject->own.trust = inject->bundles.trust;
	inject->own.allow_downgrade = inject->bundles.allow_downgrade;
	return code;
}

static int show(struct inject *inject)
{
	cleanup_json json_t *json = NULL;
	int r;

	if (!inject->bundles.is_json) {
		image_own_show(&inject->own);
		return image_bundles_show(&inject->bundles);
	}
	json = command_json_new();
	r = json ? image_own_to_json(&inject->own, json) : -ENOMEM;
	if (r == 0)
		r = image_bundles_to_json(&inject->bundles, json);
	return r < 0 ? command_broke(r, "the answer could not be shown") : command_print_json(json);
}

static int run(struct inject *inject, const char *image)
{
	cleanup_image_work struct image_work work = IMAGE_WORK_INIT;
	int code;

	image_bundles_begin(&inject->bundles);
	code = image_begin(&work, image, true, &inject->bundles.ids);
	if (code == COMMAND_DONE)
		code = image_install(&work, &inject->own, &inject->bundles);
	if (code != COMMAND_DONE)
		return code;
	command_note_change();
	return show(inject);
}

static int run_inject(int argc, char **argv)
{
	CLEANUP(inject_done)
	struct inject inject = {.bundles = IMAGE_BUNDLES_INIT(&command_image_inject),
				.own = IMAGE_OWN_INIT};
	int code = read_options(&inject, argc, argv);
	bool has_own = inject.own.with_affix || inject.own.is_vm;

	if (code == COMMAND_DONE && argc - optind < (has_own ? 1 : 2))
		code = command_usage(&command_image_inject,
				     "an image and the bundles to be put into it are wanted");
	if (code == COMMAND_DONE)
		code = image_own_open(&inject.own, &inject.bundles.ids);
	if (code == COMMAND_DONE)
		code = image_bundles_open(&inject.bundles, argv + optind + 1,
					  (size_t)(argc - optind - 1));
	return code == COMMAND_DONE ? run(&inject, argv[optind]) : code;
}

static int run_rm_add_on(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{0 },
	};
	cleanup_host_call struct host_call call = HOST_CALL_INIT(&command_image_rm_add_on);
	cleanup_image_work struct image_work work = IMAGE_WORK_INIT;
	cleanup_result struct result result = RESULT_INIT;
	cleanup_strv struct strv ids = STRV_INIT;
	int option;
	int code;

	while ((option = command_option(call.command, argc, argv, ":", options)) != -1) {
		if (option == '?')
			return COMMAND_USAGE;
		call.json = true;
	}
	if (argc - optind != 2)
		return command_usage(call.command, "an image and one add-on's id are wanted");
	call.request.verb = REQUEST_UNINSTALL;
	code = host_set_id(&call, argv[optind + 1]);
	if (code == COMMAND_DONE && strv_add(&ids, argv[optind + 1]) < 0)
		code = command_broke(-ENOMEM, "the request could not be made");
	if (code == COMMAND_DONE)
		code = image_begin(&work, argv[optind], true, &ids);
	if (code == COMMAND_DONE)
		code = image_ask(&work, &call, &result);
	if (code == COMMAND_DONE) {
		code = image_end(&work, &ids);
		if (code != COMMAND_DONE)
			return code;
		command_note_change();
	}
	return result.message ? host_show(&call, &result, code) : code;
}

const struct command command_image_inject = {
	.name = "image inject",
	.run = run_inject,
	.synopsis = "[OPTION…] IMAGE[:PARTITION] [BUNDLE…]",
	.summary = "install add-ons into an image: all of them, or none",
	.options =
		"  --config ID=FILE     the configuration of one of them, one JSON object\n"
		"  --trust DIR          keys to trust, instead of those in /etc/affix/trust.d here\n"
		"  --with-affix         put affix itself in, with those keys as the image's\n"
		"  --profile vm         what the guest of a virtual machine wants\n"
		"  --allow-downgrade    install an older version than was installed there before\n"
		"  --json               print the results as JSON\n",
};

const struct command command_image_rm_add_on = {
	.name = "image rm-add-on",
	.run = run_rm_add_on,
	.synopsis = "[OPTION…] IMAGE[:PARTITION] ID",
	.summary = "remove an add-on from an image",
	.options = "  --json               print the result as JSON\n",
};
