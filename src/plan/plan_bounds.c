/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The host layout as a rule: every place where an object of a plan may stand, by its type. No id
 * is a prefix of another's names: `.` and `_`, which follow it in names of units, are not legal in
 * ids.
 */

#include "plan/plan_bounds.h"

#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "plan/plan_paths.h"

static const char *const shared[] = {
	"/opt",         PLAN_OPT_BASE,      "/etc",
	"/etc/affix",   PLAN_CONFIG_BASE,   "/etc/systemd",
	PLAN_UNIT_BASE, PLAN_SYSUSERS_BASE, PLAN_TMPFILES_BASE,
};

/* What of *path* is behind `PREFIX/`, or NULL. */
static const char *behind(const char *path, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(path, prefix, length) == 0 && path[length] == '/' ? path + length + 1 : NULL;
}

/* What of *path* is behind `/opt/affix/<id>/`, or NULL. */
static const char *behind_home(const char *id, const char *path)
{
	const char *rest = behind(path, PLAN_OPT_BASE);

	return rest ? behind(rest, id) : NULL;
}

/* Whether *path* is `PREFIX<id>SUFFIX`. */
static bool is_named(const char *path, const char *prefix, const char *id, const char *suffix)
{
	size_t length = strlen(id);

	if (!str_starts_with(path, prefix))
		return false;
	path += strlen(prefix);
	return strncmp(path, id, length) == 0 && strcmp(path + length, suffix) == 0;
}

/* Whether `/etc/systemd/system/NAME` is a directory of enablement links of a target. */
static bool is_wants_name(const char *name)
{
	return !strchr(name, '/') &&
	       (str_ends_with(name, ".target.wants") || str_ends_with(name, ".target.requires"));
}

static bool is_wants(const char *path)
{
	const char *name = behind(path, PLAN_UNIT_BASE);

	return name && is_wants_name(name);
}

bool plan_bounds_is_own_unit(const char *id, const char *name)
{
	const char *rest = str_starts_with(name, "affix-") ? name + strlen("affix-") : NULL;

	if (!rest || strchr(name, '/') || strncmp(rest, id, strlen(id)) != 0)
		return false;
	rest += strlen(id);
	if (*rest != '_' && strcmp(rest, ".service") != 0 && strcmp(rest, ".timer") != 0)
		return false;
	return str_ends_with(rest, ".service") || str_ends_with(rest, ".timer");
}

/* Whether *name* is `UNITSUFFIX` of a unit of *id*. */
static bool is_of_own_unit(const char *id, const char *name, const char *suffix)
{
	char unit[PATH_NAME_MAX + 1];
	size_t length = strlen(name);

	if (length > PATH_NAME_MAX || !str_ends_with(name, suffix))
		return false;
	(void)snprintf(unit, sizeof(unit), "%.*s", (int)(length - strlen(suffix)), name);
	return plan_bounds_is_own_unit(id, unit);
}

static bool is_drop_in_name(const char *id, const char *name)
{
	return is_of_own_unit(id, name, ".d");
}

/* A unit of the add-on may be what another one of it is enabled by. */
static bool is_own_wants_name(const char *id, const char *name)
{
	return is_of_own_unit(id, name, ".wants") || is_of_own_unit(id, name, ".requires");
}

/* Splits `DIRECTORY/NAME`, exactly two names, into *directory* and the name, or NULL. */
static const char *split_two(const char *path, char directory[PATH_NAME_MAX + 1])
{
	const char *slash = strchr(path, '/');

	if (!slash || strchr(slash + 1, '/') || slash - path > (ptrdiff_t)PATH_NAME_MAX)
		return NULL;
	(void)snprintf(directory, PATH_NAME_MAX + 1, "%.*s", (int)(slash - path), path);
	return slash + 1;
}

bool plan_bounds_is_shared(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
		if (strcmp(path, shared[i]) == 0)
			return true;
	}
	return is_wants(path);
}

bool plan_bounds_allow_directory(const char *id, const char *path)
{
	const char *name = behind(path, PLAN_UNIT_BASE);

	if (!path_is_normal_absolute(path))
		return false;
	if (plan_bounds_is_shared(path) || behind_home(id, path) ||
	    is_named(path, PLAN_OPT_BASE "/", id, ""))
		return true;
	if (manifest_id_is_own(id))
		return plan_bounds_allow_own_directory(path);
	return name && (is_drop_in_name(id, name) || is_own_wants_name(id, name));
}

bool plan_bounds_is_key_id(const char *text)
{
	size_t length = strlen(text);

	return length == 0 || (length == MINISIGN_KEY_ID_TEXT_SIZE - 1 &&
			       strspn(text, "0123456789ABCDEF") == length);
}

bool plan_bounds_allow_binary(const char *id, const char *path)
{
	const char *rest = behind_home(id, path);

	rest = rest ? behind(rest, "current") : NULL;
	return rest && path_is_safe_name(rest);
}

bool plan_bounds_allow_state(const char *id, const char *path)
{
	static const char *const bases[] = {PLAN_STATE_BASE, PLAN_CACHE_BASE, PLAN_LOGS_BASE,
					    PLAN_RUN_BASE};

	if (!path_is_normal_absolute(path))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		const char *rest = behind(path, bases[i]);

		if (rest && path_is_below(rest, id))
			return true;
	}
	return false;
}

/* A file of the bundle stands in the version directory under its own name. */
static bool allow_bundle_file(const struct plan *plan, const struct plan_object *object)
{
	const char *rest = behind_home(plan->identity.id, object->path);

	rest = rest ? behind(rest, "versions") : NULL;
	rest = rest ? behind(rest, plan->identity.version) : NULL;
	return rest && strcmp(rest, object->entry) == 0 && path_is_safe_name(rest);
}

/* What is made on the host stands in /etc. */
static bool allow_inline_file(const char *id, const char *path)
{
	char directory[PATH_NAME_MAX + 1];
	const char *name = behind(path, PLAN_UNIT_BASE);
	const char *drop_in = name ? split_two(name, directory) : NULL;

	if (drop_in)
		return is_drop_in_name(id, directory) && str_ends_with(drop_in, ".conf");
	if (name)
		return plan_bounds_is_own_unit(id, name);
	return is_named(path, PLAN_SYSUSERS_BASE "/affix-", id, ".conf") ||
	       is_named(path, PLAN_TMPFILES_BASE "/affix-", id, ".conf") ||
	       is_named(path, PLAN_CONFIG_BASE "/", id, ".json");
}

/* An enablement link stands in a directory of such links and points to the unit of its name. */
static bool allow_enablement(const char *id, const struct plan_object *object)
{
	char directory[PATH_NAME_MAX + 1];
	const char *rest = behind(object->path, PLAN_UNIT_BASE);
	const char *name = rest ? split_two(rest, directory) : NULL;
	const char *target = behind(object->target, PLAN_UNIT_BASE);

	return name && target && (is_wants_name(directory) || is_own_wants_name(id, directory)) &&
	       plan_bounds_is_own_unit(id, name) && strcmp(target, name) == 0;
}

static bool allow_link(const struct plan *plan, const struct plan_object *object)
{
	const char *rest = behind_home(plan->identity.id, object->path);
	const char *target = behind(object->target, "versions");

	if (!rest)
		return allow_enablement(plan->identity.id, object);
	return strcmp(rest, "current") == 0 && target &&
	       strcmp(target, plan->identity.version) == 0;
}

bool plan_bounds_allow_object(const struct plan *plan, const struct plan_object *object)
{
	const char *id = plan->identity.id;

	if (!path_is_normal_absolute(object->path))
		return false;
	if (plan_is_own(plan) && !path_is_below(object->path, "/opt"))
		return plan_bounds_allow_own(object);
	if (object->seed)
		return false;
	if (object->type == PLAN_LINK)
		return allow_link(plan, object);
	if (object->type == PLAN_FILE && object->entry)
		return allow_bundle_file(plan, object);
	if (object->type == PLAN_FILE)
		return allow_inline_file(id, object->path);
	return plan_bounds_allow_directory(id, object->path) &&
	       (object->shared || !plan_bounds_is_shared(object->path));
}
