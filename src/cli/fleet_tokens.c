/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix fleet token`: join tokens, with which hosts enrol, and API tokens, which have a role. One
 * that is made is printed, alone on stdout: it cannot be shown again.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/fleet.h"

#define USES_MAX 1000000U

static const struct fleet_column join_columns[] = {
	{"ID",      "id"      },
        {"NAME",    "name"    },
        {"CREATED", "created" },
        {"EXPIRES", "expires" },
	{"REVOKED", "revoked" },
        {"USES",    "uses"    },
        {"OF",      "max_uses"},
        {NULL,      NULL      },
};

static const struct fleet_column api_columns[] = {
	{"ID",      "id"     },
        {"NAME",    "name"   },
        {"ROLE",    "role"   },
        {"CREATED", "created"},
	{"EXPIRES", "expires"},
        {"REVOKED", "revoked"},
        {NULL,      NULL     },
};

static int out_of_memory(void)
{
	return command_broke(-ENOMEM, "the request could not be made");
}

/* What --role says: an API token; without it, a join token. */
static const char *path_of(const struct fleet_call *call)
{
	return fleet_has(call, FLEET_ROLE) ? "/api/v1/api-tokens" : "/api/v1/join-tokens";
}

static int add_numbers(const struct fleet_call *call, json_t *body)
{
	uint64_t number = 0;
	int code;

	code = fleet_seconds(call, FLEET_EXPIRES, &number);
	if (code == COMMAND_DONE && fleet_has(call, FLEET_EXPIRES) &&
	    json_add_uint(body, "expires_in", number) < 0)
		return out_of_memory();
	if (code == COMMAND_DONE)
		code = fleet_number(call, FLEET_USES, USES_MAX, &number);
	if (code == COMMAND_DONE && fleet_has(call, FLEET_USES) &&
	    json_add_uint(body, "max_uses", number) < 0)
		return out_of_memory();
	return code;
}

static int create(struct fleet_call *call)
{
	cleanup_json json_t *body = json_object();
	cleanup_json json_t *answer = NULL;
	const char *token;
	int code;

	if (call->n_operands != 2)
		return command_usage(&command_fleet, "'token create' takes a name");
	if (fleet_has(call, FLEET_ROLE) && fleet_has(call, FLEET_USES))
		return command_usage(&command_fleet, "--uses is for join tokens");
	if (!body || json_add_string(body, "name", call->operands[1]) < 0 ||
	    (fleet_has(call, FLEET_ROLE) &&
	     json_add_string(body, "role", call->options[FLEET_ROLE]) < 0))
		return out_of_memory();
	code = add_numbers(call, body);
	if (code == COMMAND_DONE)
		code = fleet_client_call(&call->client, "POST", path_of(call), body, &answer);
	if (code != COMMAND_DONE)
		return code;
	if (fleet_has(call, FLEET_JSON))
		code = command_print_json(answer);
	else if (json_member_string(answer, "token", &token) < 0)
		return command_error("the server's answer has no token");
	else
		(void)puts(token);
	/* Nobody will ever see it again. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		(void)command_error("the token was made, but could not be written to standard "
				    "output: revoke it, and make another");
		return COMMAND_FAILED;
	}
	return code;
}

static int list(struct fleet_call *call)
{
	const struct buffer all = BUFFER_INIT;

	if (fleet_has(call, FLEET_ROLE))
		return fleet_show_list(call, "/api/v1/api-tokens", &all, api_columns,
				       "there is no API token");
	return fleet_show_list(call, "/api/v1/join-tokens", &all, join_columns,
			       "there is no join token");
}

static int revoke(struct fleet_call *call)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	cleanup_json json_t *answer = NULL;
	int code;

	if (call->n_operands != 2)
		return command_usage(&command_fleet, "'token revoke' takes a token's number");
	if (buffer_format(&path, "%s", path_of(call)) < 0 ||
	    fleet_add_segment(&path, call->operands[1]) < 0 || buffer_format(&path, "/revoke") < 0)
		return out_of_memory();
	code = fleet_client_call(&call->client, "POST", path.data, NULL, &answer);
	if (code == COMMAND_DONE)
		(void)puts("revoked");
	return code;
}

static int run_token(struct fleet_call *call)
{
	const char *what = call->n_operands > 0 ? call->operands[0] : "list";

	if (strcmp(what, "list") == 0)
		return list(call);
	if (strcmp(what, "create") == 0)
		return create(call);
	if (strcmp(what, "revoke") == 0)
		return revoke(call);
	return command_usage(&command_fleet,
			     "'%s' is nothing that can be done to a token: list, create or revoke",
			     what);
}

const struct fleet_verb fleet_tokens[] = {
	{"token",								  run_token,
	 FLEET_BIT(FLEET_ROLE) | FLEET_BIT(FLEET_EXPIRES) | FLEET_BIT(FLEET_USES), 0, 2,
	 "[create NAME|revoke ID|list]"},
	{0},
};
