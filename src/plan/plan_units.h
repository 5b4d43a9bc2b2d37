/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "plan/plan.h"

/* Whether the host of *policy* takes the units of the bundle. 0; refused; -errno. */
must_check int plan_check_units(const struct bundle *bundle, const struct host_policy *policy,
				struct refusal *reterr_refusal);

/*
 * Adds the units of the bundle to *plan*, whose limits are set: checked against the policy, their
 * files, drop-ins and enablement links as objects. 0; refused; -errno.
 */
must_check int plan_add_units(struct plan *plan, const struct bundle *bundle,
			      const struct host_policy *policy, struct refusal *reterr_refusal);
