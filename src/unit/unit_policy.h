/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "base/str.h"
#include "manifest/host_policy.h"
#include "manifest/manifest.h"
#include "unit/unit_file.h"

/* What a unit is judged against. */
struct unit_context {
	const struct manifest *manifest;
	const struct strv *units; /* names of all units of the add-on */
	/* What they say, NULL for what has no form; or NULL. */
	const struct unit_file *const *files;
	const struct host_policy *policy; /* NULL: the built-in one (affix check) */
};

/* `affix-<id>.TYPE` or `affix-<id>_<part>.TYPE`, TYPE service or timer, part
 * `[a-z0-9]+(-[a-z0-9]+)*` of at most 64 bytes. */
bool unit_name_is_valid(const char *name, const char *id);

/*
 * Holds one unit against the allow-list of its type (the table is in addon.yaml(5); DESIGN §5):
 * directives, users, capabilities, Exec lines, paths, foreign units, specifiers, environment. Adds
 * a diagnostic for everything refused, each with its REFUSAL_UNIT_* code. 0 or -errno.
 */
must_check int unit_policy_check(const struct unit_file *unit, const char *name,
				 const struct unit_context *context,
				 struct diagnostics *diagnostics);

/*
 * The add-on's primary unit among *units*: exactly one for the supervision model (systemd-service:
 * the one .service with [Install], or the only .service; systemd-timer: the one .timer with
 * [Install], or the only .timer). A primary service must not be Type=oneshot, nor the service of a
 * primary timer remain after exit. 0 with *ret* borrowed from *units*; 1 with a diagnostic; -errno.
 */
must_check int unit_policy_primary(const struct strv *units, const struct unit_file *const *files,
				   const struct manifest *manifest, const char **ret,
				   struct diagnostics *diagnostics);

/* The service that a timer starts: its Unit=, or the same name with .service. The caller frees it.
 * NULL: no memory. */
char *unit_timer_service(const struct unit_file *timer, const char *name);
