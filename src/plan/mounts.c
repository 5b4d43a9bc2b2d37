/* SPDX-License-Identifier: Apache-2.0 */

/* Mounts on what is an add-on's own: files, and its version's directory with what is in it. Other
 * directories may be mount points: they are made and removed, never replaced, and one that is busy
 * stays. */

#include "plan/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "plan/apply_version.h"
#include "plan/plan_paths.h"

static int is_mount(const struct tree *tree, const char *path, bool *ret)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	int r = tree_open_parent(tree, path, &parent, &name);

	*ret = false;
	if (r == 0)
		r = path_is_mount(parent, name, ret);
	return path_leads_nowhere(r) ? 0 : r;
}

/* The first mount point among the entries of a version's directory, the add-on's and others: NULL
 * if there is none. */
static int find_entry(const struct tree *tree, const struct plan *plan, char **ret)
{
	const char *version = plan->identity.version;
	const struct dirent *entry = NULL;
	cleanup_fd int versions = -EBADF;
	cleanup_dir DIR *dir = NULL;
	bool is_there = false;
	int fd = -EBADF;
	int r = version_open_directory(tree, plan->identity.id, &versions);

	*ret = NULL;
	if (r == 0)
		r = path_open_beneath(versions, version, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r == 0)
		r = dir_take(fd, &dir);
	while (r == 0 && !is_there) {
		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;
		r = path_is_mount(dirfd(dir), entry->d_name, &is_there);
		r = r == -ENOENT ? 0 : r;
	}
	if (r == 0 && is_there)
		return str_format(ret, PLAN_OPT_BASE "/%s/versions/%s/%s", plan->identity.id,
				  version, entry->d_name);
	return path_leads_nowhere(r) ? 0 : r;
}

int mounts_find_version(const struct tree *tree, const struct plan *plan, char **ret)
{
	cleanup_free char *path = plan_version_path(plan);
	bool is_there = false;
	int r = path ? is_mount(tree, path, &is_there) : -ENOMEM;

	if (r < 0)
		return r;
	if (!is_there)
		return find_entry(tree, plan, ret);
	*ret = TAKE_PTR(path);
	return 0;
}

int mounts_find(const struct tree *tree, const struct plan *plan, char **ret)
{
	for (size_t i = 0; plan && i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];
		bool is_there = false;
		int r = 0;

		/* Entries come and go with their directory. */
		if (object->type != PLAN_DIRECTORY && !object->entry && !object->seed)
			r = is_mount(tree, object->path, &is_there);
		if (r == 0 && is_there)
			return str_format(ret, "%s", object->path);
		if (r < 0)
			return r;
	}
	*ret = NULL;
	return plan ? mounts_find_version(tree, plan, ret) : 0;
}
