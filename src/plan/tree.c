/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A tree is a root directory held by a descriptor. Image-based systems make some of the base
 * directories symlinks (/opt to /var/opt), so these are opened with the tree as their root; what
 * is below them is the updater's or systemd's, and there no link is followed at all.
 */

#include "plan/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"

/* A path belongs to the longest of these that it lies below. */
static const char *const bases[] = {
	"/opt",       "/etc",     "/etc/systemd/system", "/etc/sysusers.d", "/etc/tmpfiles.d",
	"/etc/affix", "/var/lib", "/var/cache",          "/var/log",        "/run",
};

int tree_open(const char *path, bool is_live, struct tree *ret)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret = (struct tree){.rootfd = fd, .is_live = is_live};
	return 0;
}

void tree_done(struct tree *tree)
{
	tree->rootfd = fd_close(tree->rootfd);
}

const char *tree_noun(const struct tree *tree)
{
	if (tree->is_copy)
		return "image";
	return tree->is_live ? "host" : "tree";
}

/* The length of the base of the directory *path*, 0 for the root itself. */
static size_t base_length(const char *path)
{
	size_t longest = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		size_t length = strlen(bases[i]);

		if (length > longest && path_is_below(path, bases[i]))
			longest = length;
	}
	return longest;
}

int tree_open_parent(const struct tree *tree, const char *path, int *ret_fd, const char **ret_name)
{
	cleanup_free char *directory = NULL;
	cleanup_free char *base = NULL;
	cleanup_fd int basefd = -EBADF;
	size_t length;
	int r;

	if (!path_is_normal_absolute(path))
		return -EINVAL;
	directory = strndup(path, (size_t)(path_last_name(path) - path) - 1);
	if (!directory)
		return -ENOMEM;
	length = base_length(directory);
	base = strndup(directory, length);
	if (!base)
		return -ENOMEM;
	r = path_open_in_root(tree->rootfd, base, O_PATH | O_DIRECTORY, 0, &basefd);
	if (r < 0)
		return r;
	if (directory[length] != '\0')
		r = path_open_beneath(basefd, directory + length, O_PATH | O_DIRECTORY, 0, ret_fd);
	else
		*ret_fd = TAKE_FD(basefd);
	if (r == 0)
		*ret_name = path_last_name(path);
	return r;
}
