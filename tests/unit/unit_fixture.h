/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Judges units of an add-on 'probe': its service, or a timer for its part 'scan', with lines added.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "unit/unit_policy.h"

#define FIXTURE_SERVICE                                                  \
	"[Unit]\nDescription=x\n[Service]\nUser=affix-probe\n"           \
	"ExecStart=/opt/affix/probe/current/probed --config %d/config\n" \
	"[Install]\nWantedBy=multi-user.target\n"
#define FIXTURE_TIMER "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"

static inline struct manifest *fixture_manifest(const char *lines)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_free char *text = NULL;
	struct manifest *manifest = NULL;

	assert_int_equal(str_format(&text,
				    "id: probe\nname: Probe\nversion: 1.0.0\nkind: native\n"
				    "delivery: pushed-artifact\nsupervision: systemd-service\n"
				    "capabilities: [flows]\nconfig_schema: config.schema.json\n"
				    "requires:\n  base_agent: '>=0.1.0'\n  platforms: [linux]\n"
				    "  os_capabilities: [cap_net_raw, cap_bpf]\n%s",
				    lines),
			 0);
	if (manifest_parse(text, strlen(text), "addon.yaml", &manifest, &diagnostics) != 0)
		fail_msg("%s", diagnostics.count > 0 ? diagnostics.items[0].message : "");
	return manifest;
}

/* Adds what unit *name* of *text* is refused for to *diagnostics*. */
static inline void fixture_judge(const char *name, const char *text,
				 const struct manifest *manifest, struct diagnostics *diagnostics)
{
	cleanup_unit_file struct unit_file *unit = NULL;
	cleanup_strv struct strv units = STRV_INIT;
	struct unit_context context = {.manifest = manifest, .units = &units};

	assert_int_equal(strv_add(&units, "affix-probe.service"), 0);
	assert_int_equal(strv_add(&units, "affix-probe_scan.service"), 0);
	assert_int_equal(strv_add(&units, "affix-probe_scan.timer"), 0);
	assert_true(unit_file_parse(text, strlen(text), name, &unit, diagnostics) >= 0);
	if (unit)
		assert_int_equal(unit_policy_check(unit, name, &context, diagnostics), 0);
}

/* The same for a whole unit that is expected to be refused with *code*, or REFUSAL_NONE. */
static inline void assert_unit(const char *name, const char *text, const char *manifest_lines,
			       enum refusal_code code)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_manifest struct manifest *manifest = fixture_manifest(manifest_lines);

	fixture_judge(name, text, manifest, &diagnostics);
	if (code == REFUSAL_NONE && diagnostics.count > 0)
		fail_msg("'%s' is refused: %s", text, diagnostics.items[0].message);
	if (code != REFUSAL_NONE && diagnostics.count == 0)
		fail_msg("'%s' is accepted", text);
	for (size_t i = 0; i < diagnostics.count; i++) {
		assert_string_equal(diagnostics.items[i].file, name);
		if (diagnostics.items[i].code != code)
			fail_msg("'%s' gives %s: %s", text,
				 refusal_to_string(diagnostics.items[i].code),
				 diagnostics.items[i].message);
	}
}

#define FIXTURE_EXEC "exec:\n  binary: probed\n"

static inline void assert_service_lines(const char *section, const char *lines,
					const char *manifest_lines, enum refusal_code code)
{
	cleanup_free char *text = NULL;

	assert_int_equal(str_format(&text, "%s[%s]\n%s\n", FIXTURE_SERVICE, section, lines), 0);
	assert_unit("affix-probe.service", text, manifest_lines, code);
}

static inline void assert_accepted(const char *line)
{
	assert_service_lines("Service", line, FIXTURE_EXEC, REFUSAL_NONE);
}

static inline void assert_refused(const char *line, enum refusal_code code)
{
	assert_service_lines("Service", line, FIXTURE_EXEC, code);
}

static inline void assert_accepted_in(const char *section, const char *line)
{
	assert_service_lines(section, line, FIXTURE_EXEC, REFUSAL_NONE);
}

static inline void assert_refused_in(const char *section, const char *line, enum refusal_code code)
{
	assert_service_lines(section, line, FIXTURE_EXEC, code);
}

/* *line* in the [Timer] section of the timer. */
static inline void assert_timer_line(const char *line, enum refusal_code code)
{
	cleanup_free char *text = NULL;

	assert_int_equal(str_format(&text, "%s[Timer]\n%s\n", FIXTURE_TIMER, line), 0);
	assert_unit("affix-probe_scan.timer", text, FIXTURE_EXEC, code);
}
