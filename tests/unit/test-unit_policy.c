/* SPDX-License-Identifier: Apache-2.0 */

#include "unit_fixture.h"

static void names_belong_to_one_add_on_only(void **state)
{
	static const char *const good[] = {"affix-probe.service", "affix-probe.timer",
					   "affix-probe_scan.service", "affix-probe_a1-b2.timer"};
	static const char *const bad[] = {
		"probe.service",
		"sshd.service",
		"affix-probes.service",
		"affix-probe-x.service",
		"affix-pro.service",
		"affix-probe@.service",
		"affix-probe@x.service",
		"affix-probe_x@.service",
		"affix-probe.socket",
		"affix-probe.path",
		"affix-probe.mount",
		"affix-probe.service.d",
		"affix-probe",
		"affix-probe.",
		"affix-probe_.service",
		"affix-probe_-a.service",
		"affix-probe_a-.service",
		"affix-probe_a--b.service",
		"affix-probe_A.service",
		"affix-probe_a_b.service",
		"affix-probe_a.b.service",
		"affix-probe.conf",
		"../affix-probe.service",
		"affix-probe_a/b.service",
		"-affix-probe.service",
		"affix-probe.service\n",
		"affix-probe,x.service",
		"",
		"affix-",
		"affix-probe_a b.service",
		"affix-probe.Service",
		"AFFIX-probe.service",
		".service",
		"affix-probe_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.service",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(unit_name_is_valid(good[i], "probe"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(unit_name_is_valid(bad[i], "probe"));
		assert_unit(bad[i], FIXTURE_SERVICE, FIXTURE_EXEC, REFUSAL_UNIT_NAME);
	}
	assert_false(unit_name_is_valid("affix-foo-bar.service", "foo"));
	assert_true(unit_name_is_valid("affix-foo-bar.service", "foo-bar"));
}

static void realistic_units_pass_whole(void **state)
{
	(void)state;
	assert_unit("affix-probe.service",
		    "[Unit]\nDescription=Probe\nAfter=network-online.target\n"
		    "Wants=network-online.target\n\n"
		    "[Service]\nType=notify\nUser=affix-probe\nGroup=affix-probe\n"
		    "ExecStart=/opt/affix/probe/current/probed \\\n    --config %d/config \\\n"
		    "    # the port is the default\n    --listen :9100\n"
		    "ExecReload=/bin/kill -HUP $MAINPID\nRestart=on-failure\n"
		    "AmbientCapabilities=CAP_NET_RAW CAP_BPF\nStateDirectory=affix/probe\n"
		    "NoNewPrivileges=yes\nProtectSystem=strict\n\n"
		    "[Install]\nWantedBy=multi-user.target\n",
		    FIXTURE_EXEC, REFUSAL_NONE);
	assert_unit("affix-probe_scan.timer", FIXTURE_TIMER, FIXTURE_EXEC, REFUSAL_NONE);
	assert_unit("affix-probe_scan.service",
		    "[Service]\nType=oneshot\nUser=affix-probe\n"
		    "ExecStart=/opt/affix/probe/current/probed scan\n",
		    FIXTURE_EXEC, REFUSAL_NONE);
}

static void run_as_of_the_manifest_is_the_user(void **state)
{
	(void)state;
	assert_unit("affix-probe.service",
		    "[Service]\nUser=root\nExecStart=/opt/affix/probe/current/probed\n",
		    "  run_as: root\n" FIXTURE_EXEC, REFUSAL_NONE);
	assert_unit("affix-probe.service", FIXTURE_SERVICE, "  run_as: root\n" FIXTURE_EXEC,
		    REFUSAL_UNIT_USER);
}

static void types_do_not_mix(void **state)
{
	(void)state;
	assert_unit("affix-probe_scan.timer", FIXTURE_SERVICE FIXTURE_TIMER, FIXTURE_EXEC,
		    REFUSAL_UNIT_DIRECTIVE);
	assert_unit("affix-probe.service", FIXTURE_SERVICE FIXTURE_TIMER, FIXTURE_EXEC,
		    REFUSAL_UNIT_DIRECTIVE);
}

static void timer_needs_a_trigger_in_force(void **state)
{
	(void)state;
	assert_unit("affix-probe_scan.timer", "[Timer]\nPersistent=yes\n", FIXTURE_EXEC,
		    REFUSAL_BAD_UNIT);
	assert_unit("affix-probe_scan.timer", "[Timer]\nOnCalendar=daily\nOnCalendar=\n",
		    FIXTURE_EXEC, REFUSAL_BAD_UNIT);
	assert_unit("affix-probe_scan.timer", "[Unit]\nDescription=x\n", FIXTURE_EXEC,
		    REFUSAL_BAD_UNIT);
	assert_unit("affix-probe_scan.timer",
		    "[Timer]\nOnCalendar=daily\nOnCalendar=\nOnBootSec=1\n", FIXTURE_EXEC,
		    REFUSAL_NONE);
}

static void oneshot_does_not_go_with_what_systemd_refuses(void **state)
{
	(void)state;
	assert_accepted("Type=oneshot\nRestart=on-failure");
	assert_refused("Type=oneshot\nRestart=always", REFUSAL_BAD_UNIT);
	assert_refused("Restart=on-success\nType=oneshot", REFUSAL_BAD_UNIT);
	assert_refused("Type=oneshot\nRuntimeMaxSec=5", REFUSAL_BAD_UNIT);
	assert_refused("Type=oneshot\nRestartForceExitStatus=1", REFUSAL_BAD_UNIT);
	assert_accepted("Restart=always\nType=oneshot\nType=exec");
}

static void restarts_without_a_limit_are_slow(void **state)
{
	(void)state;
	assert_refused_in("Unit", "StartLimitIntervalSec=0", REFUSAL_BAD_UNIT);
	assert_refused_in("Unit", "StartLimitIntervalSec=0\n[Service]\nRestart=no",
			  REFUSAL_BAD_UNIT);
	assert_accepted_in("Unit",
			   "StartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=1");
	assert_accepted_in("Unit", "StartLimitIntervalSec=1\n[Service]\nRestart=always");
	assert_refused_in("Unit", "StartLimitIntervalSec=0\n[Service]\nRestart=always",
			  REFUSAL_BAD_UNIT);
	assert_refused_in("Unit",
			  "StartLimitBurst=00\n[Service]\nRestart=on-failure\nRestartSec=999ms",
			  REFUSAL_BAD_UNIT);
	/* Limits that are none. */
	assert_refused_in("Unit", "StartLimitIntervalSec=1us\n[Service]\nRestart=always",
			  REFUSAL_BAD_UNIT);
	assert_refused_in("Unit", "StartLimitBurst=10000\n[Service]\nRestart=always",
			  REFUSAL_BAD_UNIT);
	assert_accepted_in("Unit", "StartLimitBurst=20\nStartLimitIntervalSec=2min\n"
				   "[Service]\nRestart=always");
	assert_accepted_in("Unit", "StartLimitIntervalSec=infinity\n[Service]\nRestart=always");
	/* Restarts that need no Restart=. */
	assert_refused_in("Unit", "StartLimitIntervalSec=0\n[Service]\nRestartForceExitStatus=1",
			  REFUSAL_BAD_UNIT);
	/* Two units that start each other. */
	assert_refused_in("Unit", "StartLimitIntervalSec=0\nOnFailure=affix-probe.service",
			  REFUSAL_BAD_UNIT);
	assert_refused_in("Unit",
			  "StartLimitBurst=0\nOnSuccess=affix-probe_scan.service\n"
			  "[Service]\nRestart=always\nRestartSec=5",
			  REFUSAL_BAD_UNIT);
	assert_accepted_in("Unit", "OnFailure=affix-probe_scan.service");
	assert_refused_in("Unit",
			  "StartLimitIntervalSec=0s\n[Service]\nRestart=always\nRestartSec=0",
			  REFUSAL_BAD_UNIT);
}

/* The service without a limit, beside another unit *other* that says *text*. */
static void assert_beside(const char *other, const char *text, const char *lines,
			  enum refusal_code code)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_manifest struct manifest *manifest = fixture_manifest(FIXTURE_EXEC);
	cleanup_strv struct strv units = STRV_INIT;
	cleanup_unit_file struct unit_file *first = NULL;
	cleanup_unit_file struct unit_file *second = NULL;
	cleanup_free char *unit = NULL;
	const struct unit_file *files[2] = {0};
	struct unit_context context = {.manifest = manifest, .units = &units, .files = files};

	assert_int_equal(
		str_format(&unit,
			   "%s[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=1\n%s\n",
			   FIXTURE_SERVICE, lines),
		0);
	assert_int_equal(strv_add(&units, "affix-probe.service"), 0);
	assert_int_equal(strv_add(&units, other), 0);
	assert_int_equal(
		unit_file_parse(unit, strlen(unit), "affix-probe.service", &first, &diagnostics),
		0);
	assert_int_equal(unit_file_parse(text, strlen(text), other, &second, &diagnostics), 0);
	files[0] = first;
	files[1] = second;
	assert_int_equal(unit_policy_check(first, "affix-probe.service", &context, &diagnostics),
			 0);
	assert_int_equal(diagnostics.count, code == REFUSAL_NONE ? 0 : 1);
	if (diagnostics.count > 0)
		assert_int_equal(diagnostics.items[0].code, code);
}

static void units_that_start_each_other_have_a_limit(void **state)
{
	static const char *const naming[] = {
		"[Unit]\nWants=affix-probe_scan.timer affix-probe.service\n",
		"[Unit]\nConflicts=affix-probe.service\n",
		"[Unit]\nOnSuccess=affix-probe.service\n",
		"[Install]\nRequiredBy=affix-probe.service\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(naming); i++)
		assert_beside("affix-probe_scan.service", naming[i], "", REFUSAL_BAD_UNIT);
	assert_beside("affix-probe_scan.service", "[Unit]\nAfter=affix-probe.service\n", "",
		      REFUSAL_NONE);
	assert_beside("affix-probe_scan.service", "[Unit]\n", "", REFUSAL_NONE);
	assert_beside("affix-probe_scan.service", "[Unit]\n",
		      "[Install]\nWantedBy=affix-probe_scan.service", REFUSAL_BAD_UNIT);
	/* A timer names its service, whether or not it says so, and has a limit itself. */
	assert_beside("affix-probe.timer", "[Timer]\nOnCalendar=daily\n", "", REFUSAL_BAD_UNIT);
	assert_beside("affix-probe_scan.timer", "[Timer]\nUnit=affix-probe.service\n", "",
		      REFUSAL_BAD_UNIT);
	assert_beside("affix-probe_scan.timer", "[Timer]\nOnCalendar=daily\n", "", REFUSAL_NONE);
	assert_timer_line("[Unit]\nStartLimitIntervalSec=0", REFUSAL_BAD_UNIT);
	assert_timer_line("[Unit]\nStartLimitIntervalSec=1min", REFUSAL_NONE);
}

static void messages_name_the_directive_the_place_and_what_to_do(void **state)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_manifest struct manifest *manifest = fixture_manifest(FIXTURE_EXEC);

	(void)state;
	fixture_judge("affix-probe.service",
		      FIXTURE_SERVICE "[Service]\n User = root\nFo\xc3\xb6=1\n", manifest,
		      &diagnostics);
	assert_int_equal(diagnostics.count, 2);
	assert_string_equal(
		diagnostics.items[0].message,
		"'User=' says 'root', but the add-on runs as 'affix-probe' (run_as of addon.yaml)");
	assert_int_equal(diagnostics.items[0].line, 9);
	assert_int_equal(diagnostics.items[0].column, 9);
	assert_string_equal(
		diagnostics.items[1].message,
		"'Fo\xc3\xb6=' is not a directive that an add-on may use in [Service]; addon.yaml(5) lists them");
}

static void host_policy_widens_paths_and_targets(void **state)
{
	static const char yaml[] = "read_only_paths: [/srv/geo]\ntargets: [site.target]\n";
	static const char text[] = FIXTURE_SERVICE
		"[Unit]\nAfter=site.target\n[Service]\nBindReadOnlyPaths=/srv/geo/v1\n";
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_manifest struct manifest *manifest = fixture_manifest(FIXTURE_EXEC);
	cleanup_host_policy struct host_policy *policy = NULL;
	cleanup_unit_file struct unit_file *unit = NULL;
	struct strv units = STRV_INIT;
	struct unit_context context = {.manifest = manifest, .units = &units};

	(void)state;
	assert_int_equal(host_policy_parse(yaml, strlen(yaml), "p", &policy, &diagnostics), 0);
	assert_int_equal(unit_file_parse(text, strlen(text), "u", &unit, &diagnostics), 0);
	context.policy = policy;
	assert_int_equal(unit_policy_check(unit, "affix-probe.service", &context, &diagnostics), 0);
	/* A list replaces the built-in one: multi-user.target is no longer allowed. */
	assert_int_equal(diagnostics.count, 1);
	assert_int_equal(diagnostics.items[0].code, REFUSAL_UNIT_FOREIGN);
	context.policy = NULL;
	assert_int_equal(unit_policy_check(unit, "affix-probe.service", &context, &diagnostics), 0);
	assert_int_equal(diagnostics.count, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_belong_to_one_add_on_only),
		cmocka_unit_test(realistic_units_pass_whole),
		cmocka_unit_test(run_as_of_the_manifest_is_the_user),
		cmocka_unit_test(types_do_not_mix),
		cmocka_unit_test(timer_needs_a_trigger_in_force),
		cmocka_unit_test(oneshot_does_not_go_with_what_systemd_refuses),
		cmocka_unit_test(restarts_without_a_limit_are_slow),
		cmocka_unit_test(units_that_start_each_other_have_a_limit),
		cmocka_unit_test(messages_name_the_directive_the_place_and_what_to_do),
		cmocka_unit_test(host_policy_widens_paths_and_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
