/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix fleet watch`: what changes, as it changes. It asks for the whole status again and again
 * and prints what is not as it was; a server that cannot be reached for a while is waited for.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/fleet.h"

#define INTERVAL_DEFAULT 2U
#define INTERVAL_MAX     3600U

/* What two looks are compared by. */
static const char *const shown[] = {"wanted", "running", "state", "drift", "reason"};

/* "HOST/ADDON", what an entry is known by. */
static int entry_key(const json_t *entry, char **ret)
{
	json_int_t host = json_integer_value(json_object_get(entry, "host"));
	const char *addon = json_string_value(json_object_get(entry, "addon"));

	return str_format(ret, "%lld/%s", (long long)host, addon ? addon : "");
}

static bool is_same(const json_t *a, const json_t *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
		if (!json_equal(json_object_get(a, shown[i]), json_object_get(b, shown[i])))
			return false;
	}
	return true;
}

static void print_text(const json_t *entry)
{
	static const char *const keys[] = {"host_name", "addon", "running", "state", "reason"};
	char now[CLOCK_TEXT_SIZE];

	clock_format(clock_realtime_sec(), now);
	(void)fputs(now, stdout);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		cleanup_free char *text = fleet_value_text(entry, keys[i]);

		(void)printf("  %s", text ? text : "?");
	}
	(void)putchar('\n');
}

static int print_entry(const struct fleet_call *call, const json_t *entry)
{
	cleanup_free char *text = NULL;

	if (!fleet_has(call, FLEET_JSON)) {
		print_text(entry);
		return COMMAND_DONE;
	}
	text = json_to_canonical(entry);
	if (!text)
		return command_broke(-ENOMEM, "a change could not be shown");
	(void)fputs(text, stdout);
	return COMMAND_DONE;
}

/* What is gone: said once, in the words of its last entry. */
static int print_gone(const struct fleet_call *call, json_t *before, const json_t *after)
{
	const char *key;
	json_t *entry;
	int code = COMMAND_DONE;

	json_object_foreach(before, key, entry)
	{
		if (json_object_get(after, key) || code != COMMAND_DONE)
			continue;
		if (json_object_set_new(entry, "state", json_string("gone")) < 0)
			return command_broke(-ENOMEM, "a change could not be shown");
		code = print_entry(call, entry);
	}
	return code;
}

/* Takes over the look before and leaves this one in its place. */
static int compare(const struct fleet_call *call, const json_t *items, json_t **seen)
{
	cleanup_json json_t *now = json_object();
	const json_t *entry;
	size_t i;
	int code = COMMAND_DONE;

	json_array_foreach(items, i, entry)
	{
		cleanup_free char *key = NULL;
		const json_t *before;

		if (!now || entry_key(entry, &key) < 0 ||
		    json_object_set(now, key, (json_t *)entry) < 0)
			return command_broke(-ENOMEM, "the status could not be kept");
		before = json_object_get(*seen, key);
		if ((!before || !is_same(before, entry)) && code == COMMAND_DONE)
			code = print_entry(call, entry);
	}
	if (code == COMMAND_DONE && *seen)
		code = print_gone(call, *seen, now);
	json_decref(*seen);
	*seen = TAKE_PTR(now);
	return code;
}

static int look(struct fleet_call *call, const struct buffer *query, json_t **seen)
{
	cleanup_json json_t *list = NULL;
	int code = fleet_get_list(call, "/api/v1/status", query, &list);

	if (code == COMMAND_TRY_AGAIN && *seen)
		return COMMAND_DONE;
	return code == COMMAND_DONE ? compare(call, json_object_get(list, "items"), seen) : code;
}

static int run_watch(struct fleet_call *call)
{
	cleanup_buffer struct buffer query = BUFFER_INIT;
	cleanup_json json_t *seen = NULL;
	uint64_t seconds = INTERVAL_DEFAULT;
	int code;

	code = fleet_number(call, FLEET_INTERVAL, INTERVAL_MAX, &seconds);
	if (code != COMMAND_DONE)
		return code;
	if (fleet_add_query(&query, "selector", call->options[FLEET_SELECTOR]) < 0 ||
	    fleet_add_query(&query, "host", call->options[FLEET_HOST]) < 0 ||
	    fleet_add_query(&query, "addon", call->options[FLEET_ADDON]) < 0)
		return command_broke(-ENOMEM, "the request could not be made");
	while (code == COMMAND_DONE) {
		code = look(call, &query, &seen);
		/* Nobody reads any more: that is how a watch ends in a pipe. */
		if (fflush(stdout) != 0)
			return COMMAND_DONE;
		if (code == COMMAND_DONE)
			clock_sleep_usec(MAX(seconds, (uint64_t)1) * CLOCK_USEC_PER_SEC);
	}
	return code;
}

const struct fleet_verb fleet_watches[] = {
	{"watch",			   run_watch,
	 FLEET_BIT(FLEET_SELECTOR) | FLEET_BIT(FLEET_HOST) | FLEET_BIT(FLEET_ADDON) |
		 FLEET_BIT(FLEET_INTERVAL),
	 0, 0, ""},
	{0},
};
