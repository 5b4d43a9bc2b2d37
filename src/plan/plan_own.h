/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "bundle/bundle.h"
#include "plan/plan.h"

/*
 * Plans of affix itself, for trees that do not run: its own programs, and what the guest of a
 * virtual machine wants (manifest_id_is_own()). They are like those of add-ons, so that the same
 * appliers, records, drift and removal go for them: programs are entries of a bundle that nobody
 * packed, stand in /opt/affix/<id>/versions/<version>, and are reached by links. What differs is
 * that they have no units that an updater watches, and stand in more places.
 */

/* The user of affix's own programs, as sysusers.d/affix.conf has it. */
#define PLAN_OWN_USER      "affix"
#define PLAN_OWN_USER_NAME "affix agent"
#define PLAN_OWN_USER_HOME "/var/lib/affix/agent"

/*
 * Begins one: identity and digest are *bundle*'s, whose entries it has, all programs. *user* is
 * made with it, unless it is root. 0 or -ENOMEM.
 */
must_check int plan_begin_own(const struct bundle *bundle, const char *user, struct plan **ret);

/* A text or link of the machine's own: made where there is nothing of that name. */
must_check int plan_add_text_seed(struct plan *plan, const char *path, const char *content);
must_check int plan_add_link_seed(struct plan *plan, const char *path, const char *target);

/* A shared directory with another mode than 0755, or another owner than root. */
must_check int plan_add_directory_of(struct plan *plan, const char *path, mode_t mode,
				     const char *owner, const char *group);

/* The directories that *path* is in, missing or not. */
must_check int plan_add_parents(struct plan *plan, const char *path);

/* Whether the plan is one that may be read back out of a record. 0; -EINVAL; -ENOMEM. */
must_check int plan_check_own(const struct plan *plan);
