/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Bundles for an image, one that is there (image inject) or one that is being made (image build).
 * Which of them a configuration is for is known from the signatures, before anything is verified;
 * who trusts that is the engine, which holds the bundle against it.
 */

#include "cli/image_bundles.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "bundle/bundle.h"
#include "bundle/identity.h"
#include "bundle/trust.h"
#include "cli/verify.h"
#include "crypto/minisign.h"
#include "ipc/request.h"

/* What an add-on has besides its files: records, directories, links, drop-ins, accounts. */
#define BESIDE_BYTES  (1ULL << 20)
#define BESIDE_INODES 64U

void image_bundles_done(struct image_bundles *bundles)
{
	for (size_t i = 0; i < bundles->count; i++) {
		host_call_done(&bundles->items[i].call);
		result_done(&bundles->items[i].result);
	}
	free(bundles->items);
	strv_done(&bundles->configs);
	strv_done(&bundles->ids);
}

int image_bundles_add_config(struct image_bundles *bundles, const char *value)
{
	if (!strchr(value, '='))
		return command_usage(bundles->command,
				     "'%s' is no configuration: ID=FILE is wanted", value);
	return strv_add(&bundles->configs, value) < 0
		       ? command_broke(-ENOMEM, "the options could not be kept")
		       : COMMAND_DONE;
}

/* By offset: it is read more than once. */
static int read_signature(const struct host_call *call, char text[MINISIGN_FILE_MAX + 1],
			  size_t *ret_size)
{
	return fd_pread_full(call->fds[REQUEST_FD_SIGNATURE], text, MINISIGN_FILE_MAX + 1, 0,
			     ret_size);
}

/* The id that the signature names. It is not verified yet: the engine holds the bundle against it.
 */
static int read_id(struct host_call *call)
{
	char text[MINISIGN_FILE_MAX + 1];
	struct minisign_signature signature;
	struct identity identity;
	size_t size = 0;
	int r;

	if (call->fds[REQUEST_FD_SIGNATURE] < 0)
		return COMMAND_DONE;
	r = read_signature(call, text, &size);
	if (r < 0)
		return command_broke(r, "the signature cannot be read");
	if (size > MINISIGN_FILE_MAX || minisign_signature_parse(text, size, &signature) != 0 ||
	    identity_parse(signature.trusted_comment, &identity) != 0)
		return COMMAND_DONE;
	return host_set_id(call, identity.id);
}

/* Adds the configuration that is given for the call's id. *used* counts. */
static int add_config(struct image_bundles *bundles, struct host_call *call, size_t *used)
{
	const char *id = call->request.id;
	size_t length = strlen(id);

	for (size_t i = 0; length > 0 && i < bundles->configs.count; i++) {
		const char *item = bundles->configs.items[i];

		if (strncmp(item, id, length) != 0 || item[length] != '=')
			continue;
		(*used)++;
		if (call->fds[REQUEST_FD_CONFIG] >= 0)
			return command_usage(bundles->command, "'%s' has two configurations", id);
		call->config = item + length + 1;
		if (host_add_file(call, REQUEST_FD_CONFIG, call->config) != COMMAND_DONE)
			return COMMAND_REFUSED;
	}
	return COMMAND_DONE;
}

static int open_bundle(struct image_bundles *bundles, const char *path, size_t *used)
{
	struct image_bundle *item = &bundles->items[bundles->count++];
	struct host_call *call = &item->call;
	int code;

	*call = HOST_CALL_INIT(bundles->command);
	item->path = path;
	item->result = RESULT_INIT;
	call->request.verb = REQUEST_INSTALL;
	call->request.allow_downgrade = bundles->allow_downgrade;
	call->trust = bundles->trust;
	call->json = bundles->is_json;
	code = host_add_bundle(call, path);
	if (code == COMMAND_DONE)
		code = read_id(call);
	if (code == COMMAND_DONE)
		code = add_config(bundles, call, used);
	if (code != COMMAND_DONE || call->request.id[0] == '\0')
		return code;
	if (strv_has(&bundles->ids, call->request.id))
		return command_usage(bundles->command, "'%s' is there twice", call->request.id);
	return strv_add(&bundles->ids, call->request.id) < 0
		       ? command_broke(-ENOMEM, "the bundles could not be kept")
		       : COMMAND_DONE;
}

int image_bundles_open(struct image_bundles *bundles, char *const *paths, size_t n)
{
	size_t used = 0;
	int code = COMMAND_DONE;

	if (n > IMAGE_BUNDLES_MAX)
		return command_usage(bundles->command, "at most %u bundles are wanted",
				     IMAGE_BUNDLES_MAX);
	bundles->items = calloc(n, sizeof(*bundles->items));
	if (!bundles->items)
		return command_broke(-ENOMEM, "the bundles could not be kept");
	for (size_t i = 0; i < n && code == COMMAND_DONE; i++)
		code = open_bundle(bundles, paths[i], &used);
	if (code == COMMAND_DONE && used < bundles->configs.count)
		return command_usage(bundles->command,
				     "a configuration is for an add-on that is not among them");
	return code;
}

/* Texts count twice, since some are in the record, too; each name has the rest of a block, and one
 * that its directory may grow by. */
static void add_room(const struct image_bundle *item, const struct verdict *verdict,
		     uint64_t block_size, struct image_bundles_need *need)
{
	uint64_t bytes = verdict->size + verdict->text_size + BESIDE_BYTES;
	struct stat config = {0};

	if (item->call.fds[REQUEST_FD_CONFIG] >= 0 &&
	    fstat(item->call.fds[REQUEST_FD_CONFIG], &config) == 0)
		bytes += 2 * MIN((uint64_t)config.st_size, (uint64_t)REQUEST_CONFIG_MAX);
	bytes += bytes / 32; /* extents */
	need->blocks += bytes / block_size + 2 * (verdict->entry_count + BESIDE_INODES);
	need->inodes += verdict->entry_count + BESIDE_INODES;
	need->created = MAX(need->created, verdict->identity.created);
}

static int verify(const struct image_bundle *item, const struct trust *trust, struct verdict *ret,
		  struct refusal *reterr_refusal)
{
	char text[MINISIGN_FILE_MAX + 1];
	struct minisign_signature signature;
	size_t size = 0;
	int r;

	if (item->call.refusal.code != REFUSAL_NONE) {
		*reterr_refusal = item->call.refusal;
		return (int)item->call.refusal.code;
	}
	r = read_signature(&item->call, text, &size);
	if (r == 0)
		r = trust_signature_parse(text, size, &signature, reterr_refusal);
	if (r == 0)
		r = verify_bundle(item->call.fds[REQUEST_FD_BUNDLE], trust, &signature, ret,
				  reterr_refusal);
	return r;
}

int image_bundles_measure(const struct image_bundles *bundles, uint64_t block_size,
			  struct image_bundles_need *ret)
{
	cleanup_trust struct trust *trust = NULL;
	struct refusal refusal = REFUSAL_INIT;
	struct image_bundles_need need = {0};
	struct verdict verdict = {0};
	int r = bundles->count == 0 ? 0 : verify_load_trust(NULL, bundles->trust, &trust, &refusal);

	if (r < 0)
		r = refuse(&refusal, REFUSAL_NO_TRUSTED_KEY,
			   "the keys' directory '%s' cannot be opened: %s; name another with "
			   "--trust",
			   bundles->trust, strerrordesc_np(-r));
	for (size_t i = 0; i < bundles->count && r == 0; i++) {
		const struct image_bundle *item = &bundles->items[i];

		r = verify(item, trust, &verdict, &refusal);
		if (r < 0)
			return command_broke(r, "the bundle '%s' could not be read", item->path);
		if (r == 0)
			add_room(item, &verdict, block_size, &need);
	}
	if (r != 0)
		return command_refuse(&refusal);
	*ret = need;
	return COMMAND_DONE;
}

void image_bundles_begin(struct image_bundles *bundles)
{
	struct host_call *call = bundles->count > 0 ? &bundles->items[0].call : NULL;

	if (call && call->refusal.code == REFUSAL_NONE)
		call->begun = bundle_copy_begin(call->fds[REQUEST_FD_BUNDLE]);
}

int image_bundles_install(struct image_bundles *bundles, struct image_work *work)
{
	for (size_t i = 0; i < bundles->count; i++) {
		struct image_bundle *item = &bundles->items[i];
		int code = image_ask(work, &item->call, &item->result);

		item->call.begun = bundle_copy_free(item->call.begun);
		if (code != COMMAND_DONE)
			return item->result.message ? host_show(&item->call, &item->result, code)
						    : code;
	}
	return COMMAND_DONE;
}

int image_bundles_to_json(const struct image_bundles *bundles, json_t *json)
{
	json_t *list = json_object_get(json, "results");
	int r = 0;

	if (!list) {
		list = json_array();
		r = json_add(json, "results", list);
	}
	for (size_t i = 0; r == 0 && i < bundles->count; i++)
		r = json_append(list, result_to_json(&bundles->items[i].result));
	return r;
}

int image_bundles_show(struct image_bundles *bundles)
{
	int code = COMMAND_DONE;

	for (size_t i = 0; i < bundles->count; i++)
		code = host_show(&bundles->items[i].call, &bundles->items[i].result, code);
	return code;
}
