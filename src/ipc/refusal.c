/* SPDX-License-Identifier: Apache-2.0 */

/* The names of refusals: the vocabulary that the updater, the agent and scripts share. */

#include "ipc/refusal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
	[REFUSAL_NONE] = "none",
	[REFUSAL_BAD_REQUEST] = "bad-request",
	[REFUSAL_UNKNOWN_VERB] = "unknown-verb",
	[REFUSAL_FORBIDDEN] = "forbidden",
	[REFUSAL_BAD_DESCRIPTOR] = "bad-descriptor",
	[REFUSAL_TIMEOUT] = "timeout",
	[REFUSAL_BUSY] = "busy",
	[REFUSAL_PROTECTED] = "protected",
	[REFUSAL_HELD] = "held",
	[REFUSAL_NO_TRUSTED_KEY] = "no-trusted-key",
	[REFUSAL_MALFORMED_SIGNATURE] = "malformed-signature",
	[REFUSAL_UNTRUSTED_KEY] = "untrusted-key",
	[REFUSAL_BAD_SIGNATURE] = "bad-signature",
	[REFUSAL_BAD_COMMENT] = "bad-comment",
	[REFUSAL_EXPIRED] = "expired",
	[REFUSAL_NOT_YET_VALID] = "not-yet-valid",
	[REFUSAL_KEY_POLICY] = "key-policy",
	[REFUSAL_KEY_BINDING] = "key-binding",
	[REFUSAL_BAD_TRUST] = "bad-trust",
	[REFUSAL_IDENTITY_MISMATCH] = "identity-mismatch",
	[REFUSAL_WRONG_PLATFORM] = "wrong-platform",
	[REFUSAL_MALFORMED_BUNDLE] = "malformed-bundle",
	[REFUSAL_TRAILING_DATA] = "trailing-data",
	[REFUSAL_TOO_MANY_ENTRIES] = "too-many-entries",
	[REFUSAL_ENTRY_TOO_LARGE] = "entry-too-large",
	[REFUSAL_BUNDLE_TOO_LARGE] = "bundle-too-large",
	[REFUSAL_BAD_ENTRY_NAME] = "bad-entry-name",
	[REFUSAL_BAD_ENTRY_TYPE] = "bad-entry-type",
	[REFUSAL_DUPLICATE_ENTRY] = "duplicate-entry",
	[REFUSAL_MISSING_ENTRY] = "missing-entry",
	[REFUSAL_WRONG_ELF] = "wrong-elf",
	[REFUSAL_BAD_MANIFEST] = "bad-manifest",
	[REFUSAL_BAD_SCHEMA] = "bad-schema",
	[REFUSAL_BAD_CONFIG] = "bad-config",
	[REFUSAL_BAD_LIMITS] = "bad-limits",
	[REFUSAL_UNSUPPORTED] = "unsupported",
	[REFUSAL_BAD_UNIT] = "bad-unit",
	[REFUSAL_UNIT_NAME] = "unit-name",
	[REFUSAL_UNIT_DIRECTIVE] = "unit-directive",
	[REFUSAL_UNIT_USER] = "unit-user",
	[REFUSAL_UNIT_CAPABILITY] = "unit-capability",
	[REFUSAL_UNIT_EXEC] = "unit-exec",
	[REFUSAL_UNIT_PATH] = "unit-path",
	[REFUSAL_UNIT_FOREIGN] = "unit-foreign",
	[REFUSAL_BAD_HOST_POLICY] = "bad-host-policy",
	[REFUSAL_CAPABILITY_NOT_ALLOWED] = "capability-not-allowed",
	[REFUSAL_USER_NOT_ALLOWED] = "user-not-allowed",
	[REFUSAL_SHARED_USER] = "shared-user",
	[REFUSAL_DOWNGRADE] = "downgrade",
	[REFUSAL_SAME_VERSION] = "same-version",
	[REFUSAL_QUARANTINED] = "quarantined",
	[REFUSAL_VERSION_BARRED] = "version-barred",
	[REFUSAL_FOREIGN_FILE] = "foreign-file",
	[REFUSAL_NO_SPACE] = "no-space",
	[REFUSAL_NO_INODES] = "no-inodes",
	[REFUSAL_UNSUPPORTED_FILESYSTEM] = "unsupported-filesystem",
	[REFUSAL_NOT_INSTALLED] = "not-installed",
	[REFUSAL_NO_PREVIOUS] = "no-previous",
	[REFUSAL_ROLLBACK_IMPOSSIBLE] = "rollback-impossible",
	[REFUSAL_NEEDS_BUNDLE] = "needs-bundle",
	[REFUSAL_BAD_RECORD] = "bad-record",
	[REFUSAL_NO_MANAGER] = "no-manager",
};

static_assert(ARRAY_SIZE(names) == REFUSAL_N, "every refusal has a name");

void refusal_set(struct refusal *refusal, enum refusal_code code, const char *format, ...)
{
	va_list arguments;

	assert(code > REFUSAL_NONE && code < REFUSAL_N);
	if (refusal) {
		refusal->code = code;
		va_start(arguments, format);
		(void)vsnprintf(refusal->text, sizeof(refusal->text), format, arguments);
		va_end(arguments);
	}
}

const char *refusal_to_string(enum refusal_code code)
{
	return code > REFUSAL_NONE && code < REFUSAL_N ? names[code] : NULL;
}

enum refusal_code refusal_from_string(const char *name)
{
	for (int i = REFUSAL_NONE + 1; i < REFUSAL_N; i++) {
		if (strcmp(names[i], name) == 0)
			return (enum refusal_code)i;
	}
	return REFUSAL_NONE;
}

bool refusal_is_transient(enum refusal_code code)
{
	return code == REFUSAL_BUSY || code == REFUSAL_TIMEOUT || code == REFUSAL_NO_MANAGER ||
	       code == REFUSAL_NOT_YET_VALID;
}
