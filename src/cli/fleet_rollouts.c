/* SPDX-License-Identifier: Apache-2.0 */

/* `affix fleet rollout`: rollouts are listed, shown, started and steered. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/fleet.h"

#define FAILURES_MAX 1000000U

static int out_of_memory(void)
{
	return command_broke(-ENOMEM, "the request could not be made");
}

static const struct fleet_column rollout_columns[] = {
	{"ID",         "id"          },
        {"ASSIGNMENT", "assignment"  },
	{"ADD-ON",     "addon"       },
        {"FROM",       "from_version"},
	{"TO",         "to_version"  },
        {"STATE",      "state"       },
	{"WAVE",       "wave"        },
        {"OF",         "n_waves"     },
	{"HOSTS",      "hosts"       },
        {"REASON",     "reason"      },
	{NULL,         NULL          },
};

static const struct fleet_column host_columns[] = {
	{"HOST",    "host_name"},
        {"WAVE",    "wave"     },
        {"OUTCOME", "outcome"  },
        {"SINCE",   "since"    },
	{"RUNNING", "running"  },
        {"STATE",   "state"    },
        {"REASON",  "reason"   },
        {NULL,      NULL       },
};

/* "5,50%,100%": whole numbers as numbers. NULL: no memory. */
static json_t *read_waves(const char *text)
{
	cleanup_json json_t *list = fleet_split_list(text);
	size_t n = json_array_size(list);

	for (size_t i = 0; i < n; i++) {
		const char *wave = json_string_value(json_array_get(list, i));
		char *end = NULL;
		long long number = strtoll(wave, &end, 10);

		if (*wave && *end == '\0' && json_array_set_new(list, i, json_integer(number)) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

static int add_rollout_numbers(const struct fleet_call *call, json_t *body)
{
	uint64_t number = 0;
	int code;

	code = fleet_seconds(call, FLEET_WAIT, &number);
	if (code == COMMAND_DONE && fleet_has(call, FLEET_WAIT) &&
	    json_add_uint(body, "wait_seconds", number) < 0)
		return out_of_memory();
	if (code == COMMAND_DONE)
		code = fleet_seconds(call, FLEET_TIMEOUT, &number);
	if (code == COMMAND_DONE && fleet_has(call, FLEET_TIMEOUT) &&
	    json_add_uint(body, "timeout_seconds", number) < 0)
		return out_of_memory();
	if (code == COMMAND_DONE)
		code = fleet_number(call, FLEET_MAX_FAILURES, FAILURES_MAX, &number);
	if (code == COMMAND_DONE && fleet_has(call, FLEET_MAX_FAILURES) &&
	    json_add_uint(body, "max_failures", number) < 0)
		return out_of_memory();
	return code;
}

static int start_rollout(struct fleet_call *call)
{
	cleanup_json json_t *body = NULL;
	char *end = NULL;
	long long assignment;
	int code;

	if (call->n_operands != 3)
		return command_usage(&command_fleet,
				     "'rollout start' takes an assignment and a version");
	assignment = strtoll(call->operands[1], &end, 10);
	if (!*call->operands[1] || *end)
		return command_usage(&command_fleet, "'%s' is no assignment's number",
				     call->operands[1]);
	body = json_pack("{s:I, s:s, s:b}", "assignment", (json_int_t)assignment, "version",
			 call->operands[2], "revert", fleet_has(call, FLEET_REVERT));
	if (!body || (fleet_has(call, FLEET_WAVES) &&
		      json_add(body, "waves", read_waves(call->options[FLEET_WAVES])) < 0))
		return out_of_memory();
	code = add_rollout_numbers(call, body);
	return code == COMMAND_DONE
		       ? fleet_send_creation(call, "/api/v1/rollouts", TAKE_PTR(body), "rollout")
		       : code;
}

static int change_rollout(struct fleet_call *call, const char *verb)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	bool is_abort = strcmp(verb, "abort") == 0;
	json_t *body = NULL;

	if (call->n_operands != 2)
		return command_usage(&command_fleet, "'rollout %s' takes a rollout's number", verb);
	if (is_abort)
		body = json_pack("{s:b}", "revert", fleet_has(call, FLEET_REVERT));
	if ((is_abort && !body) || buffer_format(&path, "/api/v1/rollouts") < 0 ||
	    fleet_add_segment(&path, call->operands[1]) < 0 ||
	    buffer_format(&path, "/%s", verb) < 0) {
		json_decref(body);
		return out_of_memory();
	}
	return fleet_send_change(call, "POST", path.data, body, "done");
}

static int list_rollouts(struct fleet_call *call)
{
	cleanup_buffer struct buffer query = BUFFER_INIT;

	if (fleet_add_query(&query, "state", call->options[FLEET_STATE]) < 0)
		return out_of_memory();
	return fleet_show_list(call, "/api/v1/rollouts", &query, rollout_columns,
			       "there is no rollout");
}

static int print_rollout(const struct fleet_call *call, json_t *rollout, json_t *list)
{
	if (fleet_has(call, FLEET_JSON)) {
		if (json_add(list, "rollout", json_incref(rollout)) < 0)
			return out_of_memory();
		return command_print_json(list);
	}
	fleet_print_object(rollout, rollout_columns);
	(void)putchar('\n');
	fleet_print_table(json_object_get(list, "items"), host_columns,
			  "no host of it is in that state");
	return COMMAND_DONE;
}

static int show_rollout(struct fleet_call *call)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	cleanup_buffer struct buffer query = BUFFER_INIT;
	cleanup_json json_t *rollout = NULL;
	cleanup_json json_t *list = NULL;
	int code;

	if (call->n_operands != 2)
		return command_usage(&command_fleet, "'rollout show' takes a rollout's number");
	if (buffer_format(&path, "/api/v1/rollouts") < 0 ||
	    fleet_add_segment(&path, call->operands[1]) < 0 ||
	    fleet_add_query(&query, "outcome", call->options[FLEET_STATE]) < 0)
		return out_of_memory();
	code = fleet_client_call(&call->client, "GET", path.data, NULL, &rollout);
	if (code != COMMAND_DONE)
		return code;
	if (buffer_format(&path, "/hosts") < 0)
		return out_of_memory();
	code = fleet_get_list(call, path.data, &query, &list);
	return code == COMMAND_DONE ? print_rollout(call, rollout, list) : code;
}

static int run_rollout(struct fleet_call *call)
{
	static const char *const changes[] = {"pause", "resume", "abort"};
	const char *what = call->n_operands > 0 ? call->operands[0] : NULL;

	if (!what || strcmp(what, "list") == 0)
		return list_rollouts(call);
	if (strcmp(what, "show") == 0)
		return show_rollout(call);
	if (strcmp(what, "start") == 0)
		return start_rollout(call);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		if (strcmp(what, changes[i]) == 0)
			return change_rollout(call, changes[i]);
	}
	return command_usage(&command_fleet,
			     "'%s' is nothing that can be done to a rollout: list, show, start, "
			     "pause, resume or abort",
			     what);
}

#define ROLLOUT                                                                      \
	(FLEET_BIT(FLEET_WAVES) | FLEET_BIT(FLEET_WAIT) | FLEET_BIT(FLEET_TIMEOUT) | \
	 FLEET_BIT(FLEET_MAX_FAILURES) | FLEET_BIT(FLEET_REVERT) | FLEET_BIT(FLEET_STATE))

const struct fleet_verb fleet_rollouts[] = {
	{"rollout", run_rollout, ROLLOUT, 0, 3, "[show|start|pause|resume|abort|list …]"},
	{0 },
};
