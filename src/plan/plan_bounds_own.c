/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Where affix's own programs, and what it gives to the guest of a virtual machine, may stand: the
 * other half of the host layout, for plans of the ids that no add-on can have. Everything but a few
 * files of the machine has affix's name.
 */

#include "plan/plan_bounds.h"

#include <fnmatch.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "plan/plan_paths.h"

/* Directories that may be missing in a tree. */
static const char *const directories[] = {
	"/usr",
	"/usr/bin",
	"/usr/share",
	"/usr/share/affix",
	"/usr/share/affix/vm",
	"/usr/lib",
	"/usr/lib/affix",
	"/usr/lib/affix/vm",
	"/usr/lib/systemd",
	"/usr/lib/systemd/system",
	"/usr/lib/systemd/system-preset",
	"/usr/lib/sysusers.d",
	"/usr/lib/tmpfiles.d",
	"/etc/affix/trust.d",
	"/etc/modules-load.d",
	"/etc/systemd/network",
	"/etc/systemd/system/ssh*.requires",
	PLAN_LOCAL_BASE,
	"/var",
	"/var/lib",
	PLAN_STATE_BASE,
	"/var/lib/affix/*",
	"/var/cache",
	PLAN_CACHE_BASE,
	"/var/log",
	PLAN_LOGS_BASE,
};

static const char *const files[] = {
	"/usr/share/affix/host.list",
	"/usr/share/affix/vm/affix-*",
	"/usr/share/affix/vm/*-affix-*.network",
	"/usr/lib/systemd/system/affix-*.service",
	"/usr/lib/systemd/system/affix-*.socket",
	"/usr/lib/systemd/system/affix-*.target",
	"/usr/lib/systemd/system-preset/*-affix.preset",
	"/usr/lib/systemd/system-preset/*-affix-*.preset",
	"/usr/lib/sysusers.d/affix*.conf",
	"/usr/lib/tmpfiles.d/affix*.conf",
	"/etc/affix/trust.d/*.pub",
	"/etc/affix/trust.d/*.policy.yaml",
	"/etc/modules-load.d/affix-*.conf",
	"/etc/systemd/network/*-affix-*.network",
};

/* Links to affix's own programs. */
static const char *const programs[] = {
	"/usr/bin/affix",
	"/usr/lib/affix/affix-*",
	"/usr/lib/affix/vm/affix-*",
};

/* Links to units; ssh or sshd may not start without keys of the machine's own. */
static const char *const enabled[] = {
	"/etc/systemd/system/*.target.wants/affix-*",
	"/etc/systemd/system/ssh*.requires/affix-vm-*",
};

/* The machine's own, made where there is nothing. */
static const char *const seeds[] = {
	"/etc/fstab",
	"/etc/hostname",
	"/etc/machine-id",
	"/etc/resolv.conf",
};

/* No pattern crosses a '/'. */
static bool has_match(const char *const *patterns, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++) {
		if (fnmatch(patterns[i], path, FNM_PATHNAME | FNM_NOESCAPE | FNM_PERIOD) == 0)
			return true;
	}
	return false;
}

/* Whether *target* is `/opt/affix/<own id>/current/NAME`. */
static bool is_program(const char *target)
{
	return fnmatch(PLAN_OPT_BASE "/affix/current/affix*", target, FNM_PATHNAME) == 0 ||
	       fnmatch(PLAN_OPT_BASE "/vm/current/affix*", target, FNM_PATHNAME) == 0;
}

static bool allow_link(const struct plan_object *object)
{
	if (has_match(programs, ARRAY_SIZE(programs), object->path))
		return is_program(object->target);
	return has_match(enabled, ARRAY_SIZE(enabled), object->path) &&
	       str_starts_with(object->target, "/usr/lib/systemd/system/") &&
	       strcmp(object->target + strlen("/usr/lib/systemd/system/"),
		      path_last_name(object->path)) == 0;
}

bool plan_bounds_allow_own(const struct plan_object *object)
{
	if (object->seed)
		return object->type != PLAN_DIRECTORY &&
		       has_match(seeds, ARRAY_SIZE(seeds), object->path);
	if (object->type == PLAN_LINK)
		return allow_link(object);
	if (object->type == PLAN_FILE && object->entry)
		return false;
	if (object->type == PLAN_FILE)
		return has_match(files, ARRAY_SIZE(files), object->path);
	return object->shared && plan_bounds_allow_own_directory(object->path);
}

bool plan_bounds_allow_own_directory(const char *path)
{
	return plan_bounds_is_shared(path) || has_match(directories, ARRAY_SIZE(directories), path);
}
