/* SPDX-License-Identifier: Apache-2.0 */

/* image status, image drift: what is installed in an image, and whether it is still as it was. */

#include <errno.h>
#include <string.h>

#include "cli/image.h"
#include "image/drift.h"

static int add_drift(struct image_work *work, const struct result *result)
{
	cleanup_attributes struct attributes attributes = ATTRIBUTES_INIT;
	json_t *addons = json_object_get(result->data, "addons");
	int r = attributes_load(work->excerpt.path, &attributes);

	return r < 0 ? r : image_add_drift(&work->edit, &attributes, addons);
}

static int ask(struct host_call *call, const char *image)
{
	cleanup_image_work struct image_work work = IMAGE_WORK_INIT;
	cleanup_result struct result result = RESULT_INIT;
	cleanup_strv struct strv ids = STRV_INIT;
	int code;
	int r;

	if (call->request.id[0] != '\0' && strv_add(&ids, call->request.id) < 0)
		return command_broke(-ENOMEM, "the request could not be made");
	code = image_begin(&work, image, false, &ids);
	if (code == COMMAND_DONE)
		code = image_ask(&work, call, &result);
	if (code == COMMAND_DONE && call->request.verb == REQUEST_DRIFT) {
		r = add_drift(&work, &result);
		if (r < 0)
			return image_complain(NULL, &work.edit, r);
	}
	return result.message ? host_show(call, &result, code) : code;
}

static int run(const struct command *command, enum request_verb verb, int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{0 },
	};
	cleanup_host_call struct host_call call = HOST_CALL_INIT(command);
	int code = COMMAND_DONE;
	int option;

	call.request.verb = verb;
	while ((option = command_option(command, argc, argv, ":", options)) != -1) {
		if (option == '?')
			return COMMAND_USAGE;
		call.json = true;
	}
	if (argc - optind < 1 || argc - optind > 2)
		return command_usage(command, "an image and at most one add-on's id are wanted");
	if (argc - optind == 2)
		code = host_set_id(&call, argv[optind + 1]);
	return code == COMMAND_DONE ? ask(&call, argv[optind]) : code;
}

static int run_status(int argc, char **argv)
{
	return run(&command_image_status, REQUEST_STATUS, argc, argv);
}

static int run_drift(int argc, char **argv)
{
	return run(&command_image_drift, REQUEST_DRIFT, argc, argv);
}

const struct command command_image_status = {
	.name = "image status",
	.run = run_status,
	.synopsis = "[OPTION…] IMAGE[:PARTITION] [ID]",
	.summary = "say what is installed in an image",
	.options = "  --json               print the result as JSON\n",
};

const struct command command_image_drift = {
	.name = "image drift",
	.run = run_drift,
	.synopsis = "[OPTION…] IMAGE[:PARTITION] [ID]",
	.summary = "say what in an image is not as it was installed",
	.options = "  --json               print the result as JSON\n",
};
