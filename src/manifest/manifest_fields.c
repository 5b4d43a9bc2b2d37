/* SPDX-License-Identifier: Apache-2.0 */

/*
 * addon.yaml, key by key: the prior art's fields with their types, and ours. Fields of the prior
 * art that nothing here uses are held to their shape all the same, so that a manifest written for
 * both is right for both.
 */

#include "manifest/manifest_fields.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "base/path.h"
#include "manifest/manifest.h"
#include "manifest/names.h"
#include "manifest/version.h"

#define NAME_MAX_BYTES    128U
#define FEATURE_MAX       64U
#define RELATIVE_PATH_MAX 240U
#define ACTION_MAX        160U
#define RESTARTS_MAX      100U
#define CPU_PERCENT_MAX   1000000U
#define TASKS_MAX         4194304U /* the kernel's PID_MAX_LIMIT */
#define SHA256_HEX        64U

#define REQUIRED   .is_required = true
#define UNUSED     .offset = YAML_FIELD_UNUSED
#define AT(member) .offset = offsetof(struct manifest, member)

const char *const manifest_deliveries[] = {
	[MANIFEST_DELIVERY_COMPILED_IN] = "compiled-in",
	[MANIFEST_DELIVERY_PUSHED_ARTIFACT] = "pushed-artifact",
	[MANIFEST_DELIVERY_OS_PACKAGE] = "os-package",
	[MANIFEST_DELIVERY_N] = NULL,
};

const char *const manifest_supervisions[] = {
	[MANIFEST_SUPERVISION_CONFIG_TOGGLE] = "config-toggle",
	[MANIFEST_SUPERVISION_AGENT_SIDECAR] = "agent-sidecar",
	[MANIFEST_SUPERVISION_SYSTEMD_SERVICE] = "systemd-service",
	[MANIFEST_SUPERVISION_SYSTEMD_TIMER] = "systemd-timer",
	[MANIFEST_SUPERVISION_EPHEMERAL_HELPER] = "ephemeral-helper",
	[MANIFEST_SUPERVISION_N] = NULL,
};

static_assert(ARRAY_SIZE(manifest_deliveries) == MANIFEST_DELIVERY_N + 1, "each has a name");
static_assert(ARRAY_SIZE(manifest_supervisions) == MANIFEST_SUPERVISION_N + 1, "each has a name");

static const char *const kinds[] = {"native", NULL};
static const char *const platforms[] = {"linux", "darwin", "windows", NULL};
static const char *const systems[] = {"linux", "darwin", "windows", NULL};
static const char *const architectures[] = {"amd64", "arm64", NULL};
static const char *const plugin_protocols[] = {"grpc", NULL};
static const char *const command_types[] = {"addon.run_command", "plugin.run_action", NULL};
static const char *const schedule_types[] = {"interval", "cron", "manual", NULL};
static const char *const dispatch_scopes[] = {"assignment", "target_query", NULL};
static const char *const signal_types[] = {"event", "log", NULL};
static const char *const payload_kinds[] = {"ocsf_event", "otel_log", NULL};

static bool is_single_line(const char *text, size_t max)
{
	return strnlen(text, max + 1) <= max && !strpbrk(text, "\n\t");
}

static bool is_name(const char *text)
{
	return is_single_line(text, NAME_MAX_BYTES);
}

static bool is_feature(const char *text)
{
	return is_single_line(text, FEATURE_MAX) && !strchr(text, ' ');
}

static bool is_argument(const char *text)
{
	return is_single_line(text, YAML_FIELD_TEXT_MAX);
}

static bool is_platform(const char *text)
{
	for (size_t i = 0; platforms[i]; i++) {
		if (strcmp(platforms[i], text) == 0)
			return true;
	}
	return false;
}

static bool is_constraint(const char *text)
{
	bool ignored = false;

	return version_satisfies("0.0.0", text, &ignored) == 0;
}

static bool is_binary(const char *text)
{
	return name_is_entry(text) && strcmp(text, MANIFEST_NAME) != 0 &&
	       !str_ends_with(text, ".service") && !str_ends_with(text, ".timer");
}

static bool is_schema(const char *text)
{
	return name_is_entry(text) && str_ends_with(text, ".json");
}

/* A path that means the same to systemd, to tmpfiles.d and to a shell: no '%', no blanks. */
static bool is_plain_path(const char *text)
{
	return path_is_normal_absolute(text) &&
	       text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				 "0123456789/._+-")] == '\0';
}

static bool is_language(const char *text)
{
	return is_single_line(text, FEATURE_MAX) && text[0] >= 'a' && text[0] <= 'z';
}

static bool is_action(const char *text)
{
	return strnlen(text, ACTION_MAX + 1) <= ACTION_MAX &&
	       text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				 "0123456789_.-")] == '\0';
}

static bool is_sha256(const char *text)
{
	return strlen(text) == SHA256_HEX && text[strspn(text, "0123456789abcdef")] == '\0';
}

/* A relative path to a .json file: no component is empty or begins with a dot. */
static bool is_json_path(const char *text)
{
	const char *p = text;

	if (!is_single_line(text, RELATIVE_PATH_MAX) || !str_ends_with(text, ".json"))
		return false;
	for (;;) {
		if (*p == '/' || *p == '.' || *p == '\0' || *p == '\\')
			return false;
		p += strcspn(p, "/\\");
		if (*p == '\0')
			return true;
		p++;
	}
}

#define JSON_PATH_EXPECTED \
	"a relative path to a .json file, no part of it beginning with a dot, 240 bytes at most"
#define PATH_EXPECTED \
	"an absolute path of letters, digits, '.', '_', '+' and '-', without '.' or '..' as a part"

static const struct yaml_field requires_fields[] = {
	YAML_FIELD(
		"base_agent", YAML_FIELD_TEXT, REQUIRED, AT(base_agent), .is_valid = is_constraint,
		.expected =
			"comparisons with whole versions such as '>=1.2.0' or '>=1.2.0, <2.0.0'"),
	YAML_FIELD("platforms", YAML_FIELD_TEXTS, REQUIRED, AT(platforms), .min = 1,
		   .is_valid = is_platform, .expected = "'linux', 'darwin' or 'windows'"),
	YAML_FIELD("os_capabilities", YAML_FIELD_TEXTS, AT(os_capabilities),
		   .normalize = name_normalize_capability,
		   .expected = "a Linux capability such as 'cap_net_raw' (see capabilities(7))"),
	YAML_FIELD("run_as", YAML_FIELD_TEXT, AT(run_as), .is_valid = name_is_user,
		   .expected = "a user name: lower-case letters, digits, '-' and '_', at most 31"),
	YAML_FIELD("agent_capabilities", YAML_FIELD_TEXTS, AT(agent_capabilities),
		   .is_valid = is_feature,
		   .expected = "the name of a feature without blanks, 64 bytes at most"),
	YAML_FIELD_END,
};

static const struct yaml_field plugin_fields[] = {
	YAML_FIELD("protocol", YAML_FIELD_CHOICE, REQUIRED, UNUSED, .choices = plugin_protocols),
	YAML_FIELD("app_protocol_version", YAML_FIELD_UINT64, REQUIRED, UNUSED, .min = 1,
		   .max = UINT32_MAX),
	YAML_FIELD_END,
};

static const struct yaml_field resources_fields[] = {
	YAML_FIELD("cpu_max_percent", YAML_FIELD_UINT64, AT(limits.cpu_max_percent), .min = 1,
		   .max = CPU_PERCENT_MAX),
	YAML_FIELD("memory_max_bytes", YAML_FIELD_UINT64, AT(limits.memory_max_bytes), .min = 1,
		   .max = INT64_MAX),
	YAML_FIELD("memory_high_bytes", YAML_FIELD_UINT64, AT(limits.memory_high_bytes), .min = 1,
		   .max = INT64_MAX),
	YAML_FIELD("tasks_max", YAML_FIELD_UINT64, AT(limits.tasks_max), .min = 1,
		   .max = TASKS_MAX),
	YAML_FIELD("slice", YAML_FIELD_TEXT, AT(slice), .is_valid = name_is_slice,
		   .expected =
			   "the name of a slice such as 'addons.slice', which is none of logins or "
			   "machines"),
	YAML_FIELD_END,
};

static const struct yaml_field exec_fields[] = {
	YAML_FIELD(
		"binary", YAML_FIELD_TEXT, REQUIRED, AT(exec_binary), .is_valid = is_binary,
		.expected =
			"the name of a file in the bundle: letters, digits, '.', '_', '+' and '-', "
			"and neither a unit nor the manifest"),
	YAML_FIELD("install_path", YAML_FIELD_TEXT, AT(exec_install_path),
		   .is_valid = is_plain_path, .expected = PATH_EXPECTED),
	YAML_FIELD("args", YAML_FIELD_TEXTS, .is_repeated = true, AT(exec_args),
		   .is_valid = is_argument, .expected = "an argument on a single line"),
	YAML_FIELD("file_capabilities", YAML_FIELD_BOOL, AT(file_capabilities)),
	YAML_FIELD_END,
};

static const struct yaml_field artifact_fields[] = {
	YAML_FIELD("os", YAML_FIELD_CHOICE, REQUIRED, UNUSED, .choices = systems),
	YAML_FIELD("arch", YAML_FIELD_CHOICE, REQUIRED, UNUSED, .choices = architectures),
	YAML_FIELD("object_key", YAML_FIELD_TEXT, REQUIRED, UNUSED),
	YAML_FIELD("sha256", YAML_FIELD_TEXT, REQUIRED, UNUSED, .is_valid = is_sha256,
		   .expected = "64 lower-case hexadecimal digits"),
	YAML_FIELD("signature_ref", YAML_FIELD_TEXT, UNUSED),
	YAML_FIELD_END,
};

static const struct yaml_field schedule_fields[] = {
	YAML_FIELD("schedule_id", YAML_FIELD_TEXT, REQUIRED, UNUSED),
	YAML_FIELD("label", YAML_FIELD_TEXT, REQUIRED, UNUSED),
	YAML_FIELD("action_id", YAML_FIELD_TEXT, REQUIRED, UNUSED, .is_valid = is_action,
		   .expected = "letters, digits, '_', '.' and '-', at most 160"),
	YAML_FIELD("command_type", YAML_FIELD_CHOICE, REQUIRED, UNUSED, .choices = command_types),
	YAML_FIELD("default_cadence_seconds", YAML_FIELD_UINT64, REQUIRED, UNUSED, .min = 1,
		   .max = UINT32_MAX),
	YAML_FIELD("min_cadence_seconds", YAML_FIELD_UINT64, UNUSED, .min = 1, .max = UINT32_MAX),
	YAML_FIELD("max_cadence_seconds", YAML_FIELD_UINT64, UNUSED, .min = 1, .max = UINT32_MAX),
	YAML_FIELD("schedule_type", YAML_FIELD_CHOICE, UNUSED, .choices = schedule_types),
	YAML_FIELD("jitter_seconds", YAML_FIELD_UINT64, UNUSED, .max = UINT32_MAX),
	YAML_FIELD("dispatch_scope", YAML_FIELD_CHOICE, UNUSED, .choices = dispatch_scopes),
	YAML_FIELD("timeout_seconds", YAML_FIELD_UINT64, UNUSED, .min = 1, .max = UINT32_MAX),
	YAML_FIELD_END,
};

static const struct yaml_field signal_fields[] = {
	YAML_FIELD("id", YAML_FIELD_TEXT, REQUIRED, UNUSED),
	YAML_FIELD("version", YAML_FIELD_SCALAR, REQUIRED, UNUSED),
	YAML_FIELD("signal_type", YAML_FIELD_CHOICE, REQUIRED, UNUSED, .choices = signal_types),
	YAML_FIELD("payload_kind", YAML_FIELD_CHOICE, REQUIRED, UNUSED, .choices = payload_kinds),
	YAML_FIELD("payload_schema", YAML_FIELD_TEXT, REQUIRED, UNUSED, .is_valid = is_json_path,
		   .expected = JSON_PATH_EXPECTED),
	YAML_FIELD("display_contract", YAML_FIELD_TEXT, REQUIRED, UNUSED, .is_valid = is_json_path,
		   .expected = JSON_PATH_EXPECTED),
	YAML_FIELD("display_contract_id", YAML_FIELD_TEXT, REQUIRED, UNUSED),
	YAML_FIELD("display_contract_version", YAML_FIELD_SCALAR, REQUIRED, UNUSED),
	YAML_FIELD("ocsf_schema_version", YAML_FIELD_SCALAR, UNUSED),
	YAML_FIELD("class_uid", YAML_FIELD_UINT64, UNUSED, .min = 1, .max = UINT32_MAX),
	YAML_FIELD("type_uid", YAML_FIELD_UINT64, UNUSED, .min = 1, .max = UINT32_MAX),
	YAML_FIELD_END,
};

static const struct yaml_field health_fields[] = {
	YAML_FIELD("window_seconds", YAML_FIELD_UNSIGNED, AT(health.window_seconds), .min = 1,
		   .max = MANIFEST_WINDOW_MAX),
	YAML_FIELD("max_restarts", YAML_FIELD_UNSIGNED, AT(health.max_restarts),
		   .max = RESTARTS_MAX),
	YAML_FIELD("ready_socket", YAML_FIELD_TEXT, AT(health.ready_socket),
		   .is_valid = is_plain_path, .expected = PATH_EXPECTED),
	YAML_FIELD("run_once", YAML_FIELD_BOOL, AT(health.run_once)),
	YAML_FIELD_END,
};

const struct yaml_field manifest_fields[] = {
	YAML_FIELD(
		"id", YAML_FIELD_TEXT, REQUIRED, AT(id), .is_valid = manifest_id_is_valid,
		.expected =
			"lower-case words joined by '-', the first byte a letter, 25 bytes at most, "
			"and no name that affix itself uses"),
	YAML_FIELD("name", YAML_FIELD_TEXT, REQUIRED, AT(name), .is_valid = is_name,
		   .expected = "a single line of at most 128 bytes"),
	YAML_FIELD("version", YAML_FIELD_TEXT, REQUIRED, AT(version), .is_valid = version_is_valid,
		   .expected =
			   "a semantic version such as '1.2.3' or '1.2.3-rc.1', 64 bytes at most"),
	YAML_FIELD("description", YAML_FIELD_TEXT, AT(description)),
	YAML_FIELD("kind", YAML_FIELD_CHOICE, REQUIRED, UNUSED, .choices = kinds),
	YAML_FIELD("delivery", YAML_FIELD_CHOICE, REQUIRED, AT(delivery),
		   .choices = manifest_deliveries),
	YAML_FIELD("supervision", YAML_FIELD_CHOICE, REQUIRED, AT(supervision),
		   .choices = manifest_supervisions),
	YAML_FIELD("language", YAML_FIELD_TEXT, UNUSED, .is_valid = is_language,
		   .expected = "the name of a programming language in lower case"),
	YAML_FIELD("capabilities", YAML_FIELD_TEXTS, REQUIRED, AT(capabilities), .min = 1,
		   .is_valid = is_feature,
		   .expected = "the name of a feature without blanks, 64 bytes at most"),
	YAML_FIELD("requires", YAML_FIELD_MAPPING, REQUIRED, UNUSED, .fields = requires_fields),
	YAML_FIELD("plugin", YAML_FIELD_MAPPING, UNUSED, .fields = plugin_fields),
	YAML_FIELD("resources", YAML_FIELD_MAPPING, UNUSED, .fields = resources_fields),
	YAML_FIELD("exec", YAML_FIELD_MAPPING, REQUIRED, UNUSED, .fields = exec_fields),
	YAML_FIELD("state_dirs", YAML_FIELD_TEXTS, AT(state_dirs), .is_valid = is_plain_path,
		   .expected = PATH_EXPECTED),
	YAML_FIELD("config_schema", YAML_FIELD_TEXT, REQUIRED, AT(config_schema),
		   .is_valid = is_schema,
		   .expected = "the name of a .json file in the bundle, without a directory"),
	YAML_FIELD("artifacts", YAML_FIELD_MAPPINGS, UNUSED, .fields = artifact_fields),
	YAML_FIELD("producer_schedules", YAML_FIELD_MAPPINGS, UNUSED, .is_open = true,
		   .fields = schedule_fields),
	YAML_FIELD("signal_schemas", YAML_FIELD_MAPPINGS, UNUSED, .fields = signal_fields),
	YAML_FIELD("health", YAML_FIELD_MAPPING, UNUSED, .fields = health_fields),
	YAML_FIELD("ipc", YAML_FIELD_TEXT, AT(ipc), .is_valid = name_is_protocol,
		   .expected =
			   "the name of a protocol and its version, such as 'netprobe-frame/1'"),
	YAML_FIELD_END,
};
