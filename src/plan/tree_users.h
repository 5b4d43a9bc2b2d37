/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "plan/tree.h"

/* The text of the accounts file *path* of the tree, "" where there is none. The caller frees it. 0
 * or -errno. */
must_check int tree_read_accounts(const struct tree *tree, const char *path, char **ret);

/* tree_user() and tree_group() without regard to whom a copy belongs. */
must_check int tree_own_user(const struct tree *tree, const char *name, uid_t *ret);
must_check int tree_own_group(const struct tree *tree, const char *name, gid_t *ret);
