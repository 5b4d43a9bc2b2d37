/* SPDX-License-Identifier: Apache-2.0 */

#include "unit_accepted.h"
#include "unit_fixture.h"

/* Each line of *lines*, a NULL-terminated array, is judged by itself. */
static void all_accepted(const char *section, const char *const *lines)
{
	for (; *lines; lines++)
		assert_accepted_in(section, *lines);
}

static void all_refused(const char *section, const char *const *lines)
{
	for (; *lines; lines++)
		assert_refused_in(section, *lines, REFUSAL_UNIT_DIRECTIVE);
}

static void service_directives_take_what_systemd_takes(void **state)
{
	(void)state;
	all_accepted("Service", accepted_service_lines);
}

static void values_that_systemd_would_ignore_or_that_give_too_much_are_refused(void **state)
{
	static const char *const bad[] = {
		"Type=forking",
		"Type=dbus",
		"Type=idle",
		"Type=Simple",
		"Type=",
		"Type=\"simple\"",
		"NotifyAccess=all",
		"Restart=sometimes",
		"RestartSec=",
		"RestartSec=-1",
		"RestartSec=1fortnight",
		"RestartSec=5 s s",
		"RestartSec=1.",
		"RestartSec=infinity",
		"RestartSec=2y",
		"RestartSec=99999999999999999999",
		"RestartSec=infinity 1",
		"TimeoutStopSec=infinity",
		"TimeoutStopSec=0",
		"TimeoutStopSec=601",
		"TimeoutSec=0",
		"TimeoutAbortSec=500ms",
		"KillMode=process",
		"KillMode=none",
		"KillSignal=SIGCONT",
		"KillSignal=15",
		"SendSIGKILL=no",
		"UMask=8",
		"UMask=1000",
		"UMask=00027",
		"UMask=u=rwx",
		"Nice=-1",
		"Nice=20",
		"OOMScoreAdjust=-1000",
		"IOSchedulingClass=realtime",
		"CPUSchedulingPolicy=fifo",
		"LimitNOFILE=1024:512",
		"LimitNOFILE=1k",
		"LimitNOFILE=",
		"LimitMEMLOCK=64MB",
		"LimitMEMLOCK=99999999999999999999",
		"LimitMEMLOCK=99999999999E",
		"LimitMEMLOCK=:1",
		"LimitRTPRIO=99",
		"LimitNICE=+10",
		"CPUQuota=50",
		"CPUQuota=0%",
		"CPUQuota=%",
		"CPUQuota=1.5%",
		"CPUWeight=0",
		"CPUAffinity=3-2",
		"CPUAffinity=numa",
		"CPUAffinity=99999",
		"MemoryMax=lots",
		"MemoryMax=101%",
		"MemoryMax=0%",
		"MemoryMin=1G",
		"TasksMax=0",
		"IOWeight=10001",
		"SuccessExitStatus=256",
		"SuccessExitStatus=SIGFOO",
		"SuccessExitStatus=\"0\"",
		"PrivateTmp=maybe",
		"PrivateTmp=",
		"ProtectSystem=paranoid",
		"KeyringMode=inherit",
		"RestrictNamespaces=yes net",
		"RestrictNamespaces=~",
		"RestrictNamespaces=time",
		"RestrictAddressFamilies=AF_INET none",
		"RestrictAddressFamilies=AF_FOO",
		"RestrictAddressFamilies=~none",
		"RestrictSUIDSGID=no",
		"SystemCallFilter=@everything",
		"SystemCallFilter=read,write",
		"SystemCallFilter=~read:EFOO",
		"SystemCallFilter=read:EPERM",
		"SystemCallFilter=reed",
		"SystemCallFilter=@sandbox",
		"SystemCallFilter=~",
		"SystemCallFilter=:EPERM",
		"SystemCallFilter=READ",
		"SystemCallArchitectures=native x32",
		"SystemCallErrorNumber=0",
		"IPAddressAllow=10.0.0.0/33",
		"IPAddressAllow=2001:db8::/129",
		"IPAddressAllow=everybody",
		"IPAddressAllow=10.0.0/8",
		"IPAddressAllow=10.0.0.0/",
		"IPAddressAllow=1000:1000:1000:1000:1000:1000:1000:1000:1000:1000:1000",
		"SyslogIdentifier=%N",
		"SyslogIdentifier=sshd",
		"SyslogIdentifier=affix-",
		"SyslogIdentifier=affix-prob",
		"SyslogIdentifier=affix-probe_a b",
		"SyslogIdentifier=affix-probe-2",
		"SyslogIdentifier=affix-probes",
		"SyslogLevel=loud",
		"StateDirectoryMode=1777",
		"StateDirectoryMode=4755",
		"StateDirectoryMode=77",
		"StandardOutput=tty",
		"StandardOutput=kmsg",
		NULL,
	};

	(void)state;
	all_refused("Service", bad);
}

static void unknown_directives_are_refused_wherever_they_stand(void **state)
{
	static const char *const bad[] = {
		"user=root",
		"USER=root",
		"X-Custom=1",
		"Exec Start=/bin/sh",
		"Foo=1",
		"Foo=",
		"Delegate=yes",
		"DeviceAllow=/dev/mem rw",
		"BusName=org.x",
		"PassEnvironment=A",
		"UnsetEnvironment=A",
		"FailureAction=reboot",
		"AppArmorProfile=unconfined",
		"SELinuxContext=x",
		"SmackProcessLabel=x",
		"Personality=x86",
		"BPFProgram=ingress:/x",
		"OpenFile=/etc/shadow",
		"RootHash=x",
		"USBFunctionDescriptors=/x",
		"FileDescriptorStoreMax=5",
		"Description=x",
		"OnCalendar=daily",
		"WantedBy=multi-user.target",
		"MemoryPressureWatch=on",
		"LogNamespace=x",
		"CPUSchedulingPriority=99",
		"Slic\xc3\xa9=x",
		"\xe2\x82\xac=x",
		NULL,
	};
	static const char *const bad_in_unit[] = {
		"FailureAction=reboot-force",
		"SuccessAction=poweroff",
		"StartLimitAction=reboot",
		"RebootArgument=x",
		"RefuseManualStart=yes",
		"RefuseManualStop=yes",
		"DefaultDependencies=no",
		"AssertPathExists=/",
		"JobTimeoutAction=reboot",
		"CollectMode=inactive-or-failed",
		"SourcePath=/x",
		"IgnoreOnIsolate=yes",
		"StopWhenUnneeded=yes",
		"ConditionUser=root",
		"Requisite=x.service",
		"StartLimitBurst=-1",
		"Description=%h",
		"Documentation=gopher://x",
		"Documentation=https://",
		"Documentation=\"https://x\"",
		"Documentation=https://x/%h",
		"ConditionKernelVersion=5.8",
		"ConditionKernelVersion=>= 5.8",
		"ConditionKernelVersion=<>5",
		NULL,
	};

	(void)state;
	all_refused("Service", bad);
	all_refused("Unit", bad_in_unit);
	assert_refused_in("X-Affix", "", REFUSAL_UNIT_DIRECTIVE);
	assert_refused_in("Socket", "SocketMode=0777", REFUSAL_UNIT_DIRECTIVE);
	assert_refused_in("Timer", "OnCalendar=daily", REFUSAL_UNIT_DIRECTIVE);
	assert_refused_in(" Service", "User=root", REFUSAL_UNIT_DIRECTIVE);
	assert_refused_in("service", "", REFUSAL_UNIT_DIRECTIVE);
}

static void unit_directives_are_accepted(void **state)
{
	(void)state;
	all_accepted("Unit", accepted_unit_lines);
	all_accepted("Install", accepted_install_lines);
}

static void timer_directives_are_held_to_their_syntax(void **state)
{
	(void)state;
	assert_timer_line("OnBootSec=soon", REFUSAL_UNIT_DIRECTIVE);
	assert_timer_line("OnUnitActiveSec=infinity", REFUSAL_UNIT_DIRECTIVE);
	/* Again at once, for ever: StartLimitIntervalSec=0 is the service's to say. */
	assert_timer_line("OnUnitActiveSec=0", REFUSAL_UNIT_DIRECTIVE);
	assert_timer_line("OnUnitInactiveSec=500ms", REFUSAL_UNIT_DIRECTIVE);
	assert_timer_line("OnUnitInactiveSec=1s", REFUSAL_NONE);
	assert_timer_line("OnBootSec=0", REFUSAL_NONE);
	assert_timer_line("WakeSystem=yes", REFUSAL_UNIT_DIRECTIVE);
	assert_timer_line("RemainAfterElapse=no", REFUSAL_UNIT_DIRECTIVE);
	assert_timer_line("User=root", REFUSAL_UNIT_DIRECTIVE);
	assert_timer_line("[Service]\nUser=affix-probe", REFUSAL_UNIT_DIRECTIVE);
	assert_timer_line("Persistent=", REFUSAL_UNIT_DIRECTIVE);
}

static void calendar_events_are_accepted_as_systemd_does(void **state)
{
	static const char *const bad[] = {
		"never",
		"*",
		"*/2",
		"*/2:00",
		"*:*/5",
		"*,1-*-*",
		"*:1,*",
		"*-13-1",
		"*-0-1",
		"*-*-32",
		"5..3:00",
		"24:00",
		"23:60",
		"1:2:60",
		"0/24:00",
		"1/0:00",
		"*-1/12-1",
		"Fri..Mon",
		"Mon..Wed..Fri",
		"Mon.Tue",
		"1969-1-1",
		"2200-1-1",
		"1..2..3:00",
		"utc",
		"1:",
		":1",
		"-1-1",
		"10-10 08",
		"1:2:3:4",
		"Mon..",
		"..Mon",
		"Mon Tue",
		"*-*-* 1:00 2:00",
		"1.5:00",
		"1-2-3-4",
		"\"daily\"",
		"1:00 PST",
		"1:00 UTC x",
		"99999999999999999999:00",
	};

	(void)state;
	for (const char *const *line = accepted_timer_lines; *line; line++)
		assert_timer_line(*line, REFUSAL_NONE);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_free char *line = NULL;

		assert_int_equal(str_format(&line, "OnCalendar=%s", bad[i]), 0);
		assert_timer_line(line, REFUSAL_UNIT_DIRECTIVE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(service_directives_take_what_systemd_takes),
		cmocka_unit_test(
			values_that_systemd_would_ignore_or_that_give_too_much_are_refused),
		cmocka_unit_test(unknown_directives_are_refused_wherever_they_stand),
		cmocka_unit_test(unit_directives_are_accepted),
		cmocka_unit_test(timer_directives_are_held_to_their_syntax),
		cmocka_unit_test(calendar_events_are_accepted_as_systemd_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
