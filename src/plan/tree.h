/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "plan/plan.h"

/*
 * A file-system tree that plans are applied to: the live root or a directory. Base directories
 * (/opt, /etc) may be symlinks inside the tree (RESOLVE_IN_ROOT); everything below /opt/affix and
 * every unit directory is opened without symlinks.
 */
struct tree {
	int rootfd;
	bool is_live; /* "/" of the running system: users come from NSS, else from the tree's own
			 passwd and group */
	bool is_copy; /* of parts of an image, the caller's own: everything belongs to the caller,
			 nothing has file capabilities, nothing has to last */
};

/* Opens *path* ("/" or the argument of --root). 0 or -errno. */
must_check int tree_open(const char *path, bool is_live, struct tree *ret);
void tree_done(struct tree *tree);

/* What sentences call it: "host", "tree", "image". */
const char *tree_noun(const struct tree *tree);

/* Opens the directory that is to hold *path*, making missing directories of a plan is not its
 * business. -ENOENT if absent. */
must_check int tree_open_parent(const struct tree *tree, const char *path, int *ret_fd,
				const char **ret_name);

/* uid and gid by name in the tree; -ESRCH where there is none. "root" is always 0. */
must_check int tree_user(const struct tree *tree, const char *name, uid_t *ret);
must_check int tree_group(const struct tree *tree, const char *name, gid_t *ret);

/*
 * Whether the accounts of the tree that have *name*, if there are any, have it alone: neither the
 * user's number nor its group's may be another's, or the group's another user's. 0, also where
 * there is no such account yet; refused with REFUSAL_SHARED_USER; -errno.
 */
must_check int tree_check_user(const struct tree *tree, const char *name,
			       struct refusal *reterr_refusal);

/*
 * Adds the system user and group *name* to the passwd, group, shadow and gshadow files of a tree
 * that is not running, as systemd-sysusers would (free ids from 999 down, no login); nothing if
 * they exist. What is prepared stands beside those files; in between, the caller syncs the tree,
 * which it does anyway: then each file is replaced by a rename, group first, and is old or new
 * after a power cut. The lock of the accounts is held until the end; what was not published is
 * removed then.
 */
struct user_addition;

must_check int user_addition_prepare(const struct tree *tree, const char *name, const char *gecos,
				     const char *home, struct user_addition **ret);
must_check int user_addition_publish(struct user_addition *addition);
struct user_addition *user_addition_free(struct user_addition *addition);

DEFINE_CLEANUP(struct user_addition *, user_addition, user_addition_free)
#define cleanup_user_addition CLEANUP(cleanup_user_addition)

/* Removes what a killed addition left beside these files; at a boot tmpfiles.d/affix.conf does. */
must_check int tree_forget_user(const struct tree *tree);
