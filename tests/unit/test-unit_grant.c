/* SPDX-License-Identifier: Apache-2.0 */

#include "unit_fixture.h"

#define FILE_CAPABILITIES FIXTURE_EXEC "  file_capabilities: true\n"
#define BARE              "[Service]\nExecStart=/opt/affix/probe/current/probed\n"

static void user_must_be_named_and_be_the_manifests(void **state)
{
	(void)state;
	assert_accepted("User=affix-probe\nGroup=affix-probe");
	assert_refused("User=root", REFUSAL_UNIT_USER);
	assert_refused("User=0", REFUSAL_UNIT_USER);
	assert_refused("User=affix-probes", REFUSAL_UNIT_USER);
	assert_refused("User=%p", REFUSAL_UNIT_USER);
	assert_refused("User=\"affix-probe\"", REFUSAL_UNIT_USER);
	assert_refused("Group=root", REFUSAL_UNIT_USER);
	assert_refused("Group=disk", REFUSAL_UNIT_USER);
	assert_refused("Group=affix", REFUSAL_UNIT_USER);
	assert_refused("SupplementaryGroups=docker", REFUSAL_UNIT_USER);
	assert_refused("DynamicUser=yes", REFUSAL_UNIT_USER);
	assert_refused("PAMName=login", REFUSAL_UNIT_USER);
	assert_refused_in("Unit", "User=affix-probe", REFUSAL_UNIT_DIRECTIVE);
	assert_unit("affix-probe.service", BARE, FIXTURE_EXEC, REFUSAL_UNIT_USER);
}

static void user_is_not_taken_back_or_changed_on_the_way(void **state)
{
	(void)state;
	assert_refused("User=", REFUSAL_UNIT_USER);
	assert_refused("User=\nUser=affix-probe", REFUSAL_UNIT_USER);
	assert_refused("User=root\nUser=affix-probe", REFUSAL_UNIT_USER);
	assert_refused("Group=", REFUSAL_UNIT_USER);
	assert_unit("affix-probe.service", BARE "# User=affix-probe\n", FIXTURE_EXEC,
		    REFUSAL_UNIT_USER);
	assert_unit("affix-probe.service", BARE "Environment=A=b \\\nUser=affix-probe\n",
		    FIXTURE_EXEC, REFUSAL_UNIT_USER);
}

static void capabilities_are_those_of_the_manifest_by_name(void **state)
{
	static const char *const keys[] = {"CapabilityBoundingSet", "AmbientCapabilities"};
	static const char *const bad[] = {
		"CAP_SYS_ADMIN",
		"CAP_NET_RAW CAP_SYS_PTRACE",
		"all",
		"ALL",
		"~CAP_NET_RAW",
		"~",
		"CAP_NET_RAW,CAP_BPF",
		"13",
		"0xd",
		"=ep",
		"cap_net_raw+eip",
		"net_raw",
		"CAP_NET_RAWX",
		"CAP_",
		"\"CAP_NET_RAW\"",
		"%i",
		"CAP_NET_RAW ~CAP_BPF",
		"CAP_NET_ADMIN",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		cleanup_free char *good = NULL;

		assert_int_equal(str_format(&good, "%s=CAP_NET_RAW\t cap_bpf\n%s=\n%s=Cap_Net_Raw",
					    keys[i], keys[i], keys[i]),
				 0);
		assert_accepted(good);
		for (size_t j = 0; j < ARRAY_SIZE(bad); j++) {
			cleanup_free char *line = NULL;

			assert_int_equal(str_format(&line, "%s=%s", keys[i], bad[j]), 0);
			assert_refused(line, REFUSAL_UNIT_CAPABILITY);
		}
	}
	assert_refused("AmbientCapabilities=CAP_SYS_ADMIN\nAmbientCapabilities=",
		       REFUSAL_UNIT_CAPABILITY);
	assert_refused("SecureBits=keep-caps", REFUSAL_UNIT_CAPABILITY);
}

static void new_privileges_are_for_file_capabilities_only(void **state)
{
	(void)state;
	assert_accepted("NoNewPrivileges=yes");
	assert_refused("NoNewPrivileges=no", REFUSAL_UNIT_CAPABILITY);
	assert_refused("NoNewPrivileges=FALSE", REFUSAL_UNIT_CAPABILITY);
	assert_refused("NoNewPrivileges=yes\nNoNewPrivileges=0", REFUSAL_UNIT_CAPABILITY);
	assert_refused("NoNewPrivileges=maybe", REFUSAL_UNIT_DIRECTIVE);
	assert_refused("NoNewPrivileges=", REFUSAL_UNIT_DIRECTIVE);
	assert_service_lines("Service", "NoNewPrivileges=no", FILE_CAPABILITIES, REFUSAL_NONE);
}

static void directives_that_would_void_file_capabilities_are_refused(void **state)
{
	static const char *const lines[] = {
		"SystemCallFilter=@system-service", "RestrictSUIDSGID=yes", "LockPersonality=1",
		"MemoryDenyWriteExecute=on",        "PrivateDevices=yes",   "ProtectClock=yes",
		"RestrictNamespaces=net",           "ProtectHostname=yes",  "RestrictRealtime=y",
		"RestrictAddressFamilies=none",     "ProtectKernelLogs=t",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_accepted(lines[i]);
		assert_service_lines("Service", lines[i], FILE_CAPABILITIES,
				     REFUSAL_UNIT_CAPABILITY);
	}
	assert_service_lines("Service",
			     "PrivateDevices=no\nSystemCallFilter=\nRestrictNamespaces=no\n"
			     "PrivateTmp=yes\nProtectSystem=strict",
			     FILE_CAPABILITIES, REFUSAL_NONE);
}

static void environment_does_not_choose_what_code_runs(void **state)
{
	static const char *const bad[] = {
		"LD_PRELOAD=/tmp/x.so",
		"A=b LD_AUDIT=x",
		"\"LD_LIBRARY_PATH=/tmp\"",
		"'LD_PRELOAD'=x",
		"L\"D_PRELOAD=x\"",
		"\\x4cD_PRELOAD=x",
		"GLIBC_TUNABLES=x",
		"PATH=/tmp",
		"GCONV_PATH=/tmp",
		"NOTIFY_SOCKET=/x",
		"LISTEN_FDS=1",
		"CREDENTIALS_DIRECTORY=/x",
		"STATE_DIRECTORY=/etc",
		"PYTHONPATH=/tmp",
		"BASH_ENV=/x",
		"MALLOC_CHECK_=3",
		"1A=b",
		"A-B=c",
		"=x",
		"NAME",
		"A=%h",
		"A=\\x25h",
		"\"A=b",
		"A=\\q",
		"A=100%",
		"NAME A=b",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_free char *line = NULL;

		assert_int_equal(str_format(&line, "Environment=%s", bad[i]), 0);
		assert_refused(line, REFUSAL_UNIT_DIRECTIVE);
	}
	assert_accepted("Environment=GOMAXPROCS=2 \"B=c d\" 'E=f=g' CONFIG=%d/config H=100%%");
	assert_accepted("Environment=\nEnvironment=_a1=");
	assert_refused("PassEnvironment=LD_PRELOAD", REFUSAL_UNIT_DIRECTIVE);
	assert_refused("Environment=LD_PRELOAD=/x\nEnvironment=", REFUSAL_UNIT_DIRECTIVE);
}

static void slice_is_the_manifests(void **state)
{
	(void)state;
	assert_refused("Slice=system.slice", REFUSAL_UNIT_FOREIGN);
	assert_refused("Slice=-.slice", REFUSAL_UNIT_FOREIGN);
	assert_service_lines("Service", "Slice=agents.slice",
			     FIXTURE_EXEC "resources:\n  slice: agents.slice\n", REFUSAL_NONE);
	assert_service_lines("Service", "Slice=other.slice",
			     FIXTURE_EXEC "resources:\n  slice: agents.slice\n",
			     REFUSAL_UNIT_FOREIGN);
}

static void dependencies_are_own_units_and_listed_targets(void **state)
{
	static const char *const keys[] = {"After", "Wants", "Requires"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		static const char *const bad[] = {
			"sshd.service",
			"affix-other.service",
			"affix-probe_none.service",
			"affix-probe@x.service",
			"reboot.target",
			"network.target sshd.service",
			"\"network.target\"",
			"%n",
			"affix-probe",
			"affix-agent.service",
			"network.targe\\x74",
		};
		cleanup_free char *good = NULL;

		assert_int_equal(
			str_format(&good, "%s=affix-probe_scan.service network.target\t", keys[i]),
			0);
		assert_accepted_in("Unit", good);
		for (size_t j = 0; j < ARRAY_SIZE(bad); j++) {
			cleanup_free char *line = NULL;

			assert_int_equal(str_format(&line, "%s=%s", keys[i], bad[j]), 0);
			assert_refused_in("Unit", line, REFUSAL_UNIT_FOREIGN);
		}
	}
	assert_refused_in("Unit", "After=", REFUSAL_UNIT_DIRECTIVE);
}

static void foreign_units_are_neither_hurt_nor_pulled_in(void **state)
{
	static const char *const keys[] = {"Before",    "BindsTo",   "PartOf",
					   "Conflicts", "OnFailure", "OnSuccess"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		cleanup_free char *own = NULL;
		cleanup_free char *foreign = NULL;

		assert_int_equal(str_format(&own, "%s=affix-probe_scan.service", keys[i]), 0);
		assert_int_equal(str_format(&foreign, "%s=multi-user.target", keys[i]), 0);
		assert_accepted_in("Unit", own);
		assert_refused_in("Unit", foreign, REFUSAL_UNIT_FOREIGN);
	}
	assert_refused_in("Unit", "JoinsNamespaceOf=sshd.service", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Unit", "Upholds=sshd.service", REFUSAL_UNIT_FOREIGN);
	assert_refused("Sockets=ssh.socket", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Unit", "PropagatesStopTo=sshd.service", REFUSAL_UNIT_DIRECTIVE);
	assert_refused_in("Unit", "RequiresMountsFor=/home", REFUSAL_UNIT_DIRECTIVE);
}

static void install_names_listed_targets_reached_after_services_start(void **state)
{
	(void)state;
	assert_accepted_in("Install", "WantedBy=\nWantedBy=timers.target affix-probe.service");
	assert_accepted_in("Install", "RequiredBy=affix-probe_scan.service");
	assert_refused_in("Install", "WantedBy=sshd.service", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Install", "WantedBy=sysinit.target", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Install", "WantedBy=basic.target", REFUSAL_UNIT_FOREIGN);
	/* Logins wait for these, and these for what they want. */
	assert_refused_in("Install", "WantedBy=network.target", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Install", "WantedBy=network-online.target", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Install", "WantedBy=remote-fs.target", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Install", "WantedBy=nss-user-lookup.target", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Install", "WantedBy=shutdown.target", REFUSAL_UNIT_FOREIGN);
	/* It would start a desktop, or be started where there is one only. */
	assert_refused_in("Install", "WantedBy=graphical.target", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Unit", "Wants=graphical.target", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Install", "WantedBy=../x.target", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Install", "RequiredBy=multi-user.target", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Install", "Alias=sshd.service", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Install", "Also=sshd.service", REFUSAL_UNIT_FOREIGN);
	assert_refused_in("Install", "DefaultInstance=x", REFUSAL_UNIT_NAME);
}

static void timer_starts_a_service_of_the_add_on(void **state)
{
	(void)state;
	assert_timer_line("Unit=affix-probe_scan.service", REFUSAL_NONE);
	assert_timer_line("Unit=affix-probe.service", REFUSAL_NONE);
	assert_timer_line("Unit=sshd.service", REFUSAL_UNIT_FOREIGN);
	assert_timer_line("Unit=reboot.target", REFUSAL_UNIT_FOREIGN);
	assert_timer_line("Unit=affix-probe_scan.timer", REFUSAL_UNIT_FOREIGN);
	assert_timer_line("Unit=affix-probe_none.service", REFUSAL_UNIT_FOREIGN);
	assert_timer_line("Unit=%p.service", REFUSAL_UNIT_FOREIGN);
	assert_timer_line("Unit=", REFUSAL_UNIT_FOREIGN);
	assert_timer_line("Unit=affix-probe.service\nUnit=affix-probe_scan.service",
			  REFUSAL_BAD_UNIT);
	assert_unit("affix-probe_other.timer", FIXTURE_TIMER, FIXTURE_EXEC, REFUSAL_UNIT_FOREIGN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_must_be_named_and_be_the_manifests),
		cmocka_unit_test(user_is_not_taken_back_or_changed_on_the_way),
		cmocka_unit_test(capabilities_are_those_of_the_manifest_by_name),
		cmocka_unit_test(new_privileges_are_for_file_capabilities_only),
		cmocka_unit_test(directives_that_would_void_file_capabilities_are_refused),
		cmocka_unit_test(environment_does_not_choose_what_code_runs),
		cmocka_unit_test(slice_is_the_manifests),
		cmocka_unit_test(dependencies_are_own_units_and_listed_targets),
		cmocka_unit_test(foreign_units_are_neither_hurt_nor_pulled_in),
		cmocka_unit_test(install_names_listed_targets_reached_after_services_start),
		cmocka_unit_test(timer_starts_a_service_of_the_add_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
