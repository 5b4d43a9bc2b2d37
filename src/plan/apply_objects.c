/* SPDX-License-Identifier: Apache-2.0 */

/* Single objects of the tree: each step looks first and writes only what differs, so that it can be
 * taken twice. */

#include "plan/apply_objects.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "plan/masks.h"
#include "plan/plan_paths.h"

/* A link of ours is never longer. */
#define LINK_MAX_SIZE 1024U
/* What was in the way goes under `.NAME` + this, or this and a number up to the maximum. */
#define ASIDE_SUFFIX ".affix-aside"
#define ASIDE_MAX    1000U

int apply_make_directory(const struct tree *tree, const struct plan_object *object)
{
	cleanup_fd int parent = -EBADF;
	cleanup_fd int fd = -EBADF;
	const char *name = NULL;
	int r;

	/* Base directories may be links inside the tree. */
	r = path_open_in_root(tree->rootfd, object->path, O_PATH | O_DIRECTORY, 0, &fd);
	if (r != -ENOENT)
		return r;
	r = tree_open_parent(tree, object->path, &parent, &name);
	if (r < 0)
		return r;
	if (mkdirat(parent, name, 0755) < 0)
		return -errno;
	r = path_open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r < 0)
		return r;
	if (!tree->is_copy && fchown(fd, 0, 0) < 0)
		return -errno;
	return fchmod(fd, object->mode) < 0 ? -errno : 0;
}

static int file_is_right(int parent, const char *name, const struct plan_object *object, uid_t uid,
			 gid_t gid, bool *ret)
{
	cleanup_fd int fd = -EBADF;
	struct digest digest;
	struct stat st;
	int r;

	*ret = false;
	r = path_open_beneath(parent, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
	if (r < 0)
		return r == -ENOENT || r == -ELOOP ? 0 : r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (st.st_mode & 07777) != object->mode || st.st_uid != uid ||
	    st.st_gid != gid || (uint64_t)st.st_size != object->size)
		return 0;
	r = digest_of_fd(fd, &digest, NULL);
	if (r == 0)
		*ret = digest_is_equal(&digest, &object->digest);
	/* What has a bad block is written anew. */
	return r == -EIO ? 0 : r;
}

static int prepare_file(const struct tree *tree, int parent, const char *name,
			const struct plan_object *object, bool *ret_pending, bool *ret_written)
{
	cleanup_free char *temporary = file_temporary_name(name);
	struct file_attributes attributes = {.mode = object->mode};
	bool right = false;
	int r;

	if (!temporary)
		return -ENAMETOOLONG;
	r = tree_user(tree, object->owner, &attributes.uid);
	if (r == 0)
		r = tree_group(tree, object->group, &attributes.gid);
	if (r == 0)
		r = file_is_right(parent, name, object, attributes.uid, attributes.gid, &right);
	if (r < 0 || right)
		return r;
	*ret_pending = true;
	r = file_is_right(parent, temporary, object, attributes.uid, attributes.gid, &right);
	if (r < 0 || right)
		return r;
	*ret_written = true;
	return file_prepare(parent, name, object->content, object->size, &attributes);
}

static int link_is_right(int parent, const char *name, const char *wanted, bool *ret)
{
	char target[LINK_MAX_SIZE];
	ssize_t n = readlinkat(parent, name, target, sizeof(target) - 1);

	*ret = false;
	if (n < 0)
		return errno == ENOENT || errno == EINVAL ? 0 : -errno;
	target[n] = '\0';
	*ret = strcmp(target, wanted) == 0;
	return 0;
}

static int prepare_link(int parent, const char *name, const struct plan_object *object,
			bool *ret_pending, bool *ret_written)
{
	cleanup_free char *temporary = file_temporary_name(name);
	bool right = false;
	int r;

	if (!temporary)
		return -ENAMETOOLONG;
	r = link_is_right(parent, name, object->target, &right);
	if (r < 0 || right)
		return r;
	*ret_pending = true;
	r = link_is_right(parent, temporary, object->target, &right);
	if (r < 0 || right)
		return r;
	*ret_written = true;
	return file_prepare_link(parent, name, object->target);
}

int apply_prepare_object(const struct tree *tree, const struct plan_object *object,
			 bool *ret_pending, bool *ret_written)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	struct stat st;
	int r;

	*ret_pending = false;
	r = tree_open_parent(tree, object->path, &parent, &name);
	if (r < 0)
		return r;
	if (object->seed && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return file_forget(parent, name);
	if (object->type == PLAN_LINK)
		r = prepare_link(parent, name, object, ret_pending, ret_written);
	else
		r = prepare_file(tree, parent, name, object, ret_pending, ret_written);
	/* What stands needs no successor: one that an interrupted attempt left goes. */
	return r < 0 || *ret_pending ? r : file_forget(parent, name);
}

int apply_publish_object(const struct tree *tree, const struct plan_object *object)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	int r = tree_open_parent(tree, object->path, &parent, &name);

	return r < 0 ? r : file_publish(parent, name);
}

static bool is_unit(const struct plan_object *object)
{
	return object->type == PLAN_FILE && path_is_below(object->path, PLAN_UNIT_BASE) &&
	       path_last_name(object->path) == object->path + sizeof(PLAN_UNIT_BASE);
}

/* What came out of a unit's place is beside it now, as *temporary*: 0, or what it is if that must
 * not go. */
static int check_replaced(const struct tree *tree, int parent, const char *temporary)
{
	cleanup_free char *path = NULL;
	bool is_masked = false;
	struct stat st;
	int r = str_format(&path, PLAN_UNIT_BASE "/%s", temporary);

	if (r == 0)
		r = masks_has(tree, path, &is_masked);
	if (r < 0 || is_masked)
		return r < 0 ? r : -EEXIST;
	if (fstatat(parent, temporary, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? -EISDIR : 0;
}

/* Whatever stands there is looked at when nobody can change it any more, and put back. */
static int exchange_unit(const struct tree *tree, int parent, const char *name)
{
	cleanup_free char *temporary = file_temporary_name(name);
	int r;

	if (!temporary)
		return -ENAMETOOLONG;
	if (renameat2(parent, temporary, parent, name, RENAME_EXCHANGE) < 0)
		return -errno;
	r = check_replaced(tree, parent, temporary);
	if (r == 0)
		return unlinkat(parent, temporary, 0) < 0 ? -errno : 0;
	if (renameat2(parent, temporary, parent, name, RENAME_EXCHANGE) < 0)
		return -errno;
	return r;
}

static int publish_unit(const struct tree *tree, int parent, const char *name)
{
	cleanup_free char *temporary = file_temporary_name(name);
	int r = temporary ? exchange_unit(tree, parent, name) : -ENAMETOOLONG;

	if (r == -ENOENT)
		r = renameat2(parent, temporary, parent, name, RENAME_NOREPLACE) < 0 ? -errno : 0;
	/* A file system that does not know such renames. */
	return r == -EINVAL || r == -ENOSYS ? file_publish(parent, name) : r;
}

int apply_publish_unmasked(const struct tree *tree, const struct plan_object *object)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	int r = tree_open_parent(tree, object->path, &parent, &name);

	if (r < 0)
		return r;
	return is_unit(object) ? publish_unit(tree, parent, name) : file_publish(parent, name);
}

/* Makes the place of *path* free, without a loss for whoever took it. */
static int move_aside(const struct tree *tree, const char *path)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	int r = tree_open_parent(tree, path, &parent, &name);

	if (r < 0)
		return r;
	for (unsigned i = 1; i <= ASIDE_MAX; i++) {
		cleanup_free char *aside = NULL;

		r = i == 1 ? str_format(&aside, ".%s" ASIDE_SUFFIX, name)
			   : str_format(&aside, ".%s" ASIDE_SUFFIX "-%u", name, i);
		if (r < 0)
			return r;
		if (renameat2(parent, name, parent, aside, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

int apply_restore_object(const struct tree *tree, const struct plan_object *object)
{
	bool is_masked = false;
	int r = apply_publish_unmasked(tree, object);

	if (r == -EEXIST) {
		r = apply_is_masked(tree, object, &is_masked);
		if (r < 0)
			return r;
		return is_masked ? apply_forget_object(tree, object)
				 : apply_publish_object(tree, object);
	}
	if (r != -EISDIR)
		return r;
	r = move_aside(tree, object->path);
	return r < 0 ? r : apply_publish_object(tree, object);
}

int apply_restore_directory(const struct tree *tree, const struct plan_object *object)
{
	int r = apply_make_directory(tree, object);

	if (r != -ENOTDIR && r != -ELOOP && r != -EEXIST)
		return r;
	r = move_aside(tree, object->path);
	return r < 0 ? r : apply_make_directory(tree, object);
}

int apply_is_masked(const struct tree *tree, const struct plan_object *object, bool *ret)
{
	*ret = false;
	return is_unit(object) ? masks_has(tree, object->path, ret) : 0;
}

int apply_remove_object(const struct tree *tree, const struct plan_object *object)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	bool is_masked = false;
	int r;

	/* It is the administrator's, and is to be found by whoever comes next. */
	r = apply_is_masked(tree, object, &is_masked);
	if (r < 0 || is_masked)
		return r;
	r = tree_open_parent(tree, object->path, &parent, &name);
	if (r < 0)
		return path_leads_nowhere(r) ? 0 : r;
	r = file_remove(parent, name, NULL);
	return r == -EISDIR ? 0 : r;
}

int apply_forget_object(const struct tree *tree, const struct plan_object *object)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	int r = tree_open_parent(tree, object->path, &parent, &name);

	if (r < 0)
		return path_leads_nowhere(r) ? 0 : r;
	return file_forget(parent, name);
}

int apply_remove_directory(const struct tree *tree, const char *path)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	int r;

	r = tree_open_parent(tree, path, &parent, &name);
	if (r < 0)
		return path_leads_nowhere(r) ? 0 : r;
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
		return 0;
	/* ENOTDIR: a base directory that is a link in this tree; it was not ours to make. */
	return errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR ||
			       errno == EBUSY
		       ? 0
		       : -errno;
}
