/* SPDX-License-Identifier: Apache-2.0 */

/* A unit of an add-on from anybody: the grammar, the policy, what it is enabled by. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "unit/unit_install.h"
#include "unit/unit_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte of an input chooses the manifest and the type of the unit, or that a line with its
 * name comes first. */
#define BIT_TIMER 1U
#define BIT_FILE  2U
#define BIT_IPC   4U
#define BIT_NAME  8U

static const char manifest_text[] =
	"id: probe\nname: Probe\nversion: 1.0.0\nkind: native\ndelivery: pushed-artifact\n"
	"supervision: systemd-service\ncapabilities: [flows]\nconfig_schema: config.schema.json\n"
	"requires:\n  base_agent: '>=0.1.0'\n  platforms: [linux]\n"
	"  os_capabilities: [cap_net_raw]\nresources:\n  slice: agents.slice\n"
	"exec:\n  binary: probed\n";

/* Read once: it is not what is tested. */
static struct manifest *get_manifest(uint8_t bits)
{
	static struct manifest *manifest;
	static char ipc[] = "flows/1";
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;

	if (!manifest && manifest_parse(manifest_text, strlen(manifest_text), "addon.yaml",
					&manifest, &diagnostics) != 0)
		abort();
	manifest->file_capabilities = bits & BIT_FILE;
	manifest->ipc = bits & BIT_IPC ? ipc : NULL;
	manifest->supervision = bits & BIT_TIMER ? MANIFEST_SUPERVISION_SYSTEMD_TIMER
						 : MANIFEST_SUPERVISION_SYSTEMD_SERVICE;
	return manifest;
}

static void check_links(const struct unit_file *unit, const char *name)
{
	cleanup_strv struct strv links = STRV_INIT;

	if (unit_install_links(unit, name, &links) < 0)
		abort();
	for (size_t i = 0; i < links.count; i++) {
		if (!str_starts_with(links.items[i], "/etc/systemd/system/") ||
		    strstr(links.items[i], "/../"))
			abort();
	}
}

/* What was accepted keeps the promises that everything behind the policy builds on. */
static void check_accepted(const struct unit_file *unit, const char *name, bool is_timer)
{
	const char *user = unit_file_get(unit, "Service", "User");

	check_links(unit, name);
	if (is_timer) {
		char *service = unit_timer_service(unit, name);

		if (!service || strncmp(service, "affix-probe", strlen("affix-probe")) != 0)
			abort();
		free(service);
		return;
	}
	if (!user || strcmp(user, "affix-probe") != 0)
		abort();
	for (size_t i = 0; i < unit->count; i++) {
		const char *value = unit->entries[i].value;

		if (strcmp(unit->entries[i].key, "ExecStart") == 0 && *value &&
		    strncmp(value + (*value == '-'), "/opt/affix/probe/current/probed", 31) != 0)
			abort();
	}
}

/* *other* (may be NULL) is a second unit with the same content. */
static void check_primary(const struct unit_file *unit, const char *name, const char *other,
			  const struct manifest *manifest)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	const struct unit_file *files[] = {unit, unit};
	cleanup_strv struct strv names = STRV_INIT;
	const char *primary = NULL;
	int r;

	if (strv_add(&names, name) < 0 || (other && strv_add(&names, other) < 0))
		abort();
	r = unit_policy_primary(&names, files, manifest, &primary, &diagnostics);
	if (r < 0 || (r == 0) != (primary != NULL) || (r == 0) != (diagnostics.count == 0))
		abort();
}

/* The unit's name, and where its content begins in *data*. False: there is no line with a name. */
static bool get_name(const uint8_t *data, size_t size, char **ret_name, size_t *ret_at)
{
	const char *name = data[0] & BIT_TIMER ? "affix-probe.timer" : "affix-probe.service";
	const uint8_t *end = memchr(data + 1, '\n', size - 1);
	size_t length = strlen(name);

	*ret_at = 1;
	if (data[0] & BIT_NAME) {
		if (!end)
			return false;
		name = (const char *)data + 1;
		length = (size_t)(end - data) - 1;
		*ret_at = length + 2;
	}
	if (str_format(ret_name, "%.*s", (int)length, name) < 0)
		abort();
	return true;
}

static void check_name(const char *name)
{
	if (strlen(name) > 128 || !str_starts_with(name, "affix-probe") || strchr(name, '/') ||
	    str_ends_with(name, ".timer") == str_ends_with(name, ".service"))
		abort();
}

static void check_unit(const struct unit_file *unit, const char *name, uint8_t bits)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_strv struct strv units = STRV_INIT;
	struct unit_context context = {.units = &units, .manifest = get_manifest(bits)};

	if (strv_add(&units, "affix-probe.service") < 0 ||
	    strv_add(&units, "affix-probe.timer") < 0)
		abort();
	if (unit_policy_check(unit, name, &context, &diagnostics) < 0)
		abort();
	if (diagnostics.count == 0) {
		check_name(name);
		check_accepted(unit, name, str_ends_with(name, ".timer"));
	}
	check_primary(unit, name, NULL, context.manifest);
	check_primary(unit, name, "affix-probe.service", context.manifest);
	check_primary(unit, name, "affix-probe_second.timer", context.manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_unit_file struct unit_file *unit = NULL;
	cleanup_free char *name = NULL;
	size_t at = 0;
	int r;

	if (size == 0 || !get_name(data, size, &name, &at))
		return 0;
	r = unit_file_parse((const char *)data + at, size - at, name, &unit, &diagnostics);
	/* A unit or a reason, never both, never neither. */
	if (r < 0 || (r == 0) != (unit != NULL) || (r == 0) != (diagnostics.count == 0))
		abort();
	if (unit)
		check_unit(unit, name, data[0]);
	return 0;
}
