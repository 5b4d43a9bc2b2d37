/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "unit/unit_check.h"

/* A directive that is refused for a reason worth telling. */
struct unit_refused {
	const char *key;
	enum refusal_code code;
	const char *reason; /* the end of a sentence that begins with the directive */
};

/* Whether units of the type may have `[section]`. */
bool unit_section_is_known(bool is_timer, const char *section);

/* The rule of a directive in a known section, or NULL. */
const struct unit_rule *unit_rule_find(const char *section, const char *key);

/* Why an unknown directive is refused, or NULL where there is no more to say. */
const struct unit_refused *unit_refused_find(const char *key);
