/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Results for people: a table for status, a list for drift and plans, a sentence for the rest.
 * Everything in a result may have come from a bundle or a unit: nothing is printed unescaped.
 */

#include "cli/host.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define COLUMNS_MAX 6U

/* A member's text, escaped; "-" where there is none. The caller frees it; NULL: no memory. */
static char *member_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return str_is_empty(text) ? strdup("-") : str_escape(text, strlen(text), strlen(text));
}

static void print_member(const char *before, const json_t *object, const char *key,
			 const char *behind)
{
	cleanup_free char *text = member_text(object, key);

	(void)printf("%s%s%s", before, text ? text : "?", behind);
}

/* Cells by row; lengths are those of what is printed. */
static void print_table(const char *indent, const json_t *rows, const char *const *keys,
			const char *const *titles, size_t n_columns)
{
	size_t widths[COLUMNS_MAX] = {0};
	size_t i;
	const json_t *row;

	for (size_t c = 0; c < n_columns; c++)
		widths[c] = strlen(titles[c]);
	json_array_foreach(rows, i, row)
	{
		for (size_t c = 0; c < n_columns; c++) {
			cleanup_free char *text = member_text(row, keys[c]);

			widths[c] = MAX(widths[c], text ? strlen(text) : 1);
		}
	}
	(void)fputs(indent, stdout);
	for (size_t c = 0; c < n_columns; c++)
		(void)printf("%-*s%s", c + 1 < n_columns ? (int)widths[c] : 0, titles[c],
			     c + 1 < n_columns ? "  " : "\n");
	json_array_foreach(rows, i, row)
	{
		(void)fputs(indent, stdout);
		for (size_t c = 0; c < n_columns; c++) {
			cleanup_free char *text = member_text(row, keys[c]);

			(void)printf("%-*s%s", c + 1 < n_columns ? (int)widths[c] : 0,
				     text ? text : "?", c + 1 < n_columns ? "  " : "\n");
		}
	}
}

static void print_quarantine(const json_t *addon)
{
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(addon, "quarantine"), i, item)
	{
		print_member("  quarantined   ", item, "version", " since ");
		print_member("", item, "since", ": ");
		print_member("", item, "reason", "\n");
	}
}

/* What the table has no room for. */
static void print_details(const json_t *addon)
{
	const json_t *previous = json_object_get(addon, "previous");
	const json_t *transaction = json_object_get(addon, "transaction");
	const json_t *last = json_object_get(addon, "last_result");
	const json_t *unit;
	size_t i;

	json_array_foreach(json_object_get(addon, "units"), i, unit)
	{
		print_member("  unit          ", unit, "name", ": ");
		print_member("", unit, "active_state", " (");
		print_member("", unit, "sub_state", ")\n");
	}
	if (json_is_object(previous))
		print_member("  previous      ", previous, "version", "\n");
	if (json_is_true(json_object_get(addon, "held")))
		print_member("  held          ", addon, "hold_reason", "\n");
	if (json_is_object(transaction)) {
		print_member("  in progress   ", transaction, "operation", ", ");
		print_member("", transaction, "phase", "\n");
	}
	print_quarantine(addon);
	if (json_is_object(last)) {
		print_member("  last result   ", last, "verb", " ");
		print_member("", last, "version", ": ");
		print_member("", last, "outcome", ": ");
		print_member("", last, "message", "\n");
	}
}

static void print_status(const struct request *request, const json_t *addons)
{
	static const char *const keys[] = {"id", "version", "state", "origin", "reason"};
	static const char *const titles[] = {"ADD-ON", "VERSION", "STATE", "ORIGIN", "REASON"};

	if (json_array_size(addons) == 0) {
		(void)puts("no add-on is installed");
		return;
	}
	print_table("", addons, keys, titles, ARRAY_SIZE(keys));
	if (request->id[0])
		print_details(json_array_get(addons, 0));
}

static const char *describe_drift(const json_t *drifted)
{
	if (json_is_null(drifted))
		return "cannot be looked at";
	return json_is_true(drifted) ? "not as installed" : "as installed";
}

static void print_drift(const json_t *addons)
{
	static const char *const keys[] = {"kind", "path", "wanted", "found"};
	static const char *const titles[] = {"DIFFERENCE", "WHERE", "WANTED", "FOUND"};
	const json_t *addon;
	size_t i;

	if (json_array_size(addons) == 0)
		(void)puts("no add-on is installed");
	json_array_foreach(addons, i, addon)
	{
		const json_t *items = json_object_get(addon, "items");

		print_member("", addon, "id", " ");
		print_member("", addon, "version", "");
		(void)printf(": %s\n", describe_drift(json_object_get(addon, "drifted")));
		if (json_array_size(items) > 0)
			print_table("  ", items, keys, titles, ARRAY_SIZE(keys));
	}
}

/* Texts from outside, a line each. */
static void print_lines(const char *before, const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);
		cleanup_free char *safe =
			text ? str_escape(text, strlen(text), strlen(text)) : NULL;

		(void)printf("%s%s\n", before, safe ? safe : "?");
	}
}

static void print_plan(const json_t *plan, const json_t *overrides)
{
	const json_t *object;
	size_t i;

	json_array_foreach(json_object_get(plan, "objects"), i, object)
	{
		bool is_link = json_object_get(object, "target") != NULL;

		print_member("", object, "mode", " ");
		print_member("", object, "owner", ":");
		print_member("", object, "group", " ");
		print_member("", object, "type", " ");
		print_member("", object, "path", is_link ? "" : "\n");
		if (is_link)
			print_member(" -> ", object, "target", "\n");
	}
	print_lines("local-override ", overrides);
}

static void print_dropped(const json_t *keys)
{
	const json_t *key;
	size_t i;

	json_array_foreach(keys, i, key)
	{
		const char *text = json_string_value(key);
		cleanup_free char *safe =
			text ? str_escape(text, strlen(text), strlen(text)) : NULL;

		(void)printf(
			"'%s' was dropped from the configuration: it is the administrator's, in "
			"/etc/affix/addons.d\n",
			safe ? safe : "?");
	}
}

void host_print(const struct request *request, const struct result *result)
{
	const json_t *addons = json_object_get(result->data, "addons");
	const json_t *plan = json_object_get(result->data, "plan");

	if (json_array_size(result->log) > 0) {
		(void)puts("the last lines of its log:");
		print_lines("  ", result->log);
	}
	print_dropped(json_object_get(result->data, "dropped_keys"));
	if (result->outcome != RESULT_DONE)
		return;
	if (request->verb == REQUEST_STATUS)
		print_status(request, addons);
	else if (request->verb == REQUEST_DRIFT)
		print_drift(addons);
	else if (request->verb == REQUEST_PLAN)
		print_plan(plan, json_object_get(result->data, "overrides"));
	else
		(void)puts(result->message ? result->message : "done");
}
