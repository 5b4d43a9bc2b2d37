/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"

/*
 * A directory to work in, locked while somebody does: one that nobody has locked was left by a
 * process that died, and goes with the next that is made.
 */

/* Where such directories are made: $TMPDIR or /tmp. */
const char *workspace_base(void);

/* Makes it, called affix-image-UID-*suffix*, in the directory *base*, in place of what was left
 * there under that name. Nobody else may use the suffix meanwhile. 0 or -errno. */
must_check int workspace_make(const char *base, const char *suffix, char **ret_path, int *ret_fd);
/* Removes it, and closes *fd*. */
void workspace_remove(const char *path, int fd);
