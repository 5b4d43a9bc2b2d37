/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/*
 * The text of passwd(5), group(5), shadow(5) and gshadow(5): lines of fields between colons, the
 * name first; in passwd and group the third is the id. Comments, blank and malformed lines and NIS
 * entries (`+`, `-`) name nobody.
 */

/* The id of *name* in a passwd or group text; false where it has none. */
bool accounts_find_id(const char *text, const char *name, uint32_t *ret);

/* The numbers of an entry of a passwd or group text, by their place behind the name. */
enum accounts_field {
	ACCOUNTS_ID = 1,    /* of the user, or of the group */
	ACCOUNTS_GROUP = 2, /* passwd: of the user's group */
};

/* The same for any of its numbers. */
bool accounts_find_number(const char *text, const char *name, enum accounts_field field,
			  uint32_t *ret);

/*
 * An entry that is not *name*'s and has *number* there: its name, cut to fit. Also a second entry
 * of the same name is *name*'s. False where there is none.
 */
bool accounts_find_other(const char *text, const char *name, enum accounts_field field,
			 uint32_t number, char *ret_name, size_t size);

/* Whether an entry of a passwd or group text has *id*. */
bool accounts_has_id(const char *text, uint32_t id);

/* Whether any of the four texts has an entry *name*. */
bool accounts_has_name(const char *text, const char *name);

/*
 * *text* with *line* (without newline) as its last entry, before the NIS entries, which must stay
 * at the end; a missing last newline is made good. The caller frees it. 0 or -ENOMEM.
 */
must_check int accounts_add(const char *text, const char *line, char **ret);
