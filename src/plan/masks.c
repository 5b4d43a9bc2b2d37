/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Masks. `systemctl mask` cannot make one for a unit that has its file in /etc, so whoever wants an
 * add-on off for good puts the link in the file's place. That is a decision, and not damage that an
 * upgrade would mend in passing. A mask in /run is overruled by the file in /etc, so it is none;
 * nor is an empty file, which a crash may leave.
 */

#include "plan/masks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "plan/plan_paths.h"

static const char mask_target[] = "/dev/null";

static int is_mask(const struct tree *tree, const char *path, bool *ret)
{
	char target[sizeof(mask_target) + 1];
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	ssize_t n;
	int r;

	*ret = false;
	r = tree_open_parent(tree, path, &parent, &name);
	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR || r == -ELOOP ? 0 : r;
	n = readlinkat(parent, name, target, sizeof(target));
	if (n < 0)
		return errno == ENOENT || errno == EINVAL ? 0 : -errno;
	*ret = (size_t)n == strlen(mask_target) && memcmp(target, mask_target, (size_t)n) == 0;
	return 0;
}

int masks_find(const struct tree *tree, const struct plan *plan, struct strv *ret)
{
	static const char *const places[] = {"/etc/systemd/system.control", PLAN_UNIT_BASE};

	for (size_t i = 0; i < plan->n_units * ARRAY_SIZE(places); i++) {
		bool is_masked = false;
		char path[512];
		int r;

		(void)snprintf(path, sizeof(path), "%s/%s", places[i % ARRAY_SIZE(places)],
			       plan->units[i / ARRAY_SIZE(places)].name);
		r = is_mask(tree, path, &is_masked);
		if (r == 0 && is_masked)
			r = strv_add(ret, path);
		if (r < 0)
			return r;
	}
	return 0;
}
