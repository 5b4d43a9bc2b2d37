/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "bundle/bundle.h"

/*
 * Whether a bundle that was read agrees with itself and with *identity* (NULL: fills
 * bundle->identity from manifest and program instead): what the manifest names is there, the
 * program (*head* are its first bytes) is for the platform, the schema compiles. 0; refused with
 * REFUSAL_IDENTITY_MISMATCH, REFUSAL_MISSING_ENTRY, REFUSAL_WRONG_ELF or REFUSAL_BAD_SCHEMA;
 * -errno.
 */
must_check int agree_check(struct bundle *bundle, const struct identity *identity,
			   const uint8_t *head, size_t head_size, struct refusal *reterr_refusal);
