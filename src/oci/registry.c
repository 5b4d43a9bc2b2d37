/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A registry as one asks it: which scheme, which credentials, how often. A registry on this machine
 * is asked by TLS first, and by http if what answers is not TLS; nobody else is ever asked by http.
 */

#include "oci/registry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "oci/media.h"
#include "oci/registry_call.h"

#define PAUSE_MSEC      500ULL
#define PAUSE_MAX_MSEC  8000ULL
#define RETRY_AFTER_MAX 60ULL /* seconds */
#define STATUS_OK       200
#define UNAUTHORIZED    401
#define FORBIDDEN       403
#define NOT_FOUND       404
#define PING_MAX        65536U

uint64_t oci_retry_usec(const struct oci_transfer *transfer, unsigned failures)
{
	uint64_t pause = PAUSE_MSEC << MIN(failures, 10U);
	uint64_t asked = MIN(transfer->answer.retry_after, RETRY_AFTER_MAX) * 1000;

	return MAX(MIN(pause, PAUSE_MAX_MSEC), asked) * CLOCK_USEC_PER_MSEC;
}

bool oci_should_retry(const struct oci_registry *registry, const struct oci_transfer *transfer,
		      unsigned failures)
{
	/* Who was never there may be a slip of the pen. */
	if (!registry->was_reached && oci_transfer_is_absent(transfer))
		return false;
	return failures + 1 < OCI_TRIES_MAX && oci_transfer_is_transient(transfer);
}

void oci_tell_retry(const struct oci_registry *registry, const struct oci_transfer *transfer,
		    const char *digest)
{
	char text[OCI_EXPLANATION_MAX];
	const struct oci_progress progress = {
		.step = OCI_STEP_RETRY, .digest = digest, .text = text};

	if (!registry->options->on_progress)
		return;
	oci_transfer_explain(transfer, text);
	registry->options->on_progress(registry->options->userdata, &progress);
}

int oci_registry_address(const struct oci_registry *registry, struct oci_transfer *transfer,
			 const char *path)
{
	free(transfer->url);
	transfer->url = NULL;
	free(transfer->authorization);
	transfer->authorization = NULL;
	if (str_format(&transfer->url, "%s/%s", registry->base, path) < 0)
		return -ENOMEM;
	if (registry->authorization)
		transfer->authorization = strdup(registry->authorization);
	return registry->authorization && !transfer->authorization ? -ENOMEM : 0;
}

int oci_registry_judge(const struct oci_registry *registry, const struct oci_transfer *transfer,
		       const char *what, struct problem *reterr_problem)
{
	const char *host = registry->reference->host;
	enum oci_condition condition = OCI_REGISTRY_REFUSED;
	long status = transfer->answer.status;
	char text[OCI_EXPLANATION_MAX];

	oci_transfer_explain(transfer, text);
	if (transfer->sink_error == -EMSGSIZE)
		return oci_fail(reterr_problem, OCI_BAD_DIGEST,
				"%s: '%s' sends more bytes than it should have", what, host);
	if (transfer->sink_error == -EBADMSG)
		return oci_fail(reterr_problem, OCI_REGISTRY_REFUSED,
				"%s: '%s' sends another part than was asked for", what, host);
	if (transfer->sink_error < 0 && transfer->sink_error != -ENOSPC &&
	    transfer->sink_error != -EDQUOT)
		return transfer->sink_error;
	if (transfer->sink_error < 0) {
		condition = OCI_NO_SPACE;
	} else if (oci_transfer_is_untrusted(transfer)) {
		condition = OCI_UNTRUSTED_SERVER;
	} else if (transfer->is_too_long) {
		condition = OCI_BAD_IMAGE;
	} else if (oci_transfer_is_transient(transfer)) {
		condition = OCI_UNREACHABLE;
	} else if (transfer->code == 0 && !transfer->is_elsewhere &&
		   (status == UNAUTHORIZED || status == FORBIDDEN)) {
		return oci_registry_deny(registry, what, text, reterr_problem);
	} else if (transfer->code == 0 && status == NOT_FOUND) {
		condition = OCI_NOT_FOUND;
	}
	return oci_fail(reterr_problem, condition, "%s at '%s': %s", what, host, text);
}

/* Tells a registry that wants to know who asks; *ret_again*: it may be asked once more. A host that
 * it redirected to is told nothing: its challenge could name anybody. */
static int answer_challenge(struct oci_registry *registry, struct oci_transfer *transfer,
			    bool *has_asked, bool *ret_again, struct problem *reterr_problem)
{
	int r;

	*ret_again = false;
	if (transfer->code != 0 || transfer->answer.status != UNAUTHORIZED || *has_asked ||
	    transfer->is_elsewhere)
		return 0;
	*has_asked = true;
	r = oci_registry_authorize(registry, &transfer->answer, reterr_problem);
	if (r != 0)
		return r;
	free(transfer->authorization);
	transfer->authorization = strdup(registry->authorization);
	*ret_again = true;
	return transfer->authorization ? 0 : -ENOMEM;
}

int oci_registry_call(struct oci_registry *registry, struct oci_transfer *transfer,
		      const char *what, struct problem *reterr_problem)
{
	bool has_asked = false;
	bool again = false;
	unsigned failures = 0;

	for (;;) {
		int r = oci_http_perform(registry->http, transfer);

		if (r < 0)
			return r;
		registry->was_reached |= transfer->code == 0;
		r = answer_challenge(registry, transfer, &has_asked, &again, reterr_problem);
		if (r != 0)
			return r;
		if (again)
			continue;
		if (!oci_should_retry(registry, transfer, failures))
			break;
		oci_tell_retry(registry, transfer, NULL);
		clock_sleep_usec(oci_retry_usec(transfer, failures++));
	}
	if (transfer->code != 0 || oci_transfer_is_transient(transfer))
		return oci_registry_judge(registry, transfer, what, reterr_problem);
	return 0;
}

/* Finds out whether a registry on this machine has TLS. */
static int choose_scheme(struct oci_registry *registry, const char *server, const char **ret,
			 struct problem *reterr_problem)
{
	cleanup_oci_transfer struct oci_transfer ping = OCI_TRANSFER_INIT;
	int r;

	*ret = "https";
	if (!oci_host_is_loopback(server))
		return 0;
	if (str_format(&ping.url, "https://%s/v2/", server) < 0)
		return -ENOMEM;
	ping.answer_max = PING_MAX;
	r = oci_http_perform(registry->http, &ping);
	if (r < 0)
		return r;
	if (oci_transfer_is_not_tls(&ping))
		*ret = "http";
	else
		oci_http_forbid_plain(registry->http);
	if (oci_transfer_is_absent(&ping))
		return oci_registry_judge(registry, &ping, "the registry", reterr_problem);
	return 0;
}

int oci_registry_open(const struct oci_reference *reference, const struct oci_options *options,
		      bool wants_push, struct oci_registry **ret, struct problem *reterr_problem)
{
	cleanup_oci_registry struct oci_registry *registry = calloc(1, sizeof(*registry));
	const char *server = oci_reference_server(reference);
	const char *scheme = NULL;
	int r;

	if (!registry)
		return -ENOMEM;
	registry->reference = reference;
	registry->options = options;
	registry->wants_push = wants_push;
	r = oci_credentials_load(options->config_path, reference->host, &registry->credentials,
				 reterr_problem);
	if (r == 0)
		r = oci_http_new(options->ca_file, oci_host_is_loopback(server), &registry->http,
				 reterr_problem);
	if (r == 0)
		r = choose_scheme(registry, server, &scheme, reterr_problem);
	if (r == 0)
		r = str_format(&registry->base, "%s://%s/v2/%s", scheme, server, reference->name);
	if (r != 0)
		return r;
	*ret = TAKE_PTR(registry);
	return 0;
}

struct oci_registry *oci_registry_free(struct oci_registry *registry)
{
	if (!registry)
		return NULL;
	(void)oci_http_free(registry->http);
	oci_credentials_done(&registry->credentials);
	free(registry->base);
	free(registry->authorization);
	free(registry);
	return NULL;
}

void oci_text_done(struct oci_text *text)
{
	free(text->data);
	*text = (struct oci_text){0};
}

/* What came must be what was asked for, and what the registry says it is. */
static int check_digest(const struct oci_transfer *transfer, const char *wanted, const char *what,
			char digest[OCI_DIGEST_TEXT_SIZE], struct problem *reterr_problem)
{
	const char *said = transfer->answer.digest;
	char hex[SHA256_TEXT_SIZE];
	int r = sha256_of(transfer->content.data, transfer->content.size, hex);

	if (r < 0)
		return r;
	(void)snprintf(digest, OCI_DIGEST_TEXT_SIZE, OCI_DIGEST_PREFIX "%s", hex);
	if (oci_digest_is_valid(wanted) && strcmp(wanted, digest) != 0)
		return oci_fail(reterr_problem, OCI_BAD_DIGEST,
				"%s: what came has the digest %s, expected %s", what, digest,
				wanted);
	if (oci_digest_is_valid(said) && strcmp(said, digest) != 0)
		return oci_fail(reterr_problem, OCI_BAD_DIGEST,
				"%s: what came has the digest %s, and the registry says it is %s",
				what, digest, said);
	return 0;
}

int oci_registry_get_manifest(struct oci_registry *registry, const char *wanted,
			      struct oci_text *ret, struct problem *reterr_problem)
{
	cleanup_oci_transfer struct oci_transfer transfer = OCI_TRANSFER_INIT;
	cleanup_free char *what = NULL;
	cleanup_free char *path = NULL;
	int r;

	transfer.accept = OCI_MEDIA_ACCEPTED;
	transfer.answer_max = OCI_DOCUMENT_MAX;
	if (str_format(&path, "manifests/%s", wanted) < 0 ||
	    str_format(&what, "the manifest '%s' of '%s'", wanted, registry->reference->name) < 0)
		return -ENOMEM;
	r = oci_registry_address(registry, &transfer, path);
	if (r == 0)
		r = oci_registry_call(registry, &transfer, what, reterr_problem);
	if (r != 0)
		return r;
	if (transfer.answer.status != STATUS_OK || transfer.content.size == 0)
		return oci_registry_judge(registry, &transfer, what, reterr_problem);
	r = check_digest(&transfer, wanted, what, ret->digest, reterr_problem);
	if (r != 0)
		return r;
	/* Some say application/json, or nothing: then the document speaks for itself. */
	if (oci_media_is_index(transfer.answer.type) || oci_media_is_manifest(transfer.answer.type))
		(void)snprintf(ret->type, sizeof(ret->type), "%s", transfer.answer.type);
	ret->data = TAKE_PTR(transfer.content.data);
	ret->size = transfer.content.size;
	transfer.content = BUFFER_INIT;
	return 0;
}
