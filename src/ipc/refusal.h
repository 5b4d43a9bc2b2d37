/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/*
 * A refusal: something that was asked for is not done, and nothing was changed. It has a name that
 * programs rely on (affix-updater(8) lists them) and a sentence for people. Functions that can
 * refuse return 0 for success, <0
 * (-errno) when something broke, and >0, the code, when they refused and *reterr_refusal* was set.
 */
enum refusal_code {
	REFUSAL_NONE = 0,
	/* request */
	REFUSAL_BAD_REQUEST,
	REFUSAL_UNKNOWN_VERB,
	REFUSAL_FORBIDDEN,
	REFUSAL_BAD_DESCRIPTOR,
	REFUSAL_TIMEOUT,
	REFUSAL_BUSY,
	REFUSAL_PROTECTED,
	REFUSAL_HELD,
	/* signature and trust */
	REFUSAL_NO_TRUSTED_KEY,
	REFUSAL_MALFORMED_SIGNATURE,
	REFUSAL_UNTRUSTED_KEY,
	REFUSAL_BAD_SIGNATURE,
	REFUSAL_BAD_COMMENT,
	REFUSAL_EXPIRED,
	REFUSAL_NOT_YET_VALID,
	REFUSAL_KEY_POLICY,
	REFUSAL_KEY_BINDING,
	REFUSAL_BAD_TRUST,
	/* bundle */
	REFUSAL_IDENTITY_MISMATCH,
	REFUSAL_WRONG_PLATFORM,
	REFUSAL_MALFORMED_BUNDLE,
	REFUSAL_TRAILING_DATA,
	REFUSAL_TOO_MANY_ENTRIES,
	REFUSAL_ENTRY_TOO_LARGE,
	REFUSAL_BUNDLE_TOO_LARGE,
	REFUSAL_BAD_ENTRY_NAME,
	REFUSAL_BAD_ENTRY_TYPE,
	REFUSAL_DUPLICATE_ENTRY,
	REFUSAL_MISSING_ENTRY,
	REFUSAL_WRONG_ELF,
	/* manifest, schema, configuration */
	REFUSAL_BAD_MANIFEST,
	REFUSAL_BAD_SCHEMA,
	REFUSAL_BAD_CONFIG,
	REFUSAL_BAD_LIMITS,
	REFUSAL_UNSUPPORTED,
	/* units */
	REFUSAL_BAD_UNIT,
	REFUSAL_UNIT_NAME,
	REFUSAL_UNIT_DIRECTIVE,
	REFUSAL_UNIT_USER,
	REFUSAL_UNIT_CAPABILITY,
	REFUSAL_UNIT_EXEC,
	REFUSAL_UNIT_PATH,
	REFUSAL_UNIT_FOREIGN,
	/* host policy and state */
	REFUSAL_BAD_HOST_POLICY,
	REFUSAL_CAPABILITY_NOT_ALLOWED,
	REFUSAL_USER_NOT_ALLOWED,
	REFUSAL_SHARED_USER,
	REFUSAL_DOWNGRADE,
	REFUSAL_SAME_VERSION,
	REFUSAL_QUARANTINED,
	REFUSAL_VERSION_BARRED,
	REFUSAL_FOREIGN_FILE,
	REFUSAL_NO_SPACE,
	REFUSAL_NO_INODES,
	REFUSAL_UNSUPPORTED_FILESYSTEM,
	REFUSAL_NOT_INSTALLED,
	REFUSAL_NO_PREVIOUS,
	REFUSAL_ROLLBACK_IMPOSSIBLE,
	REFUSAL_NEEDS_BUNDLE,
	REFUSAL_BAD_RECORD,
	REFUSAL_NO_MANAGER,
	REFUSAL_N,
};

#define REFUSAL_TEXT_MAX 1024U

struct refusal {
	enum refusal_code code;
	char text[REFUSAL_TEXT_MAX];
};

#define REFUSAL_INIT     \
	(struct refusal) \
	{                \
	}

/* Sets *refusal* (may be NULL). The sentence names the thing, what was expected, what to do. */
void refusal_set(struct refusal *refusal, enum refusal_code code, const char *format, ...)
	format_check(3, 4);

/* The same, and its value is *code*. A macro, because whoever judges a function without reading
 * others, compilers and analysers too, must know that a refusal is not 0. */
#define refuse(refusal, code, ...)                                 \
	({                                                         \
		const enum refusal_code refused_code = (code);     \
		refusal_set((refusal), refused_code, __VA_ARGS__); \
		(int)refused_code;                                 \
	})

/* "bad-signature" and back; NULL and REFUSAL_NONE where there is none. */
const char *refusal_to_string(enum refusal_code code);
enum refusal_code refusal_from_string(const char *name);

/* Whether the same request may succeed later with nothing changed by anybody but time (exit code
 * 4). */
bool refusal_is_transient(enum refusal_code code);
