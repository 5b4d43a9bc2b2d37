/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Paths in directives. An add-on owns its code, which nobody may write, and four directories that
 * its service may. systemd acts on these paths as root: it creates, chowns and mounts. So below a
 * directory that the service owns it is given one level at most, where it looks at the last name
 * without following a link, and it never mounts from there.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "unit/unit_check.h"
#include "unit/unit_words.h"

/* Blanks, quotes, specifiers, ':' and the like are not among them: no quoting is needed. */
#define PATH_BYTES "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._+@-"
#define NAME_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

#define OWN_OR_LISTED \
	"it may only name paths of this add-on and read-only paths that updater.yaml(5) lists"

static const char *const writable_bases[] = {
	"/var/lib/affix",
	"/var/cache/affix",
	"/var/log/affix",
	"/run/affix",
};

static bool is_plain_path(const char *path)
{
	return strspn(path, PATH_BYTES) == strlen(path) && path_is_normal_absolute(path);
}

/* Whether the path is the add-on's own directory in *base*, or below it. */
static bool is_below_base(const struct unit_check *check, const char *path, const char *base)
{
	char own[64];

	(void)snprintf(own, sizeof(own), "%s/%s", base, check->manifest->id);
	return path_is_below(path, own);
}

static bool is_own_code(const struct unit_check *check, const char *path)
{
	return is_plain_path(path) && is_below_base(check, path, "/opt/affix");
}

/* One of the four itself: below it the service may have put a link. */
static bool is_own_directory(const struct unit_check *check, const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(writable_bases); i++) {
		const char *base = writable_bases[i];
		size_t length = strlen(base);

		if (strncmp(path, base, length) == 0 && path[length] == '/' &&
		    strcmp(path + length + 1, check->manifest->id) == 0)
			return true;
	}
	return false;
}

static bool is_own_writable(const struct unit_check *check, const char *path)
{
	if (!is_plain_path(path))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(writable_bases); i++) {
		if (is_below_base(check, path, writable_bases[i]))
			return true;
	}
	return false;
}

/*
 * What the kernel says of one process: its `root`, `cwd` and `fd` are links to anywhere. systemd
 * follows them as root, and what it mounts from there is no longer behind the directories that hid
 * it.
 */
static bool is_of_a_process(const char *path)
{
	static const char *const names[] = {"/proc/self", "/proc/thread-self"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (path_is_below(path, names[i]))
			return true;
	}
	return str_starts_with(path, "/proc/") && path[6] >= '0' && path[6] <= '9';
}

static bool is_listed(const struct unit_check *check, const char *path)
{
	const struct strv *listed = &check->policy->read_only_paths;

	if (!is_plain_path(path) || is_of_a_process(path))
		return false;
	for (size_t i = 0; i < listed->count; i++) {
		if (path_is_below(path, listed->items[i]))
			return true;
	}
	return false;
}

/* The kinds of path that a directive may name. */
enum path_kind {
	PATH_OWN_CODE = 1 << 0,
	PATH_OWN_DIRECTORY = 1 << 1,
	PATH_OWN_WRITABLE = 1 << 2,
	PATH_LISTED = 1 << 3,
};

static int check_path(const struct unit_check *check, const char *path, unsigned kinds,
		      const char *expected)
{
	if (((kinds & PATH_OWN_CODE) && is_own_code(check, path)) ||
	    ((kinds & PATH_OWN_DIRECTORY) && is_own_directory(check, path)) ||
	    ((kinds & PATH_OWN_WRITABLE) && is_own_writable(check, path)) ||
	    ((kinds & PATH_LISTED) && is_listed(check, path)))
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_PATH, path, "%s, written without '..' and '//'",
			   expected);
}

/* Every word, less the first byte as long as *prefixes* has it, in its order. */
static int check_paths(const struct unit_check *check, const char *prefixes, unsigned kinds,
		       const char *expected)
{
	const char *p = check->entry->value;
	const char *word = NULL;
	size_t length = 0;
	int r = 0;

	while (r == 0 && unit_plain_next(&p, &word, &length) > 0) {
		cleanup_free char *copy = strndup(word, length);
		const char *path = copy;

		if (!copy)
			return -ENOMEM;
		for (const char *prefix = prefixes; *prefix; prefix++)
			path += *path == *prefix;
		r = check_path(check, path, kinds, expected);
	}
	return r;
}

int unit_check_restricted_paths(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	return check_paths(check, "-+", PATH_OWN_CODE | PATH_OWN_WRITABLE | PATH_LISTED,
			   OWN_OR_LISTED);
}

int unit_check_writable_paths(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	return check_paths(
		check, "-+", PATH_OWN_DIRECTORY,
		"it may only name the add-on's four directories in /var/lib/affix, /var/cache/affix, /var/log/affix and /run/affix, nothing below them");
}

int unit_check_bound_paths(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	return check_paths(
		check, "-", PATH_OWN_CODE | PATH_LISTED,
		"it may only name the add-on's code below /opt/affix and read-only paths that updater.yaml(5) lists, with no other destination");
}

int unit_check_working_directory(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *path = check->entry->value;

	(void)rule;
	return check_path(check, path + (*path == '-'), PATH_OWN_CODE | PATH_OWN_WRITABLE,
			  "it may only name a directory of this add-on");
}

int unit_check_condition_path(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *path = check->entry->value;

	(void)rule;
	path += *path == '|';
	path += *path == '!';
	return check_path(check, path, PATH_OWN_CODE | PATH_OWN_WRITABLE | PATH_LISTED,
			  OWN_OR_LISTED);
}

/* `affix/<id>` or `affix/<id>/NAME`. */
static bool is_directory_value(const struct unit_check *check, const char *word, size_t length)
{
	char own[64];
	size_t own_length;
	const char *name;

	own_length = (size_t)snprintf(own, sizeof(own), "affix/%s", check->manifest->id);
	if (length < own_length || memcmp(word, own, own_length) != 0)
		return false;
	if (length == own_length)
		return true;
	name = word + own_length + 1;
	return word[own_length] == '/' && length > own_length + 1 && *name != '.' &&
	       strspn(name, NAME_BYTES) >= length - own_length - 1;
}

int unit_check_directories(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *p = check->entry->value;
	const char *word = NULL;
	size_t length = 0;
	int r = 0;

	(void)rule;
	while (r == 0 && unit_plain_next(&p, &word, &length) > 0) {
		cleanup_free char *copy = NULL;

		if (is_directory_value(check, word, length))
			continue;
		copy = strndup(word, length);
		if (!copy)
			return -ENOMEM;
		r = unit_refuse(check, REFUSAL_UNIT_PATH, copy,
				"it may only be 'affix/%s' or one name below that",
				check->manifest->id);
	}
	return r;
}

int unit_check_runtime_directory(const struct unit_check *check, const struct unit_rule *rule)
{
	if (check->manifest->ipc)
		return unit_refuse(
			check, REFUSAL_UNIT_PATH, NULL,
			"is not for an add-on with ipc: '/run/affix/%s' is made for it, remove the line",
			check->manifest->id);
	return unit_check_directories(check, rule);
}
