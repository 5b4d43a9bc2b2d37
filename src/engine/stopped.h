/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/operation.h"
#include "plan/diff.h"

/*
 * An add-on that is held and stopped: its units are down and its enablement links are gone, so that
 * not even a reboot starts it. Does nothing for others. 0 or -errno.
 */
must_check int stopped_keep(struct operation *operation);

/* Puts the links back, durably, before the record says that it is no longer stopped. 0 or -errno.
 */
must_check int stopped_enable(struct operation *operation);

/* Whether *object* is a link that a stopped add-on does without. */
bool stopped_is_without(const struct plan_object *object);

/* Whether the current plan of *record* differs in *item* because the add-on is stopped, and how
 * much damage is in *diff* besides. */
bool stopped_is_intended(const struct record *record, const struct diff_item *item);
size_t stopped_count_damage(const struct record *record, const struct diff *diff);
