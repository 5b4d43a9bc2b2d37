/* SPDX-License-Identifier: Apache-2.0 */

#include "unit_fixture.h"

#define BIN "/opt/affix/probe/current/probed"

static void every_exec_directive_may_run_the_binary(void **state)
{
	(void)state;
	assert_accepted("ExecStart=\nExecStart=" BIN);
	assert_accepted("ExecStart=\nExecStart=-" BIN " -v");
	assert_accepted("ExecStartPre=" BIN "  check\t--config=%d/config");
	assert_accepted("ExecStartPost=" BIN);
	assert_accepted("ExecCondition=" BIN " probe");
	assert_accepted("ExecStop=" BIN " stop");
	assert_accepted("ExecStopPost=-" BIN " stop");
	assert_accepted("ExecReload=" BIN " reload $MAINPID");
}

static void no_exec_directive_may_run_anything_else(void **state)
{
	static const char *const keys[] = {"ExecStart",     "ExecStartPre", "ExecStartPost",
					   "ExecCondition", "ExecReload",   "ExecStop",
					   "ExecStopPost"};
	static const char *const commands[] = {
		"/bin/sh",
		"/bin/sh -c " BIN,
		"/usr/bin/env " BIN,
		"probed",
		"./probed",
		"current/probed",
		"/opt/affix/probe/current/other",
		"/opt/affix/probe/current/probed2",
		"/opt/affix/probe/current/probe",
		"/opt/affix/probe/current/",
		"/opt/affix/probe/versions/1.0.0/probed",
		"/opt/affix/probe2/current/probed",
		"/opt/affix/probe/current//probed",
		"//opt/affix/probe/current/probed",
		"/opt/affix/probe/current/./probed",
		"/opt/affix/probe/current/../current/probed",
		"/opt/affix/probe/current/probed/../../x",
		"/var/lib/affix/probe/probed",
		"/bin/kill -HUP 1",
		"-",
		"- " BIN,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(commands); j++) {
			cleanup_free char *line = NULL;

			assert_int_equal(str_format(&line, "%s=%s", keys[i], commands[j]), 0);
			assert_refused_in("Service", line, REFUSAL_UNIT_EXEC);
		}
	}
}

static void only_the_prefix_minus_passes(void **state)
{
	static const char *const prefixes[] = {"+",  "!",  "!!", "@",  ":",  "|", "--", "-+",
					       "+-", "-@", "-:", "-!", "\"", "'", "-|"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		cleanup_free char *line = NULL;

		assert_int_equal(str_format(&line, "ExecStartPre=%s" BIN " x", prefixes[i]), 0);
		assert_refused(line, REFUSAL_UNIT_EXEC);
	}
}

static void program_is_compared_before_it_is_unquoted_or_expanded(void **state)
{
	(void)state;
	assert_refused("ExecStartPre=\"" BIN "\"", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre='" BIN "' x", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=\\x2fbin/sh", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN "\\x20", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN "\"\"", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=/opt/affix/%p/current/probed", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=/opt/affix/${ID}/current/probed", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=$BIN", REFUSAL_UNIT_EXEC);
}

static void one_line_is_one_command(void **state)
{
	(void)state;
	assert_refused("ExecStartPre=" BIN " ; /bin/sh", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " a ;", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=; /bin/sh", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " \\; ; /bin/sh", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " \\\n a ; /bin/sh", REFUSAL_UNIT_EXEC);
	assert_accepted("ExecStartPre=" BIN " a;b ';' \\; x; ;x");
}

static void arguments_may_have_variables_and_known_specifiers_only(void **state)
{
	(void)state;
	assert_accepted("ExecStartPre=" BIN " $A ${B} 100%% %d/config \"a b\" 'c' \\x41\\n");
	assert_refused("ExecStartPre=" BIN " %h", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " 100%", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " %%%i", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " %D", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " \\x25h", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " \\045h", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " \\u0025h", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " '%'h", REFUSAL_UNIT_EXEC);
}

static void broken_quoting_is_refused(void **state)
{
	(void)state;
	assert_refused("ExecStartPre=" BIN " \"a", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " it's", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " \\q", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " \\x00", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " \\xff", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStartPre=" BIN " \\;x", REFUSAL_UNIT_EXEC);
}

static void reload_may_signal_the_main_process_and_nothing_else(void **state)
{
	(void)state;
	assert_accepted("ExecReload=/bin/kill -HUP $MAINPID");
	assert_accepted("ExecReload=-/bin/kill  -HUP\t$MAINPID");
	assert_refused("ExecReload=/bin/kill -HUP $MAINPID 1", REFUSAL_UNIT_EXEC);
	assert_refused("ExecReload=/bin/kill -HUP $MAINPID ; /bin/sh", REFUSAL_UNIT_EXEC);
	assert_refused("ExecReload=/bin/kill -KILL $MAINPID", REFUSAL_UNIT_EXEC);
	assert_refused("ExecReload=/bin/kill -HUP 1", REFUSAL_UNIT_EXEC);
	assert_refused("ExecReload=/bin/kill -HUP", REFUSAL_UNIT_EXEC);
	assert_refused("ExecReload=/usr/bin/kill -HUP $MAINPID", REFUSAL_UNIT_EXEC);
	assert_refused("ExecReload=+/bin/kill -HUP $MAINPID", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStop=/bin/kill -HUP $MAINPID", REFUSAL_UNIT_EXEC);
}

static void a_service_has_one_start_command_in_force(void **state)
{
	(void)state;
	assert_refused("ExecStart=", REFUSAL_UNIT_EXEC);
	assert_refused("ExecStart=" BIN, REFUSAL_UNIT_EXEC);
	assert_accepted("ExecStart=\nExecStart=" BIN);
	assert_accepted("Type=oneshot\nExecStart=" BIN);
	assert_refused("Type=oneshot\nExecStart=", REFUSAL_UNIT_EXEC);
	assert_unit("affix-probe.service", "[Service]\nUser=affix-probe\n", FIXTURE_EXEC,
		    REFUSAL_UNIT_EXEC);
}

static void a_bad_command_is_refused_even_if_it_is_taken_back(void **state)
{
	(void)state;
	assert_refused("ExecStart=/bin/sh\nExecStart=\nExecStart=" BIN, REFUSAL_UNIT_EXEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_exec_directive_may_run_the_binary),
		cmocka_unit_test(no_exec_directive_may_run_anything_else),
		cmocka_unit_test(only_the_prefix_minus_passes),
		cmocka_unit_test(program_is_compared_before_it_is_unquoted_or_expanded),
		cmocka_unit_test(one_line_is_one_command),
		cmocka_unit_test(arguments_may_have_variables_and_known_specifiers_only),
		cmocka_unit_test(broken_quoting_is_refused),
		cmocka_unit_test(reload_may_signal_the_main_process_and_nothing_else),
		cmocka_unit_test(a_service_has_one_start_command_in_force),
		cmocka_unit_test(a_bad_command_is_refused_even_if_it_is_taken_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
