/* SPDX-License-Identifier: Apache-2.0 */

/* Tokens of both kinds, and the audit log. A token's text is in the answer that makes it and
 * nowhere else. */

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/api_call.h"

#define SECONDS_MAX   (10ULL * 366 * 86400)
#define JOIN_SECONDS  86400U
#define MAX_USES_MOST 1000000U

static int join_json(struct api_call *call, struct store_rows *rows, json_t **ret)
{
	(void)call;
	*ret = json_pack(
		"{s:I, s:s, s:o, s:o, s:o, s:I, s:I}", "id", (json_int_t)store_int(rows, 0), "name",
		store_text(rows, 1), "created", fleet_time_json(store_int(rows, 2)), "expires",
		fleet_time_json(store_int(rows, 3)), "revoked", fleet_time_json(store_int(rows, 4)),
		"max_uses", (json_int_t)store_int(rows, 5), "uses", (json_int_t)store_int(rows, 6));
	return *ret ? 0 : -ENOMEM;
}

static int token_json(struct api_call *call, struct store_rows *rows, json_t **ret)
{
	(void)call;
	*ret = json_pack("{s:I, s:s, s:o, s:o, s:o, s:s}", "id", (json_int_t)store_int(rows, 0),
			 "name", store_text(rows, 1), "created",
			 fleet_time_json(store_int(rows, 2)), "expires",
			 fleet_time_json(store_int(rows, 3)), "revoked",
			 fleet_time_json(store_int(rows, 4)), "role", store_text(rows, 5));
	return *ret ? 0 : -ENOMEM;
}

static int audit_json(struct api_call *call, struct store_rows *rows, json_t **ret)
{
	json_t *before =
		store_is_null(rows, 6) ? json_null() : json_loads(store_text(rows, 6), 0, NULL);
	json_t *after =
		store_is_null(rows, 7) ? json_null() : json_loads(store_text(rows, 7), 0, NULL);

	(void)call;
	*ret = json_pack("{s:I, s:o, s:s, s:s, s:s, s:s, s:o, s:o}", "id",
			 (json_int_t)store_int(rows, 0), "time",
			 fleet_time_json(store_int(rows, 1)), "who", store_text(rows, 2), "peer",
			 store_text(rows, 3), "action", store_text(rows, 4), "object",
			 store_text(rows, 5), "before", before, "after", after);
	return *ret ? 0 : -ENOMEM;
}

int api_join_list(struct api_call *call)
{
	return api_answer_rows(call, (const char *const[]){NULL},
			       "SELECT id, name, created, expires, revoked, max_uses, uses "
			       "FROM join_token WHERE id > $1 ORDER BY id",
			       join_json);
}

int api_token_list(struct api_call *call)
{
	return api_answer_rows(call, (const char *const[]){NULL},
			       "SELECT id, name, created, expires, revoked, role "
			       "FROM api_token WHERE id > $1 ORDER BY id",
			       token_json);
}

/* Newest first: `after` is the oldest entry of the page before. */
int api_audit_list(struct api_call *call)
{
	return api_answer_rows(call, (const char *const[]){"object", NULL},
			       "SELECT id, time, who, peer, action, object, before, after "
			       "FROM audit WHERE ($1 = 0 OR id < $1) AND "
			       "($2 IS NULL OR object = $2) ORDER BY id DESC",
			       audit_json);
}

static int read_name(struct api_call *call, const char **ret)
{
	int r = api_body_text(call, "name", NULL, ret);

	if (r == 0 && !token_name_is_valid(*ret))
		return api_refuse(&call->problem, 400, "bad-request", "/name",
				  "a name is 1 to 64 characters of printable ASCII without quotes");
	return r;
}

static int audit_token(struct api_call *call, const char *action, const char *kind, int64_t id,
		       const json_t *before, const json_t *after)
{
	char object[64];

	(void)snprintf(object, sizeof(object), "%s %lld", kind, (long long)id);
	return audit_add(call->fleet->store, &call->actor, action, object, before, after);
}

/* Audits *shown* and answers with it and the secret. */
static int answer_token(struct api_call *call, const char *kind, int64_t id, json_t *shown,
			struct token *token)
{
	cleanup_json json_t *owned = shown;
	int r;

	if (!owned)
		return -ENOMEM;
	r = audit_token(call, "create", kind, id, NULL, owned);
	if (r == 0)
		r = json_add_string(owned, "token", token->text);
	sodium_memzero(token, sizeof(*token));
	return r == 0 ? api_answer(call, 201, TAKE_PTR(owned)) : r;
}

int api_join_create(struct api_call *call)
{
	static const char *const known[] = {"name", "expires_in", "max_uses", NULL};
	struct token_join join = {0};
	struct token token = {0};
	uint64_t seconds = 0;
	int64_t id = 0;
	int r;

	r = api_body_known(call, known);
	if (r == 0)
		r = read_name(call, &join.name);
	if (r == 0)
		r = api_body_uint(call, "expires_in", SECONDS_MAX, JOIN_SECONDS, &seconds);
	if (r == 0)
		r = api_body_uint(call, "max_uses", MAX_USES_MOST, 0, &join.max_uses);
	if (r != 0)
		return r;
	join.expires = seconds > 0 ? call->actor.time + seconds : 0;
	r = token_create_join(call->fleet->store, &join, call->actor.time, &token, &id);
	if (r != 0)
		return r;
	return answer_token(call, "join-token", id,
			    json_pack("{s:I, s:s, s:o, s:I}", "id", (json_int_t)id, "name",
				      join.name, "expires", fleet_time_json(join.expires),
				      "max_uses", (json_int_t)join.max_uses),
			    &token);
}

int api_token_create(struct api_call *call)
{
	static const char *const known[] = {"name", "role", "expires_in", NULL};
	const char *role_name = NULL;
	const char *name = NULL;
	enum token_role role;
	struct token token = {0};
	uint64_t seconds = 0;
	int64_t id = 0;
	int r;

	r = api_body_known(call, known);
	if (r == 0)
		r = read_name(call, &name);
	if (r == 0)
		r = api_body_text(call, "role", NULL, &role_name);
	if (r == 0)
		r = api_body_uint(call, "expires_in", SECONDS_MAX, 0, &seconds);
	if (r != 0)
		return r;
	role = token_role_from_string(role_name);
	if (role == TOKEN_ROLE_NONE)
		return api_refuse(&call->problem, 400, "bad-request", "/role",
				  "a role is viewer, operator or admin");
	if (seconds > 0)
		seconds += call->actor.time;
	r = token_create_api(call->fleet->store, name, role, call->actor.time, seconds, &token,
			     &id);
	if (r == STORE_E_EXISTS)
		return api_refuse(&call->problem, 409, "exists", "/name",
				  "there is a token of that name already");
	if (r != 0)
		return r;
	return answer_token(call, "api-token", id,
			    json_pack("{s:I, s:s, s:s, s:o}", "id", (json_int_t)id, "name", name,
				      "role", role_name, "expires", fleet_time_json(seconds)),
			    &token);
}

/* {"name", "revoked"}: which it was, and since when it is good for nothing; 0 for not yet. */
static int token_then(struct api_call *call, const char *table, int64_t id, uint64_t revoked,
		      json_t **ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select(call->fleet->store, &rows,
			 str_equal(table, "join_token")
				 ? "SELECT name FROM join_token WHERE id = $1"
				 : "SELECT name FROM api_token WHERE id = $1",
			 STORE_INT(id));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0)
		return r;
	*ret = json_pack("{s:s, s:o}", "name", row ? store_text(rows, 0) : "", "revoked",
			 fleet_time_json(revoked));
	return *ret ? 0 : -ENOMEM;
}

static int revoke(struct api_call *call, const char *table, const char *kind)
{
	cleanup_json json_t *before = NULL;
	cleanup_json json_t *after = NULL;
	int64_t id = 0;
	int r;

	r = api_parameter_id(call, 0, &id);
	if (r != 0)
		return r;
	r = token_revoke(call->fleet->store, table, id, call->actor.time);
	if (r > 0)
		return api_refuse(&call->problem, 404, "not-found", NULL,
				  "there is no such token, or it is revoked already");
	if (r == 0)
		r = token_then(call, table, id, 0, &before);
	if (r == 0)
		r = token_then(call, table, id, call->actor.time, &after);
	if (r == 0)
		r = audit_token(call, "revoke", kind, id, before, after);
	return r == 0 ? api_answer_nothing(call) : r;
}

int api_join_revoke(struct api_call *call)
{
	return revoke(call, "join_token", "join-token");
}

int api_token_revoke(struct api_call *call)
{
	return revoke(call, "api_token", "api-token");
}
