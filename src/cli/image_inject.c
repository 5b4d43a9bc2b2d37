/* SPDX-License-Identifier: Apache-2.0 */

/* image inject, image rm-add-on: what is installed in an image, changed. All bundles or none. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "bundle/identity.h"
#include "bundle/trust.h"
#include "cli/image.h"
#include "crypto/minisign.h"

#define BUNDLES_MAX 64U

/* One bundle: its request, and the answer. */
struct injection {
	struct host_call call;
	struct result result;
};

struct inject {
	const char *trust;
	bool json;
	bool allow_downgrade;
	struct strv configs; /* ID=FILE */
	struct strv ids;
	struct injection *items;
	size_t count;
};

static void inject_done(struct inject *inject)
{
	for (size_t i = 0; i < inject->count; i++) {
		host_call_done(&inject->items[i].call);
		result_done(&inject->items[i].result);
	}
	free(inject->items);
	strv_done(&inject->configs);
	strv_done(&inject->ids);
}

static int read_options(struct inject *inject, int argc, char **argv)
{
	static const struct option options[] = {
		{"config",           required_argument, NULL, 'c'},
		{"trust",              required_argument, NULL, 't'},
		{"allow-downgrade",                  no_argument, NULL, 'd'},
		{"json",no_argument, NULL, 'j'},
		{0              },
	};
	int option;

	inject->trust = "/" TRUST_PATH;
	while ((option = command_option(&command_image_inject, argc, argv, ":", options)) != -1) {
		if (option == '?')
			return COMMAND_USAGE;
		if (option == 'c' && !strchr(optarg, '='))
			return command_usage(&command_image_inject,
					     "'%s' is no configuration: ID=FILE is wanted", optarg);
		if (option == 'c' && strv_add(&inject->configs, optarg) < 0)
			return command_broke(-ENOMEM, "the options could not be kept");
		if (option == 't')
			inject->trust = optarg;
		inject->json |= option == 'j';
		inject->allow_downgrade |= option == 'd';
	}
	return COMMAND_DONE;
}

/* The id that the signature names. It is not verified yet: the engine holds the bundle against it.
 */
static int read_id(struct host_call *call)
{
	cleanup_free char *text = NULL;
	struct minisign_signature signature;
	struct identity identity;
	size_t size = 0;
	int fd = call->fds[REQUEST_FD_SIGNATURE];
	int r;

	if (fd < 0)
		return COMMAND_DONE;
	r = fd_read_all(fd, MINISIGN_FILE_MAX, &text, &size);
	if (r == 0)
		r = minisign_signature_parse(text, size, &signature);
	if (r == 0)
		r = identity_parse(signature.trusted_comment, &identity);
	if (r < 0 && r != -EFBIG)
		return command_broke(r, "the signature cannot be read");
	return r == 0 ? host_set_id(call, identity.id) : COMMAND_DONE;
}

/* Adds the configuration that is given for the call's id. *used* counts. */
static int add_config(struct inject *inject, struct host_call *call, size_t *used)
{
	const char *id = call->request.id;
	size_t length = strlen(id);

	for (size_t i = 0; length > 0 && i < inject->configs.count; i++) {
		const char *item = inject->configs.items[i];

		if (strncmp(item, id, length) != 0 || item[length] != '=')
			continue;
		(*used)++;
		if (call->fds[REQUEST_FD_CONFIG] >= 0)
			return command_usage(&command_image_inject, "'%s' has two configurations",
					     id);
		call->config = item + length + 1;
		if (host_add_file(call, REQUEST_FD_CONFIG, call->config) != COMMAND_DONE)
			return COMMAND_REFUSED;
	}
	return COMMAND_DONE;
}

static int add_bundle(struct inject *inject, const char *path, size_t *used)
{
	struct injection *item = &inject->items[inject->count++];
	struct host_call *call = &item->call;
	int code;

	*call = HOST_CALL_INIT(&command_image_inject);
	item->result = RESULT_INIT;
	call->request.verb = REQUEST_INSTALL;
	call->request.allow_downgrade = inject->allow_downgrade;
	call->trust = inject->trust;
	code = host_add_bundle(call, path);
	if (code == COMMAND_DONE)
		code = read_id(call);
	if (code == COMMAND_DONE)
		code = add_config(inject, call, used);
	if (code != COMMAND_DONE || call->request.id[0] == '\0')
		return code;
	if (strv_has(&inject->ids, call->request.id))
		return command_usage(&command_image_inject, "'%s' is there twice",
				     call->request.id);
	return strv_add(&inject->ids, call->request.id) < 0
		       ? command_broke(-ENOMEM, "the bundles could not be kept")
		       : COMMAND_DONE;
}

static int add_bundles(struct inject *inject, char **paths, size_t n)
{
	size_t used = 0;
	int code = COMMAND_DONE;

	inject->items = calloc(n, sizeof(*inject->items));
	if (!inject->items)
		return command_broke(-ENOMEM, "the bundles could not be kept");
	for (size_t i = 0; i < n && code == COMMAND_DONE; i++)
		code = add_bundle(inject, paths[i], &used);
	if (code == COMMAND_DONE && used < inject->configs.count)
		return command_usage(&command_image_inject,
				     "a configuration is for an add-on that is not injected");
	return code;
}

static int show_json(const struct inject *inject)
{
	cleanup_json json_t *json = command_json_new();
	json_t *list = json_array();
	int r = json ? json_add(json, "results", list) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < inject->count; i++)
		r = json_append(list, result_to_json(&inject->items[i].result));
	return r < 0 ? command_broke(r, "the answer could not be shown") : command_print_json(json);
}

static int show(struct inject *inject)
{
	int code = COMMAND_DONE;

	if (inject->json)
		return show_json(inject);
	for (size_t i = 0; i < inject->count; i++)
		code = host_show(&inject->items[i].call, &inject->items[i].result, code);
	return code;
}

static int run(struct inject *inject, const char *image)
{
	cleanup_image_work struct image_work work = IMAGE_WORK_INIT;
	int code = image_begin(&work, image, true, &inject->ids);

	for (size_t i = 0; i < inject->count && code == COMMAND_DONE; i++) {
		struct injection *item = &inject->items[i];

		code = image_ask(&work, &item->call, &item->result);
		if (code == COMMAND_DONE)
			continue;
		item->call.json = inject->json;
		return item->result.message ? host_show(&item->call, &item->result, code) : code;
	}
	if (code == COMMAND_DONE)
		code = image_end(&work, &inject->ids);
	if (code != COMMAND_DONE)
		return code;
	command_note_change();
	return show(inject);
}

static int run_inject(int argc, char **argv)
{
	CLEANUP(inject_done) struct inject inject = {0};
	int code = read_options(&inject, argc, argv);

	if (code == COMMAND_DONE && (argc - optind < 2 || argc - optind > (int)BUNDLES_MAX))
		code = command_usage(&command_image_inject,
				     "an image and the bundles to be put into it are wanted");
	if (code == COMMAND_DONE)
		code = add_bundles(&inject, argv + optind + 1, (size_t)(argc - optind - 1));
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
