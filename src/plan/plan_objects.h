/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "plan/plan.h"

/*
 * Adds objects to a plan that is being made; owner and group are root. Strings are copied. 0 or
 * -ENOMEM.
 */
must_check int plan_add_directory(struct plan *plan, const char *path, bool shared);
must_check int plan_add_text(struct plan *plan, const char *path, mode_t mode, const char *content);
must_check int plan_add_link(struct plan *plan, const char *path, const char *target);
/* A file of the bundle. The binary of a plan with file capabilities gets 0750, the user's group and
 * the xattr. */
must_check int plan_add_entry(struct plan *plan, const char *path,
			      const struct bundle_entry *entry);
