/* SPDX-License-Identifier: Apache-2.0 */

/* `affix fleet`: the verbs that look and change nothing. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/fleet.h"

static const struct fleet_column host_columns[] = {
	{"ID",     "id"           },
        {"HOST",   "name"         },
        {"STATE",  "presence"     },
        {"AGENT",  "agent_version"},
	{"ARCH",   "arch"         },
        {"SEEN",   "last_seen"    },
        {"LABELS", "labels"       },
        {NULL,     NULL           },
};

static const struct fleet_column host_facts[] = {
	{"id",             "id"                },
	{"host",           "name"              },
	{"state",          "presence"          },
	{"os",             "os"                },
	{"arch",           "arch"              },
	{"agent",          "agent_version"     },
	{"can",            "agent_capabilities"},
	{"labels",         "labels"            },
	{"enrolled",       "enrolled"          },
	{"revoked",        "revoked"           },
	{"last seen",      "last_seen"         },
	{"health error",   "health_error"      },
	{"config",         "config_status"     },
	{"config error",   "config_error"      },
	{"packages error", "packages_error"    },
	{NULL,             NULL                },
};

static const struct fleet_column status_columns[] = {
	{"HOST",    "host_name"},
        {"ADD-ON",  "addon"    },
        {"WANTED",  "wanted"   },
	{"RUNNING", "running"  },
        {"STATE",   "state"    },
        {"SINCE",   "since"    },
	{"DRIFT",   "drift"    },
        {"REASON",  "reason"   },
        {NULL,      NULL       },
};

static const struct fleet_column drift_columns[] = {
	{"HOST",    "host_name"},
        {"ADD-ON",  "addon"    },
        {"DRIFT",   "drift"    },
        {"WANTED",  "wanted"   },
	{"RUNNING", "running"  },
        {"REASON",  "reason"   },
        {NULL,      NULL       },
};

static const struct fleet_column event_columns[] = {
	{"ADD-ON", "addon"},
	{"EVENT",  "kind" },
	{"COUNT",  "count"},
	{NULL,     NULL   },
};

static const struct fleet_column package_columns[] = {
	{"ADD-ON",       "addon"       },
	{"VERSION",      "version"     },
	{"STATE",        "state"       },
	{"CAPABILITIES", "capabilities"},
	{"IMPORTED",     "imported"    },
	{"REASON",       "reason"      },
	{NULL,           NULL          },
};

static const struct fleet_column package_facts[] = {
	{"add-on",       "addon"       },
        {"version",      "version"     },
	{"state",        "state"       },
        {"capabilities", "capabilities"},
	{"imported",     "imported"    },
        {"reason",       "reason"      },
	{"revision",     "revision"    },
        {NULL,           NULL          },
};

static const struct fleet_column artifact_columns[] = {
	{"OS",       "os"      },
	{"ARCH",     "arch"    },
	{"SIZE",     "size"    },
	{"KEY",      "key_name"},
	{"CREATED",  "created" },
	{"EXPIRES",  "expires" },
	{"APPROVED", "approved"},
	{"SHA-256",  "sha256"  },
	{NULL,       NULL      },
};

static const struct fleet_column assignment_columns[] = {
	{"ID",       "id"      },
        {"ADD-ON",   "addon"   },
        {"VERSION",  "version" },
	{"HOST",     "host"    },
        {"SELECTOR", "selector"},
        {"PRIORITY", "priority"},
	{"ENABLED",  "enabled" },
        {"ROLLOUT",  "rollout" },
        {NULL,       NULL      },
};

static const struct fleet_column explain_facts[] = {
	{"host",       "host_name" },
        {"add-on",     "addon"     },
        {"verdict",    "verdict"   },
	{"wanted",     "wanted"    },
        {"because",    "reason"    },
        {"assignment", "assignment"},
	{"by rollout", "by_rollout"},
        {"order",      "order"     },
        {NULL,         NULL        },
};

static const struct fleet_column candidate_columns[] = {
	{"ASSIGNMENT", "assignment"},
	{"VERSION",    "version"   },
	{"PRIORITY",   "priority"  },
	{"HOST",       "host"      },
	{"SELECTOR",   "selector"  },
	{"ENABLED",    "enabled"   },
	{"MATCHES",    "matches"   },
	{"WINS",       "wins"      },
	{NULL,         NULL        },
};

static const struct fleet_column audit_columns[] = {
	{"TIME",   "time"  },
        {"WHO",    "who"   },
        {"FROM",   "peer"  },
        {"ACTION", "action"},
	{"OBJECT", "object"},
        {"AFTER",  "after" },
        {NULL,     NULL    },
};

struct filter {
	enum fleet_option option;
	const char *name;
};

static const struct filter filters[] = {
	{FLEET_SELECTOR, "selector"},
        {FLEET_HOST,     "host"    },
        {FLEET_ADDON,    "addon"   },
	{FLEET_STATE,    "state"   },
        {FLEET_KIND,     "kind"    },
        {FLEET_PRESENCE, "presence"},
};

static int out_of_memory(void)
{
	return command_broke(-ENOMEM, "the request could not be made");
}

/* A list with the filters that were given: as JSON, or as a table. */
static int show_list(struct fleet_call *call, const char *path, const struct fleet_column *columns,
		     const char *nothing)
{
	cleanup_buffer struct buffer query = BUFFER_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		if (fleet_add_query(&query, filters[i].name, call->options[filters[i].option]) < 0)
			return out_of_memory();
	}
	return fleet_show_list(call, path, &query, columns, nothing);
}

/* {ADDON: {KIND: COUNT}} as a table; nothing where nothing was counted. */
static int show_events(const json_t *events)
{
	cleanup_json json_t *rows = json_array();
	const json_t *kinds;
	const json_t *count;
	const char *addon;
	const char *kind;

	json_object_foreach((json_t *)events, addon, kinds)
	{
		json_object_foreach((json_t *)kinds, kind, count)
		{
			if (!rows || json_append(rows, json_pack("{s:s, s:s, s:O}", "addon", addon,
								 "kind", kind, "count", count)) < 0)
				return out_of_memory();
		}
	}
	if (json_array_size(rows) == 0)
		return COMMAND_DONE;
	(void)putchar('\n');
	fleet_print_table(rows, event_columns, "");
	return COMMAND_DONE;
}

static int show_host(struct fleet_call *call)
{
	cleanup_free char *path = NULL;
	cleanup_json json_t *host = NULL;
	uint64_t id = 0;
	int code;

	code = fleet_find_host(call, call->operands[0], &id);
	if (code != COMMAND_DONE)
		return code;
	if (str_format(&path, "/api/v1/hosts/%llu", (unsigned long long)id) < 0)
		return out_of_memory();
	code = fleet_client_call(&call->client, "GET", path, NULL, &host);
	if (code != COMMAND_DONE)
		return code;
	if (fleet_has(call, FLEET_JSON))
		return command_print_json(host);
	fleet_print_object(host, host_facts);
	(void)putchar('\n');
	fleet_print_table(json_object_get(host, "addons"), status_columns + 1,
			  "no add-on is assigned to it or runs on it");
	return show_events(json_object_get(host, "events"));
}

static int run_hosts(struct fleet_call *call)
{
	if (call->n_operands > 0)
		return show_host(call);
	return show_list(call, "/api/v1/hosts", host_columns, "no host is enrolled");
}

static int run_status(struct fleet_call *call)
{
	return show_list(call, "/api/v1/status", status_columns,
			 "no add-on is assigned to a host or runs on one");
}

static int run_drift(struct fleet_call *call)
{
	return show_list(call, "/api/v1/drift", drift_columns, "every host is as it is wanted");
}

static int show_package(struct fleet_call *call)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	cleanup_json json_t *package = NULL;
	int code;

	if (buffer_format(&path, "/api/v1/packages") < 0 ||
	    fleet_add_segment(&path, call->operands[0]) < 0 ||
	    fleet_add_segment(&path, call->operands[1]) < 0)
		return out_of_memory();
	code = fleet_client_call(&call->client, "GET", path.data, NULL, &package);
	if (code != COMMAND_DONE)
		return code;
	if (fleet_has(call, FLEET_JSON))
		return command_print_json(package);
	fleet_print_object(package, package_facts);
	(void)putchar('\n');
	fleet_print_table(json_object_get(package, "artifacts"), artifact_columns,
			  "it has no bundle");
	return COMMAND_DONE;
}

static int run_packages(struct fleet_call *call)
{
	if (call->n_operands == 1)
		return command_usage(&command_fleet, "'packages' takes an add-on and its version");
	if (call->n_operands == 2)
		return show_package(call);
	return show_list(call, "/api/v1/packages", package_columns, "no package is imported");
}

static int run_assignments(struct fleet_call *call)
{
	return show_list(call, "/api/v1/assignments", assignment_columns, "nothing is assigned");
}

static int run_audit(struct fleet_call *call)
{
	return show_list(call, "/api/v1/audit", audit_columns, "nothing was changed yet");
}

static int run_explain(struct fleet_call *call)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	cleanup_json json_t *answer = NULL;
	uint64_t id = 0;
	int code;

	code = fleet_find_host(call, call->operands[0], &id);
	if (code != COMMAND_DONE)
		return code;
	if (buffer_format(&path, "/api/v1/hosts/%llu/explain", (unsigned long long)id) < 0 ||
	    fleet_add_segment(&path, call->operands[1]) < 0)
		return out_of_memory();
	code = fleet_client_call(&call->client, "GET", path.data, NULL, &answer);
	if (code != COMMAND_DONE)
		return code;
	if (fleet_has(call, FLEET_JSON))
		return command_print_json(answer);
	fleet_print_object(answer, explain_facts);
	(void)putchar('\n');
	fleet_print_table(json_object_get(answer, "candidates"), candidate_columns,
			  "no assignment names the add-on");
	return COMMAND_DONE;
}

#define BY_HOST (FLEET_BIT(FLEET_SELECTOR) | FLEET_BIT(FLEET_HOST))

const struct fleet_verb fleet_lists[] = {
	{"hosts",						run_hosts, FLEET_BIT(FLEET_SELECTOR) | FLEET_BIT(FLEET_PRESENCE), 0, 1, "[HOST]"},
	{"status", run_status, BY_HOST | FLEET_BIT(FLEET_ADDON) | FLEET_BIT(FLEET_STATE), 0, 0, ""},
	{"drift",						     run_drift, BY_HOST | FLEET_BIT(FLEET_ADDON) | FLEET_BIT(FLEET_KIND), 0, 0, ""},
	{"packages",						      run_packages, FLEET_BIT(FLEET_ADDON) | FLEET_BIT(FLEET_STATE), 0, 2,
	 "[ADDON VERSION]"},
	{"assignments",					    run_assignments, FLEET_BIT(FLEET_ADDON), 0, 0, ""},
	{"explain",						     run_explain, 0, 2, 2, "HOST ADDON"},
	{"audit",						    run_audit, 0, 0, 0, ""},
	{0					       },
};
