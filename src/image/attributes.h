/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <linux/capability.h>
#include <stdbool.h>

#include "ext4/edit.h"
#include "plan/plan.h"
#include "plan/tree.h"
#include "store/store.h"

/*
 * What the copy of an excerpt cannot have, from the plans of its records: owners and file
 * capabilities.
 */
struct attributes_item {
	char *path;                       /* real, in image and copy */
	const char *id;                   /* of the add-on; borrowed */
	const struct plan_object *object; /* borrowed from a record */
	bool is_current;                  /* of the plan that is installed */
};

struct attributes {
	struct tree tree; /* the copy, its owners by their real numbers */
	char *root;       /* its path, symlinks resolved */
	struct record **records;
	size_t n_records;
	struct attributes_item *items;
	size_t count;
	size_t allocated;
};

#define ATTRIBUTES_INIT               \
	(struct attributes)           \
	{                             \
		.tree.rootfd = -EBADF \
	}

/* Reads the records of the copy at *path*; those that cannot be used are left out. 0 or -errno. */
must_check int attributes_load(const char *path, struct attributes *ret);
void attributes_done(struct attributes *attributes);
#define cleanup_attributes CLEANUP(attributes_done)

/* The last thing that was said of a path: what is installed, or what is kept for a rollback. */
const struct attributes_item *attributes_find(const struct attributes *attributes,
					      const char *path);

/* Owner, mode and capability that *object* is to have; *xattr* holds the last. 0 or -errno (-ESRCH:
 * its owner is not known in the image). */
must_check int attributes_of(const struct attributes *attributes, const struct plan_object *object,
			     struct vfs_cap_data *xattr, struct edit_attributes *ret);

/* Whether the object *st* of the image differs from that, and in what: "owner", "mode",
 * "capabilities"; NULL: in nothing. 0 or -errno. */
must_check int attributes_compare(struct edit *edit, const struct edit_stat *st,
				  const struct edit_attributes *wanted, const char **ret);
