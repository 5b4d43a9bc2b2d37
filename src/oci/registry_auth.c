/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who we are to a registry: by name and password with each request (Basic), or by a token that is
 * had for them elsewhere (Bearer, https://distribution.github.io/distribution/spec/auth/token/),
 * without them too where anybody may read. The scope is what this session is for, not what the
 * challenge asks: a push needs one token, not one per kind of request.
 */

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/json.h"
#include "oci/challenge.h"
#include "oci/registry_call.h"

#define TOKEN_ANSWER_MAX 65536U
#define TOKEN_MAX        32768U
#define STATUS_OK        200

static int add_encoded(struct buffer *query, const char *name, const char *value)
{
	int r = buffer_format(query, "%s=", name);

	for (; *value && r == 0; value++) {
		unsigned char byte = (unsigned char)*value;

		if (isascii(byte) && (isalnum(byte) || strchr("-._~", byte)))
			r = buffer_add(query, value, 1);
		else
			r = buffer_format(query, "%%%02X", byte);
	}
	return r == 0 ? buffer_add(query, "&", 1) : r;
}

static int add_scope(struct buffer *query, const struct oci_registry *registry,
		     const struct oci_challenge *challenge)
{
	cleanup_free char *scope = NULL;
	int r = str_format(&scope, "repository:%s:%s", registry->reference->name,
			   registry->wants_push ? "pull,push" : "pull");

	if (r == 0 && *challenge->service)
		r = add_encoded(query, "service", challenge->service);
	return r == 0 ? add_encoded(query, "scope", scope) : r;
}

/* A token for an identity token: a form is posted (OAuth2). */
static int prepare_exchange(const struct oci_registry *registry,
			    const struct oci_challenge *challenge, struct buffer *form,
			    struct oci_transfer *transfer)
{
	if (add_scope(form, registry, challenge) < 0 ||
	    buffer_format(form, "grant_type=refresh_token&client_id=affix&") < 0 ||
	    add_encoded(form, "refresh_token", registry->credentials.identity_token) < 0 ||
	    str_format(&transfer->url, "%s", challenge->realm) < 0)
		return -ENOMEM;
	transfer->method = "POST";
	transfer->type = "application/x-www-form-urlencoded";
	transfer->body = form->data;
	transfer->body_size = form->size;
	return 0;
}

/* A token for name and password, or for nobody. */
static int prepare_get(const struct oci_registry *registry, const struct oci_challenge *challenge,
		       struct buffer *query, struct oci_transfer *transfer)
{
	if (add_scope(query, registry, challenge) < 0 ||
	    str_format(&transfer->url, "%s%s%s", challenge->realm,
		       strchr(challenge->realm, '?') ? "&" : "?", query->data) < 0)
		return -ENOMEM;
	if (registry->credentials.basic &&
	    str_format(&transfer->authorization, "Basic %s", registry->credentials.basic) < 0)
		return -ENOMEM;
	return 0;
}

static bool is_token(const char *text)
{
	size_t length = strlen(text);

	if (length == 0 || length > TOKEN_MAX)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isgraph((unsigned char)text[i]))
			return false;
	}
	return true;
}

static int keep_token(struct oci_registry *registry, const struct oci_transfer *transfer,
		      struct problem *reterr_problem)
{
	cleanup_json json_t *json = NULL;
	const char *token = NULL;

	if (transfer->content.size > 0 &&
	    json_parse_object(transfer->content.data, transfer->content.size, &json, NULL) == 0) {
		token = json_string_value(json_object_get(json, "token"));
		if (str_is_empty(token))
			token = json_string_value(json_object_get(json, "access_token"));
	}
	if (!token || !is_token(token))
		return oci_fail(reterr_problem, OCI_UNAUTHORIZED,
				"the token service of '%s' answered without a token",
				registry->reference->host);
	return str_format(&registry->authorization, "Bearer %s", token);
}

static int get_token(struct oci_registry *registry, const struct oci_challenge *challenge,
		     struct problem *reterr_problem)
{
	cleanup_oci_transfer struct oci_transfer transfer = OCI_TRANSFER_INIT;
	cleanup_buffer struct buffer words = BUFFER_INIT;
	int r;

	transfer.answer_max = TOKEN_ANSWER_MAX;
	r = registry->credentials.identity_token
		    ? prepare_exchange(registry, challenge, &words, &transfer)
		    : prepare_get(registry, challenge, &words, &transfer);
	if (r == 0)
		r = oci_http_perform(registry->http, &transfer);
	if (r < 0)
		return r;
	if (transfer.code != 0 || transfer.answer.status != STATUS_OK)
		return oci_registry_judge(registry, &transfer, "a token", reterr_problem);
	return keep_token(registry, &transfer, reterr_problem);
}

int oci_registry_deny(const struct oci_registry *registry, const char *what, const char *text,
		      struct problem *reterr_problem)
{
	const struct oci_credentials *credentials = &registry->credentials;
	const char *host = registry->reference->host;

	if (credentials->basic || credentials->identity_token)
		return oci_fail(reterr_problem, OCI_UNAUTHORIZED,
				"%s at '%s': %s, for the account in '%s'; log in with one that may "
				"(docker login, skopeo login)",
				what, host, text, credentials->path);
	if (credentials->helper)
		return oci_fail(reterr_problem, OCI_UNAUTHORIZED,
				"%s at '%s': %s, and '%s' leaves its credentials to the helper "
				"'%s', which is not run here; log in into a file that has them "
				"(skopeo login --authfile FILE %s) and name it with --authfile",
				what, host, text, credentials->path, credentials->helper, host);
	return oci_fail(reterr_problem, OCI_UNAUTHORIZED,
			"%s at '%s': %s, and '%s' has no credentials for it; log in first (docker "
			"login, skopeo login)",
			what, host, text, credentials->path);
}

int oci_registry_authorize(struct oci_registry *registry, const struct oci_answer *answer,
			   struct problem *reterr_problem)
{
	struct oci_challenge challenge;

	oci_challenge_parse(answer->challenge, &challenge);
	free(registry->authorization);
	registry->authorization = NULL;
	switch (challenge.kind) {
	case OCI_CHALLENGE_BEARER:
		return get_token(registry, &challenge, reterr_problem);
	case OCI_CHALLENGE_BASIC:
		if (!registry->credentials.basic)
			return oci_registry_deny(registry, "what was asked for",
						 "it wants name and password", reterr_problem);
		return str_format(&registry->authorization, "Basic %s",
				  registry->credentials.basic);
	default:
		return oci_fail(reterr_problem, OCI_UNAUTHORIZED,
				"'%s' wants another kind of credentials than name and password or "
				"a token",
				registry->reference->host);
	}
}
