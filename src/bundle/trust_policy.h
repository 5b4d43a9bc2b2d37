/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "bundle/trust.h"

/*
 * A NAME.policy.yaml: a mapping with the keys `ids`, `capabilities` and `supervision`, each a list
 * of known words and each optional. Only `capabilities` may be empty (then none is allowed): an
 * empty list of the others would have to mean nothing or everything. Fills the lists of *key*. 0;
 * refused with REFUSAL_BAD_TRUST, and the place as FILE:LINE:COLUMN; -errno. On failure the lists
 * may be filled in part.
 */
must_check int trust_policy_parse(const char *text, size_t size, const char *file,
				  struct trust_key *key, struct refusal *reterr_refusal);
