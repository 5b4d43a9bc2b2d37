/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The directives that an add-on's units may have, and what each value is held to. The table in
 * addon.yaml(5) says the same for people. What is not here is refused: a directive of a later
 * systemd, a misspelt one, and those that would give more than a manifest asks for.
 */

#include "unit/unit_table.h"

#include <string.h>

#include "base/str.h"

#define SECONDS_MAX 31557600U
/* A unit that takes longer than this to stop would hold up an upgrade. */
#define STOP_SECONDS_MAX 600U

#define ADDRESS_FAMILIES                                                                     \
	"AF_ALG AF_BLUETOOTH AF_CAN AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_UNIX AF_VSOCK " \
	"AF_XDP"
#define ERROR_NUMBERS   "EACCES EINVAL ENOSYS EPERM kill"
#define BOOLEANS        "yes no true false on off 1 0"
#define NAMESPACES      "cgroup ipc mnt net pid user uts"
#define LOG_LEVELS      "emerg alert crit err warning notice info debug"
#define SIGNALS_TO_STOP "SIGHUP SIGINT SIGQUIT SIGABRT SIGKILL SIGUSR1 SIGUSR2 SIGTERM SIGWINCH"

static const char *const service_sections[] = {"Unit", "Service", "Install", NULL};
static const char *const timer_sections[] = {"Unit", "Timer", "Install", NULL};

#define RULE(name, function, ...)                               \
	{                                                       \
		.key = (name), .check = (function), __VA_ARGS__ \
	}
/* Given without CAP_SYS_ADMIN, these imply NoNewPrivileges=yes (systemd.exec(5)). */
#define SECCOMP                .implies_no_new_privileges = true
#define RESET                  .has_reset = true
#define VALUE(name, function)  RULE(name, function, .words = NULL)
#define LIST(name, function)   RULE(name, function, RESET)
#define YES_NO(name)           RULE(name, unit_check_boolean, .words = NULL)
#define YES_NO_SECCOMP(name)   RULE(name, unit_check_boolean, SECCOMP)
#define WORD(name, list)       RULE(name, unit_check_word, .words = (list))
#define YES_NO_OR(name, list)  RULE(name, unit_check_boolean_or_word, .words = (list))
#define NUMBER(name, low, top) RULE(name, unit_check_number, .minimum = (low), .maximum = (top))
#define MODE(name)             RULE(name, unit_check_mode, .maximum = 0777)
#define SPAN(name)             RULE(name, unit_check_span, .maximum = SECONDS_MAX)
#define SPAN_OR_INFINITY(name) \
	RULE(name, unit_check_span, .maximum = SECONDS_MAX, .has_infinity = true)
#define SPAN_TO_STOP(name) RULE(name, unit_check_span, .minimum = 1, .maximum = STOP_SECONDS_MAX)
#define TRIGGER(name)      RULE(name, unit_check_span, .maximum = SECONDS_MAX, RESET)
/* Counted from the last run: sooner than this, PID 1 does little else. */
#define TRIGGER_AGAIN(name) RULE(name, unit_check_span, .minimum = 1, .maximum = SECONDS_MAX, RESET)

static const struct unit_rule unit_rules[] = {
	VALUE("After", unit_check_own_units_or_targets),
	VALUE("Before", unit_check_own_units),
	VALUE("BindsTo", unit_check_own_units),
	LIST("ConditionFileNotEmpty", unit_check_condition_path),
	LIST("ConditionKernelVersion", unit_check_kernel_versions),
	LIST("ConditionPathExists", unit_check_condition_path),
	LIST("ConditionPathIsDirectory", unit_check_condition_path),
	VALUE("Conflicts", unit_check_own_units),
	WORD("DefaultDependencies", "yes"),
	VALUE("Description", unit_check_text),
	LIST("Documentation", unit_check_documents),
	VALUE("OnFailure", unit_check_own_units),
	VALUE("OnSuccess", unit_check_own_units),
	VALUE("PartOf", unit_check_own_units),
	VALUE("Requires", unit_check_own_units_or_targets),
	NUMBER("StartLimitBurst", 0, 10000),
	SPAN_OR_INFINITY("StartLimitIntervalSec"),
	VALUE("Wants", unit_check_own_units_or_targets),
};

static const struct unit_rule service_rules[] = {
	LIST("AmbientCapabilities", unit_check_capabilities),
	LIST("BindReadOnlyPaths", unit_check_bound_paths),
	YES_NO("CPUAccounting"),
	LIST("CPUAffinity", unit_check_processors),
	RULE("CPUQuota", unit_check_percent, .maximum = 1000000),
	WORD("CPUSchedulingPolicy", "other batch idle"),
	RULE("CPUWeight", unit_check_number, .minimum = 1, .maximum = 10000, .words = "idle"),
	LIST("CacheDirectory", unit_check_directories),
	MODE("CacheDirectoryMode"),
	LIST("CapabilityBoundingSet", unit_check_capabilities),
	WORD("DevicePolicy", "auto closed strict"),
	LIST("Environment", unit_check_environment),
	LIST("ExecCondition", unit_check_exec),
	LIST("ExecReload", unit_check_exec_reload),
	LIST("ExecStart", unit_check_exec),
	LIST("ExecStartPost", unit_check_exec),
	LIST("ExecStartPre", unit_check_exec),
	LIST("ExecStop", unit_check_exec),
	LIST("ExecStopPost", unit_check_exec),
	VALUE("Group", unit_check_group),
	YES_NO("IOAccounting"),
	WORD("IOSchedulingClass", "best-effort idle"),
	NUMBER("IOSchedulingPriority", 0, 7),
	NUMBER("IOWeight", 1, 10000),
	YES_NO("IPAccounting"),
	RULE("IPAddressAllow", unit_check_addresses, .words = "any localhost link-local multicast",
	     RESET),
	RULE("IPAddressDeny", unit_check_addresses, .words = "any localhost link-local multicast",
	     RESET),
	YES_NO("IgnoreSIGPIPE"),
	LIST("InaccessiblePaths", unit_check_restricted_paths),
	WORD("KeyringMode", "private"),
	WORD("KillMode", "control-group mixed"),
	WORD("KillSignal", SIGNALS_TO_STOP),
	VALUE("LimitAS", unit_check_limit_bytes),
	VALUE("LimitCORE", unit_check_limit_bytes),
	VALUE("LimitDATA", unit_check_limit_bytes),
	VALUE("LimitFSIZE", unit_check_limit_bytes),
	VALUE("LimitMEMLOCK", unit_check_limit_bytes),
	VALUE("LimitMSGQUEUE", unit_check_limit_bytes),
	VALUE("LimitNOFILE", unit_check_limit_count),
	VALUE("LimitNPROC", unit_check_limit_count),
	VALUE("LimitSIGPENDING", unit_check_limit_count),
	VALUE("LimitSTACK", unit_check_limit_bytes),
	YES_NO_SECCOMP("LockPersonality"),
	WORD("LogLevelMax", LOG_LEVELS),
	LIST("LogsDirectory", unit_check_directories),
	MODE("LogsDirectoryMode"),
	YES_NO("MemoryAccounting"),
	YES_NO_SECCOMP("MemoryDenyWriteExecute"),
	VALUE("MemoryHigh", unit_check_size),
	VALUE("MemoryMax", unit_check_size),
	VALUE("MemorySwapMax", unit_check_size),
	NUMBER("Nice", 0, 19),
	VALUE("NoNewPrivileges", unit_check_no_new_privileges),
	WORD("NotifyAccess", "main exec"),
	WORD("OOMPolicy", "continue stop kill"),
	NUMBER("OOMScoreAdjust", 0, 1000),
	YES_NO_SECCOMP("PrivateDevices"),
	YES_NO("PrivateIPC"),
	YES_NO("PrivateMounts"),
	YES_NO("PrivateNetwork"),
	YES_NO("PrivateTmp"),
	YES_NO("PrivateUsers"),
	WORD("ProcSubset", "all pid"),
	YES_NO_SECCOMP("ProtectClock"),
	YES_NO("ProtectControlGroups"),
	YES_NO_OR("ProtectHome", "read-only tmpfs"),
	YES_NO_SECCOMP("ProtectHostname"),
	YES_NO_SECCOMP("ProtectKernelLogs"),
	YES_NO_SECCOMP("ProtectKernelModules"),
	YES_NO_SECCOMP("ProtectKernelTunables"),
	WORD("ProtectProc", "default invisible noaccess ptraceable"),
	YES_NO_OR("ProtectSystem", "full strict"),
	LIST("ReadOnlyPaths", unit_check_restricted_paths),
	LIST("ReadWritePaths", unit_check_writable_paths),
	YES_NO("RemainAfterExit"),
	YES_NO("RemoveIPC"),
	WORD("Restart", "no always on-abnormal on-abort on-failure on-success on-watchdog"),
	LIST("RestartForceExitStatus", unit_check_exit_statuses),
	LIST("RestartPreventExitStatus", unit_check_exit_statuses),
	SPAN("RestartSec"),
	RULE("RestrictAddressFamilies", unit_check_words, .words = ADDRESS_FAMILIES,
	     .alone = "none", RESET, SECCOMP),
	RULE("RestrictNamespaces", unit_check_words, .words = NAMESPACES, .alone = BOOLEANS, RESET,
	     SECCOMP),
	YES_NO_SECCOMP("RestrictRealtime"),
	RULE("RestrictSUIDSGID", unit_check_word, .words = "yes true on 1", SECCOMP),
	LIST("RuntimeDirectory", unit_check_runtime_directory),
	MODE("RuntimeDirectoryMode"),
	YES_NO_OR("RuntimeDirectoryPreserve", "restart"),
	SPAN_OR_INFINITY("RuntimeMaxSec"),
	WORD("SendSIGKILL", "yes"),
	VALUE("Slice", unit_check_slice),
	WORD("StandardError", "inherit journal null"),
	WORD("StandardInput", "null"),
	WORD("StandardOutput", "inherit journal null"),
	LIST("StateDirectory", unit_check_directories),
	MODE("StateDirectoryMode"),
	LIST("SuccessExitStatus", unit_check_exit_statuses),
	VALUE("SyslogIdentifier", unit_check_identifier),
	WORD("SyslogLevel", LOG_LEVELS),
	YES_NO("SyslogLevelPrefix"),
	RULE("SystemCallArchitectures", unit_check_words, .words = "native", RESET, SECCOMP),
	RULE("SystemCallErrorNumber", unit_check_word, .words = ERROR_NUMBERS),
	RULE("SystemCallFilter", unit_check_system_calls, RESET, SECCOMP),
	YES_NO("TasksAccounting"),
	VALUE("TasksMax", unit_check_count),
	SPAN_TO_STOP("TimeoutAbortSec"),
	SPAN_TO_STOP("TimeoutSec"),
	SPAN_OR_INFINITY("TimeoutStartSec"),
	SPAN_TO_STOP("TimeoutStopSec"),
	WORD("Type", "simple exec notify oneshot"),
	MODE("UMask"),
	VALUE("User", unit_check_user),
	SPAN("WatchdogSec"),
	WORD("WatchdogSignal", SIGNALS_TO_STOP),
	VALUE("WorkingDirectory", unit_check_working_directory),
};

static const struct unit_rule timer_rules[] = {
	SPAN("AccuracySec"),
	YES_NO("FixedRandomDelay"),
	TRIGGER("OnActiveSec"),
	TRIGGER("OnBootSec"),
	LIST("OnCalendar", unit_check_calendar),
	TRIGGER("OnStartupSec"),
	TRIGGER_AGAIN("OnUnitActiveSec"),
	TRIGGER_AGAIN("OnUnitInactiveSec"),
	YES_NO("Persistent"),
	SPAN("RandomizedDelaySec"),
	VALUE("Unit", unit_check_timer_unit),
};

static const struct unit_rule install_rules[] = {
	LIST("RequiredBy", unit_check_own_units),
	LIST("WantedBy", unit_check_wanted_by),
};

static const struct {
	const char *section;
	const struct unit_rule *rules;
	size_t count;
} tables[] = {
	{"Unit",    unit_rules,    ARRAY_SIZE(unit_rules)   },
	{"Service", service_rules, ARRAY_SIZE(service_rules)},
	{"Timer",   timer_rules,   ARRAY_SIZE(timer_rules)  },
	{"Install", install_rules, ARRAY_SIZE(install_rules)},
};

#define OTHER_ROOT "would give the service another file system than the host's; remove it"
#define MORE_POWER "would give the service more than its manifest asks for; remove it"
#define WHOLE_HOST "would let the add-on act on the whole host; remove it"
#define CREDENTIAL "is not for add-ons: configuration is the credential '%d/config', remove it"

#define REFUSED(name, refusal, text)                                \
	{                                                           \
		.key = (name), .code = (refusal), .reason = (text), \
	}

static const struct unit_refused refused[] = {
	REFUSED("Alias", REFUSAL_UNIT_FOREIGN,
		"would give the unit another name; units of an add-on have their own name only, remove it"),
	REFUSED("Also", REFUSAL_UNIT_FOREIGN,
		"would enable other units; give each unit its own [Install] section"),
	REFUSED("BindPaths", REFUSAL_UNIT_PATH, OTHER_ROOT),
	REFUSED("BusName", REFUSAL_UNIT_DIRECTIVE,
		"needs Type=dbus, which is not supported; use Type=notify"),
	REFUSED("ConfigurationDirectory", REFUSAL_UNIT_PATH, CREDENTIAL),
	REFUSED("DefaultInstance", REFUSAL_UNIT_NAME,
		"is for templates, which an add-on may not have; remove it"),
	REFUSED("Delegate", REFUSAL_UNIT_DIRECTIVE, MORE_POWER),
	REFUSED("DeviceAllow", REFUSAL_UNIT_DIRECTIVE, MORE_POWER),
	REFUSED("DynamicUser", REFUSAL_UNIT_USER,
		"does not go with the add-on's own user; remove it"),
	REFUSED("EnvironmentFile", REFUSAL_UNIT_PATH,
		"reads what no signature covers; use Environment= or the credential '%d/config'"),
	REFUSED("FailureAction", REFUSAL_UNIT_DIRECTIVE, WHOLE_HOST),
	REFUSED("ImportCredential", REFUSAL_UNIT_PATH, CREDENTIAL),
	REFUSED("JoinsNamespaceOf", REFUSAL_UNIT_FOREIGN,
		"would share other units' namespaces; remove it"),
	REFUSED("LoadCredential", REFUSAL_UNIT_PATH, CREDENTIAL),
	REFUSED("LoadCredentialEncrypted", REFUSAL_UNIT_PATH, CREDENTIAL),
	REFUSED("NetworkNamespacePath", REFUSAL_UNIT_PATH, OTHER_ROOT),
	REFUSED("PAMName", REFUSAL_UNIT_USER, MORE_POWER),
	REFUSED("PIDFile", REFUSAL_UNIT_PATH,
		"needs Type=forking, which is not supported; use Type=notify"),
	REFUSED("PassEnvironment", REFUSAL_UNIT_DIRECTIVE,
		"would take variables of PID 1; use Environment="),
	REFUSED("RebootArgument", REFUSAL_UNIT_DIRECTIVE, WHOLE_HOST),
	REFUSED("RootDirectory", REFUSAL_UNIT_PATH, OTHER_ROOT),
	REFUSED("RootImage", REFUSAL_UNIT_PATH, OTHER_ROOT),
	REFUSED("SecureBits", REFUSAL_UNIT_CAPABILITY, MORE_POWER),
	REFUSED("SetCredential", REFUSAL_UNIT_PATH, CREDENTIAL),
	REFUSED("SetCredentialEncrypted", REFUSAL_UNIT_PATH, CREDENTIAL),
	REFUSED("Sockets", REFUSAL_UNIT_FOREIGN,
		"needs socket units, which an add-on may not have; remove it"),
	REFUSED("StartLimitAction", REFUSAL_UNIT_DIRECTIVE, WHOLE_HOST),
	REFUSED("SuccessAction", REFUSAL_UNIT_DIRECTIVE, WHOLE_HOST),
	REFUSED("SupplementaryGroups", REFUSAL_UNIT_USER,
		"would give the service more groups than the user's own; remove it"),
	REFUSED("TTYPath", REFUSAL_UNIT_PATH, MORE_POWER),
	REFUSED("Upholds", REFUSAL_UNIT_FOREIGN, "would start units over and over; use Wants="),
};

bool unit_section_is_known(bool is_timer, const char *section)
{
	for (const char *const *known = is_timer ? timer_sections : service_sections; *known;
	     known++) {
		if (strcmp(*known, section) == 0)
			return true;
	}
	return false;
}

const struct unit_rule *unit_rule_find(const char *section, const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		if (strcmp(tables[i].section, section) != 0)
			continue;
		for (size_t j = 0; j < tables[i].count; j++) {
			if (strcmp(tables[i].rules[j].key, key) == 0)
				return &tables[i].rules[j];
		}
	}
	return NULL;
}

const struct unit_refused *unit_refused_find(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		if (strcmp(refused[i].key, key) == 0)
			return &refused[i];
	}
	return NULL;
}
