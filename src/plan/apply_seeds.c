/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Seeds: files that belong to the machine, such as its table of file systems. A plan gives the
 * first ones. Images of distributions have some of them already, with nothing but a comment in
 * them; what somebody wrote stays.
 */

#include "plan/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"

#define MACHINE_ID      "/etc/machine-id"
#define DBUS_DIRECTORY  "/var/lib/dbus"
#define DBUS_MACHINE_ID "machine-id"
#define SEED_SIZE_MAX   (256UL * 1024)

/* Whether every line is blank or a comment. */
static bool says_nothing(const char *text)
{
	while (*text) {
		text += strspn(text, " \t\r\n");
		if (*text != '#' && *text != '\0')
			return false;
		text += strcspn(text, "\n");
	}
	return true;
}

/* Links and what is no file are somebody's. */
static int is_blank(int parent, const char *name, bool *ret)
{
	cleanup_free char *text = NULL;
	struct stat st;
	size_t size = 0;
	int r;

	*ret = false;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)SEED_SIZE_MAX)
		return 0;
	r = fd_read_file_at(parent, name, SEED_SIZE_MAX, &text, &size);
	if (r == 0)
		*ret = strlen(text) == size && says_nothing(text);
	return r;
}

/* Where the id is empty, systemd takes D-Bus' for it, unless that is a link. */
static int link_dbus_id(const struct tree *tree)
{
	cleanup_fd int parent = -EBADF;
	struct stat st;
	int r = path_open_in_root(tree->rootfd, DBUS_DIRECTORY, O_PATH | O_DIRECTORY, 0, &parent);

	if (r < 0)
		return path_leads_nowhere(r) ? 0 : r;
	if (fstatat(parent, DBUS_MACHINE_ID, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	return S_ISREG(st.st_mode) ? file_replace_link(parent, DBUS_MACHINE_ID, MACHINE_ID) : 0;
}

static int clear_seed(const struct tree *tree, const struct plan_object *object)
{
	bool is_id = strcmp(object->path, MACHINE_ID) == 0;
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	bool blank = false;
	int r = is_id ? link_dbus_id(tree) : 0;

	if (r < 0)
		return r;
	r = tree_open_parent(tree, object->path, &parent, &name);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!is_id)
		r = is_blank(parent, name, &blank);
	if (r < 0 || (!is_id && !blank))
		return r;
	return file_remove(parent, name, NULL);
}

int apply_clear_seeds(const struct tree *tree, const struct plan *plan, const struct plan *old)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n_objects; i++) {
		if (plan->objects[i].seed && !(old && plan_find(old, plan->objects[i].path)))
			r = clear_seed(tree, &plan->objects[i]);
	}
	return r;
}
