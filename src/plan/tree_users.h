/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "plan/tree.h"

/* The text of the accounts file *path* of the tree, "" where there is none. The caller frees it. 0
 * or -errno. */
must_check int tree_read_accounts(const struct tree *tree, const char *path, char **ret);
