/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/str.h"
#include "plan/plan.h"
#include "plan/tree.h"

/*
 * Single objects of a plan in a tree, and what was changed on the way: the parents to sync. Entries
 * of the bundle are apply_version.h's.
 */

/* Makes the directory if it is missing (0755, root) and syncs its parent then. 0; -ENOTDIR; -errno.
 */
must_check int apply_make_directory(const struct tree *tree, const struct plan_object *object);

/* Makes a file with inline content, or a link, what it should be; its parent goes to *changed* if
 * anything was written. */
must_check int apply_make_object(const struct tree *tree, const struct plan_object *object,
				 struct strv *changed);

/* Removes a file or link; its parent goes to *changed* if it was there. An absent parent is no
 * error. */
must_check int apply_remove_object(const struct tree *tree, const struct plan_object *object,
				   struct strv *changed);

/* Removes a directory if it is there and empty. */
must_check int apply_remove_directory(const struct tree *tree, const char *path);

/* Removes what an interrupted write of *object* left under its temporary name. */
must_check int apply_remove_temporary(const struct tree *tree, const struct plan_object *object,
				      struct strv *changed);

/* Syncs every directory of *changed* that still exists. */
must_check int apply_sync(const struct tree *tree, const struct strv *changed);
