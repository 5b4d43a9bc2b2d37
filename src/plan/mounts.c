/* SPDX-License-Identifier: Apache-2.0 */

/* Mounts on what is an add-on's own: files, and its version's directory. Other directories may be
 * mount points: they are made and removed, never replaced, and one that is busy stays. */

#include "plan/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

static bool is_replaced(const struct plan_object *object, const char *version_path)
{
	if (object->type == PLAN_DIRECTORY)
		return strcmp(object->path, version_path) == 0;
	/* Entries come and go with their directory. */
	return !object->entry && !object->seed;
}

static int is_mount(const struct tree *tree, const char *path, bool *ret)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	struct statx stx;
	int r = tree_open_parent(tree, path, &parent, &name);

	*ret = false;
	if (r < 0)
		return path_leads_nowhere(r) ? 0 : r;
	if (statx(parent, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &stx) < 0)
		return errno == ENOENT ? 0 : -errno;
	*ret = (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
	return 0;
}

int mounts_find(const struct tree *tree, const struct plan *plan, char **ret)
{
	cleanup_free char *version_path = plan ? plan_version_path(plan) : NULL;

	if (plan && !version_path)
		return -ENOMEM;
	for (size_t i = 0; plan && i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];
		bool is_there = false;
		int r = is_replaced(object, version_path) ? is_mount(tree, object->path, &is_there)
							  : 0;

		if (r == 0 && is_there)
			return str_format(ret, "%s", object->path);
		if (r < 0)
			return r;
	}
	*ret = NULL;
	return 0;
}
