/* SPDX-License-Identifier: Apache-2.0 */

/* The host as the updater tells it. Its answers are trusted to be true, not to have a shape: what
 * is missing is as if it were not known. */

#include "agent/host.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "manifest/manifest.h"

void host_done(struct host *host)
{
	json_decref(host->answer);
	json_decref(host->drift);
	free(host->items);
	*host = HOST_INIT;
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void read_units(const json_t *units, struct host_addon *addon)
{
	const json_t *unit;
	size_t i;

	json_array_foreach(units, i, unit)
	{
		const char *active = text_of(unit, "active_state");
		const char *sub = text_of(unit, "sub_state");
		uint64_t restarts = 0;

		if (json_member_uint(unit, "restarts", INT64_MAX, &restarts) == 0)
			addon->restarts += restarts;
		if (str_equal(active, "activating") || str_equal(sub, "auto-restart"))
			addon->is_starting = true;
	}
}

static const json_t *find_drift(const json_t *drift, const char *id)
{
	const json_t *addon;
	size_t i;

	json_array_foreach(json_object_get(drift, "addons"), i, addon)
	{
		if (str_equal(text_of(addon, "id"), id))
			return json_is_true(json_object_get(addon, "drifted"))
				       ? json_object_get(addon, "items")
				       : NULL;
	}
	return NULL;
}

static bool read_addon(const json_t *item, const json_t *drift, struct host_addon *ret)
{
	const char *id = text_of(item, "id");
	const char *state = text_of(item, "state");

	if (!id || !manifest_id_is_valid(id) || !state)
		return false;
	*ret = (struct host_addon){
		.id = id,
		.state = state,
		.version = text_of(item, "version"),
		.reason = text_of(item, "reason"),
		.hold_reason = text_of(item, "hold_reason"),
		.plan = text_of(json_object_get(item, "current"), "plan"),
		.previous = text_of(json_object_get(item, "previous"), "version"),
		.is_installed = json_is_true(json_object_get(item, "installed")),
		.is_local = !str_equal(text_of(item, "origin"), "fleet"),
		.is_held = json_is_true(json_object_get(item, "held")),
		.is_changing = json_is_object(json_object_get(item, "transaction")),
		.quarantine = json_object_get(item, "quarantine"),
		.drift = find_drift(drift, id),
	};
	read_units(json_object_get(item, "units"), ret);
	return true;
}

int host_read(json_t *status, json_t *drift, struct host *ret)
{
	json_t *list = NULL;
	struct host host = HOST_INIT;
	const json_t *item;
	size_t i;

	if (json_member_array(status, "addons", &list) < 0)
		return 1;
	host.items = calloc(json_array_size(list) + 1, sizeof(*host.items));
	if (!host.items)
		return -ENOMEM;
	json_array_foreach(list, i, item)
	{
		if (read_addon(item, drift, &host.items[host.count]))
			host.count++;
	}
	host.answer = json_incref(status);
	host.drift = json_incref(drift);
	host.is_known = true;
	*ret = host;
	return 0;
}

const struct host_addon *host_find(const struct host *host, const char *id)
{
	for (size_t i = 0; i < host->count; i++) {
		if (strcmp(host->items[i].id, id) == 0)
			return &host->items[i];
	}
	return NULL;
}

bool host_has_quarantined(const struct host_addon *addon, const char *plan, const char *version)
{
	const json_t *item;
	size_t i;

	if (!addon)
		return false;
	json_array_foreach(addon->quarantine, i, item)
	{
		if (plan ? str_equal(text_of(item, "plan"), plan)
			 : str_equal(text_of(item, "version"), version))
			return true;
	}
	return false;
}
