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

/* A link of ours is never longer. */
#define LINK_MAX_SIZE 1024U

static int add_parent(struct strv *changed, const char *path)
{
	cleanup_free char *parent = strndup(path, (size_t)(path_last_name(path) - path));

	if (!parent)
		return -ENOMEM;
	return strv_has(changed, parent) ? 0 : strv_add(changed, parent);
}

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
	if (fchown(fd, 0, 0) < 0 || fchmod(fd, object->mode) < 0)
		return -errno;
	return dir_sync(parent);
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
	return r;
}

static int make_file(const struct tree *tree, int parent, const char *name,
		     const struct plan_object *object, bool *ret_changed)
{
	struct file_attributes attributes = {.mode = object->mode};
	bool right = false;
	int r;

	r = tree_user(tree, object->owner, &attributes.uid);
	if (r == 0)
		r = tree_group(tree, object->group, &attributes.gid);
	if (r == 0)
		r = file_is_right(parent, name, object, attributes.uid, attributes.gid, &right);
	if (r < 0 || right)
		return r;
	*ret_changed = true;
	return file_replace(parent, name, object->content, object->size, &attributes);
}

static int make_link(int parent, const char *name, const struct plan_object *object,
		     bool *ret_changed)
{
	char target[LINK_MAX_SIZE];
	ssize_t n = readlinkat(parent, name, target, sizeof(target) - 1);

	if (n < 0 && errno != ENOENT && errno != EINVAL)
		return -errno;
	if (n >= 0) {
		target[n] = '\0';
		if (strcmp(target, object->target) == 0)
			return 0;
	}
	*ret_changed = true;
	return file_replace_link(parent, name, object->target);
}

int apply_make_object(const struct tree *tree, const struct plan_object *object,
		      struct strv *changed)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	bool did_change = false;
	int r;

	r = tree_open_parent(tree, object->path, &parent, &name);
	if (r < 0)
		return r;
	if (object->type == PLAN_LINK)
		r = make_link(parent, name, object, &did_change);
	else
		r = make_file(tree, parent, name, object, &did_change);
	return r < 0 || !did_change ? r : add_parent(changed, object->path);
}

static int remove_name(const struct tree *tree, const char *path, const char *name_or_null,
		       struct strv *changed)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	bool did_change = false;
	int r;

	r = tree_open_parent(tree, path, &parent, &name);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = file_remove(parent, name_or_null ? name_or_null : name, &did_change);
	return r < 0 || !did_change ? r : add_parent(changed, path);
}

int apply_remove_object(const struct tree *tree, const struct plan_object *object,
			struct strv *changed)
{
	return remove_name(tree, object->path, NULL, changed);
}

int apply_remove_temporary(const struct tree *tree, const struct plan_object *object,
			   struct strv *changed)
{
	cleanup_free char *temporary = file_temporary_name(path_last_name(object->path));

	if (!temporary)
		return -ENAMETOOLONG;
	return remove_name(tree, object->path, temporary, changed);
}

int apply_remove_directory(const struct tree *tree, const char *path)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	int r;

	r = tree_open_parent(tree, path, &parent, &name);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
		return dir_sync(parent);
	/* ENOTDIR: a base directory that is a link in this tree; it was not ours to make. */
	return errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR ||
			       errno == EBUSY
		       ? 0
		       : -errno;
}

int apply_sync(const struct tree *tree, const struct strv *changed)
{
	for (size_t i = 0; i < changed->count; i++) {
		cleanup_fd int fd = -EBADF;
		int r = path_open_in_root(tree->rootfd, changed->items[i], O_RDONLY | O_DIRECTORY,
					  0, &fd);

		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		if (fsync(fd) < 0)
			return -errno;
	}
	return 0;
}
