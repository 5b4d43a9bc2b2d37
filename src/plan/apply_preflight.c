/* SPDX-License-Identifier: Apache-2.0 */

/* What would stand in the way of a switch, found before anything is changed. */

#include "plan/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "plan/apply_version.h"
#include "plan/masks.h"
#include "plan/mounts.h"
#include "plan/plan_paths.h"

/* Room that a transaction needs besides inline content: records, directories, links. */
#define SPARE_BYTES  (256UL * 1024)
#define SPARE_INODES 16U

static bool is_ours(const struct plan *old, const struct plan_object *object)
{
	return old && plan_find(old, object->path);
}

/* Where a directory belongs is a link: image-based systems have such, and make what they lead to at
 * boot. */
static int check_link(const struct tree *tree, const char *path, int parent, const char *name,
		      struct refusal *reterr_refusal)
{
	char target[PATH_MAX] = "";
	cleanup_fd int fd = -EBADF;
	int r = path_open_in_root(tree->rootfd, path, O_PATH | O_DIRECTORY, 0, &fd);

	if (!path_leads_nowhere(r))
		return r;
	if (readlinkat(parent, name, target, sizeof(target) - 1) < 0)
		return -errno;
	return refuse(
		reterr_refusal, REFUSAL_FOREIGN_FILE,
		"'%s' is a link to '%s', which leads to no directory; make that directory in the tree or image, then try again",
		path, target);
}

int apply_check_place(const struct tree *tree, const struct plan_object *object, bool is_ours,
		      struct refusal *reterr_refusal)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	struct stat st;
	int r;

	r = tree_open_parent(tree, object->path, &parent, &name);
	if (r == -ENOENT)
		return 0;
	if (r == -ELOOP || r == -ENOTDIR)
		return refuse(
			reterr_refusal, REFUSAL_FOREIGN_FILE,
			"the directory of '%s' is a link or a file, expected a directory; remove it",
			object->path);
	if (r < 0)
		return r;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (object->type == PLAN_DIRECTORY && object->shared) {
		if (S_ISLNK(st.st_mode))
			return check_link(tree, object->path, parent, name, reterr_refusal);
		if (S_ISDIR(st.st_mode))
			return 0;
	} else if (is_ours && !S_ISDIR(st.st_mode)) {
		return 0;
	}
	return refuse(
		reterr_refusal, REFUSAL_FOREIGN_FILE,
		"'%s' exists and was not made by affix; move it away or remove it, then try again",
		object->path);
}

/* Whoever masked a unit wants it off: neither this version nor the next one starts it. */
static int check_masks(const struct tree *tree, const struct plan *plan,
		       struct refusal *reterr_refusal)
{
	cleanup_strv struct strv masks = STRV_INIT;
	int r = plan ? masks_find(tree, plan, &masks) : 0;

	if (r < 0 || masks.count == 0)
		return r;
	/* What the link leaves missing is put back by what is tried again. */
	if (tree->is_copy)
		return refuse(
			reterr_refusal, REFUSAL_HELD,
			"'%s' masks a unit of the add-on, so it is to stay off; remove that link, then try again",
			masks.items[0]);
	return refuse(
		reterr_refusal, REFUSAL_HELD,
		"'%s' masks a unit of the add-on, so its administrator wants it off; remove that link and have the administrator run 'affix repair %s', then try again",
		masks.items[0], plan->identity.id);
}

/* A unit of the same name that the distribution ships would be shadowed. */
static int check_shadowing(const struct tree *tree, const struct plan *plan,
			   struct refusal *reterr_refusal)
{
	static const char *const places[] = {"/usr/lib/systemd/system", "/lib/systemd/system",
					     "/usr/local/lib/systemd/system"};

	for (size_t i = 0; i < plan->n_units * ARRAY_SIZE(places); i++) {
		const char *unit = plan->units[i / ARRAY_SIZE(places)].name;
		cleanup_fd int fd = -EBADF;
		char path[512];

		(void)snprintf(path, sizeof(path), "%s/%s", places[i % ARRAY_SIZE(places)], unit);
		if (path_open_in_root(tree->rootfd, path, O_PATH, 0, &fd) == 0)
			return refuse(
				reterr_refusal, REFUSAL_FOREIGN_FILE,
				"'%s' exists and would be shadowed by the add-on's unit; remove that package first",
				path);
	}
	return 0;
}

static int check_space(const struct tree *tree, const char *place, uint64_t bytes, uint64_t inodes,
		       struct refusal *reterr_refusal)
{
	cleanup_fd int fd = -EBADF;
	struct statvfs fs;
	int r;

	r = path_open_in_root(tree->rootfd, place, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r == -ENOENT)
		r = path_open_in_root(tree->rootfd, "/", O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r < 0)
		return r;
	if (fstatvfs(fd, &fs) < 0)
		return -errno;
	if ((uint64_t)fs.f_bavail * fs.f_frsize < bytes)
		return refuse(
			reterr_refusal, REFUSAL_NO_SPACE,
			"%llu bytes are needed below '%s' and %llu are free; free some space and try again",
			(unsigned long long)bytes, place,
			(unsigned long long)fs.f_bavail * fs.f_frsize);
	/* File systems that make inodes as they need them count none. */
	if (fs.f_files > 0 && fs.f_favail < inodes)
		return refuse(
			reterr_refusal, REFUSAL_NO_INODES,
			"%llu inodes are needed below '%s' and %llu are free; remove some files and try again",
			(unsigned long long)inodes, place, (unsigned long long)fs.f_favail);
	return 0;
}

/* A mount of its own may be read-only. One that is not there is made, or fails later. */
static int check_writable(const struct tree *tree, const char *place,
			  struct refusal *reterr_refusal)
{
	cleanup_fd int fd = -EBADF;
	struct statvfs fs;
	int r = path_open_in_root(tree->rootfd, place, O_RDONLY | O_DIRECTORY, 0, &fd);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (fstatvfs(fd, &fs) < 0)
		return -errno;
	if ((fs.f_flag & ST_RDONLY) == 0)
		return 0;
	return refuse(reterr_refusal, REFUSAL_UNSUPPORTED_FILESYSTEM,
		      "'%s' is on a file system that is mounted read-only; remount it writable",
		      place);
}

static int check_room(const struct tree *tree, const struct plan *plan,
		      struct refusal *reterr_refusal)
{
	/* Each may be a file system of its own. */
	static const char *const places[] = {"/etc", PLAN_UNIT_BASE, PLAN_CONFIG_BASE};
	uint64_t bytes = SPARE_BYTES;
	int r;

	for (size_t i = 0; i < plan->n_objects; i++) {
		if (plan->objects[i].content)
			bytes += plan->objects[i].size + 4096;
	}
	r = check_writable(tree, PLAN_UNIT_BASE, reterr_refusal);
	if (r == 0)
		r = check_writable(tree, "/opt", reterr_refusal);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++)
		r = check_space(tree, places[i], bytes, plan->n_objects + SPARE_INODES,
				reterr_refusal);
	if (r == 0)
		r = check_space(tree, "/opt", SPARE_BYTES, plan->n_objects + SPARE_INODES,
				reterr_refusal);
	if (r == 0)
		r = check_space(tree, PLAN_STATE_BASE, bytes * 2, SPARE_INODES, reterr_refusal);
	return r;
}

/* Whether the file system can exchange two names: tried on two directories that are gone again
 * after it. */
static int try_exchange(int versions, struct refusal *reterr_refusal)
{
	static const char a[] = ".a" FILE_TEMPORARY_SUFFIX;
	static const char b[] = ".b" FILE_TEMPORARY_SUFFIX;
	int r = 0;

	if (mkdirat(versions, a, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (mkdirat(versions, b, 0700) < 0 && errno != EEXIST)
		r = -errno;
	if (r == 0 && renameat2(versions, a, versions, b, RENAME_EXCHANGE) < 0)
		r = -errno;
	(void)unlinkat(versions, a, AT_REMOVEDIR);
	(void)unlinkat(versions, b, AT_REMOVEDIR);
	if (r == -EINVAL || r == -ENOSYS)
		return refuse(
			reterr_refusal, REFUSAL_UNSUPPORTED_FILESYSTEM,
			"the file system of '" PLAN_OPT_BASE
			"' cannot exchange two directories, which replacing a version by itself needs; use another version number or file system");
	return r;
}

static int check_exchange(const struct tree *tree, const struct plan *plan, const struct plan *old,
			  struct refusal *reterr_refusal)
{
	cleanup_fd int versions = -EBADF;
	struct stat st;
	int r;

	r = version_open_directory(tree, plan->identity.id, &versions);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (fstatat(versions, plan->identity.version, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (old && digest_is_equal(&old->bundle, &plan->bundle))
		return 0;
	return try_exchange(versions, reterr_refusal);
}

static int refuse_mount(const char *path, struct refusal *reterr_refusal)
{
	return refuse(reterr_refusal, REFUSAL_FOREIGN_FILE,
		      "'%s' is a mount point; unmount it, then try again", path);
}

int apply_check_mounts(const struct tree *tree, const struct plan *plan,
		       struct refusal *reterr_refusal)
{
	cleanup_free char *path = NULL;
	int r = mounts_find(tree, plan, &path);

	return r < 0 || !path ? r : refuse_mount(path, reterr_refusal);
}

int apply_check_old_mounts(const struct tree *tree, struct plan *const *plans, size_t n,
			   struct refusal *reterr_refusal)
{
	for (size_t i = 0; i < n; i++) {
		cleanup_free char *path = NULL;
		int r = plans[i] ? mounts_find_version(tree, plans[i], &path) : 0;

		if (r < 0 || path)
			return r < 0 ? r : refuse_mount(path, reterr_refusal);
	}
	return 0;
}

int apply_check_places(const struct tree *tree, const struct plan *plan, const struct plan *old,
		       struct refusal *reterr_refusal)
{
	cleanup_free char *version_path = plan_version_path(plan);
	int r = version_path ? apply_check_mounts(tree, plan, reterr_refusal) : -ENOMEM;

	if (r == 0 && old != plan)
		r = apply_check_mounts(tree, old, reterr_refusal);

	for (size_t i = 0; r == 0 && i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];

		/* What is below the versions directory is affix's own, from one transaction or
		 * another. */
		if (object->entry || object->seed ||
		    (old && strcmp(object->path, version_path) == 0))
			continue;
		r = apply_check_place(tree, object, is_ours(old, object), reterr_refusal);
	}
	return r;
}

int apply_preflight(const struct tree *tree, const struct plan *plan, const struct plan *old,
		    struct refusal *reterr_refusal)
{
	int r = apply_check_places(tree, plan, old, reterr_refusal);

	if (r == 0)
		r = check_masks(tree, old, reterr_refusal);
	if (r == 0)
		r = check_masks(tree, plan, reterr_refusal);
	if (r == 0)
		r = check_shadowing(tree, plan, reterr_refusal);
	if (r == 0)
		r = check_room(tree, plan, reterr_refusal);
	if (r == 0)
		r = check_exchange(tree, plan, old, reterr_refusal);
	return r;
}
