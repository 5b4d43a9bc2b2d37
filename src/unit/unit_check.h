/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "unit/unit_policy.h"

/* One assignment under judgement, and all that it is judged against. */
struct unit_check {
	const struct unit_entry *entry;
	const char *unit; /* its name */
	const struct manifest *manifest;
	const struct strv *units; /* of the add-on */
	const struct unit_file *const *files;
	const struct host_policy *policy;
	struct diagnostics *diagnostics;
};

struct unit_rule;

/*
 * Judges the value of one assignment and adds a diagnostic for what it refuses. The value is empty
 * only where the rule has no reset. 0 or -errno.
 */
#define UNIT_CHECK_FUNCTION(name) \
	must_check int name(const struct unit_check *check, const struct unit_rule *rule)

/* A directive that is known: how its value is judged, and the checker's arguments. */
struct unit_rule {
	const char *key;
	int (*check)(const struct unit_check *check, const struct unit_rule *rule);
	const char *words; /* blank-separated words that the value may be made of */
	const char *alone; /* words one of which may be the whole value of a list */
	uint64_t minimum;
	uint64_t maximum;
	bool has_reset; /* an empty assignment is systemd's way to drop earlier ones */
	bool has_infinity;
	bool implies_no_new_privileges; /* unless its value is a false boolean */
};

/*
 * Adds "KEY= says 'WORD', but …" or, where *word* is NULL, "KEY= …". The rest of the sentence says
 * what was expected. 0 or -ENOMEM.
 */
must_check int unit_refuse(const struct unit_check *check, enum refusal_code code, const char *word,
			   const char *format, ...) format_check(4, 5);

/* plain values: unit_value.c */
UNIT_CHECK_FUNCTION(unit_check_boolean);
UNIT_CHECK_FUNCTION(unit_check_word);            /* one of the words */
UNIT_CHECK_FUNCTION(unit_check_boolean_or_word); /* a boolean or one of the words */
UNIT_CHECK_FUNCTION(unit_check_number);          /* minimum to maximum; or one of the words */
UNIT_CHECK_FUNCTION(unit_check_span);            /* a time span of minimum to maximum seconds */
UNIT_CHECK_FUNCTION(unit_check_size);            /* bytes, or percent of memory */
UNIT_CHECK_FUNCTION(unit_check_count);           /* a number, or percent */
UNIT_CHECK_FUNCTION(unit_check_percent);         /* whole, above zero */
UNIT_CHECK_FUNCTION(unit_check_limit_bytes);     /* SOFT[:HARD] */
UNIT_CHECK_FUNCTION(unit_check_limit_count);     /* SOFT[:HARD] */
UNIT_CHECK_FUNCTION(unit_check_mode);            /* octal, up to maximum */
UNIT_CHECK_FUNCTION(unit_check_text);            /* for people; no specifiers but %% */
UNIT_CHECK_FUNCTION(unit_check_identifier);      /* affix-<id>, or behind _ or . more */
UNIT_CHECK_FUNCTION(unit_check_calendar);        /* unit_calendar.c */

/* lists: unit_list.c */
UNIT_CHECK_FUNCTION(unit_check_words); /* each one of the words, the first after an optional ~ */
UNIT_CHECK_FUNCTION(unit_check_documents); /* URIs */
UNIT_CHECK_FUNCTION(unit_check_exit_statuses);
UNIT_CHECK_FUNCTION(unit_check_system_calls); /* unit_system_call.c */
UNIT_CHECK_FUNCTION(unit_check_addresses);
UNIT_CHECK_FUNCTION(unit_check_processors);
UNIT_CHECK_FUNCTION(unit_check_kernel_versions);

/* what an add-on is granted: unit_grant.c */
UNIT_CHECK_FUNCTION(unit_check_user);
UNIT_CHECK_FUNCTION(unit_check_group);
UNIT_CHECK_FUNCTION(unit_check_capabilities);
UNIT_CHECK_FUNCTION(unit_check_no_new_privileges);
UNIT_CHECK_FUNCTION(unit_check_environment);
UNIT_CHECK_FUNCTION(unit_check_slice);
UNIT_CHECK_FUNCTION(unit_check_own_units);            /* units of the add-on */
UNIT_CHECK_FUNCTION(unit_check_own_units_or_targets); /* and listed targets */
UNIT_CHECK_FUNCTION(unit_check_wanted_by);
UNIT_CHECK_FUNCTION(unit_check_timer_unit);

/* commands: unit_exec.c */
UNIT_CHECK_FUNCTION(unit_check_exec);
UNIT_CHECK_FUNCTION(unit_check_exec_reload);

/* paths: unit_path.c */
UNIT_CHECK_FUNCTION(unit_check_directories); /* StateDirectory= and friends */
UNIT_CHECK_FUNCTION(unit_check_runtime_directory);
UNIT_CHECK_FUNCTION(unit_check_restricted_paths); /* own or listed */
UNIT_CHECK_FUNCTION(unit_check_writable_paths);   /* own state, cache, logs, runtime */
UNIT_CHECK_FUNCTION(unit_check_bound_paths);      /* own code or listed */
UNIT_CHECK_FUNCTION(unit_check_working_directory);
UNIT_CHECK_FUNCTION(unit_check_condition_path);
