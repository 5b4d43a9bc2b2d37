/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "plan/plan.h"

/*
 * Adds the units of the bundle to *plan*: checked against the policy, their files, drop-ins and
 * enablement links as objects. 0; refused; -errno.
 */
must_check int plan_add_units(struct plan *plan, const struct bundle *bundle,
			      const struct host_policy *policy,
			      const struct manifest_limits *limits, struct refusal *reterr_refusal);
