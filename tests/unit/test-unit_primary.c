/* SPDX-License-Identifier: Apache-2.0 */

#include "unit_fixture.h"

#define UNITS_MAX 4U
#define PLAIN     "[Service]\nUser=affix-probe\n"
#define INSTALLED PLAIN "[Install]\nWantedBy=multi-user.target\n"
#define TIMER     "[Timer]\nOnCalendar=daily\n"

struct named_unit {
	const char *name;
	const char *text;
};

/* The primary's name among *units*, or NULL where *code* is the refusal. */
static void assert_primary(enum manifest_supervision supervision, const struct named_unit *units,
			   const char *expected, enum refusal_code code)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_manifest struct manifest *manifest = fixture_manifest(FIXTURE_EXEC);
	cleanup_strv struct strv names = STRV_INIT;
	struct unit_file *files[UNITS_MAX] = {0};
	const char *primary = NULL;
	size_t n = 0;
	int r;

	manifest->supervision = supervision;
	for (; units[n].name; n++) {
		assert_int_equal(strv_add(&names, units[n].name), 0);
		assert_int_equal(unit_file_parse(units[n].text, strlen(units[n].text), "u",
						 &files[n], &diagnostics),
				 0);
	}
	r = unit_policy_primary(&names, (const struct unit_file *const *)files, manifest, &primary,
				&diagnostics);
	assert_int_equal(r, expected ? 0 : 1);
	if (expected) {
		assert_string_equal(primary, expected);
		assert_int_equal(diagnostics.count, 0);
	} else {
		assert_null(primary);
		assert_int_equal(diagnostics.items[0].code, code);
	}
	for (size_t i = 0; i < n; i++)
		(void)unit_file_free(files[i]);
}

#define SERVICE_MODEL MANIFEST_SUPERVISION_SYSTEMD_SERVICE
#define TIMER_MODEL   MANIFEST_SUPERVISION_SYSTEMD_TIMER
#define SERVICE       "affix-probe.service"
#define SCAN          "affix-probe_scan.service"
#define SCAN_TIMER    "affix-probe_scan.timer"

static void the_only_unit_of_the_model_is_primary(void **state)
{
	const struct named_unit units[] = {
		{SERVICE, PLAIN},
                {SCAN_TIMER,       TIMER},
                {0}
        };

	(void)state;
	assert_primary(SERVICE_MODEL, units, SERVICE, REFUSAL_NONE);
	assert_primary(TIMER_MODEL, units, SCAN_TIMER, REFUSAL_NONE);
}

static void install_section_tells_the_primary_among_several(void **state)
{
	const struct named_unit units[] = {
		{SCAN,       PLAIN},
                {SERVICE,          INSTALLED},
                {0}
        };

	(void)state;
	assert_primary(SERVICE_MODEL, units, SERVICE, REFUSAL_NONE);
}

static void none_or_several_primaries_are_refused(void **state)
{
	const struct named_unit none[] = {{0}};
	const struct named_unit timer_only[] = {
		{SCAN_TIMER, TIMER},
                {0         }
        };
	const struct named_unit plain[] = {
		{SCAN,   PLAIN},
                {SERVICE,      PLAIN},
                {0}
        };
	const struct named_unit installed[] = {
		{SCAN,       INSTALLED},
                {SERVICE,          INSTALLED},
                {0}
        };
	const struct named_unit timers[] = {
		{SERVICE,    PLAIN},
                {"affix-probe.timer",          TIMER},
                {SCAN_TIMER,TIMER},
                {0}
        };

	(void)state;
	assert_primary(SERVICE_MODEL, none, NULL, REFUSAL_BAD_UNIT);
	assert_primary(TIMER_MODEL, none, NULL, REFUSAL_BAD_UNIT);
	assert_primary(SERVICE_MODEL, timer_only, NULL, REFUSAL_BAD_UNIT);
	assert_primary(SERVICE_MODEL, plain, NULL, REFUSAL_BAD_UNIT);
	assert_primary(SERVICE_MODEL, installed, NULL, REFUSAL_BAD_UNIT);
	assert_primary(TIMER_MODEL, timers, NULL, REFUSAL_BAD_UNIT);
}

static void models_without_units_have_no_primary(void **state)
{
	const struct named_unit units[] = {
		{SERVICE, PLAIN},
                {0      }
        };

	(void)state;
	assert_primary(MANIFEST_SUPERVISION_AGENT_SIDECAR, units, NULL, REFUSAL_UNSUPPORTED);
}

static void a_standing_service_is_no_oneshot(void **state)
{
	const struct named_unit oneshot[] = {
		{SERVICE, PLAIN "Type=oneshot\nRemainAfterExit=yes\n"},
                {0      }
        };
	const struct named_unit part[] = {
		{SERVICE,                 INSTALLED},
                {SCAN,                       PLAIN "Type=oneshot\n"},
                {0}
        };

	(void)state;
	assert_primary(SERVICE_MODEL, oneshot, NULL, REFUSAL_BAD_UNIT);
	assert_primary(SERVICE_MODEL, part, SERVICE, REFUSAL_NONE);
}

static void the_job_of_a_timer_comes_to_an_end(void **state)
{
	const struct named_unit remains[] = {
		{SCAN_TIMER,				   TIMER},
                {SCAN,					    PLAIN "Type=oneshot\nRemainAfterExit=yes\n"},
                {0}
        };
	const struct named_unit ends[] = {
		{SCAN_TIMER,				  TIMER},
                {SCAN,                                           PLAIN "Type=oneshot\nRemainAfterExit=no\n"},
                {0}
        };

	(void)state;
	assert_primary(TIMER_MODEL, remains, NULL, REFUSAL_BAD_UNIT);
	assert_primary(TIMER_MODEL, ends, SCAN_TIMER, REFUSAL_NONE);
}

static void timer_starts_its_namesake_unless_it_says_otherwise(void **state)
{
	static const struct {
		const char *text;
		const char *service;
	} cases[] = {
		{TIMER,                      SCAN   },
		{TIMER "Unit=" SERVICE "\n", SERVICE},
		{TIMER "Unit=\n",            SCAN   },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
		cleanup_unit_file struct unit_file *unit = NULL;
		cleanup_free char *service = NULL;

		assert_int_equal(unit_file_parse(cases[i].text, strlen(cases[i].text), "u", &unit,
						 &diagnostics),
				 0);
		service = unit_timer_service(unit, SCAN_TIMER);
		assert_string_equal(service, cases[i].service);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_only_unit_of_the_model_is_primary),
		cmocka_unit_test(install_section_tells_the_primary_among_several),
		cmocka_unit_test(none_or_several_primaries_are_refused),
		cmocka_unit_test(models_without_units_have_no_primary),
		cmocka_unit_test(a_standing_service_is_no_oneshot),
		cmocka_unit_test(the_job_of_a_timer_comes_to_an_end),
		cmocka_unit_test(timer_starts_its_namesake_unless_it_says_otherwise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
