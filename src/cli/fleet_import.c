/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix fleet import`: bundles from files, or from an OCI registry with all platforms that it has.
 * What comes from there is not looked at here: affixd verifies every bundle that it takes in.
 * `affix fleet pull` has affixd itself go to the registry, where its affixd.yaml allows it.
 */

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/fleet.h"
#include "cli/transfer.h"
#include "crypto/minisign.h"
#include "oci/artifact.h"

#define SIGNATURE_ENCODED sodium_base64_ENCODED_LEN(MINISIGN_FILE_MAX, ENCODING)
#define ENCODING          sodium_base64_VARIANT_URLSAFE_NO_PADDING

static int out_of_memory(void)
{
	return command_broke(-ENOMEM, "the request could not be made");
}

/* Whether one of its bundles came after the approval. */
static bool has_unapproved(const json_t *package)
{
	const json_t *artifacts = json_object_get(package, "artifacts");

	for (size_t i = 0; i < json_array_size(artifacts); i++) {
		if (json_is_null(json_object_get(json_array_get(artifacts, i), "approved")))
			return true;
	}
	return false;
}

static void print_package(const json_t *package)
{
	cleanup_free char *addon = fleet_value_text(package, "addon");
	cleanup_free char *version = fleet_value_text(package, "version");
	cleanup_free char *state = fleet_value_text(package, "state");

	(void)printf("%s %s: %s%s\n", addon ? addon : "?", version ? version : "?",
		     state ? state : "?",
		     str_equal(state, "approved") && has_unapproved(package)
			     ? ", but for a bundle that waits for 'affix fleet approve'"
			     : "");
}

/* Sends one bundle with its signature. */
static int send_bundle(struct fleet_call *call, int fd, const char *signature, size_t size)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	cleanup_buffer struct buffer query = BUFFER_INIT;
	cleanup_json json_t *answer = NULL;
	char encoded[SIGNATURE_ENCODED];
	struct stat st = {0};
	int code;

	if (fstat(fd, &st) < 0)
		return command_broke(-errno, "the bundle could not be read");
	(void)sodium_bin2base64(encoded, sizeof(encoded), (const uint8_t *)signature, size,
				ENCODING);
	if (fleet_add_query(&query, "signature", encoded) < 0 ||
	    buffer_format(&path, "/api/v1/packages?%s", query.data) < 0)
		return out_of_memory();
	code = fleet_client_upload(&call->client, path.data, fd, (uint64_t)st.st_size, &answer);
	if (code != COMMAND_DONE)
		return code;
	if (fleet_has(call, FLEET_JSON))
		return command_print_json(answer);
	print_package(answer);
	return COMMAND_DONE;
}

static int import_file(struct fleet_call *call, const char *bundle, int fd)
{
	const char *option = call->options[FLEET_SIGNATURE];
	cleanup_free char *path = NULL;
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r;

	if ((option ? str_format(&path, "%s", option) : str_format(&path, "%s.minisig", bundle)) <
	    0)
		return out_of_memory();
	r = command_read_file(path, MINISIGN_FILE_MAX, &text, &size);
	if (r < 0)
		return command_broke(r, "the signature '%s' could not be read", path);
	return send_bundle(call, fd, text, size);
}

/* Every platform's bundle of an artifact. */
static int import_reference(struct fleet_call *call, const char *where)
{
	cleanup_oci_pulled_list struct oci_pulled_list pulled = {0};
	cleanup_oci_origin struct oci_origin origin = OCI_ORIGIN_INIT;
	cleanup_transfer struct transfer transfer = {0};
	struct problem problem = PROBLEM_INIT;
	int code = COMMAND_DONE;
	int r;

	/* The lines of an import are its results; what moves is shown where somebody looks. */
	transfer_begin(&transfer);
	if (!transfer.is_terminal)
		transfer.oci.on_progress = NULL;
	r = oci_origin_open(where, &transfer.oci, &origin, &problem);
	if (r == 0)
		r = oci_addon_pull(&origin, NULL, &pulled, &problem);
	transfer_end(&transfer);
	if (r != 0)
		return transfer_failed(r, &problem, "the add-on could not be pulled");
	for (size_t i = 0; i < pulled.count && code == COMMAND_DONE; i++)
		code = send_bundle(call, pulled.items[i].bundle_fd, pulled.items[i].signature,
				   pulled.items[i].signature_size);
	return code;
}

static int import_one(struct fleet_call *call, const char *what)
{
	cleanup_fd int fd = -EBADF;
	int r = command_open_file(what, &fd);

	if ((r == -ENOENT || r == -ENOTDIR || r == -EISDIR) && oci_origin_is_named(what))
		return import_reference(call, what);
	if (r < 0)
		return command_broke(r, "the bundle '%s' could not be read", what);
	return import_file(call, what, fd);
}

int fleet_run_import(struct fleet_call *call)
{
	int code = COMMAND_DONE;

	if (fleet_has(call, FLEET_SIGNATURE) && call->n_operands > 1)
		return command_usage(&command_fleet, "--signature is for one bundle");
	for (int i = 0; i < call->n_operands && code == COMMAND_DONE; i++)
		code = import_one(call, call->operands[i]);
	return code;
}

static int pull_one(struct fleet_call *call, const char *reference)
{
	cleanup_json json_t *answer = NULL;
	cleanup_json json_t *body = json_object();
	const json_t *items;
	int code;

	if (json_add_string(body, "reference", reference) < 0)
		return out_of_memory();
	code = fleet_client_call(&call->client, "POST", "/api/v1/packages/pull", body, &answer);
	if (code != COMMAND_DONE)
		return code;
	if (fleet_has(call, FLEET_JSON))
		return command_print_json(answer);
	items = json_object_get(answer, "items");
	for (size_t i = 0; i < json_array_size(items); i++)
		print_package(json_array_get(items, i));
	return COMMAND_DONE;
}

int fleet_run_pull(struct fleet_call *call)
{
	int code = COMMAND_DONE;

	call->client.is_patient = true;
	for (int i = 0; i < call->n_operands && code == COMMAND_DONE; i++)
		code = pull_one(call, call->operands[i]);
	return code;
}
