/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Names: ids, users, files, protocols, platforms, capabilities. The list of capabilities is ours
 * and not libcap's: it must not grow with the library that happens to be there, since a manifest is
 * valid or not wherever it is looked at.
 */

#include "manifest/names.h"

#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "manifest/manifest.h"

#define USER_MAX       31U
#define PROTOCOL_MAX   64U
#define CAPABILITY_MAX 32U

static const char *const capability_names[] = {
	[CAP_CHOWN] = "cap_chown",
	[CAP_DAC_OVERRIDE] = "cap_dac_override",
	[CAP_DAC_READ_SEARCH] = "cap_dac_read_search",
	[CAP_FOWNER] = "cap_fowner",
	[CAP_FSETID] = "cap_fsetid",
	[CAP_KILL] = "cap_kill",
	[CAP_SETGID] = "cap_setgid",
	[CAP_SETUID] = "cap_setuid",
	[CAP_SETPCAP] = "cap_setpcap",
	[CAP_LINUX_IMMUTABLE] = "cap_linux_immutable",
	[CAP_NET_BIND_SERVICE] = "cap_net_bind_service",
	[CAP_NET_BROADCAST] = "cap_net_broadcast",
	[CAP_NET_ADMIN] = "cap_net_admin",
	[CAP_NET_RAW] = "cap_net_raw",
	[CAP_IPC_LOCK] = "cap_ipc_lock",
	[CAP_IPC_OWNER] = "cap_ipc_owner",
	[CAP_SYS_MODULE] = "cap_sys_module",
	[CAP_SYS_RAWIO] = "cap_sys_rawio",
	[CAP_SYS_CHROOT] = "cap_sys_chroot",
	[CAP_SYS_PTRACE] = "cap_sys_ptrace",
	[CAP_SYS_PACCT] = "cap_sys_pacct",
	[CAP_SYS_ADMIN] = "cap_sys_admin",
	[CAP_SYS_BOOT] = "cap_sys_boot",
	[CAP_SYS_NICE] = "cap_sys_nice",
	[CAP_SYS_RESOURCE] = "cap_sys_resource",
	[CAP_SYS_TIME] = "cap_sys_time",
	[CAP_SYS_TTY_CONFIG] = "cap_sys_tty_config",
	[CAP_MKNOD] = "cap_mknod",
	[CAP_LEASE] = "cap_lease",
	[CAP_AUDIT_WRITE] = "cap_audit_write",
	[CAP_AUDIT_CONTROL] = "cap_audit_control",
	[CAP_SETFCAP] = "cap_setfcap",
	[CAP_MAC_OVERRIDE] = "cap_mac_override",
	[CAP_MAC_ADMIN] = "cap_mac_admin",
	[CAP_SYSLOG] = "cap_syslog",
	[CAP_WAKE_ALARM] = "cap_wake_alarm",
	[CAP_BLOCK_SUSPEND] = "cap_block_suspend",
	[CAP_AUDIT_READ] = "cap_audit_read",
	[CAP_PERFMON] = "cap_perfmon",
	[CAP_BPF] = "cap_bpf",
	[CAP_CHECKPOINT_RESTORE] = "cap_checkpoint_restore",
};

static_assert(ARRAY_SIZE(capability_names) <= 64, "a capability mask has 64 bits");

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter_or_digit(char c)
{
	return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z');
}

static bool is_words(const char *name, size_t length)
{
	if (length == 0 || !is_lower(name[0]))
		return false;
	for (size_t i = 0; i < length; i++) {
		if (name[i] == '-' && (i + 1 == length || name[i + 1] == '-'))
			return false;
		if (name[i] != '-' && !is_lower(name[i]) && !is_digit(name[i]))
			return false;
	}
	return true;
}

/* Words of lower-case letters and digits joined by single '-', the first byte a letter. */
static bool has_words_only(const char *name, size_t max)
{
	size_t length = strnlen(name, max + 1);

	return length <= max && is_words(name, length);
}

bool name_is_user(const char *name)
{
	size_t length = strnlen(name, USER_MAX + 1);

	if (length == 0 || length > USER_MAX || !(is_lower(name[0]) || name[0] == '_'))
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!is_lower(name[i]) && !is_digit(name[i]) && name[i] != '_' && name[i] != '-')
			return false;
	}
	return true;
}

bool name_is_entry(const char *name)
{
	if (!path_is_safe_name(name) || !is_letter_or_digit(name[0]))
		return false;
	for (const char *p = name; *p; p++) {
		if (!is_letter_or_digit(*p) && !strchr("._+-", *p))
			return false;
	}
	return true;
}

bool name_is_protocol(const char *name)
{
	const char *slash = strchr(name, '/');
	size_t digits;

	if (!slash || strnlen(name, PROTOCOL_MAX + 1) > PROTOCOL_MAX ||
	    !is_words(name, (size_t)(slash - name)))
		return false;
	digits = strspn(slash + 1, "0123456789");
	return digits >= 1 && digits <= 4 && slash[1] != '0' && slash[1 + digits] == '\0';
}

bool name_is_slice(const char *name)
{
	static const char *const others[] = {"machine", "user"};
	size_t length = strlen(name);
	size_t first = strcspn(name, "-.");

	if (!name_is_entry(name) || !str_ends_with(name, ".slice") || strchr(name, '+') ||
	    strstr(name, "--") || length <= strlen(".slice") ||
	    name[length - strlen(".slice") - 1] == '-')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (strlen(others[i]) == first && memcmp(name, others[i], first) == 0)
			return false;
	}
	return true;
}

static bool is_one_of(const char *name, const char *const *words)
{
	for (; *words; words++) {
		if (strcmp(*words, name) == 0)
			return true;
	}
	return false;
}

/* Whether units of *id* would bear the names of our own (`affix-updater-recover.service`). */
static bool is_program(const char *id)
{
	static const char *const programs[] = {"admin",   "agent", "control", "guestd",
					       "updater", "vm",    NULL};

	for (size_t i = 0; programs[i]; i++) {
		size_t length = strlen(programs[i]);

		if (strncmp(id, programs[i], length) == 0 &&
		    (id[length] == '\0' || id[length] == '-'))
			return true;
	}
	return false;
}

bool manifest_id_is_valid(const char *id)
{
	/* What we call things below /etc/affix, /var/lib/affix, /run/affix and /opt/affix; and our
	 * own entry among the configurations that the fleet sends, `affix`. */
	static const char *const reserved[] = {
		"addons",   "affix",    "cache", "current",  "fleet", "host",     "images", "local",
		"registry", "releases", "store", "versions", "trust", "settings", "vms",    NULL};

	return has_words_only(id, MANIFEST_ID_MAX) && !is_program(id) && !is_one_of(id, reserved);
}

bool manifest_id_is_own(const char *id)
{
	static const char *const own[] = {"affix", "vm", NULL};

	return is_one_of(id, own);
}

bool manifest_id_is_recorded(const char *id)
{
	return manifest_id_is_valid(id) || manifest_id_is_own(id);
}

bool manifest_platform_is_known(const char *os, const char *arch)
{
	static const char *const archs[] = {"amd64", "arm64", NULL};

	return strcmp(os, "linux") == 0 && is_one_of(arch, archs);
}

const char *manifest_native_arch(void)
{
#if defined(__x86_64__)
	return "amd64";
#elif defined(__aarch64__)
	return "arm64";
#else
#error "affix is for x86-64 and arm64"
#endif
}

int manifest_capability_from_string(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(capability_names); i++) {
		if (strcmp(capability_names[i], name) == 0)
			return (int)i;
	}
	return -EINVAL;
}

const char *manifest_capability_to_string(int bit)
{
	return bit >= 0 && (size_t)bit < ARRAY_SIZE(capability_names) ? capability_names[bit]
								      : NULL;
}

uint64_t manifest_capability_mask(const struct strv *names)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < names->count; i++) {
		int bit = manifest_capability_from_string(names->items[i]);

		if (bit >= 0)
			mask |= UINT64_C(1) << bit;
	}
	return mask;
}

int name_normalize_capability(const char *name, char **ret)
{
	char lower[CAPABILITY_MAX + 1] = "cap_";
	size_t at = strncasecmp(name, "cap_", 4) == 0 ? 0 : 4;
	size_t length = strnlen(name, CAPABILITY_MAX);
	char *copy;

	if (at + length > CAPABILITY_MAX)
		return 1;
	for (size_t i = 0; i < length; i++)
		lower[at + i] =
			(char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a' : name[i]);
	lower[at + length] = '\0';
	if (manifest_capability_from_string(lower) < 0)
		return 1;
	copy = strdup(lower);
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}
