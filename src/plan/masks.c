/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Masks. `systemctl mask` cannot make one for a unit that has its file in /etc, so whoever wants an
 * add-on off for good puts the link in the file's place, or where systemd looks before: there
 * systemd.mask= of the kernel's command line puts it as well. That is a decision, and not damage
 * that an upgrade would mend in passing. A mask in /run/systemd/system is overruled by the file in
 * /etc, so it is none; nor is an empty file, which a crash may leave.
 */

#include "plan/masks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "plan/plan_paths.h"

/* Where a link leads that has a text as long as this is of no interest. */
#define TARGET_SIZE 256U

/* Whether the text of the link at *path* says /dev/null, seen from the root of the tree: there may
 * be no such device in it. */
static bool says_null(const char *path, const char *target)
{
	size_t depth = 0;
	size_t up = 0;
	bool is_absolute = *target == '/';

	for (const char *p = path + 1; *p; p++)
		depth += *p == '/';
	for (;;) {
		target += strspn(target, "/");
		if (str_starts_with(target, "../")) {
			target += 3;
			up++;
		} else if (str_starts_with(target, "./")) {
			target += 2;
		} else {
			break;
		}
	}
	return strcmp(target, "dev/null") == 0 && (is_absolute || up >= depth);
}

/* What systemd takes for nothing behind a link: a device, or an empty file. */
static int leads_to_nothing(const struct tree *tree, const char *path, bool *ret)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r = path_open_in_root(tree->rootfd, path, O_PATH, 0, &fd);

	if (r < 0)
		return path_leads_nowhere(r) ? 0 : r;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ||
	       (S_ISREG(st.st_mode) && st.st_size == 0);
	return 0;
}

int masks_has(const struct tree *tree, const char *path, bool *ret)
{
	char target[TARGET_SIZE];
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	ssize_t n;
	int r;

	*ret = false;
	r = tree_open_parent(tree, path, &parent, &name);
	if (r < 0)
		return path_leads_nowhere(r) ? 0 : r;
	n = readlinkat(parent, name, target, sizeof(target) - 1);
	if (n < 0)
		return errno == ENOENT || errno == EINVAL ? 0 : -errno;
	target[n] = '\0';
	*ret = says_null(path, target);
	return *ret ? 0 : leads_to_nothing(tree, path, ret);
}

int masks_find(const struct tree *tree, const struct plan *plan, struct strv *ret)
{
	static const char *const places[] = {
		"/etc/systemd/system.control",
		"/run/systemd/system.control",
		"/run/systemd/transient",
		"/run/systemd/generator.early",
		PLAN_UNIT_BASE,
	};

	for (size_t i = 0; i < plan->n_units * ARRAY_SIZE(places); i++) {
		bool is_masked = false;
		char path[512];
		int r;

		(void)snprintf(path, sizeof(path), "%s/%s", places[i % ARRAY_SIZE(places)],
			       plan->units[i / ARRAY_SIZE(places)].name);
		r = masks_has(tree, path, &is_masked);
		if (r == 0 && is_masked)
			r = strv_add(ret, path);
		if (r < 0)
			return r;
	}
	return 0;
}
