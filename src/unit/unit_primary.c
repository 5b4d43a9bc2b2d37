/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The unit that an add-on is: the one that is enabled, watched after an install and reported. A
 * unit with [Install] says that it is the one; where none says so, being alone is enough.
 */

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "unit/unit_policy.h"
#include "unit/unit_words.h"

char *unit_timer_service(const struct unit_file *timer, const char *name)
{
	const char *unit = unit_file_get(timer, "Timer", "Unit");
	char *service = NULL;

	if (!str_is_empty(unit))
		return strdup(unit);
	if (str_format(&service, "%.*s.service", (int)strcspn(name, "."), name) < 0)
		return NULL;
	return service;
}

static int refuse_file(struct diagnostics *diagnostics, enum refusal_code code, const char *file,
		       const char *message)
{
	int r = diagnostics_add(diagnostics, code, file, 1, 1, "%s", message);

	return r < 0 ? r : 1;
}

static bool remains_after_exit(const struct unit_file *service)
{
	const char *value = unit_file_get(service, "Service", "RemainAfterExit");
	bool remains = false;

	return value && unit_parse_boolean(value, &remains) == 0 && remains;
}

/* A service that stands must not come to an end; one that a timer starts must. */
static int check_primary(const struct strv *units, const struct unit_file *const *files,
			 size_t primary, struct diagnostics *diagnostics)
{
	const char *name = units->items[primary];
	cleanup_free char *service = NULL;

	if (str_ends_with(name, ".service")) {
		if (!str_equal(unit_file_get(files[primary], "Service", "Type"), "oneshot"))
			return 0;
		return refuse_file(
			diagnostics, REFUSAL_BAD_UNIT, name,
			"Type=oneshot is not for the primary of a systemd-service add-on, which keeps running; use Type=simple, exec or notify, or a timer");
	}
	service = unit_timer_service(files[primary], name);
	if (!service)
		return -ENOMEM;
	for (size_t i = 0; i < units->count; i++) {
		if (strcmp(units->items[i], service) == 0 && remains_after_exit(files[i]))
			return refuse_file(
				diagnostics, REFUSAL_BAD_UNIT, service,
				"RemainAfterExit=yes is not for a service that a timer starts, which would run once only; remove it");
	}
	return 0;
}

int unit_policy_primary(const struct strv *units, const struct unit_file *const *files,
			const struct manifest *manifest, const char **ret,
			struct diagnostics *diagnostics)
{
	bool is_timer = manifest->supervision == MANIFEST_SUPERVISION_SYSTEMD_TIMER;
	const char *suffix = is_timer ? ".timer" : ".service";
	size_t n_all = 0;
	size_t n_installed = 0;
	size_t last = 0;
	size_t installed = 0;
	int r;

	if (!is_timer && manifest->supervision != MANIFEST_SUPERVISION_SYSTEMD_SERVICE)
		return refuse_file(
			diagnostics, REFUSAL_UNSUPPORTED, MANIFEST_NAME,
			"only add-ons with supervision 'systemd-service' or 'systemd-timer' have units");
	for (size_t i = 0; i < units->count; i++) {
		if (!str_ends_with(units->items[i], suffix))
			continue;
		n_all++;
		last = i;
		if (unit_file_has_section(files[i], "Install")) {
			n_installed++;
			installed = i;
		}
	}
	if (n_installed != 1 && n_all != 1)
		return refuse_file(
			diagnostics, REFUSAL_BAD_UNIT, MANIFEST_NAME,
			is_timer
				? "supervision 'systemd-timer' needs one primary: exactly one .timer unit, or exactly one with an [Install] section"
				: "supervision 'systemd-service' needs one primary: exactly one .service unit, or exactly one with an [Install] section");
	if (n_installed == 1)
		last = installed;
	r = check_primary(units, files, last, diagnostics);
	if (r != 0)
		return r;
	*ret = units->items[last];
	return 0;
}
