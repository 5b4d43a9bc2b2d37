/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Checkers of what an add-on is granted: its user, its capabilities, its environment, and the units
 * that it may pull in, order itself against or be pulled in by. All of them compare with the
 * manifest or the host's policy; nothing here is a matter of syntax alone.
 */

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "unit/unit_check.h"
#include "unit/unit_words.h"

/* Targets that every service is ordered behind: one that they pulled in would wait for itself. And
 * those that logins, sshd and remote file systems wait for, which wait for what they want: an
 * add-on that hangs at boot would lock everybody out. */
#define EARLY_TARGETS                                                                            \
	"basic.target local-fs.target paths.target slices.target sockets.target sysinit.target " \
	"network.target network-online.target network-pre.target nss-lookup.target "             \
	"nss-user-lookup.target remote-fs.target time-set.target time-sync.target"

/* Variables that change what code runs, or that systemd speaks through. */
#define ENVIRONMENT_REFUSED                                                                      \
	"BASH_ENV ENV GCONV_PATH GETCONF_DIR GLIBC_TUNABLES HOSTALIASES IFS INVOCATION_ID "      \
	"JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS JOURNAL_STREAM LOCALDOMAIN LOCPATH LOGNAME MAINPID " \
	"NIS_PATH NLSPATH NODE_OPTIONS NODE_PATH NOTIFY_SOCKET OPENSSL_CONF OPENSSL_ENGINES "    \
	"OPENSSL_MODULES PATH PERL5DB PERL5LIB PERL5OPT PIDFILE PYTHONHOME PYTHONPATH "          \
	"PYTHONSTARTUP RESOLV_HOST_CONF RES_OPTIONS RUBYLIB RUBYOPT SHELL SHELLOPTS "            \
	"SSLKEYLOGFILE TZDIR USER _JAVA_OPTIONS"

static const char *const environment_refused_prefixes[] = {
	"CACHE_DIRECTORY", "CONFIGURATION_DIRECTORY",
	"CREDENTIALS_",    "LD_",
	"LISTEN_",         "LOGS_DIRECTORY",
	"MALLOC_",         "RUNTIME_DIRECTORY",
	"STATE_DIRECTORY", "SYSTEMD_",
	"WATCHDOG_",
};

int unit_check_user(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	if (strcmp(check->entry->value, check->manifest->run_as) == 0)
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_USER, check->entry->value,
			   "the add-on runs as '%s' (run_as of addon.yaml)",
			   check->manifest->run_as);
}

int unit_check_group(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	if (strcmp(check->entry->value, check->manifest->run_as) == 0)
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_USER, check->entry->value,
			   "it may only be the user's own, '%s'; leave it out",
			   check->manifest->run_as);
}

static int check_capability(const struct unit_check *check, const char *word, size_t length)
{
	cleanup_free char *shown = strndup(word, length);
	cleanup_free char *name = strndup(word, length);

	if (!shown || !name)
		return -ENOMEM;
	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (strv_has(&check->manifest->os_capabilities, name))
		return 0;
	return unit_refuse(
		check, REFUSAL_UNIT_CAPABILITY, shown,
		"it must be capabilities that requires.os_capabilities of addon.yaml lists, by name and separated by blanks");
}

int unit_check_capabilities(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *p = check->entry->value;
	const char *word = NULL;
	size_t length = 0;
	int r = 0;

	(void)rule;
	while (r == 0 && unit_plain_next(&p, &word, &length) > 0)
		r = check_capability(check, word, length);
	return r;
}

int unit_check_no_new_privileges(const struct unit_check *check, const struct unit_rule *rule)
{
	bool value = false;

	(void)rule;
	if (unit_parse_boolean(check->entry->value, &value) < 0)
		return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, check->entry->value,
				   "it is 'yes' or 'no'");
	if (value || check->manifest->file_capabilities)
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_CAPABILITY, check->entry->value,
			   "it must be 'yes' unless exec.file_capabilities of addon.yaml is true");
}

static bool variable_is_allowed(const char *name, size_t length)
{
	bool is_name = length > 0 && !isdigit((unsigned char)name[0]);

	for (size_t i = 0; i < length; i++)
		is_name = is_name && (isalnum((unsigned char)name[i]) || name[i] == '_');
	for (size_t i = 0; i < ARRAY_SIZE(environment_refused_prefixes); i++)
		is_name = is_name && !str_starts_with(name, environment_refused_prefixes[i]);
	return is_name && !unit_word_is_among(name, length, ENVIRONMENT_REFUSED);
}

static int check_variable(const struct unit_check *check, const char *word)
{
	size_t length = strcspn(word, "=");

	if (word[length] != '=')
		return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, word,
				   "it must be NAME=value, in quotes where value has blanks");
	if (!variable_is_allowed(word, length))
		return unit_refuse(
			check, REFUSAL_UNIT_DIRECTIVE, word,
			"an add-on may not set this variable; choose a name of its own, made of letters, digits and '_'");
	if (!unit_specifiers_are_known(word, true))
		return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, word,
				   "the only specifiers are '%%d' and '%%%%'");
	return 0;
}

int unit_check_environment(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *p = check->entry->value;
	int r;

	(void)rule;
	do {
		cleanup_free char *word = NULL;

		r = unit_word_next(&p, &word);
		if (r > 0) {
			int refused = check_variable(check, word);

			if (refused < 0)
				return refused;
		}
	} while (r > 0);
	if (r == -EINVAL)
		return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, check->entry->value,
				   "its quotes or escapes are broken; see systemd.syntax(7)");
	return r;
}

int unit_check_slice(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	if (str_equal(check->entry->value, check->manifest->slice))
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_FOREIGN, check->entry->value,
			   "the slice is what resources.slice of addon.yaml says; leave it out");
}

enum foreign {
	FOREIGN_UNITS_ONLY,
	FOREIGN_TARGETS,
	FOREIGN_LATE_TARGETS,
	FOREIGN_N,
};

static bool unit_is_allowed(const struct unit_check *check, const char *name, enum foreign targets)
{
	if (strv_has(check->units, name))
		return true;
	if (targets == FOREIGN_LATE_TARGETS &&
	    unit_word_is_among(name, strlen(name), EARLY_TARGETS))
		return false;
	return targets != FOREIGN_UNITS_ONLY && strv_has(&check->policy->targets, name);
}

static int check_units(const struct unit_check *check, enum foreign targets)
{
	static const char *const expected[] = {
		[FOREIGN_UNITS_ONLY] = "it may only name units of this add-on",
		[FOREIGN_TARGETS] =
			"it may only name units of this add-on and the targets that updater.yaml(5) lists",
		[FOREIGN_LATE_TARGETS] =
			"it may only name units of this add-on and the targets that updater.yaml(5) lists, and none that is reached before services start or that logins wait for; 'multi-user.target' or, for a timer, 'timers.target' is usual",
	};
	static_assert(ARRAY_SIZE(expected) == FOREIGN_N, "every kind has its sentence");
	const char *p = check->entry->value;
	const char *word = NULL;
	size_t length = 0;
	int r = 0;

	if (*p == '\0')
		return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, "",
				   "systemd does not take earlier values back; remove the line");
	while (r == 0 && unit_plain_next(&p, &word, &length) > 0) {
		cleanup_free char *name = strndup(word, length);

		if (!name)
			return -ENOMEM;
		if (!unit_is_allowed(check, name, targets))
			r = unit_refuse(check, REFUSAL_UNIT_FOREIGN, name, "%s", expected[targets]);
	}
	return r;
}

int unit_check_own_units(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	return check_units(check, FOREIGN_UNITS_ONLY);
}

int unit_check_own_units_or_targets(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	return check_units(check, FOREIGN_TARGETS);
}

int unit_check_wanted_by(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	return check_units(check, FOREIGN_LATE_TARGETS);
}

int unit_check_timer_unit(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *value = check->entry->value;

	(void)rule;
	if (str_ends_with(value, ".service") && strv_has(check->units, value))
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_FOREIGN, value,
			   "a timer may only start a service of this add-on");
}
