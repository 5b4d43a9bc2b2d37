/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/*
 * Lines that the policy accepts, every directive of its tables at least once. systemd must accept
 * them too, without a word (test-unit_systemd.c).
 */

static const char *const accepted_service_lines[] = {
	"Type=simple",
	"Type=exec",
	"Type=notify\nNotifyAccess=main",
	"Type=oneshot\nRemainAfterExit=yes",
	"Restart=always\nRestartSec=100ms",
	"TimeoutStartSec=infinity\nTimeoutStopSec=90\nTimeoutAbortSec=1min 30s\nTimeoutSec=5",
	"WatchdogSec=10.5s",
	"KillMode=mixed\nKillSignal=SIGINT\nSendSIGKILL=yes",
	"UMask=0027\nUMask=077",
	"Nice=19\nOOMScoreAdjust=1000\nOOMPolicy=kill",
	"LimitNOFILE=65536\nLimitNOFILE=1024:infinity\nLimitMEMLOCK=64M\nLimitCORE=0",
	"CPUQuota=250%\nCPUWeight=idle\nCPUWeight=10000\nCPUAffinity=0 2-3",
	"MemoryHigh=50%\nMemoryMax=1G\nMemorySwapMax=0\nTasksMax=infinity\nTasksMax=64",
	"IOWeight=1\nIOSchedulingClass=idle\nIOSchedulingPriority=7",
	"SuccessExitStatus=0 143 SIGTERM\nSuccessExitStatus=",
	"PrivateTmp=TRUE\nPrivateNetwork=Off\nProtectSystem=strict\nProtectSystem=yes",
	"ProtectHome=tmpfs\nProtectProc=invisible\nProcSubset=pid\nKeyringMode=private",
	"RestrictNamespaces=~net user\nRestrictNamespaces=yes\nRestrictNamespaces=",
	"RestrictAddressFamilies=AF_UNIX AF_INET6\nRestrictAddressFamilies=~AF_PACKET",
	"SystemCallFilter=@system-service bpf\nSystemCallFilter=~@mount:EPERM kexec_load:kill",
	"SystemCallFilter=@aio @basic-io @chown @clock @cpu-emulation @debug @default @file-system "
	"@io-event @ipc @keyring @known @memlock @module @mount @network-io @obsolete @pkey",
	"SystemCallFilter=~@privileged @process @raw-io @reboot @resources @setuid @signal @swap "
	"@sync @timer reboot:EACCES swapon:EAFNOSUPPORT swapoff:EINVAL bpf:ENOENT acct:ENOSYS "
	"kcmp:EOPNOTSUPP",
	"RestrictAddressFamilies=AF_ALG AF_BLUETOOTH AF_CAN AF_INET AF_INET6 AF_NETLINK AF_PACKET "
	"AF_UNIX AF_VSOCK AF_XDP",
	"RestrictNamespaces=cgroup ipc mnt net pid user uts",
	"SystemCallArchitectures=native\nSystemCallErrorNumber=EPERM",
	"IPAddressDeny=any\nIPAddressAllow=localhost 10.0.0.0/8 2001:db8::/32 192.0.2.1",
	"SyslogIdentifier=affix-probe_node-1.5\nSyslogLevel=debug\nLogLevelMax=info",
	"StateDirectoryMode=0750\nRuntimeDirectoryPreserve=restart",
	"AmbientCapabilities=CAP_NET_RAW cap_bpf\nAmbientCapabilities=",
	"CapabilityBoundingSet=CAP_BPF\nNoNewPrivileges=yes",
	"BindReadOnlyPaths=/usr/share -/etc/ssl/certs",
	"CPUAccounting=yes\nMemoryAccounting=on\nTasksAccounting=1\nIOAccounting=y\nIPAccounting=t",
	"CPUSchedulingPolicy=batch\nCPUAffinity=",
	"CacheDirectory=affix/probe\nCacheDirectoryMode=0700\nLogsDirectory=affix/probe/a",
	"LogsDirectoryMode=0755\nRuntimeDirectory=affix/probe\nRuntimeDirectoryMode=0750",
	"StateDirectory=affix/probe affix/probe/x",
	"DevicePolicy=closed",
	"Environment=GOMAXPROCS=2 \"B=c d\" CONFIG=%d/config H=100%%\nEnvironment=",
	"ExecStartPre=/opt/affix/probe/current/probed \"a b\" \\x41 $A ${B} \\; 100%%\nExecStartPost=-/opt/affix/probe/current/probed\nExecCondition=/opt/affix/probe/current/probed",
	"ExecReload=/bin/kill -HUP $MAINPID\nExecReload=/opt/affix/probe/current/probed reload\nExecStop=/opt/affix/probe/current/probed\nExecStopPost=/opt/affix/probe/current/probed",
	"Group=affix-probe\nUser=affix-probe",
	"IgnoreSIGPIPE=no\nInaccessiblePaths=-/proc/kcore\nReadOnlyPaths=/usr\nReadWritePaths=-/run/affix/probe",
	"LimitAS=1G\nLimitDATA=512M:1G\nLimitFSIZE=infinity\nLimitMSGQUEUE=4K\nLimitNPROC=64",
	"LimitSIGPENDING=128\nLimitSTACK=8M",
	"LockPersonality=yes\nMemoryDenyWriteExecute=yes\nRestrictRealtime=yes\nRestrictSUIDSGID=yes",
	"PrivateDevices=yes\nPrivateIPC=yes\nPrivateMounts=yes\nPrivateUsers=no\nRemoveIPC=yes",
	"ProtectClock=yes\nProtectControlGroups=yes\nProtectHostname=yes\nProtectKernelLogs=yes",
	"ProtectKernelModules=yes\nProtectKernelTunables=yes\nProtectHome=read-only",
	"RestartForceExitStatus=3\nRestartPreventExitStatus=SIGABRT 4",
	"SuccessExitStatus=SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 "
	"SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU "
	"SIGXCPU SIGXFSZ SIGSYS 255",
	"KillSignal=SIGHUP\nKillSignal=SIGINT\nKillSignal=SIGQUIT\nKillSignal=SIGABRT\n"
	"KillSignal=SIGKILL\nKillSignal=SIGUSR1\nKillSignal=SIGUSR2\nKillSignal=SIGTERM\n"
	"KillSignal=SIGWINCH",
	"SystemCallErrorNumber=EACCES\nSystemCallErrorNumber=EINVAL\nSystemCallErrorNumber=ENOSYS\n"
	"SystemCallErrorNumber=kill",
	"Type=exec\nRestart=no\nRestart=on-abnormal\nRestart=on-abort\nRestart=on-failure\n"
	"Restart=on-success\nRestart=on-watchdog",
	"LogLevelMax=emerg\nLogLevelMax=alert\nLogLevelMax=crit\nLogLevelMax=err\n"
	"LogLevelMax=warning\nLogLevelMax=notice",
	"OOMPolicy=continue\nOOMPolicy=stop\nNotifyAccess=exec\nProcSubset=all\n"
	"ProtectProc=default\nProtectProc=noaccess\nProtectProc=ptraceable\nDevicePolicy=auto\n"
	"DevicePolicy=strict\nCPUSchedulingPolicy=other\nCPUSchedulingPolicy=idle\n"
	"IOSchedulingClass=best-effort\nProtectSystem=full\nStandardError=null",
	"RuntimeMaxSec=infinity\nSyslogLevelPrefix=no",
	"StandardInput=null\nStandardOutput=journal\nStandardError=inherit",
	"WatchdogSignal=SIGABRT\nWorkingDirectory=-/var/lib/affix/probe",
	NULL,
};

static const char *const accepted_unit_lines[] = {
	"Description=100%% of it, \"as is\" \\o/",
	"Description=",
	"Documentation=https://example.org/a man:probe(8)\nDocumentation=",
	"StartLimitIntervalSec=2min\nStartLimitBurst=5",
	"DefaultDependencies=yes",
	"ConditionKernelVersion=>=5.8 <7.0",
	"After=network.target affix-probe_scan.service\nWants=network-online.target",
	"Requires=affix-probe_scan.service\nBindsTo=affix-probe_scan.service\nPartOf=affix-probe_scan.service",
	"Before=affix-probe_scan.service",
	"Conflicts=affix-probe_scan.service\nOnFailure=affix-probe_scan.service\nOnSuccess=affix-probe_scan.service",
	"ConditionPathExists=|!/sys/kernel/btf/vmlinux\nConditionPathIsDirectory=/proc\nConditionFileNotEmpty=/etc/hosts",
	"StartLimitIntervalSec=infinity",
	NULL,
};

static const char *const accepted_install_lines[] = {
	"WantedBy=\nWantedBy=timers.target affix-probe_scan.service\nRequiredBy=affix-probe_scan.service",
	NULL,
};

static const char *const accepted_timer_lines[] = {
	"OnCalendar=hourly",
	"OnCalendar=weekly",
	"OnCalendar=Mon",
	"OnCalendar=mon 5-6",
	"OnCalendar=Mon,Tue..Fri",
	"OnCalendar=*-*",
	"OnCalendar=*-*-*",
	"OnCalendar=00/2:00",
	"OnCalendar=*:0/15",
	"OnCalendar=*:*:0/10",
	"OnCalendar=MON 00:00",
	"OnCalendar=Sunday,Mon..Wed 01:00",
	"OnCalendar=12,14,13:20,10,30",
	"OnCalendar=Mon *-1..3-5/2",
	"OnCalendar=*-*-1/30",
	"OnCalendar=2024..2030-*-1,15 03:00 UTC",
	"OnCalendar=08:09",
	"OnCalendar=Mon UTC",
	"OnCalendar=1..3/2:00",
	"OnCalendar=*-*-1 00:00:00 UTC",
	"OnCalendar=0:0:*",
	"OnCalendar=10-10 8:0:0",
	"OnCalendar=Tue..Tue",
	"OnCalendar=*-1/11-1",
	"OnActiveSec=5\nOnStartupSec=1h\nOnUnitInactiveSec=2d",
	"OnBootSec=10min\nOnUnitActiveSec=6h\nRandomizedDelaySec=15m\nAccuracySec=1us",
	"Persistent=true\nFixedRandomDelay=no\nUnit=affix-probe_scan.service",
	NULL,
};
