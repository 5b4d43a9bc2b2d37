/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Upwards: a blob that the registry has is not sent; else an upload is opened and all of it sent at
 * once (POST, then PUT with the digest), and begun anew where it breaks, because what a registry
 * kept of a broken one is for it to say and few do.
 */

#include "oci/registry_call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define STATUS_OK       200
#define STATUS_CREATED  201
#define STATUS_ACCEPTED 202
#define STATUS_OK_END   300
#define STATUS_DENIED   401
#define STATUS_MISSING  404
#define ANSWER_MAX      65536U
#define TELL_USEC       100000U

static void tell(const struct oci_registry *registry, const struct oci_upload *blob,
		 enum oci_step step)
{
	const struct oci_progress progress = {
		.step = step,
		.digest = blob->digest,
		.done = step == OCI_STEP_START ? 0 : blob->size,
		.total = blob->size,
	};

	if (registry->options->on_progress)
		registry->options->on_progress(registry->options->userdata, &progress);
}

/* One upload, for what is told of it. */
struct sending {
	const struct oci_registry *registry;
	const struct oci_upload *blob;
	uint64_t told; /* CLOCK_MONOTONIC, microseconds */
};

static void on_sent(void *userdata, uint64_t sent)
{
	struct sending *sending = userdata;
	const struct oci_options *options = sending->registry->options;
	const struct oci_progress progress = {
		.step = OCI_STEP_MOVED,
		.digest = sending->blob->digest,
		.done = sent,
		.total = sending->blob->size,
	};
	uint64_t now = clock_monotonic_usec();

	if (!options->on_progress || now - sending->told < TELL_USEC)
		return;
	sending->told = now;
	options->on_progress(options->userdata, &progress);
}

static int has_blob(struct oci_registry *registry, const struct oci_upload *blob, const char *what,
		    bool *ret, struct problem *reterr_problem)
{
	cleanup_oci_transfer struct oci_transfer transfer = OCI_TRANSFER_INIT;
	char path[OCI_DIGEST_TEXT_SIZE + sizeof("blobs/")];
	int r;

	(void)snprintf(path, sizeof(path), "blobs/%s", blob->digest);
	transfer.method = "HEAD";
	r = oci_registry_address(registry, &transfer, path);
	if (r == 0)
		r = oci_registry_call(registry, &transfer, what, reterr_problem);
	if (r != 0)
		return r;
	if (transfer.answer.status != STATUS_OK && transfer.answer.status != STATUS_MISSING)
		return oci_registry_judge(registry, &transfer, what, reterr_problem);
	*ret = transfer.answer.status == STATUS_OK;
	return 0;
}

/* Where the upload goes: the answer's Location, at the registry's own place or, without our
 * credentials, elsewhere. */
static int find_location(const struct oci_registry *registry, const struct oci_transfer *opened,
			 const char *digest, struct oci_transfer *transfer,
			 struct problem *reterr_problem)
{
	const char *location = opened->answer.location;
	size_t origin = strcspn(strstr(registry->base, "://") + 3, "/") +
			(size_t)(strstr(registry->base, "://") + 3 - registry->base);
	bool is_path = location[0] == '/' && location[1] != '/';
	bool is_ours = is_path ||
		       (strncmp(location, registry->base, origin) == 0 && location[origin] == '/');

	if (!is_path && !str_starts_with(location, "https://") &&
	    !str_starts_with(location, "http://"))
		return oci_fail(reterr_problem, OCI_REGISTRY_REFUSED,
				"'%s' opened an upload without saying where: expected a Location",
				registry->reference->host);
	if (str_format(&transfer->url, "%.*s%s%sdigest=%s", is_path ? (int)origin : 0,
		       registry->base, location, strchr(location, '?') ? "&" : "?", digest) < 0)
		return -ENOMEM;
	if (!is_ours || !registry->authorization)
		return 0;
	transfer->authorization = strdup(registry->authorization);
	return transfer->authorization ? 0 : -ENOMEM;
}

/* One try; what came of it is in *transfer*. */
static int upload(struct oci_registry *registry, const struct oci_upload *blob, const char *what,
		  struct oci_transfer *transfer, struct problem *reterr_problem)
{
	cleanup_oci_transfer struct oci_transfer opened = OCI_TRANSFER_INIT;
	int r;

	opened.method = "POST";
	opened.answer_max = ANSWER_MAX;
	r = oci_registry_address(registry, &opened, "blobs/uploads/");
	if (r == 0)
		r = oci_registry_call(registry, &opened, what, reterr_problem);
	if (r != 0)
		return r;
	if (opened.answer.status != STATUS_ACCEPTED)
		return oci_registry_judge(registry, &opened, what, reterr_problem);
	transfer->method = "PUT";
	transfer->type = "application/octet-stream";
	transfer->answer_max = ANSWER_MAX;
	transfer->body = blob->data;
	transfer->body_fd = blob->data ? -EBADF : blob->fd;
	transfer->body_size = blob->size;
	r = find_location(registry, &opened, blob->digest, transfer, reterr_problem);
	return r == 0 ? oci_http_perform(registry->http, transfer) : r;
}

/* Between the opening and the sending: the next opening gets another. */
static bool is_token_old(const struct oci_transfer *transfer, unsigned failures)
{
	return transfer->code == 0 && transfer->answer.status == STATUS_DENIED && failures == 0;
}

int oci_registry_push_blob(struct oci_registry *registry, const struct oci_upload *blob,
			   struct problem *reterr_problem)
{
	cleanup_free char *what = NULL;
	bool is_there = false;
	int r;

	if (str_format(&what, "the upload of %s to '%s'", blob->digest, registry->reference->name) <
	    0)
		return -ENOMEM;
	r = has_blob(registry, blob, what, &is_there, reterr_problem);
	if (r != 0)
		return r;
	if (is_there) {
		tell(registry, blob, OCI_STEP_EXISTS);
		return 0;
	}
	tell(registry, blob, OCI_STEP_START);
	for (unsigned failures = 0;; failures++) {
		cleanup_oci_transfer struct oci_transfer transfer = OCI_TRANSFER_INIT;
		struct sending sending = {.registry = registry, .blob = blob};

		transfer.on_sent = on_sent;
		transfer.userdata = &sending;
		r = upload(registry, blob, what, &transfer, reterr_problem);
		if (r != 0)
			return r;
		if (transfer.code == 0 && transfer.answer.status == STATUS_CREATED)
			break;
		if (!oci_should_retry(registry, &transfer, failures) &&
		    !is_token_old(&transfer, failures))
			return oci_registry_judge(registry, &transfer, what, reterr_problem);
		oci_tell_retry(registry, &transfer, blob->digest);
		clock_sleep_usec(oci_retry_usec(&transfer, failures));
	}
	tell(registry, blob, OCI_STEP_DONE);
	return 0;
}

int oci_registry_push_manifest(struct oci_registry *registry, const char *wanted, const char *type,
			       const char *text, size_t size, struct problem *reterr_problem)
{
	cleanup_oci_transfer struct oci_transfer transfer = OCI_TRANSFER_INIT;
	cleanup_free char *what = NULL;
	cleanup_free char *path = NULL;
	int r;

	if (str_format(&path, "manifests/%s", wanted) < 0 ||
	    str_format(&what, "the manifest '%s' of '%s'", wanted, registry->reference->name) < 0)
		return -ENOMEM;
	transfer.method = "PUT";
	transfer.type = type;
	transfer.body = text;
	transfer.body_size = size;
	transfer.answer_max = ANSWER_MAX;
	r = oci_registry_address(registry, &transfer, path);
	if (r == 0)
		r = oci_registry_call(registry, &transfer, what, reterr_problem);
	if (r != 0)
		return r;
	if (transfer.answer.status < STATUS_OK || transfer.answer.status >= STATUS_OK_END)
		return oci_registry_judge(registry, &transfer, what, reterr_problem);
	return 0;
}
