/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "bundle/identity.h"
#include "plan/tree.h"

/* Whether a bundle of this os and arch can run in the tree: 0 or refused with
 * REFUSAL_WRONG_PLATFORM. */
must_check int platform_check(const struct tree *tree, const struct identity *identity,
			      struct refusal *reterr_refusal);
