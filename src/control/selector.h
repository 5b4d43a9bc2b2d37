/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

/*
 * Which hosts an assignment is for: terms joined by commas, all of which must hold. `key=value`,
 * `key!=value` (also where the host has no such label), `key in (a,b)`, `key notin (a,b)`, `key`
 * (the host has it), `!key`. No term: every host. Blanks around terms and signs do not count. Keys
 * are those of the hosts' labels; `os`, `arch`, `host` (its name) and `agent` (its version) are
 * always there and are no labels.
 */
#define SELECTOR_SIZE_MAX   1024U
#define SELECTOR_TERMS_MAX  32U
#define SELECTOR_VALUES_MAX 32U
#define SELECTOR_NAME_MAX   63U /* keys and values */

enum selector_sign {
	SELECTOR_IN,
	SELECTOR_NOT_IN,
	SELECTOR_PRESENT,
	SELECTOR_ABSENT,
};

struct selector_term {
	char *key;
	enum selector_sign sign;
	char **values; /* none for present and absent */
	size_t n_values;
};

struct selector {
	struct selector_term *terms;
	size_t n_terms;
};

/* A label of a host. */
struct selector_label {
	const char *key;
	const char *value;
};

/* 0; 1 with a sentence that says the place in *reterr* (SELECTOR_PROBLEM_MAX bytes); -ENOMEM. */
#define SELECTOR_PROBLEM_MAX 256U
must_check int selector_parse(const char *text, struct selector **ret, char *reterr);
struct selector *selector_free(struct selector *selector);

DEFINE_CLEANUP(struct selector *, selector, selector_free)
#define cleanup_selector CLEANUP(cleanup_selector)

bool selector_matches(const struct selector *selector, const struct selector_label *labels,
		      size_t n);

/* The one way to write it: terms in their order, no blanks but in `key in (a,b)`. NULL: no memory.
 */
char *selector_to_string(const struct selector *selector);

/* `[A-Za-z0-9]` with `._-/` between, at most SELECTOR_NAME_MAX bytes. A label's value may be empty.
 */
bool selector_key_is_valid(const char *key);
bool selector_value_is_valid(const char *value);
