/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The policy: an allow-list. Every assignment is judged by itself, whether or not a later one
 * overrides it, because a reviewer reads all of them; then the unit as a whole, by the values in
 * force, because an empty assignment may have taken away what must be there.
 */

#include "unit/unit_policy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "unit/unit_check.h"
#include "unit/unit_table.h"
#include "unit/unit_words.h"

#define SHOWN_MAX     96U
#define UNIT_PART_MAX 64U
/* systemd's own limit on starts, and what is one: at most so many in a row, on average so far
 * apart. */
#define START_LIMIT_BURST     5U
#define START_LIMIT_USEC      10000000U
#define START_LIMIT_BURST_MAX 100U
#define START_SLOW_USEC       100000U

static const char *const triggers[] = {
	"OnActiveSec",  "OnBootSec",       "OnCalendar",
	"OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec",
};

/* `[a-z0-9]+(-[a-z0-9]+)*` */
static bool part_is_valid(const char *part, size_t length)
{
	bool after_word = false;

	for (size_t i = 0; i < length; i++) {
		bool is_word =
			(part[i] >= 'a' && part[i] <= 'z') || (part[i] >= '0' && part[i] <= '9');

		if (!is_word && (part[i] != '-' || !after_word))
			return false;
		after_word = is_word;
	}
	return after_word && length <= UNIT_PART_MAX;
}

bool unit_name_is_valid(const char *name, const char *id)
{
	const char *part = name;
	const char *dot;

	if (!str_starts_with(name, "affix-"))
		return false;
	part += strlen("affix-");
	if (!str_starts_with(part, id))
		return false;
	part += strlen(id);
	dot = strchr(part, '.');
	if (!dot || (strcmp(dot, ".service") != 0 && strcmp(dot, ".timer") != 0))
		return false;
	return part == dot || (*part == '_' && part_is_valid(part + 1, (size_t)(dot - part) - 1));
}

int unit_refuse(const struct unit_check *check, enum refusal_code code, const char *word,
		const char *format, ...)
{
	const struct unit_entry *entry = check->entry;
	cleanup_free char *key = str_escape(entry->key, strlen(entry->key), SHOWN_MAX);
	cleanup_free char *shown = word ? str_escape(word, strlen(word), SHOWN_MAX) : NULL;
	cleanup_free char *reason = NULL;
	va_list arguments;
	int r;

	va_start(arguments, format);
	r = str_vformat(&reason, format, arguments);
	va_end(arguments);
	if (r < 0)
		return r;
	if (!key || (word && !shown))
		return -ENOMEM;
	if (!word)
		return diagnostics_add(check->diagnostics, code, check->unit, entry->line,
				       entry->column, "'%s=' %s", key, reason);
	return diagnostics_add(check->diagnostics, code, check->unit, entry->line, entry->column,
			       "'%s=' says '%s', but %s", key, shown, reason);
}

static int check_sections(const struct unit_file *unit, const char *name, bool is_timer,
			  struct diagnostics *diagnostics)
{
	for (size_t i = 0; i < unit->n_sections; i++) {
		const struct unit_section *section = &unit->sections[i];
		cleanup_free char *shown = NULL;
		int r;

		if (unit_section_is_known(is_timer, section->name))
			continue;
		shown = str_escape(section->name, strlen(section->name), SHOWN_MAX);
		if (!shown)
			return -ENOMEM;
		r = diagnostics_add(
			diagnostics, REFUSAL_UNIT_DIRECTIVE, name, section->line, 1,
			"'[%s]' is not a section of a %s; it may have [Unit], %s and [Install]",
			shown, is_timer ? "timer" : "service", is_timer ? "[Timer]" : "[Service]");
		if (r < 0)
			return r;
	}
	return 0;
}

static int refuse_unknown(const struct unit_check *check)
{
	const struct unit_refused *refused = unit_refused_find(check->entry->key);

	if (refused)
		return unit_refuse(check, refused->code, NULL, "%s", refused->reason);
	return unit_refuse(
		check, REFUSAL_UNIT_DIRECTIVE, NULL,
		"is not a directive that an add-on may use in [%s]; addon.yaml(5) lists them",
		check->entry->section);
}

/* seccomp without CAP_SYS_ADMIN makes systemd forbid new privileges, file capabilities too. */
static bool forbids_file_capabilities(const struct unit_check *check, const struct unit_rule *rule)
{
	bool value = true;

	if (!check->manifest->file_capabilities || !rule->implies_no_new_privileges)
		return false;
	return unit_parse_boolean(check->entry->value, &value) < 0 || value;
}

static int check_entry(const struct unit_check *check)
{
	const struct unit_entry *entry = check->entry;
	const struct unit_rule *rule = unit_rule_find(entry->section, entry->key);

	if (!rule)
		return refuse_unknown(check);
	if (*entry->value == '\0' && rule->has_reset)
		return 0;
	if (forbids_file_capabilities(check, rule))
		return unit_refuse(
			check, REFUSAL_UNIT_CAPABILITY, NULL,
			"implies NoNewPrivileges=yes, with which exec.file_capabilities has no effect; remove one of the two");
	return rule->check(check, rule);
}

/* How many assignments of *key* are in force: those behind the last empty one. */
static size_t count_in_force(const struct unit_file *unit, const char *section, const char *key)
{
	size_t n = 0;

	for (size_t i = 0; i < unit->count; i++) {
		const struct unit_entry *entry = &unit->entries[i];

		if (strcmp(entry->section, section) == 0 && strcmp(entry->key, key) == 0)
			n = *entry->value == '\0' ? 0 : n + 1;
	}
	return n;
}

static unsigned section_line(const struct unit_file *unit, const char *section)
{
	for (size_t i = 0; i < unit->n_sections; i++) {
		if (strcmp(unit->sections[i].name, section) == 0)
			return unit->sections[i].line;
	}
	return 1;
}

static bool is_oneshot(const struct unit_file *unit)
{
	return str_equal(unit_file_get(unit, "Service", "Type"), "oneshot");
}

/* What systemd would refuse to load, or ignore, with Type=oneshot. */
static int check_oneshot(const struct unit_file *unit, const char *name,
			 struct diagnostics *diagnostics)
{
	const char *restart = unit_file_get(unit, "Service", "Restart");
	const char *wrong = NULL;

	if (restart && unit_word_is_among(restart, strlen(restart), "always on-success"))
		wrong = "Restart=always and Restart=on-success";
	else if (count_in_force(unit, "Service", "RestartForceExitStatus") > 0)
		wrong = "RestartForceExitStatus=";
	else if (count_in_force(unit, "Service", "RuntimeMaxSec") > 0)
		wrong = "RuntimeMaxSec=";
	if (!wrong)
		return 0;
	return diagnostics_add(diagnostics, REFUSAL_BAD_UNIT, name, section_line(unit, "Service"),
			       1, "%s cannot be used with Type=oneshot; change one of them", wrong);
}

static bool span_is_below(const char *value, uint64_t usec)
{
	uint64_t span = 0;

	return value && unit_parse_span(value, &span) == 0 && span < usec;
}

/* Whether systemd gives up a unit that is started too often: at ten starts a second, or fewer. */
static bool has_start_limit(const struct unit_file *unit)
{
	const char *burst = unit_file_get(unit, "Unit", "StartLimitBurst");
	const char *interval = unit_file_get(unit, "Unit", "StartLimitIntervalSec");
	uint64_t starts = START_LIMIT_BURST;
	uint64_t usec = START_LIMIT_USEC;

	/* What is no number is refused by itself. */
	if ((burst && unit_parse_number(burst, strlen(burst), &starts) < 0) ||
	    (interval && unit_parse_span(interval, &usec) < 0))
		return true;
	return starts > 0 && starts <= START_LIMIT_BURST_MAX && usec / START_SLOW_USEC >= starts;
}

static bool entry_names(const struct unit_entry *entry, const char *name)
{
	const char *p = entry->value;
	const char *word = NULL;
	size_t length = 0;

	/* An order starts nothing. */
	if (strcmp(entry->key, "After") == 0 || strcmp(entry->key, "Before") == 0)
		return false;
	while (unit_plain_next(&p, &word, &length) > 0) {
		if (length == strlen(name) && memcmp(word, name, length) == 0)
			return true;
	}
	return false;
}

static int unit_names(const struct unit_file *unit, const char *unit_name, const char *name,
		      bool *ret)
{
	cleanup_free char *service = NULL;

	if (str_ends_with(unit_name, ".timer")) {
		service = unit_timer_service(unit, unit_name);
		if (!service)
			return -ENOMEM;
	}
	*ret = *ret || str_equal(service, name);
	for (size_t i = 0; i < unit->count; i++)
		*ret = *ret || entry_names(&unit->entries[i], name);
	return 0;
}

/* Whether another unit of the add-on names this one, or its own [Install] has it do so. */
static int is_named(const struct unit_file *unit, const struct unit_check *check, bool *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < check->units->count; i++) {
		const char *other = check->units->items[i];

		if (strcmp(other, check->unit) == 0)
			continue;
		for (size_t k = 0; k < unit->count; k++)
			*ret = *ret || (strcmp(unit->entries[k].section, "Install") == 0 &&
					entry_names(&unit->entries[k], other));
		if (check->files && check->files[i])
			r = unit_names(check->files[i], other, check->unit, ret);
	}
	return r;
}

/*
 * What is started at once, again and again, and never given up keeps PID 1 busy: a service that
 * restarts, or units that start each other by whatever they may say of each other. Without a limit
 * is only what starts by itself alone, and slowly.
 */
static int check_restarts(const struct unit_file *unit, const struct unit_check *check)
{
	const char *delay = unit_file_get(unit, "Service", "RestartSec");
	bool is_slow =
		delay && !span_is_below(delay, 1000000) && str_ends_with(check->unit, ".service");
	bool has_others = count_in_force(unit, "Unit", "OnFailure") > 0 ||
			  count_in_force(unit, "Unit", "OnSuccess") > 0;
	int r;

	if (has_start_limit(unit))
		return 0;
	r = is_named(unit, check, &has_others);
	if (r < 0 || (is_slow && !has_others))
		return r;
	return diagnostics_add(
		check->diagnostics, REFUSAL_BAD_UNIT, check->unit, section_line(unit, "Unit"), 1,
		"the unit has no limit of starts; leave StartLimitIntervalSec= and StartLimitBurst= alone%s",
		has_others ? ", as other units start it or are started by it"
			   : ", or write 'RestartSec=1' or more in a service");
}

static int check_service(const struct unit_file *unit, const struct unit_check *check)
{
	unsigned line = section_line(unit, "Service");
	size_t commands = count_in_force(unit, "Service", "ExecStart");
	int r = 0;

	if (!unit_file_get(unit, "Service", "User"))
		r = diagnostics_add(check->diagnostics, REFUSAL_UNIT_USER, check->unit, line, 1,
				    "'User=' is missing from [Service]; write 'User=%s'",
				    check->manifest->run_as);
	if (r == 0 && (commands == 0 || (commands > 1 && !is_oneshot(unit))))
		r = diagnostics_add(
			check->diagnostics, REFUSAL_UNIT_EXEC, check->unit, line, 1,
			"[Service] must have one 'ExecStart=' (several with Type=oneshot), but has %zu",
			commands);
	if (r == 0 && is_oneshot(unit))
		r = check_oneshot(unit, check->unit, check->diagnostics);
	if (r == 0)
		r = check_restarts(unit, check);
	return r;
}

static int check_timer(const struct unit_file *unit, const struct unit_check *check)
{
	unsigned line = section_line(unit, "Timer");
	cleanup_free char *service = unit_timer_service(unit, check->unit);
	size_t n = 0;
	int r = 0;

	if (!service)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(triggers); i++)
		n += count_in_force(unit, "Timer", triggers[i]);
	if (n == 0)
		r = diagnostics_add(
			check->diagnostics, REFUSAL_BAD_UNIT, check->unit, line, 1,
			"[Timer] has no trigger in force; write 'OnCalendar=', 'OnBootSec=' or another");
	if (r == 0 && count_in_force(unit, "Timer", "Unit") > 1)
		r = diagnostics_add(
			check->diagnostics, REFUSAL_BAD_UNIT, check->unit, line, 1,
			"[Timer] has more than one 'Unit=', of which systemd takes the first; keep one");
	if (r == 0 && !unit_file_get(unit, "Timer", "Unit") && !strv_has(check->units, service))
		r = diagnostics_add(
			check->diagnostics, REFUSAL_UNIT_FOREIGN, check->unit, line, 1,
			"the timer would start '%s', which the add-on does not have; add it or say 'Unit='",
			service);
	if (r == 0)
		r = check_restarts(unit, check);
	return r;
}

static int check_all(const struct unit_file *unit, struct unit_check *check)
{
	bool is_timer = str_ends_with(check->unit, ".timer");
	int r;

	r = check_sections(unit, check->unit, is_timer, check->diagnostics);
	for (size_t i = 0; r == 0 && i < unit->count; i++) {
		check->entry = &unit->entries[i];
		if (unit_section_is_known(is_timer, check->entry->section))
			r = check_entry(check);
	}
	if (r < 0)
		return r;
	return is_timer ? check_timer(unit, check) : check_service(unit, check);
}

int unit_policy_check(const struct unit_file *unit, const char *name,
		      const struct unit_context *context, struct diagnostics *diagnostics)
{
	cleanup_host_policy struct host_policy *built_in = NULL;
	struct unit_check check = {
		.unit = name,
		.manifest = context->manifest,
		.units = context->units,
		.files = context->files,
		.policy = context->policy,
		.diagnostics = diagnostics,
	};
	int r;

	if (!unit_name_is_valid(name, context->manifest->id)) {
		cleanup_free char *shown = str_escape(name, strlen(name), SHOWN_MAX);

		if (!shown)
			return -ENOMEM;
		return diagnostics_add(
			diagnostics, REFUSAL_UNIT_NAME, name, 1, 1,
			"a unit of this add-on is called 'affix-%s.service', 'affix-%s_PART.service' or the same with '.timer', not '%s'; rename it",
			context->manifest->id, context->manifest->id, shown);
	}
	if (!check.policy) {
		r = host_policy_default(&built_in);
		if (r < 0)
			return r;
		check.policy = built_in;
	}
	return check_all(unit, &check);
}
