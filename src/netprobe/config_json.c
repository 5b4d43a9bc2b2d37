/* SPDX-License-Identifier: Apache-2.0 */

/* The configuration as a file has it. Strict: a key that is not known is a mistake, and said. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "netprobe/config.h"
#include "netprobe/config_tier.h"

struct reader {
	const json_t *object;
	char *why;
	int result; /* the first that was wrong */
};

static void refuse(struct reader *reader, const char *key, const char *expected)
{
	if (reader->result != 0)
		return;
	(void)snprintf(reader->why, CONFIG_WHY_MAX, "%s: expected %s", key, expected);
	reader->result = CONFIG_E_BAD;
}

static void read_bool(struct reader *reader, const char *key, bool *ret)
{
	if (json_member_bool(reader->object, key, ret) == -EINVAL)
		refuse(reader, key, "true or false");
}

static void read_number(struct reader *reader, const char *key, uint32_t *ret)
{
	uint64_t value = *ret;

	if (json_member_uint(reader->object, key, UINT32_MAX, &value) == -EINVAL)
		refuse(reader, key, "a whole number, not negative");
	else
		*ret = (uint32_t)value;
}

/* Also null, which is an empty list. */
static void read_list(struct reader *reader, const char *key, struct strv *list)
{
	const json_t *value = json_object_get(reader->object, key);
	const json_t *item;
	size_t i;

	if (!value || json_is_null(value))
		return;
	if (!json_is_array(value))
		refuse(reader, key, "a list of texts");
	json_array_foreach(value, i, item)
	{
		if (!json_is_string(item))
			refuse(reader, key, "a list of texts");
		else if (strv_add(list, json_string_value(item)) < 0)
			reader->result = -ENOMEM;
	}
}

static void read_collector_ip(struct reader *reader, struct config *config)
{
	const char *text = NULL;

	if (json_member_string(reader->object, "collector_ip", &text) == -EINVAL)
		refuse(reader, "collector_ip", "a text");
	if (str_is_empty(text))
		return;
	config->collector_ip = strdup(text);
	if (!config->collector_ip)
		reader->result = -ENOMEM;
}

static void read_tier(struct reader *reader, struct config *config)
{
	const char *text = "full";

	if (json_member_string(reader->object, "tier_max", &text) == -EINVAL ||
	    config_tier_from_string(text, &config->tier_max) < 0)
		refuse(reader, "tier_max", "'full', 'cgroup' or 'diag'");
}

/* The members of *key*, or NULL; unknown ones are refused. */
static const json_t *enter(struct reader *reader, const json_t *value, const char *key,
			   const char *const *known)
{
	const char *unknown;

	if (!json_is_object(value)) {
		refuse(reader, key, "an object");
		return NULL;
	}
	unknown = json_unknown_key(value, known);
	if (unknown) {
		cleanup_free char *safe = str_escape(unknown, strlen(unknown), 64);

		if (reader->result == 0)
			(void)snprintf(reader->why, CONFIG_WHY_MAX,
				       "%s%s'%s' is no key that netprobe knows; see "
				       "affix-netprobe(8)",
				       key, *key ? ": " : "", safe ? safe : "");
		reader->result = reader->result != 0 ? reader->result : CONFIG_E_BAD;
	}
	return value;
}

static void read_dpi(struct reader *reader, bool *ret_enabled, struct strv *protocols)
{
	static const char *const known[] = {"enabled", "protocols", NULL};
	const json_t *value = json_object_get(reader->object, "dpi");
	struct reader inner = *reader;

	if (!value)
		return;
	inner.object = enter(&inner, value, "dpi", known);
	if (inner.object) {
		read_bool(&inner, "enabled", ret_enabled);
		read_list(&inner, "protocols", protocols);
	}
	reader->result = inner.result;
}

static void read_fingerprint(struct reader *reader)
{
	static const char *const known[] = {"tcp", "tls", "http", NULL};
	const json_t *value = json_object_get(reader->object, "fingerprint");
	struct reader inner = *reader;
	bool ignored = false;

	if (!value)
		return;
	inner.object = enter(&inner, value, "fingerprint", known);
	for (size_t i = 0; inner.object && known[i]; i++)
		read_bool(&inner, known[i], &ignored);
	reader->result = inner.result;
}

static void read_binding(struct reader *reader, const json_t *value, struct strv *list)
{
	static const char *const known[] = {"ip",          "profile_id",         "profile_name",
					    "fingerprint", "sample_interval_ms", "dpi",
					    NULL};
	struct reader inner = *reader;
	struct strv protocols = STRV_INIT;
	const char *text = NULL;
	uint32_t number = 0;
	bool ignored = false;

	inner.object = enter(&inner, value, "device_bindings", known);
	if (inner.object) {
		if (json_member_string(inner.object, "profile_id", &text) == -EINVAL ||
		    json_member_string(inner.object, "profile_name", &text) == -EINVAL)
			refuse(&inner, "device_bindings", "texts as profile_id and profile_name");
		read_number(&inner, "sample_interval_ms", &number);
		read_fingerprint(&inner);
		read_dpi(&inner, &ignored, &protocols);
		if (json_member_string(inner.object, "ip", &text) < 0)
			refuse(&inner, "device_bindings", "an 'ip' in each");
		else if (strv_add(list, text) < 0)
			inner.result = -ENOMEM;
	}
	strv_done(&protocols);
	reader->result = inner.result;
}

static void read_bindings(struct reader *reader, struct config *config)
{
	const json_t *value = json_object_get(reader->object, "device_bindings");
	const json_t *item;
	size_t i;

	if (!value || json_is_null(value))
		return;
	if (!json_is_array(value))
		refuse(reader, "device_bindings", "a list of objects");
	json_array_foreach(value, i, item)
	{
		read_binding(reader, item, &config->device_bindings);
	}
}

static void read_all(struct reader *reader, struct config *config)
{
	static const char *const known[] = {"enabled",
					    "capture_interfaces",
					    "device_bindings",
					    "default_sample_interval_ms",
					    "dpi",
					    "flow_table_max_entries",
					    "process_snapshot_interval_s",
					    "external_flow_match_window_ms",
					    "flow_attribution_ipc_batch",
					    "emit_raw_flow_attribution_events",
					    "collector_ip",
					    "tier_max",
					    "diag_interval_ms",
					    NULL};

	(void)enter(reader, reader->object, "", known);
	read_bool(reader, "enabled", &config->enabled);
	read_list(reader, "capture_interfaces", &config->capture_interfaces);
	read_bindings(reader, config);
	read_number(reader, "default_sample_interval_ms", &config->default_sample_interval_ms);
	read_dpi(reader, &config->dpi_enabled, &config->dpi_protocols);
	read_number(reader, "flow_table_max_entries", &config->flow_table_max_entries);
	read_number(reader, "process_snapshot_interval_s", &config->process_snapshot_interval_s);
	read_number(reader, "external_flow_match_window_ms",
		    &config->external_flow_match_window_ms);
	read_bool(reader, "flow_attribution_ipc_batch", &config->batch);
	read_bool(reader, "emit_raw_flow_attribution_events", &config->raw);
	read_collector_ip(reader, config);
	read_tier(reader, config);
	read_number(reader, "diag_interval_ms", &config->diag_interval_ms);
	if (config->external_flow_match_window_ms == 0)
		config->external_flow_match_window_ms = CONFIG_WINDOW_MS;
}

int config_parse(const char *text, size_t size, struct config **ret, char why[CONFIG_WHY_MAX])
{
	cleanup_config struct config *config = config_new();
	cleanup_json json_t *json = NULL;
	struct json_problem problem = {0};
	struct reader reader = {.why = why};
	int r;

	if (!config)
		return -ENOMEM;
	if (size > CONFIG_SIZE_MAX) {
		(void)snprintf(why, CONFIG_WHY_MAX, "it is larger than 256 KiB");
		return CONFIG_E_BAD;
	}
	r = json_parse_object(text, size, &json, &problem);
	if (r > 0)
		(void)snprintf(why, CONFIG_WHY_MAX, "%s", problem.text);
	if (r != 0)
		return r < 0 ? r : CONFIG_E_BAD;
	reader.object = json;
	read_all(&reader, config);
	r = reader.result != 0 ? reader.result : config_check(config, why);
	if (r == 0)
		*ret = TAKE_PTR(config);
	return r;
}

int config_load(const char *path, struct config **ret, char why[CONFIG_WHY_MAX])
{
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r = fd_read_path(path, CONFIG_SIZE_MAX + 1UL, &text, &size);

	if (r == -EFBIG)
		size = CONFIG_SIZE_MAX + 1UL;
	else if (r < 0)
		return r;
	return config_parse(text ? text : "", size, ret, why);
}
