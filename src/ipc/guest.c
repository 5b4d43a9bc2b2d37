/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Requests to a VM's guest agent. There are three, without operands: what the host of a VM cannot
 * do to it from outside. A member that is not known is refused, so that a host that wants more of a
 * later version learns that it does not get it.
 */

#include "ipc/guest.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

#define GUEST_SCHEMA 1U
/* How much of a foreign word is shown in a sentence. */
#define GUEST_SHOWN_MAX 64U

static const char *const verbs[] = {
	[GUEST_PING] = "ping",
	[GUEST_HEALTH] = "health",
	[GUEST_SHUTDOWN] = "shutdown",
};

static_assert(ARRAY_SIZE(verbs) == GUEST_VERB_N, "every verb has a name");

static const char *const keys[] = {"schema", "verb", "request_id", NULL};

const char *guest_verb_to_string(enum guest_verb verb)
{
	return verb >= 0 && verb < GUEST_VERB_N ? verbs[verb] : NULL;
}

static bool is_id(const char *text)
{
	size_t size = strlen(text);

	for (const char *c = text; *c; c++) {
		bool is_letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');

		if (!is_letter && !(*c >= '0' && *c <= '9') && !strchr("._-", *c))
			return false;
	}
	return size > 0 && size <= REQUEST_ID_MAX;
}

static int take_id(const json_t *json, struct guest_request *request, struct refusal *refusal)
{
	const char *text = NULL;
	int r = json_member_string(json, "request_id", &text);

	if (r == -ENOENT)
		return 0;
	if (r < 0 || !is_id(text))
		return refuse(refusal, REFUSAL_BAD_REQUEST,
			      "the request's 'request_id' is not acceptable: it must be 1 to %u of "
			      "letters, digits, '.', '_' and '-'",
			      REQUEST_ID_MAX);
	memcpy(request->request_id, text, strlen(text) + 1);
	return 0;
}

static int take_verb(const json_t *json, struct guest_request *request, struct refusal *refusal)
{
	cleanup_free char *shown = NULL;
	const char *text = NULL;

	if (json_member_string(json, "verb", &text) < 0)
		return refuse(refusal, REFUSAL_BAD_REQUEST,
			      "the request has no 'verb': ping, health or shutdown is wanted");
	for (int i = 0; i < GUEST_VERB_N; i++) {
		if (strcmp(verbs[i], text) == 0) {
			request->verb = (enum guest_verb)i;
			return 0;
		}
	}
	shown = str_escape(text, strlen(text), GUEST_SHOWN_MAX);
	return refuse(refusal, REFUSAL_UNKNOWN_VERB,
		      "'%s' is nothing that a guest is asked: ping, health or shutdown is wanted",
		      shown ? shown : "?");
}

int guest_request_parse(const char *text, size_t size, struct guest_request *ret,
			struct refusal *reterr_refusal)
{
	struct json_problem problem = {0};
	cleanup_json json_t *json = NULL;
	const char *unknown;
	uint64_t schema = 0;
	int r = json_parse_object(text, size, &json, &problem);

	*ret = GUEST_REQUEST_INIT;
	if (r < 0)
		return r;
	if (r > 0)
		return refuse(reterr_refusal, REFUSAL_BAD_REQUEST,
			      "the request is no JSON object: %s", problem.text);
	r = take_id(json, ret, reterr_refusal);
	if (r != 0)
		return r;
	if (json_member_uint(json, "schema", GUEST_SCHEMA, &schema) < 0 || schema != GUEST_SCHEMA)
		return refuse(reterr_refusal, REFUSAL_BAD_REQUEST,
			      "the request's 'schema' is not acceptable: it must be %u",
			      GUEST_SCHEMA);
	unknown = json_unknown_key(json, keys);
	if (unknown) {
		cleanup_free char *shown = str_escape(unknown, strlen(unknown), GUEST_SHOWN_MAX);

		return refuse(reterr_refusal, REFUSAL_BAD_REQUEST,
			      "the request has an unknown member '%s'; affix-guestd(8) lists what "
			      "it may hold",
			      shown ? shown : "?");
	}
	return take_verb(json, ret, reterr_refusal);
}

int guest_request_format(const struct guest_request *request, char **ret_text)
{
	cleanup_json json_t *json = json_object();
	char *text = NULL;
	int r = json ? json_add_uint(json, "schema", GUEST_SCHEMA) : -ENOMEM;

	if (r == 0)
		r = json_add_string(json, "verb", guest_verb_to_string(request->verb));
	if (r == 0 && request->request_id[0] != '\0')
		r = json_add_string(json, "request_id", request->request_id);
	if (r == 0)
		text = json_to_canonical(json);
	if (r < 0 || !text)
		return -ENOMEM;
	*ret_text = text;
	return 0;
}
