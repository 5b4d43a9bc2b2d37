/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "plan/plan.h"
#include "plan/tree.h"

/*
 * Units of *plan* that the administrator masked by hand: a link to /dev/null, as whatever path, in
 * place of the unit's file, or where systemd looks before. The paths of the links, in the order of
 * the units. 0 or -errno.
 */
must_check int masks_find(const struct tree *tree, const struct plan *plan, struct strv *ret);

/* Whether there is such a link at *path*. 0 or -errno. */
must_check int masks_has(const struct tree *tree, const char *path, bool *ret);
