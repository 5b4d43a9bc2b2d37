/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/str.h"
#include "plan/plan.h"
#include "plan/tree.h"

/*
 * Single objects of a plan in a tree, and what was changed on the way: the parents to sync. Entries
 * of the bundle are apply_version.h's.
 */

/* Makes the directory if it is missing (0755, root). 0; -ENOTDIR; -errno. */
must_check int apply_make_directory(const struct tree *tree, const struct plan_object *object);

/*
 * A file with inline content, or a link: has what it should be under its temporary name, unless it
 * stands already. *ret_pending*: it is to be published; *ret_written* is set (never cleared) if
 * anything was written, so that a barrier is needed before.
 */
must_check int apply_prepare_object(const struct tree *tree, const struct plan_object *object,
				    bool *ret_pending, bool *ret_written);
must_check int apply_publish_object(const struct tree *tree, const struct plan_object *object);

/* The same, but what masks a unit by now stays, and what has come to a place that was free. 0;
 * -EEXIST; -errno. */
must_check int apply_publish_unmasked(const struct tree *tree, const struct plan_object *object);

/*
 * The same where somebody may have put something else in the object's place since it was committed:
 * a directory where a file or link is to be, or whatever is none where a directory is. That is
 * moved to `.NAME.affix-aside`, or to `.NAME.affix-aside-2` and so on, where it harms nobody. A
 * mask stays, and is no error.
 */
must_check int apply_restore_object(const struct tree *tree, const struct plan_object *object);
must_check int apply_restore_directory(const struct tree *tree, const struct plan_object *object);

/* Whether a mask stands in the place of a unit's file (masks.h). 0 or -errno. */
must_check int apply_is_masked(const struct tree *tree, const struct plan_object *object,
			       bool *ret);

/* Removes a file or link, but neither a mask nor a directory, which others put there; an absent
 * one, or an absent parent, is no error. */
must_check int apply_remove_object(const struct tree *tree, const struct plan_object *object);

/* Removes what apply_prepare_object() left under the temporary name. */
must_check int apply_forget_object(const struct tree *tree, const struct plan_object *object);

/* Removes a directory if it is there and empty. */
must_check int apply_remove_directory(const struct tree *tree, const char *path);
