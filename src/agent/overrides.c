/* SPDX-License-Identifier: Apache-2.0 */

/*
 * addons.local.json, the break-glass: whoever is root on a host has the last word on what the fleet
 * may do there. A file with anything wrong in it is ignored whole and reported, because half of an
 * administrator's intent may be worse than none.
 */

#include "agent/overrides.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/json.h"
#include "manifest/manifest.h"

#define SHOWN_MAX 64U

void overrides_done(struct overrides *overrides)
{
	json_decref(overrides->addons);
	overrides->addons = NULL;
}

static int wrong(struct overrides *overrides, const char *format, ...) format_check(2, 3);

static int wrong(struct overrides *overrides, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(overrides->problem, sizeof(overrides->problem), format, arguments);
	va_end(arguments);
	return 1;
}

static int check_capabilities(struct overrides *overrides, const char *id, const json_t *list)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(list))
		return wrong(overrides, "'capabilities' of '%s' must be an array of names", id);
	json_array_foreach(list, i, item)
	{
		if (!json_is_string(item) ||
		    manifest_capability_from_string(json_string_value(item)) < 0)
			return wrong(overrides,
				     "'capabilities' of '%s' must hold names such as 'cap_net_raw'",
				     id);
	}
	return 0;
}

static int check_limits(struct overrides *overrides, const char *id, json_t *limits)
{
	const char *key;
	json_t *value;

	if (!json_is_object(limits))
		return wrong(overrides, "'limits' of '%s' must be an object", id);
	json_object_foreach(limits, key, value)
	{
		if (!json_is_integer(value) || json_integer_value(value) <= 0)
			return wrong(overrides, "'limits' of '%s' must hold whole numbers above 0",
				     id);
	}
	return 0;
}

static int check_addon(struct overrides *overrides, const char *id, json_t *patch)
{
	static const char *const known[] = {"enabled", "config", "capabilities", "limits", NULL};
	const json_t *enabled;
	const json_t *config;
	json_t *value;

	if (!manifest_id_is_valid(id)) {
		cleanup_free char *shown = str_escape(id, strlen(id), SHOWN_MAX);

		return wrong(overrides, "'%s' is not the id of an add-on", shown ? shown : "");
	}
	if (!json_is_object(patch))
		return wrong(overrides, "the override of '%s' must be an object", id);
	if (json_unknown_key(patch, known)) {
		const char *key = json_unknown_key(patch, known);
		cleanup_free char *shown = str_escape(key, strlen(key), SHOWN_MAX);

		return wrong(
			overrides,
			"the override of '%s' has the key '%s'; expected enabled, config, capabilities or limits",
			id, shown ? shown : "");
	}
	enabled = json_object_get(patch, "enabled");
	if (enabled && !json_is_boolean(enabled) && !json_is_null(enabled))
		return wrong(overrides, "'enabled' of '%s' must be true, false or null", id);
	config = json_object_get(patch, "config");
	if (config && !json_is_object(config))
		return wrong(overrides, "'config' of '%s' must be an object", id);
	value = json_object_get(patch, "capabilities");
	if (value && check_capabilities(overrides, id, value) != 0)
		return 1;
	value = json_object_get(patch, "limits");
	return value ? check_limits(overrides, id, value) : 0;
}

int overrides_parse(const char *text, size_t size, struct overrides *ret)
{
	static const char *const known[] = {"schema", "addons", NULL};
	struct overrides overrides = OVERRIDES_INIT;
	struct json_problem problem = {0};
	cleanup_json json_t *json = NULL;
	json_t *addons = NULL;
	uint64_t schema = 0;
	const char *id;
	json_t *patch;
	int r;

	r = json_parse_object(text, size, &json, &problem);
	if (r < 0)
		return r;
	if (r > 0)
		r = wrong(&overrides, "it is not JSON: %s", problem.text);
	else if (json_member_uint(json, "schema", 1, &schema) < 0 || schema != 1)
		r = wrong(&overrides, "it does not say \"schema\": 1");
	else if (json_member_object(json, "addons", &addons) < 0 || json_unknown_key(json, known))
		r = wrong(&overrides, "expected the keys schema and addons, and no others");
	json_object_foreach(addons, id, patch)
	{
		if (r == 0)
			r = check_addon(&overrides, id, patch);
	}
	if (r == 0)
		overrides.addons = json_incref(addons);
	*ret = overrides;
	return r;
}

int overrides_load(const char *path, struct overrides *ret)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	cleanup_free char *text = NULL;
	size_t size = 0;
	struct stat st;
	int r;

	*ret = OVERRIDES_INIT;
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0) {
		ignore_result(wrong(ret, "it cannot be read: %s", strerrordesc_np(errno)));
		return 0;
	}
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		ignore_result(
			wrong(ret, "it must be a regular file of root that nobody else may write"));
		return 0;
	}
	r = fd_read_all(fd, OVERRIDES_SIZE_MAX, &text, &size);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		ignore_result(wrong(ret, "it cannot be read: %s", strerrordesc_np(-r)));
		return 0;
	}
	r = overrides_parse(text, size, ret);
	return r < 0 ? r : 0;
}

const json_t *overrides_member(const struct overrides *overrides, const char *id, const char *key)
{
	const json_t *patch = json_object_get(overrides->addons, id);
	const json_t *value = json_object_get(patch, key);

	return json_is_null(value) ? NULL : value;
}

enum overrides_enabled overrides_enabled(const struct overrides *overrides, const char *id)
{
	const json_t *enabled = overrides_member(overrides, id, "enabled");

	if (!enabled)
		return OVERRIDES_AS_OFFERED;
	return json_is_true(enabled) ? OVERRIDES_ON : OVERRIDES_OFF;
}
