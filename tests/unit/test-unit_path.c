/* SPDX-License-Identifier: Apache-2.0 */

#include "unit_fixture.h"

#include <stdio.h>

static void directories_are_the_add_ons_own_or_one_level_below(void **state)
{
	static const char *const keys[] = {"StateDirectory", "CacheDirectory", "LogsDirectory",
					   "RuntimeDirectory"};
	static const char *const good[] = {"affix/probe", "affix/probe/a",
					   "affix/probe affix/probe/b.c",
					   "affix/probe/a\taffix/probe/b"};
	static const char *const bad[] = {
		"affix",
		"affix/",
		"affix/probes",
		"affix/pro",
		"probe",
		"/affix/probe",
		"affix/probe/",
		"affix//probe",
		"affix/probe/..",
		"affix/probe/.",
		"affix/probe/../x",
		"../affix/probe",
		"affix/probe/a/b",
		"affix/probe:x",
		"affix/probe/a:x",
		"affix/agent",
		"affix/probe x",
		"\"affix/probe\"",
		"affix/probe/%i",
		"affix/probe/.ssh",
		"affix/updater",
		"affix/probe/a\\x20",
		"../../etc",
		"affix/probe//a",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(good); j++) {
			cleanup_free char *line = NULL;

			assert_int_equal(str_format(&line, "%s=%s", keys[i], good[j]), 0);
			assert_accepted(line);
		}
		for (size_t j = 0; j < ARRAY_SIZE(bad); j++) {
			cleanup_free char *line = NULL;

			assert_int_equal(str_format(&line, "%s=%s", keys[i], bad[j]), 0);
			assert_refused(line, REFUSAL_UNIT_PATH);
		}
	}
	assert_accepted("StateDirectory=affix/probe\nStateDirectory=");
	assert_refused("StateDirectory=ssh\nStateDirectory=", REFUSAL_UNIT_PATH);
}

static void runtime_directory_is_not_for_add_ons_with_ipc(void **state)
{
	(void)state;
	assert_service_lines("Service", "RuntimeDirectory=affix/probe",
			     FIXTURE_EXEC "ipc: flows/1\n", REFUSAL_UNIT_PATH);
	assert_service_lines("Service", "StateDirectory=affix/probe", FIXTURE_EXEC "ipc: flows/1\n",
			     REFUSAL_NONE);
}

static void writable_paths_are_own_directories(void **state)
{
	(void)state;
	assert_accepted("ReadWritePaths=/var/lib/affix/probe -/var/cache/affix/probe "
			"+/var/log/affix/probe -+/run/affix/probe");
	assert_refused("ReadWritePaths=/var/lib/affix/probe/link", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/opt/affix/probe", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/etc", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/proc", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/var/lib/affix", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/var/lib/affix/probes", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/var/lib/affix/probe/../updater", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=//var/lib/affix/probe", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/var//lib/affix/probe", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/var/lib/affix/probe/", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=+-/var/lib/affix/probe", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=--/var/lib/affix/probe", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=\"/var/lib/affix/probe\"", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/var/lib/affix/probe /etc", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/var/lib/affix/probe/%H", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=var/lib/affix/probe", REFUSAL_UNIT_PATH);
	assert_refused("ReadWritePaths=/run/affix/updater.sock", REFUSAL_UNIT_PATH);
}

static void other_paths_are_own_or_listed(void **state)
{
	(void)state;
	assert_accepted("ReadOnlyPaths=-/var/lib/affix/probe /usr/share/zoneinfo /etc/hosts");
	assert_accepted("ReadOnlyPaths=");
	assert_accepted("InaccessiblePaths=/proc/kcore /opt/affix/probe/versions");
	assert_refused("ReadOnlyPaths=/etc/shadow", REFUSAL_UNIT_PATH);
	assert_refused("ReadOnlyPaths=/usr/../etc/shadow", REFUSAL_UNIT_PATH);
	assert_refused("ReadOnlyPaths=/usr/..", REFUSAL_UNIT_PATH);
	assert_refused("ReadOnlyPaths=/usr//share", REFUSAL_UNIT_PATH);
	assert_refused("ReadOnlyPaths=/usr/./share", REFUSAL_UNIT_PATH);
	assert_refused("InaccessiblePaths=/var/lib/affix/probe/../updater", REFUSAL_UNIT_PATH);
	assert_refused("ReadOnlyPaths=/etc/hosts.deny", REFUSAL_UNIT_PATH);
	assert_refused("InaccessiblePaths=/var/lib/affix/updater", REFUSAL_UNIT_PATH);
	assert_accepted_in("Unit", "ConditionPathExists=/sys/kernel/btf/vmlinux");
	assert_accepted_in("Unit", "ConditionPathExists=|!/var/lib/affix/probe/off");
	assert_accepted_in("Unit", "ConditionPathIsDirectory=/proc\nConditionFileNotEmpty=");
	assert_refused_in("Unit", "ConditionPathExists=/home/user/x", REFUSAL_UNIT_PATH);
	assert_refused_in("Unit", "ConditionPathExists=!|/proc", REFUSAL_UNIT_PATH);
	assert_refused_in("Unit", "ConditionFileNotEmpty=proc", REFUSAL_UNIT_PATH);
}

/* /proc is listed, but /proc/1/root is another name of everything. */
static void links_of_processes_lead_nowhere(void **state)
{
	static const char *const paths[] = {
		"/proc/1/root/etc/shadow", "/proc/self/root",      "/proc/self",
		"/proc/1234/cwd/x",        "/proc/thread-self/fd", "/proc/1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		char line[128];

		(void)snprintf(line, sizeof(line), "BindReadOnlyPaths=-%s", paths[i]);
		assert_refused(line, REFUSAL_UNIT_PATH);
		(void)snprintf(line, sizeof(line), "ReadOnlyPaths=%s", paths[i]);
		assert_refused(line, REFUSAL_UNIT_PATH);
		(void)snprintf(line, sizeof(line), "ConditionPathExists=%s", paths[i]);
		assert_refused_in("Unit", line, REFUSAL_UNIT_PATH);
	}
	assert_accepted("BindReadOnlyPaths=/proc/sys/kernel /proc/selfish");
}

static void nothing_that_the_service_may_change_is_mounted(void **state)
{
	(void)state;
	assert_accepted("BindReadOnlyPaths=/usr/share -/etc/ssl/certs /opt/affix/probe");
	assert_refused("BindReadOnlyPaths=/var/lib/affix/probe", REFUSAL_UNIT_PATH);
	assert_refused("BindReadOnlyPaths=/usr/share:/etc", REFUSAL_UNIT_PATH);
	assert_refused("BindReadOnlyPaths=/usr/share:/var/lib/affix/probe:norbind",
		       REFUSAL_UNIT_PATH);
	assert_refused("BindReadOnlyPaths=/root", REFUSAL_UNIT_PATH);
	assert_refused("BindReadOnlyPaths=/opt/affix/probe/../other", REFUSAL_UNIT_PATH);
	assert_refused("BindPaths=/usr", REFUSAL_UNIT_PATH);
	assert_refused("RootDirectory=/var/lib/affix/probe", REFUSAL_UNIT_PATH);
	assert_refused("RootImage=/var/lib/affix/probe/image", REFUSAL_UNIT_PATH);
	assert_refused("TemporaryFileSystem=/etc", REFUSAL_UNIT_DIRECTIVE);
	assert_refused("MountImages=/x:/y", REFUSAL_UNIT_DIRECTIVE);
	assert_refused("ExtensionImages=/x", REFUSAL_UNIT_DIRECTIVE);
}

static void working_directory_is_own(void **state)
{
	(void)state;
	assert_accepted("WorkingDirectory=/var/lib/affix/probe");
	assert_accepted("WorkingDirectory=-/opt/affix/probe/current");
	assert_refused("WorkingDirectory=/var/lib/affix/probe/../x", REFUSAL_UNIT_PATH);
	assert_refused("WorkingDirectory=~", REFUSAL_UNIT_PATH);
	assert_refused("WorkingDirectory=-~", REFUSAL_UNIT_PATH);
	assert_refused("WorkingDirectory=", REFUSAL_UNIT_PATH);
	assert_refused("WorkingDirectory=/usr", REFUSAL_UNIT_PATH);
	assert_refused("WorkingDirectory=/var/lib/affix/probe x", REFUSAL_UNIT_PATH);
}

static void files_of_others_are_not_read_or_written(void **state)
{
	(void)state;
	assert_refused("EnvironmentFile=/var/lib/affix/probe/env", REFUSAL_UNIT_PATH);
	assert_refused("EnvironmentFile=-/etc/default/x", REFUSAL_UNIT_PATH);
	assert_refused("LoadCredential=key:/etc/shadow", REFUSAL_UNIT_PATH);
	assert_refused("SetCredential=config:{}", REFUSAL_UNIT_PATH);
	assert_refused("ConfigurationDirectory=affix/probe", REFUSAL_UNIT_PATH);
	assert_refused("PIDFile=/run/affix/probe/pid", REFUSAL_UNIT_PATH);
	assert_refused("StandardOutput=file:/etc/passwd", REFUSAL_UNIT_DIRECTIVE);
	assert_refused("StandardOutput=append:/var/lib/affix/probe/log", REFUSAL_UNIT_DIRECTIVE);
	assert_refused("StandardError=truncate:/x", REFUSAL_UNIT_DIRECTIVE);
	assert_refused("StandardError=socket", REFUSAL_UNIT_DIRECTIVE);
	assert_refused("StandardInput=file:/etc/shadow", REFUSAL_UNIT_DIRECTIVE);
	assert_refused("TTYPath=/dev/tty1", REFUSAL_UNIT_PATH);
	assert_accepted("StandardOutput=journal\nStandardError=inherit\nStandardInput=null");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(directories_are_the_add_ons_own_or_one_level_below),
		cmocka_unit_test(runtime_directory_is_not_for_add_ons_with_ipc),
		cmocka_unit_test(writable_paths_are_own_directories),
		cmocka_unit_test(other_paths_are_own_or_listed),
		cmocka_unit_test(links_of_processes_lead_nowhere),
		cmocka_unit_test(nothing_that_the_service_may_change_is_mounted),
		cmocka_unit_test(working_directory_is_own),
		cmocka_unit_test(files_of_others_are_not_read_or_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
