/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What became of a transfer that did not go well: as a sentence, and as what may be done about it.
 * Registries explain themselves in JSON (distribution-spec, error codes); what they say is shown,
 * made safe.
 */

#include "oci/http.h"

#include <stdio.h>
#include <string.h>

#include "base/curl.h"
#include "base/json.h"

#define SAID_MAX  200U
#define URL_SHOWN 200

/* "DENIED: requested access to the resource is denied", or NULL. */
static char *said_by_registry(const struct oci_transfer *transfer)
{
	cleanup_json json_t *json = NULL;
	cleanup_free char *text = NULL;
	const char *message;
	const char *code;
	json_t *error;

	if (transfer->content.size == 0 ||
	    json_parse_object(transfer->content.data, transfer->content.size, &json, NULL) != 0)
		return NULL;
	error = json_array_get(json_object_get(json, "errors"), 0);
	code = json_string_value(json_object_get(error, "code"));
	message = json_string_value(json_object_get(error, "message"));
	if (!code || str_format(&text, "%s: %s", code, message ? message : "") < 0)
		return NULL;
	return str_escape(text, strlen(text), SAID_MAX);
}

void oci_transfer_explain(const struct oci_transfer *transfer, char text[OCI_EXPLANATION_MAX])
{
	const char *url = transfer->target ? transfer->target : transfer->url;
	cleanup_free char *shown = str_escape(url, strlen(url), URL_SHOWN);
	cleanup_free char *said = said_by_registry(transfer);

	if (transfer->is_forbidden)
		(void)snprintf(text, OCI_EXPLANATION_MAX,
			       "'%s' is not gone to: expected https, or http to this machine",
			       shown ? shown : "?");
	else if (transfer->is_too_long)
		(void)snprintf(text, OCI_EXPLANATION_MAX, "the answer has more than %zu bytes",
			       transfer->answer_max);
	else if (transfer->sink_error < 0)
		(void)snprintf(text, OCI_EXPLANATION_MAX, "what came could not be written: %s",
			       strerrordesc_np(-transfer->sink_error));
	else if (transfer->code != CURLE_OK)
		(void)snprintf(text, OCI_EXPLANATION_MAX, "%s",
			       oci_http_strerror(transfer->http, transfer->code));
	else
		(void)snprintf(text, OCI_EXPLANATION_MAX, "HTTP status %ld%s%s",
			       transfer->answer.status, said ? ", " : "", said ? said : "");
}

bool oci_transfer_is_transient(const struct oci_transfer *transfer)
{
	static const long transient[] = {408, 425, 429, 500, 502, 503, 504};

	if (transfer->is_forbidden || transfer->is_too_long || transfer->sink_error < 0 ||
	    oci_transfer_is_untrusted(transfer))
		return false;
	if (transfer->code != CURLE_OK)
		return transfer->code != CURLE_URL_MALFORMAT &&
		       transfer->code != CURLE_UNSUPPORTED_PROTOCOL &&
		       transfer->code != CURLE_TOO_MANY_REDIRECTS &&
		       transfer->code != CURLE_OUT_OF_MEMORY;
	for (size_t i = 0; i < ARRAY_SIZE(transient); i++) {
		if (transfer->answer.status == transient[i])
			return true;
	}
	return false;
}

bool oci_transfer_is_untrusted(const struct oci_transfer *transfer)
{
	return transfer->is_forbidden || transfer->code == CURLE_PEER_FAILED_VERIFICATION ||
	       transfer->code == CURLE_SSL_CACERT_BADFILE ||
	       transfer->code == CURLE_SSL_ISSUER_ERROR || transfer->code == CURLE_SSL_CERTPROBLEM;
}

bool oci_transfer_is_not_tls(const struct oci_transfer *transfer)
{
	return transfer->code == CURLE_SSL_CONNECT_ERROR;
}

bool oci_transfer_is_absent(const struct oci_transfer *transfer)
{
	return transfer->code == CURLE_COULDNT_CONNECT ||
	       transfer->code == CURLE_COULDNT_RESOLVE_HOST ||
	       transfer->code == CURLE_COULDNT_RESOLVE_PROXY;
}
