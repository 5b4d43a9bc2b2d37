/* SPDX-License-Identifier: Apache-2.0 */

/* Packages: import, approval, revocation, and what is in them. */

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/api_call.h"
#include "control/package.h"
#include "control/package_arrival.h"
#include "control/package_url.h"
#include "crypto/minisign.h"

static int package_json(struct api_call *call, struct store_rows *rows, json_t **ret)
{
	return package_to_json(call->fleet, store_int(rows, 0), ret);
}

int api_package_list(struct api_call *call)
{
	return api_answer_rows(call, (const char *const[]){"addon", "state", NULL},
			       "SELECT id FROM package WHERE id > $1 AND "
			       "($2 IS NULL OR addon = $2) AND ($3 IS NULL OR state = $3) "
			       "ORDER BY id",
			       package_json);
}

/* Answers with one package, found by the path. */
static int answer_package(struct api_call *call, unsigned status)
{
	json_t *object = NULL;
	int64_t id = 0;
	int r;

	r = package_find(call->fleet, call->parameters[0], call->parameters[1], &id);
	if (r == 0)
		r = package_to_json(call->fleet, id, &object);
	if (r > 0)
		return api_refuse(&call->problem, 404, "not-found", NULL,
				  "there is no such package");
	return r == 0 ? api_answer(call, status, object) : r;
}

int api_package_get(struct api_call *call)
{
	return answer_package(call, 200);
}

/* The signature file, from the query in base64url. */
static int read_signature(struct api_call *call, char text[MINISIGN_FILE_MAX + 1], size_t *ret_size)
{
	const char *encoded = api_query(call, "signature");

	if (!encoded)
		return api_refuse(&call->problem, 400, "bad-request", "signature",
				  "the bundle's signature file is wanted, in base64url");
	if (sodium_base642bin((unsigned char *)text, MINISIGN_FILE_MAX, encoded, strlen(encoded),
			      "=", ret_size, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
	    memchr(text, '\0', *ret_size))
		return api_refuse(&call->problem, 400, "bad-request", "signature",
				  "this is not a text in base64url of at most %u bytes",
				  MINISIGN_FILE_MAX);
	text[*ret_size] = '\0';
	return 0;
}

/* The upload as something to be checked. */
static int take_upload(struct api_call *call, struct package_arrival **ret)
{
	char signature[MINISIGN_FILE_MAX + 1] = "";
	struct package_upload upload = {.name = call->request->spooled_name,
					.signature = signature};
	int r;

	r = read_signature(call, signature, &upload.signature_size);
	if (r == 0 && !upload.name)
		return api_refuse(&call->problem, 400, "bad-request", NULL,
				  "the body is to be the bundle; there was none");
	return r == 0 ? package_arrival_new(call->fleet, &upload, ret) : r;
}

static int import(struct api_call *call, const struct package_arrival *arrival)
{
	json_t *object = NULL;
	int64_t id = 0;
	int r;

	r = package_import(call->fleet, arrival, &call->actor, &id, &call->problem);
	if (r == 0)
		r = package_keep(call->fleet, arrival);
	if (r == 0)
		r = package_to_json(call->fleet, id, &object);
	return r == 0 ? api_answer(call, 201, object) : r;
}

int api_package_import(struct api_call *call)
{
	static const char *const known[] = {"signature", NULL};
	int r = api_query_known(call, known);

	return r == 0 ? api_import(call, take_upload, import) : r;
}

int api_package_approve(struct api_call *call)
{
	static const char *const known[] = {"capabilities", "revision", NULL};
	struct package_approval approval = {
		.capabilities = json_object_get(call->body, "capabilities"),
	};
	int r = api_body_known(call, known);

	if (r == 0 && json_object_get(call->body, "revision"))
		r = api_body_text(call, "revision", NULL, &approval.revision);
	if (r == 0)
		r = package_approve(call->fleet, call->parameters[0], call->parameters[1],
				    &approval, &call->actor, &call->problem);
	return r == 0 ? answer_package(call, 200) : r;
}

int api_package_revoke(struct api_call *call)
{
	static const char *const known[] = {"reason", NULL};
	const char *reason = NULL;
	int r = api_body_known(call, known);

	if (r == 0)
		r = api_body_text(call, "reason", "", &reason);
	if (r == 0)
		r = package_revoke(call->fleet, call->parameters[0], call->parameters[1], reason,
				   &call->actor, &call->problem);
	return r == 0 ? answer_package(call, 200) : r;
}

/* The text in the only column of the first row, copied. */
static int answer_column(struct api_call *call, struct store_rows *rows, const char *type)
{
	bool row = false;
	const char *text;
	int r;

	r = store_next(rows, &row);
	if (r != 0)
		return r;
	if (!row)
		return api_refuse(&call->problem, 404, "not-found", NULL,
				  "there is no such package or artifact");
	text = store_text(rows, 0);
	return api_answer_text(call, type, strdup(text), strlen(text));
}

int api_package_schema(struct api_call *call)
{
	cleanup_rows struct store_rows *rows = NULL;
	int r;

	r = store_select(call->fleet->store, &rows,
			 "SELECT schema FROM package WHERE addon = $1 AND version = $2",
			 STORE_TEXT(call->parameters[0]), STORE_TEXT(call->parameters[1]));
	return r == 0 ? answer_column(call, rows, "application/schema+json") : r;
}

static int select_artifact(struct api_call *call, const char *sql, struct store_rows **ret)
{
	return store_select(call->fleet->store, ret, sql, STORE_TEXT(call->parameters[0]),
			    STORE_TEXT(call->parameters[1]), STORE_TEXT(call->parameters[2]),
			    STORE_TEXT(call->parameters[3]));
}

int api_package_signature(struct api_call *call)
{
	cleanup_rows struct store_rows *rows = NULL;
	int r;

	r = select_artifact(call,
			    "SELECT a.signature FROM artifact a JOIN package p ON p.id = a.package "
			    "WHERE p.addon = $1 AND p.version = $2 AND a.os = $3 AND a.arch = $4",
			    &rows);
	return r == 0 ? answer_column(call, rows, "text/plain") : r;
}

int api_package_artifact(struct api_call *call)
{
	cleanup_rows struct store_rows *rows = NULL;
	struct api_response *response = call->response;
	int r;

	r = select_artifact(call,
			    "SELECT a.sha256 FROM artifact a JOIN package p ON p.id = a.package "
			    "WHERE p.addon = $1 AND p.version = $2 AND a.os = $3 AND a.arch = $4",
			    &rows);
	if (r == 0)
		r = answer_column(call, rows, "application/octet-stream");
	if (r != 0)
		return r;
	/* The front sends the file. */
	memcpy(response->artifact, response->body,
	       MIN(response->body_size, sizeof(response->artifact) - 1));
	free(response->body);
	response->body = NULL;
	response->body_size = 0;
	return 0;
}
