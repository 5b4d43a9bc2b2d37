/* SPDX-License-Identifier: Apache-2.0 */

/* image inject, image rm-add-on: what is installed in an image, changed. All bundles or none. */

#include <errno.h>

#include "cli/image.h"
#include "cli/image_bundles.h"

static int read_options(struct image_bundles *bundles, int argc, char **argv)
{
	static const struct option options[] = {
		{"config",           required_argument, NULL, 'c'},
		{"trust",              required_argument, NULL, 't'},
		{"allow-downgrade",                  no_argument, NULL, 'd'},
		{"json",no_argument, NULL, 'j'},
		{0              },
	};
	int option;

	while ((option = command_option(bundles->command, argc, argv, ":", options)) != -1) {
		int code = COMMAND_DONE;

		if (option == '?')
			return COMMAND_USAGE;
		if (option == 'c')
			code = image_bundles_add_config(bundles, optarg);
		if (code != COMMAND_DONE)
			return code;
		if (option == 't')
			bundles->trust = optarg;
		bundles->is_json |= option == 'j';
		bundles->allow_downgrade |= option == 'd';
	}
	return COMMAND_DONE;
}

static int run(struct image_bundles *bundles, const char *image)
{
	cleanup_image_work struct image_work work = IMAGE_WORK_INIT;
	int code = image_begin(&work, image, true, &bundles->ids);

	if (code == COMMAND_DONE)
		code = image_bundles_install(bundles, &work);
	if (code != COMMAND_DONE)
		return code;
	command_note_change();
	return image_bundles_show(bundles);
}

static int run_inject(int argc, char **argv)
{
	cleanup_image_bundles struct image_bundles bundles =
		IMAGE_BUNDLES_INIT(&command_image_inject);
	int code = read_options(&bundles, argc, argv);

	if (code == COMMAND_DONE && argc - optind < 2)
		code = command_usage(&command_image_inject,
				     "an image and the bundles to be put into it are wanted");
	if (code == COMMAND_DONE)
		code = image_bundles_open(&bundles, argv + optind + 1, (size_t)(argc - optind - 1));
	return code == COMMAND_DONE ? run(&bundles, argv[optind]) : code;
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
	.synopsis = "[OPTION…] IMAGE[:PARTITION] BUNDLE…",
	.summary = "install add-ons into an image: all of them, or none",
	.options =
		"  --config ID=FILE     the configuration of one of them, one JSON object\n"
		"  --trust DIR          keys to trust, instead of those in /etc/affix/trust.d here\n"
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
