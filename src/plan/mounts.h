/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "plan/plan.h"
#include "plan/tree.h"

/*
 * The first path of *plan* that is a mount point although a switch would replace or remove it,
 * which the kernel refuses with EBUSY; for the caller to free, NULL where there is none. *plan* may
 * be NULL. 0 or -errno.
 */
must_check int mounts_find(const struct tree *tree, const struct plan *plan, char **ret);

/* The same of its version's directory and what is in it alone: of a plan that is in history. */
must_check int mounts_find_version(const struct tree *tree, const struct plan *plan, char **ret);
