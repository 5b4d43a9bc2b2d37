/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From a request to its answer: find the route, find out who asks, read what was sent, let the
 * handler do it within a transaction of its own, and say how it ended. A change that is answered
 * with success is on disk.
 */

#include "control/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/api_call.h"

#define UPLOAD_PATH "/api/v1/packages"
#define PULL_PATH   "/api/v1/packages/pull"
#define JSON_TYPE   "application/json"

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Takes %XX (and '+' in a query) back. 0; 1 for what is no text: bad escapes, NUL, not UTF-8. */
static int decode(const char *text, size_t size, bool is_query, char **ret)
{
	cleanup_free char *decoded = malloc(size + 1);
	size_t n = 0;

	if (!decoded)
		return -ENOMEM;
	for (size_t i = 0; i < size; i++) {
		int high = text[i] == '%' && size - i > 2 ? hex_value(text[i + 1]) : -1;
		int low = high >= 0 ? hex_value(text[i + 2]) : -1;
		uint8_t byte = (uint8_t)text[i];

		if (text[i] == '%') {
			if (low < 0)
				return 1;
			byte = (uint8_t)(high * 16 + low);
			i += 2;
		} else if (text[i] == '+' && is_query) {
			byte = ' ';
		}
		memcpy(decoded + n++, &byte, 1);
	}
	if (!str_is_utf8(decoded, n))
		return 1;
	decoded[n] = '\0';
	*ret = TAKE_PTR(decoded);
	return 0;
}

bool api_is_upload(const char *method, const char *path)
{
	return str_equal(method, "POST") && str_equal(path, UPLOAD_PATH);
}

bool api_is_patient(const char *method, const char *path)
{
	return api_is_upload(method, path) ||
	       (str_equal(method, "POST") && str_equal(path, PULL_PATH));
}

/* Whether *path* is one of the route's; its variable segments go to the call. */
static int match(const struct api_route *route, const char *path, struct api_call *call, bool *ret)
{
	const char *pattern = route->path;
	unsigned n = 0;

	*ret = false;
	while (*pattern != '\0' && *path != '\0') {
		size_t wanted = strcspn(pattern + 1, "/") + 1;
		size_t given = strcspn(path + 1, "/") + 1;

		if (*path != '/')
			return 0;
		if (pattern[1] == '{') {
			int r;

			free(call->parameters[n]);
			call->parameters[n] = NULL;
			r = decode(path + 1, given - 1, false, &call->parameters[n]);
			if (r != 0 || given == 1)
				return r < 0 ? r : 0;
			n++;
		} else if (wanted != given || memcmp(pattern, path, given) != 0) {
			return 0;
		}
		pattern += wanted;
		path += given;
	}
	*ret = *pattern == '\0' && *path == '\0';
	return 0;
}

static int find_route(struct api_call *call, const struct api_route **ret)
{
	const char *method = call->request->method;
	bool is_path_known = false;

	if (str_equal(method, "HEAD"))
		method = "GET";
	for (const struct api_route *route = api_routes; route->method; route++) {
		bool matches = false;
		int r = match(route, call->request->path, call, &matches);

		if (r < 0)
			return r;
		if (matches && str_equal(route->method, method)) {
			*ret = route;
			return 0;
		}
		is_path_known = is_path_known || matches;
	}
	if (is_path_known)
		return api_refuse(&call->problem, 405, "method-not-allowed", NULL,
				  "this cannot be done with what the path names");
	return api_refuse(&call->problem, 404, "not-found", NULL, "there is nothing at this path");
}

static int authorize(struct api_call *call, enum token_role wanted)
{
	const char *token = token_from_header(call->request->authorization);
	cleanup_free char *who = NULL;
	int r;

	if (wanted == TOKEN_ROLE_NONE)
		return 0;
	if (!token)
		return api_refuse(&call->problem, 401, "unauthorized", NULL,
				  "a token is wanted: 'Authorization: Bearer TOKEN'");
	r = token_find_api(call->fleet->store, token, call->actor.time, &call->role, &who);
	if (r != 0)
		return r;
	if (call->role == TOKEN_ROLE_NONE)
		return api_refuse(&call->problem, 401, "unauthorized", NULL,
				  "the token is not known, expired or revoked");
	r = str_format(&call->token_name, "token '%s'", who);
	if (r < 0)
		return r;
	call->actor.who = call->token_name;
	if (call->role < wanted)
		return api_refuse(&call->problem, 403, "forbidden", NULL,
				  "this needs the role %s, and the token's is %s",
				  token_role_to_string(wanted), token_role_to_string(call->role));
	return 0;
}

static int read_query(struct api_call *call)
{
	const char *at = call->request->query;

	while (at && *at != '\0') {
		size_t size = strcspn(at, "&");
		size_t name = MIN(strcspn(at, "="), size);
		struct api_pair *pair = &call->query[call->n_query];
		int r;

		if (call->n_query == API_QUERY_MAX)
			return api_refuse(&call->problem, 400, "bad-request", NULL,
					  "the query has more than %u parameters", API_QUERY_MAX);
		call->n_query++;
		r = decode(at, name, true, &pair->name);
		if (r == 0)
			r = name < size ? decode(at + name + 1, size - name - 1, true, &pair->value)
					: decode("", 0, true, &pair->value);
		if (r > 0)
			return api_refuse(&call->problem, 400, "bad-request", NULL,
					  "the query is not percent-encoded UTF-8");
		if (r < 0)
			return r;
		at += size + (at[size] == '&');
	}
	return 0;
}

static int read_body(struct api_call *call)
{
	const struct api_request *request = call->request;
	struct json_problem problem = {0};
	int r;

	if (request->body_size > API_BODY_MAX)
		return api_refuse(&call->problem, 413, "too-large", NULL,
				  "a body has at most %u bytes", API_BODY_MAX);
	if (request->body_size == 0) {
		call->body = json_object();
		return call->body ? 0 : -ENOMEM;
	}
	if (request->content_type &&
	    strncasecmp(request->content_type, JSON_TYPE, strlen(JSON_TYPE)) != 0)
		return api_refuse(&call->problem, 415, "bad-content-type", NULL,
				  "expected a body of type " JSON_TYPE);
	r = json_parse_object(request->body, request->body_size, &call->body, &problem);
	if (r > 0)
		return api_refuse(&call->problem, 400, "bad-json", NULL,
				  "the body is not one JSON object without duplicate keys: %s",
				  problem.text);
	return r;
}

static int run_change(struct api_call *call, const struct api_route *route)
{
	struct fleet *fleet = call->fleet;
	uint64_t generation = fleet->generation;
	int r;

	r = store_mark(fleet->store);
	if (r != 0)
		return r;
	r = route->handler(call);
	if (r == 0)
		r = store_keep(fleet->store);
	if (r == 0)
		return fleet_flush(fleet);
	store_undo(fleet->store);
	/* What was loaded since may be what was undone. */
	if (fleet->generation != generation)
		fleet_changed(fleet);
	return r;
}

static int handle(struct api_call *call)
{
	const struct api_route *route = NULL;
	int r;

	r = find_route(call, &route);
	if (r == 0)
		r = authorize(call, route->role);
	if (r == 0 && call->request->is_question) {
		call->response->status = 100;
		return 0;
	}
	if (r == 0)
		r = read_query(call);
	if (r == 0 && route->has_body)
		r = read_body(call);
	if (r != 0)
		return r;
	return str_equal(route->method, "GET") ? route->handler(call) : run_change(call, route);
}

/* A sentence for what broke, as far as it concerns whoever asked. */
static void explain_failure(struct api_call *call, int r)
{
	struct api_problem *problem = &call->problem;

	switch (r) {
	case -ENOSPC:
	case -EDQUOT:
		api_problem_set(problem, 507, "disk-full", NULL,
				"the disk of the fleet's data is full; nothing was changed");
		break;
	case -EBUSY:
		api_problem_set(problem, 503, "database-locked", NULL,
				"another program holds the database; nothing was changed, try "
				"again");
		break;
	case -EBADMSG:
		api_problem_set(problem, 500, "database-damaged", NULL,
				"the database is damaged; nothing was changed");
		break;
	default:
		api_problem_set(problem, 500, "internal", NULL,
				"the request could not be done: %s; nothing was changed",
				strerrordesc_np(-r));
		break;
	}
}

static void answer_problem(struct api_call *call)
{
	const struct api_problem *problem = &call->problem;
	json_t *error = json_pack("{s:s, s:s, s:s}", "name", problem->name, "message",
				  problem->message, "path", problem->path);
	cleanup_json json_t *object = json_pack("{s:i, s:o}", "schema", 1, "error", error);

	api_response_done(call->response);
	call->response->status = problem->status;
	call->response->content_type = JSON_TYPE;
	call->response->retry_after = problem->status == 503 ? 5 : 0;
	call->response->body = object ? json_dumps(object, JSON_COMPACT) : NULL;
	call->response->body_size = call->response->body ? strlen(call->response->body) : 0;
}

static void call_done(struct api_call *call)
{
	for (size_t i = 0; i < call->n_query; i++) {
		free(call->query[i].name);
		free(call->query[i].value);
	}
	for (size_t i = 0; i < API_PARAMETERS_MAX; i++)
		free(call->parameters[i]);
	free(call->token_name);
	json_decref(call->body);
}

void api_handle(struct fleet *fleet, const struct api_request *request, struct api_response *ret)
{
	struct api_call call = {
		.fleet = fleet,
		.request = request,
		.response = ret,
		.actor = {"nobody", request->peer, fleet_now(fleet)},
	};
	int r;

	*ret = API_RESPONSE_INIT;
	fleet->counters.requests++;
	r = handle(&call);
	/* A condition that the handler did not foresee is a failure, too. */
	if (r > 0 && !call.problem.name)
		r = -EIO;
	if (r < 0)
		explain_failure(&call, r);
	if (r != 0)
		answer_problem(&call);
	ret->is_proven = call.role != TOKEN_ROLE_NONE;
	call_done(&call);
}

void api_response_done(struct api_response *response)
{
	free(response->body);
	*response = API_RESPONSE_INIT;
}
