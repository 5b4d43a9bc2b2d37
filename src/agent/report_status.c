/* SPDX-License-Identifier: Apache-2.0 */

/* The status message: what OpAMP has no word for. */

#include "agent/report_status.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

static bool has_text(const json_t *list, const char *text)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (strcmp(json_string_value(item), text) == 0)
			return true;
	}
	return false;
}

/* The fleet's word for what the updater found. */
static const char *drift_word(const json_t *item)
{
	const char *kind = json_string_value(json_object_get(item, "kind"));
	const char *path = json_string_value(json_object_get(item, "path"));

	if (str_equal(kind, "capabilities") || str_equal(kind, "local-override") ||
	    str_equal(kind, "unhealthy"))
		return kind;
	if (str_equal(kind, "stopped") || str_equal(kind, "not-loaded"))
		return "unhealthy";
	if (str_equal(kind, "fragment") || str_equal(kind, "not-reloaded"))
		return "units";
	if (path && str_starts_with(path, "/etc/systemd/"))
		return "units";
	return path && str_starts_with(path, "/etc/affix/") ? "config" : "bytes";
}

/* Words of drift, each once; the override file is one that the updater does not see. */
static json_t *drift_words(const struct report_addon *addon)
{
	cleanup_json json_t *words = json_array();
	const json_t *item;
	size_t i;

	if (!words)
		return NULL;
	if (addon->wanted && addon->wanted->is_overridden &&
	    json_append(words, json_string("local-override")) < 0)
		return NULL;
	json_array_foreach(addon->host ? addon->host->drift : NULL, i, item)
	{
		const char *word = drift_word(item);

		if (!has_text(words, word) && json_append(words, json_string(word)) < 0)
			return NULL;
	}
	return TAKE_PTR(words);
}

static const char *origin(const struct host_addon *host)
{
	if (!host || !host->is_installed)
		return NULL;
	return host->is_local ? "local" : "fleet";
}

/* What the host says of it, and since when it is so. */
static int add_host(json_t *json, const struct report_addon *addon)
{
	const struct host_addon *host = addon->host;
	int r = json_add_uint(json, "restarts", host ? host->restarts : 0);

	if (r == 0)
		r = json_add_uint(json, "since", addon->memory ? addon->memory->since : 0);
	if (r == 0)
		r = json_add(json, "drift", drift_words(addon));
	if (r == 0)
		r = json_add_string(json, "origin", origin(host));
	if (r == 0)
		r = json_add(json, "held", json_boolean(host && host->is_held));
	if (r == 0)
		r = json_add_string(json, "plan", host ? host->plan : NULL);
	if (r == 0 && addon->events)
		r = json_add(json, "events", json_incref((json_t *)addon->events));
	return r;
}

static json_t *describe(const struct report_addon *addon)
{
	cleanup_json json_t *json = json_object();
	const struct host_addon *host = addon->host;
	bool is_wanted = addon->wanted && addon->wanted->is_offered && addon->wanted->is_enabled;
	int r = json ? json_add_string(json, "id", addon->step->id) : -ENOMEM;

	if (r == 0)
		r = json_add_string(json, "wanted", is_wanted ? addon->wanted->version : NULL);
	if (r == 0)
		r = json_add_string(json, "version",
				    host && host->is_installed ? host->version : NULL);
	if (r == 0)
		r = json_add_string(json, "state", addon->state.word);
	if (r == 0)
		r = json_add_string(json, "reason", addon->state.reason);
	if (r == 0)
		r = json_add_string(json, "name", addon->state.name);
	if (r == 0)
		r = add_host(json, addon);
	return r < 0 ? NULL : TAKE_PTR(json);
}

json_t *report_status(const struct report_addon *addons, size_t count)
{
	cleanup_json json_t *json = json_object();
	json_t *list = json_array();
	int r = json ? json_add_uint(json, "schema", 1) : -ENOMEM;

	r = r == 0 ? json_add(json, "addons", list) : r;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = json_append(list, describe(&addons[i]));
	return r < 0 ? NULL : TAKE_PTR(json);
}
