/* SPDX-License-Identifier: Apache-2.0 */

/* `affix fleet`: packages, assignments and hosts, where something is changed. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/fleet.h"

#define CONFIG_SIZE_MAX 262144U /* 256 KiB, as hosts take it */
#define PRIORITY_MAX    1000000U

static int out_of_memory(void)
{
	return command_broke(-ENOMEM, "the request could not be made");
}

int fleet_send_change(struct fleet_call *call, const char *method, const char *path, json_t *body,
		      const char *done)
{
	cleanup_json json_t *owned = body;
	cleanup_json json_t *answer = NULL;
	int code;

	code = fleet_client_call(&call->client, method, path, owned, &answer);
	if (code != COMMAND_DONE)
		return code;
	if (fleet_has(call, FLEET_JSON)) {
		if (!json_object_get(answer, "schema") && json_add_uint(answer, "schema", 1) < 0)
			return out_of_memory();
		return command_print_json(answer);
	}
	(void)puts(done);
	return COMMAND_DONE;
}

int fleet_send_creation(struct fleet_call *call, const char *path, json_t *body, const char *what)
{
	cleanup_json json_t *owned = body;
	cleanup_json json_t *answer = NULL;
	cleanup_free char *id = NULL;
	int code;

	code = fleet_client_call(&call->client, "POST", path, owned, &answer);
	if (code != COMMAND_DONE)
		return code;
	if (fleet_has(call, FLEET_JSON))
		return command_print_json(answer);
	id = fleet_value_text(answer, "id");
	(void)printf("%s %s\n", what, id ? id : "?");
	return COMMAND_DONE;
}

/* packages */

json_t *fleet_split_list(const char *text)
{
	cleanup_json json_t *list = json_array();

	while (list && *text) {
		size_t length = strcspn(text, ",");

		if (json_append(list, json_stringn(text, length)) < 0)
			return NULL;
		text += length + (text[length] == ',');
	}
	return TAKE_PTR(list);
}

static int package_path(const struct fleet_call *call, const char *verb, struct buffer *path)
{
	int r = buffer_format(path, "/api/v1/packages");

	if (r == 0)
		r = fleet_add_segment(path, call->operands[0]);
	if (r == 0)
		r = fleet_add_segment(path, call->operands[1]);
	return r == 0 ? buffer_format(path, "/%s", verb) : r;
}

/* Of which bundles it is: one that nobody looked at is to catch the eye. */
static void print_approved(const json_t *package)
{
	const json_t *artifacts = json_object_get(package, "artifacts");
	const json_t *artifact;
	size_t i;

	(void)fputs("approved", stdout);
	json_array_foreach(artifacts, i, artifact)
	{
		cleanup_free char *arch = fleet_value_text(artifact, "arch");
		cleanup_free char *os = fleet_value_text(artifact, "os");

		(void)printf("%s %s/%s", i == 0 ? ":" : ",", os ? os : "?", arch ? arch : "?");
	}
	(void)putchar('\n');
}

static int run_approve(struct fleet_call *call)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	cleanup_json json_t *body = json_object();
	cleanup_json json_t *package = NULL;
	int r = body ? package_path(call, "approve", &path) : -ENOMEM;
	int code;

	if (r == 0 && fleet_has(call, FLEET_CAPABILITIES))
		r = json_add(body, "capabilities",
			     fleet_split_list(call->options[FLEET_CAPABILITIES]));
	if (r == 0 && fleet_has(call, FLEET_REVISION))
		r = json_add_string(body, "revision", call->options[FLEET_REVISION]);
	if (r < 0)
		return out_of_memory();
	code = fleet_client_call(&call->client, "POST", path.data, body, &package);
	if (code != COMMAND_DONE)
		return code;
	if (fleet_has(call, FLEET_JSON))
		return command_print_json(package);
	print_approved(package);
	return COMMAND_DONE;
}

static int change_host(struct fleet_call *call, const char *host, const char *verb, json_t *body,
		       const char *done)
{
	cleanup_json json_t *owned = body;
	cleanup_free char *path = NULL;
	uint64_t id = 0;
	int code;

	code = fleet_find_host(call, host, &id);
	if (code != COMMAND_DONE)
		return code;
	if (str_format(&path, "/api/v1/hosts/%llu/%s", (unsigned long long)id, verb) < 0)
		return out_of_memory();
	return fleet_send_change(call, "POST", path, TAKE_PTR(owned), done);
}

static int run_revoke(struct fleet_call *call)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	cleanup_json json_t *body = NULL;

	if (fleet_has(call, FLEET_HOST) != (call->n_operands == 0) || call->n_operands == 1)
		return command_usage(&command_fleet,
				     "'revoke' takes an add-on and its version, or --host HOST");
	if (fleet_has(call, FLEET_HOST))
		return change_host(call, call->options[FLEET_HOST], "revoke", NULL, "revoked");
	body = json_object();
	if (!body || package_path(call, "revoke", &path) < 0 ||
	    (fleet_has(call, FLEET_REASON) &&
	     json_add_string(body, "reason", call->options[FLEET_REASON]) < 0))
		return out_of_memory();
	return fleet_send_change(call, "POST", path.data, TAKE_PTR(body), "revoked");
}

/* assignments */

static int add_config(const struct fleet_call *call, json_t *body)
{
	const char *path = call->options[FLEET_CONFIG];
	cleanup_json json_t *config = NULL;
	cleanup_free char *text = NULL;
	struct json_problem problem;
	size_t size = 0;
	int r;

	if (!path)
		return COMMAND_DONE;
	r = command_read_file(path, CONFIG_SIZE_MAX, &text, &size);
	if (r < 0)
		return command_broke(r, "the configuration '%s' could not be read", path);
	r = json_parse_object(text, size, &config, &problem);
	if (r > 0)
		return command_error("'%s' is not one JSON object: %s", path, problem.text);
	if (r < 0 || json_add(body, "config", TAKE_PTR(config)) < 0)
		return out_of_memory();
	return COMMAND_DONE;
}

static int add_target(struct fleet_call *call, json_t *body)
{
	uint64_t host = 0;
	int code;
	int r;

	if (fleet_has(call, FLEET_HOST) && fleet_has(call, FLEET_SELECTOR))
		return command_usage(&command_fleet,
				     "'assign' takes --host HOST or --selector SELECTOR, not both");
	if (fleet_has(call, FLEET_SELECTOR)) {
		r = json_add_string(body, "selector", call->options[FLEET_SELECTOR]);
		return r < 0 ? out_of_memory() : COMMAND_DONE;
	}
	if (!fleet_has(call, FLEET_HOST))
		return COMMAND_DONE;
	code = fleet_find_host(call, call->options[FLEET_HOST], &host);
	if (code == COMMAND_DONE && json_add_uint(body, "host", host) < 0)
		return out_of_memory();
	return code;
}

/* What was given of an assignment, and nothing else. */
static int add_assignment(struct fleet_call *call, json_t *body)
{
	uint64_t priority = 0;
	int code;
	int r = 0;

	if (fleet_has(call, FLEET_ENABLED) && fleet_has(call, FLEET_DISABLED))
		return command_usage(&command_fleet,
				     "'assign' takes --enabled or --disabled, not both");
	code = fleet_number(call, FLEET_PRIORITY, PRIORITY_MAX, &priority);
	if (code == COMMAND_DONE)
		code = add_target(call, body);
	if (code == COMMAND_DONE)
		code = add_config(call, body);
	if (code != COMMAND_DONE)
		return code;
	if (fleet_has(call, FLEET_PRIORITY))
		r = json_add_uint(body, "priority", priority);
	if (r == 0 && fleet_has(call, FLEET_CAPABILITIES))
		r = json_add(body, "capabilities",
			     fleet_split_list(call->options[FLEET_CAPABILITIES]));
	if (r == 0 && call->limits)
		r = json_add(body, "limits", json_incref(call->limits));
	if (r == 0 && (fleet_has(call, FLEET_ENABLED) || fleet_has(call, FLEET_DISABLED)))
		r = json_add(body, "enabled", json_boolean(fleet_has(call, FLEET_ENABLED)));
	return r < 0 ? out_of_memory() : COMMAND_DONE;
}

/* An assignment that there is: members that are not sent stay as they are. */
static int change_assignment(struct fleet_call *call)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	cleanup_json json_t *body = json_object();
	uint64_t id = 0;
	int code;

	if (call->n_operands > 1)
		return command_usage(&command_fleet,
				     "'assign --id ID' takes a version at most: the add-on stays");
	code = fleet_number(call, FLEET_ID, INT64_MAX, &id);
	if (code != COMMAND_DONE)
		return code;
	if (!body ||
	    (call->n_operands == 1 && json_add_string(body, "version", call->operands[0]) < 0))
		return out_of_memory();
	code = add_assignment(call, body);
	if (code != COMMAND_DONE)
		return code;
	if (json_object_size(body) == 0)
		return command_usage(&command_fleet,
				     "'assign --id ID' changes nothing without a version or an "
				     "option that says what is to be another");
	if (buffer_format(&path, "/api/v1/assignments") < 0 ||
	    fleet_add_segment(&path, call->options[FLEET_ID]) < 0)
		return out_of_memory();
	return fleet_send_change(call, "PATCH", path.data, TAKE_PTR(body), "changed");
}

static int run_assign(struct fleet_call *call)
{
	cleanup_json json_t *body = NULL;
	int code;

	if (fleet_has(call, FLEET_ID))
		return change_assignment(call);
	if (call->n_operands != 2)
		return command_usage(&command_fleet, "'assign' takes an add-on and a version, or "
						     "--id ID and what is to be another");
	if (!fleet_has(call, FLEET_HOST) && !fleet_has(call, FLEET_SELECTOR))
		return command_usage(&command_fleet,
				     "'assign' takes --host HOST or --selector SELECTOR");
	body = json_pack("{s:s, s:s}", "addon", call->operands[0], "version", call->operands[1]);
	if (!body)
		return out_of_memory();
	code = add_assignment(call, body);
	return code == COMMAND_DONE ? fleet_send_creation(call, "/api/v1/assignments",
							  TAKE_PTR(body), "assignment")
				    : code;
}

static int run_unassign(struct fleet_call *call)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;

	if (buffer_format(&path, "/api/v1/assignments") < 0 ||
	    fleet_add_segment(&path, call->operands[0]) < 0)
		return out_of_memory();
	return fleet_send_change(call, "DELETE", path.data, NULL,
				 "unassigned; hosts remove it after their removal delay");
}

static int run_confirm_removal(struct fleet_call *call)
{
	cleanup_json json_t *body = json_object();
	cleanup_json json_t *addons = json_array();
	int r = body && addons ? 0 : -ENOMEM;

	for (int i = 1; i < call->n_operands && r == 0; i++)
		r = json_append(addons, json_string(call->operands[i]));
	if (r == 0 && call->n_operands > 1)
		r = json_add(body, "addons", TAKE_PTR(addons));
	if (r < 0)
		return out_of_memory();
	return change_host(call, call->operands[0], "confirm-removal", TAKE_PTR(body), "confirmed");
}

#define TARGET (FLEET_BIT(FLEET_SELECTOR) | FLEET_BIT(FLEET_HOST))
#define ASSIGN                                                                            \
	(TARGET | FLEET_BIT(FLEET_CAPABILITIES) | FLEET_BIT(FLEET_CONFIG) |               \
	 FLEET_BIT(FLEET_LIMIT) | FLEET_BIT(FLEET_PRIORITY) | FLEET_BIT(FLEET_DISABLED) | \
	 FLEET_BIT(FLEET_ENABLED) | FLEET_BIT(FLEET_ID))

const struct fleet_verb fleet_changes[] = {
	{"import",		    fleet_run_import, FLEET_BIT(FLEET_SIGNATURE), 1, 64, "BUNDLE… or REF…"},
	{"pull", fleet_run_pull, 0, 1, 64, "REF…"},
	{"approve",			 run_approve, FLEET_BIT(FLEET_CAPABILITIES) | FLEET_BIT(FLEET_REVISION), 2, 2,
	 "ADDON VERSION"},
	{"revoke",			   run_revoke, FLEET_BIT(FLEET_HOST) | FLEET_BIT(FLEET_REASON), 0, 2,
	 "ADDON VERSION"},
	{"assign",             run_assign, ASSIGN, 0, 2, "ADDON VERSION, or --id ID [VERSION]"},
	{"unassign",			  run_unassign, 0, 1, 1, "ASSIGNMENT"},
	{"confirm-removal",                   run_confirm_removal, 0, 1, 64, "HOST [ADDON…]"},
	{0		  },
};
