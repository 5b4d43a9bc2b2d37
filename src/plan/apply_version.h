/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <linux/capability.h>
#include <stdbool.h>

#include "plan/plan.h"
#include "plan/tree.h"

/* The parked name of a plan's version directory: `.<version>~<16 hexadecimal digits>`. */
#define VERSION_PARKED_SIZE (VERSION_MAX + 24U)

void version_parked_name(const struct plan *plan, char name[VERSION_PARKED_SIZE]);

/* Opens `/opt/affix/<id>/versions`. 0; -ENOENT; -errno. */
must_check int version_open_directory(const struct tree *tree, const char *id, int *ret_fd);

/* Whether it is known that nothing of a version of *id* is there, in place or parked. */
bool version_is_new(const struct tree *tree, const char *id, const char *version);

/* Whether the directory *name* in *versions_fd* holds the plan's files, byte for byte, and nothing
 * else. An absent one does not. */
must_check int version_matches(int versions_fd, const char *name, const struct plan *plan,
			       bool *ret);

/* The v2 xattr for permitted and effective *mask*: what `setcap …=ep` writes. */
void version_make_capability(uint64_t mask, struct vfs_cap_data *ret);

/*
 * Owner, mode and file capabilities of an open file of the version directory as *object* says, in
 * this order; nothing is written that is right already. Sets the SELinux label where SELinux is on.
 * 0 or -errno (-ESRCH: the group is not known in the tree).
 */
must_check int version_set_attributes(const struct tree *tree, int fd,
				      const struct plan_object *object);

/* The same for every file under *plan*'s version name, and removes files there that the plan does
 * not have. */
must_check int version_fix(const struct tree *tree, int versions_fd, const struct plan *plan);

/*
 * Puts the bytes of *to* under their version's name. What stands there goes under *from*'s parked
 * name if it is *from*'s (NULL: nobody's). 0; -ENODATA if the bytes are nowhere; -errno.
 */
must_check int version_place(int versions_fd, const struct plan *to, const struct plan *from);

/*
 * The same on the way back to *to*, whose bytes may be damaged or gone since they were committed:
 * what is left of them, or nothing, is under their version's name then, and never *from*'s bytes. 0
 * or -errno.
 */
must_check int version_restore(int versions_fd, const struct plan *to, const struct plan *from);
