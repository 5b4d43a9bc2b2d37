/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Staging. The bundle's bytes were spooled into unnamed files of the same file system while they
 * were verified; here they get attributes, are synced, and get names. A crash before the last
 * rename leaves a directory under a temporary name, which the next prune removes.
 */

#include "plan/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "plan/apply_objects.h"
#include "plan/apply_version.h"
#include "plan/plan_paths.h"

int apply_open_spool(const struct tree *tree, int *ret_fd)
{
	static const char *const places[] = {PLAN_OPT_BASE, "/opt", "/"};
	int r = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		r = path_open_in_root(tree->rootfd, places[i], O_RDONLY | O_DIRECTORY, 0, ret_fd);
		/* What is wrong with one is the preflight's to say. */
		if (!path_leads_nowhere(r))
			return r;
	}
	return r;
}

/* Gives an unnamed file a name. The way through /proc needs no capability; where it is not mounted,
 * there is the other. */
static int link_unnamed(int fd, int dirfd, const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, dirfd, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	return linkat(fd, "", dirfd, name, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int stage_entries(const struct tree *tree, int dirfd, const struct plan *plan,
			 const struct bundle *bundle)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < bundle->n_entries; i++) {
		const struct bundle_entry *entry = &bundle->entries[i];
		const struct plan_object *object = plan_find_entry(plan, entry->name);

		if (!object || entry->fd < 0)
			return -EINVAL;
		r = version_set_attributes(tree, entry->fd, object);
		if (r == 0)
			r = link_unnamed(entry->fd, dirfd, entry->name);
	}
	return r;
}

static int stage_directory(const struct tree *tree, int versions, const char *parked,
			   const struct plan *plan, const struct bundle *bundle)
{
	char temporary[VERSION_PARKED_SIZE + sizeof(FILE_TEMPORARY_SUFFIX)];
	cleanup_fd int dirfd = -EBADF;
	int r;

	(void)snprintf(temporary, sizeof(temporary), "%s" FILE_TEMPORARY_SUFFIX, parked);
	r = tree_remove(versions, temporary);
	if (r < 0)
		return r;
	if (mkdirat(versions, temporary, 0755) < 0)
		return -errno;
	r = path_open_beneath(versions, temporary, O_RDONLY | O_DIRECTORY, 0, &dirfd);
	if (r < 0)
		return r;
	if (fchmod(dirfd, 0755) < 0)
		return -errno;
	r = stage_entries(tree, dirfd, plan, bundle);
	if (r < 0)
		return r;
	return renameat(versions, temporary, versions, parked) < 0 ? -errno : 0;
}

/* The directories above the version's own. */
static int make_version_parents(const struct tree *tree, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];
		int r;

		if (object->type != PLAN_DIRECTORY || !path_is_below(object->path, "/opt") ||
		    !object->shared)
			continue;
		r = apply_make_directory(tree, object);
		if (r < 0)
			return r;
	}
	return 0;
}

int apply_stage(const struct tree *tree, const struct plan *plan, const struct bundle *bundle)
{
	char parked[VERSION_PARKED_SIZE];
	cleanup_fd int versions = -EBADF;
	bool staged = false;
	int r;

	r = make_version_parents(tree, plan);
	if (r == 0)
		r = version_open_directory(tree, plan->identity.id, &versions);
	if (r < 0)
		return r;
	version_parked_name(plan, parked);
	r = version_matches(versions, parked, plan, &staged);
	if (r < 0 || staged)
		return r;
	r = tree_remove(versions, parked);
	return r < 0 ? r : stage_directory(tree, versions, parked, plan, bundle);
}
