/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix fleet`: a client of affixd. Options may stand anywhere; the first operand is the verb,
 * and each verb says which options are its own.
 */

#include "cli/fleet.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/commands.h"

#define PAGE_LIMIT "1000"
#define PAGES_MAX  10000U
#define COMMON                                                                         \
	(FLEET_BIT(FLEET_SERVER) | FLEET_BIT(FLEET_TOKEN_FILE) | FLEET_BIT(FLEET_CA) | \
	 FLEET_BIT(FLEET_JSON))
#define FIRST_LETTER 256        /* values of getopt_long() above those of letters */
#define SECONDS_MAX  315360000U /* ten years */

#define OPTION(name, kind, option)                        \
	{                                                 \
		name, kind, NULL, FIRST_LETTER + (option) \
	}

static const struct option all_options[] = {
	OPTION("server", required_argument, FLEET_SERVER),
	OPTION("token-file", required_argument, FLEET_TOKEN_FILE),
	OPTION("ca", required_argument, FLEET_CA),
	OPTION("json", no_argument, FLEET_JSON),
	OPTION("selector", required_argument, FLEET_SELECTOR),
	OPTION("host", required_argument, FLEET_HOST),
	OPTION("addon", required_argument, FLEET_ADDON),
	OPTION("state", required_argument, FLEET_STATE),
	OPTION("kind", required_argument, FLEET_KIND),
	OPTION("presence", required_argument, FLEET_PRESENCE),
	OPTION("signature", required_argument, FLEET_SIGNATURE),
	OPTION("capabilities", required_argument, FLEET_CAPABILITIES),
	OPTION("config", required_argument, FLEET_CONFIG),
	OPTION("limit", required_argument, FLEET_LIMIT),
	OPTION("priority", required_argument, FLEET_PRIORITY),
	OPTION("disabled", no_argument, FLEET_DISABLED),
	OPTION("enabled", no_argument, FLEET_ENABLED),
	OPTION("id", required_argument, FLEET_ID),
	OPTION("reason", required_argument, FLEET_REASON),
	OPTION("revision", required_argument, FLEET_REVISION),
	OPTION("waves", required_argument, FLEET_WAVES),
	OPTION("wait", required_argument, FLEET_WAIT),
	OPTION("timeout", required_argument, FLEET_TIMEOUT),
	OPTION("max-failures", required_argument, FLEET_MAX_FAILURES),
	OPTION("revert", no_argument, FLEET_REVERT),
	OPTION("role", required_argument, FLEET_ROLE),
	OPTION("expires", required_argument, FLEET_EXPIRES),
	OPTION("uses", required_argument, FLEET_USES),
	OPTION("interval", required_argument, FLEET_INTERVAL),
	{0},
};

static const struct fleet_verb *const verb_tables[] = {
	fleet_lists, fleet_changes, fleet_rollouts, fleet_tokens, fleet_watches,
};

static const struct fleet_verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verb_tables); i++) {
		for (const struct fleet_verb *verb = verb_tables[i]; verb->name; verb++) {
			if (strcmp(verb->name, name) == 0)
				return verb;
		}
	}
	return NULL;
}

int fleet_number(const struct fleet_call *call, enum fleet_option option, uint64_t max,
		 uint64_t *ret)
{
	const char *text = call->options[option];
	char *end = NULL;
	unsigned long long number;

	if (!text)
		return COMMAND_DONE;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno != 0 || number > max)
		return command_usage(&command_fleet, "'%s' is no whole number up to %" PRIu64, text,
				     max);
	*ret = number;
	return COMMAND_DONE;
}

int fleet_seconds(const struct fleet_call *call, enum fleet_option option, uint64_t *ret)
{
	static const struct {
		const char *unit;
		uint64_t seconds;
	} units[] = {
		{"",  1    },
                {"s", 1    },
                {"m", 60   },
                {"h", 3600 },
                {"d", 86400},
	};

	const char *text = call->options[option];
	char *end = NULL;
	unsigned long long number;

	if (!text)
		return COMMAND_DONE;
	errno = 0;
	number = strtoull(text, &end, 10);
	for (size_t i = 0; i < ARRAY_SIZE(units) && isdigit((unsigned char)*text); i++) {
		if (strcmp(end, units[i].unit) == 0 && errno == 0 &&
		    number <= SECONDS_MAX / units[i].seconds) {
			*ret = number * units[i].seconds;
			return COMMAND_DONE;
		}
	}
	return command_usage(&command_fleet,
			     "'%s' is no time: a number with s, m, h or d is wanted", text);
}

static int add_encoded(struct buffer *buffer, const char *text)
{
	int r = 0;

	for (; *text && r == 0; text++) {
		unsigned char byte = (unsigned char)*text;

		if (isalnum(byte) || strchr("-._~", byte))
			r = buffer_add(buffer, text, 1);
		else
			r = buffer_format(buffer, "%%%02X", byte);
	}
	return r;
}

int fleet_add_query(struct buffer *query, const char *name, const char *value)
{
	int r;

	if (!value)
		return 0;
	r = buffer_format(query, "%s%s=", query->size > 0 ? "&" : "", name);
	return r == 0 ? add_encoded(query, value) : r;
}

int fleet_add_segment(struct buffer *path, const char *segment)
{
	int r = buffer_add(path, "/", 1);

	return r == 0 ? add_encoded(path, segment) : r;
}

static int get_page(struct fleet_call *call, const char *path, const struct buffer *query,
		    json_int_t after, json_t **ret)
{
	cleanup_free char *whole = NULL;
	char from[48] = "";

	if (after > 0)
		(void)snprintf(from, sizeof(from), "&after=%lld", (long long)after);
	if (str_format(&whole, "%s?limit=" PAGE_LIMIT "%s%s%s", path, from,
		       query->size > 0 ? "&" : "", query->size > 0 ? query->data : "") < 0)
		return command_broke(-ENOMEM, "the request could not be made");
	return fleet_client_call(&call->client, "GET", whole, NULL, ret);
}

int fleet_get_list(struct fleet_call *call, const char *path, const struct buffer *query,
		   json_t **ret)
{
	cleanup_json json_t *items = json_array();
	json_int_t after = 0;

	for (unsigned i = 0; i < PAGES_MAX && items; i++) {
		cleanup_json json_t *page = NULL;
		int code = get_page(call, path, query, after, &page);

		if (code != COMMAND_DONE)
			return code;
		if (json_array_extend(items, json_object_get(page, "items")) < 0)
			return command_error("the server's answer is no list");
		after = json_integer_value(json_object_get(page, "next"));
		if (after <= 0)
			break;
	}
	*ret = command_json_new();
	if (!items || !*ret || json_add(*ret, "items", TAKE_PTR(items)) < 0)
		return command_broke(-ENOMEM, "the list could not be kept");
	return COMMAND_DONE;
}

int fleet_show_list(struct fleet_call *call, const char *path, const struct buffer *query,
		    const struct fleet_column *columns, const char *nothing)
{
	cleanup_json json_t *list = NULL;
	int code = fleet_get_list(call, path, query, &list);

	if (code != COMMAND_DONE)
		return code;
	if (fleet_has(call, FLEET_JSON))
		return command_print_json(list);
	fleet_print_table(json_object_get(list, "items"), columns, nothing);
	return COMMAND_DONE;
}

int fleet_find_host(struct fleet_call *call, const char *host, uint64_t *ret)
{
	cleanup_buffer struct buffer query = BUFFER_INIT;
	cleanup_json json_t *list = NULL;
	const json_t *items;
	int code;

	/* Also one that is revoked: it can be looked at. */
	if (fleet_add_query(&query, "host", host) < 0)
		return command_broke(-ENOMEM, "the request could not be made");
	code = fleet_get_list(call, "/api/v1/hosts", &query, &list);
	if (code != COMMAND_DONE)
		return code;
	items = json_object_get(list, "items");
	if (json_array_size(items) == 0) {
		cleanup_free char *sentence = NULL;

		if (str_format(&sentence, "there is no host '%s'", host) == 0)
			command_complain("not-found", sentence);
		return COMMAND_REFUSED;
	}
	if (json_array_size(items) > 1)
		return command_error("%zu hosts are called '%s'; give the number of one: 'affix "
				     "fleet hosts' has them",
				     json_array_size(items), host);
	if (json_member_uint(json_array_get(items, 0), "id", INT64_MAX, ret) < 0)
		return command_error("the server's answer has no host's number");
	return COMMAND_DONE;
}

/* KEY=N */
static int add_limit(struct fleet_call *call, const char *text)
{
	const char *equals = text ? strchr(text, '=') : NULL;
	cleanup_free char *key = equals ? strndup(text, (size_t)(equals - text)) : NULL;
	const char *digits = equals ? equals + 1 : "";
	char *end = NULL;
	long long value;

	errno = 0;
	value = strtoll(digits, &end, 10);
	if (!key || !isdigit((unsigned char)*digits) || *end || errno != 0)
		return command_usage(&command_fleet,
				     "'%s' is no limit: KEY=N with a whole number N is wanted",
				     text ? text : "");
	if (!call->limits)
		call->limits = json_object();
	if (!call->limits || json_add(call->limits, key, json_integer(value)) < 0)
		return command_broke(-ENOMEM, "a limit could not be added");
	return COMMAND_DONE;
}

static int read_options(struct fleet_call *call, int argc, char **argv)
{
	int value;

	while ((value = command_option(&command_fleet, argc, argv, ":", all_options)) != -1) {
		enum fleet_option option;
		int code;

		if (value == '?')
			return COMMAND_USAGE;
		option = (enum fleet_option)(value - FIRST_LETTER);
		call->options[option] = optarg ? optarg : "";
		code = option == FLEET_LIMIT ? add_limit(call, optarg) : COMMAND_DONE;
		if (code != COMMAND_DONE)
			return code;
	}
	return COMMAND_DONE;
}

static int check_call(const struct fleet_call *call)
{
	const struct fleet_verb *verb = call->verb;

	for (size_t i = 0; i < FLEET_OPTION_N; i++) {
		if (call->options[i] && !((verb->options | COMMON) & FLEET_BIT(i)))
			return command_usage(&command_fleet, "--%s is nothing to '%s'",
					     all_options[i].name, verb->name);
	}
	if (call->n_operands < verb->min_operands || call->n_operands > verb->max_operands)
		return command_usage(&command_fleet, "'%s' takes %s", verb->name,
				     *verb->usage ? verb->usage : "no operands");
	return COMMAND_DONE;
}

static void call_done(struct fleet_call *call)
{
	fleet_client_done(&call->client);
	json_decref(call->limits);
}

static int run_fleet(int argc, char **argv)
{
	CLEANUP(call_done) struct fleet_call call = {0};
	int code;

	code = read_options(&call, argc, argv);
	if (code != COMMAND_DONE)
		return code;
	if (optind == argc)
		return command_usage(&command_fleet, "a verb is wanted, such as 'hosts'");
	call.verb = find_verb(argv[optind]);
	if (!call.verb)
		return command_usage(&command_fleet, "'%s' is nothing that a fleet can be asked",
				     argv[optind]);
	call.operands = argv + optind + 1;
	call.n_operands = argc - optind - 1;
	code = check_call(&call);
	if (code == COMMAND_DONE)
		code = fleet_client_open(&call.client, call.options[FLEET_SERVER],
					 call.options[FLEET_TOKEN_FILE], call.options[FLEET_CA]);
	return code == COMMAND_DONE ? call.verb->run(&call) : code;
}

const struct command command_fleet = {
	.name = "fleet",
	.run = run_fleet,
	.synopsis = "VERB [OPTION…] [OPERAND…]",
	.summary = "ask and steer a fleet of hosts through affixd",
	.options =
		"  hosts                all hosts, or what is known of one: [HOST]\n"
		"  status               what is wanted and what runs\n"
		"  drift                where the two differ\n"
		"  packages             all packages, or one: [ADDON VERSION]\n"
		"  assignments          who is meant to run what\n"
		"  explain              why a host gets what it gets: HOST ADDON\n"
		"  audit                who changed what\n"
		"  watch                what changes, as it changes\n"
		"  import               upload bundles: BUNDLE…\n"
		"  pull                 have affixd fetch bundles from a registry: REF…\n"
		"  approve              let hosts have a package: ADDON VERSION\n"
		"  revoke               let no host have it any more: ADDON VERSION; or --host HOST\n"
		"  assign               have hosts run a version: ADDON VERSION; or change: [VERSION]\n"
		"  unassign             take that back: ASSIGNMENT\n"
		"  confirm-removal      let a host lose most of its add-ons: HOST [ADDON…]\n"
		"  rollout              list, start ASSIGNMENT VERSION; show, pause, resume, abort ROLLOUT\n"
		"  token                list, create NAME, revoke TOKEN\n\n"
		"  --server URL         affixd's address\n"
		"  --token-file FILE    the token to show it\n"
		"  --ca FILE            authorities that its certificate may be of\n"
		"  --json               answer for programs\n"
		"  --selector SELECTOR  hosts by label, such as 'env=prod,arch!=arm64'\n"
		"  --host HOST          one host, by name or number\n"
		"  --addon ID           one add-on\n"
		"  --state STATE        status, packages, rollout (show: its hosts): in that state only\n"
		"  --kind KIND          drift: of that kind only\n"
		"  --presence PRESENCE  hosts: connected, away, stale or revoked\n"
		"  --signature FILE     import: instead of BUNDLE.minisig\n"
		"  --capabilities LIST  approve, assign: these and no others are granted\n"
		"  --config FILE        assign: configuration, a JSON object\n"
		"  --limit KEY=N        assign: a limit lower than the manifest's\n"
		"  --priority N         assign: the highest wins\n"
		"  --disabled           assign: hosts do not get it, nor what has less priority\n"
		"  --enabled            assign: hosts get it (again)\n"
		"  --id ASSIGNMENT      assign: change that one, in what is given only\n"
		"  --reason TEXT        revoke: why\n"
		"  --revision TEXT      approve: only what 'packages ADDON VERSION' showed so\n"
		"  --waves LIST         rollout: hosts after each wave, such as '1,10%,100%'\n"
		"  --wait TIME          rollout: how long hosts must be healthy, such as 5m\n"
		"  --timeout TIME       rollout: by when they must be\n"
		"  --max-failures N     rollout: more failures than this halt it\n"
		"  --revert             rollout: and bring the old version back\n"
		"  --role ROLE          token: for the API, as viewer, operator or admin\n"
		"  --expires TIME       token: after that\n"
		"  --uses N             token: for that many hosts\n"
		"  --interval N         watch: seconds between looks\n",
};
