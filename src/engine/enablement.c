/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Enablement links of an add-on that the administrator stopped. The record says whether it is; the
 * links follow, and are made to follow again after a crash, so that they can never say more than
 * the record.
 */

#include "engine/enablement.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/file.h"
#include "plan/apply_objects.h"

static int make_link(const struct tree *tree, const struct plan_object *object, bool *ret_changed)
{
	bool written = false;
	int r = apply_prepare_object(tree, object, ret_changed, &written);

	return r < 0 || !*ret_changed ? r : apply_publish_object(tree, object);
}

static int set_link(const struct tree *tree, const struct plan_object *object, bool enabled)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	bool changed = false;
	int r;

	r = tree_open_parent(tree, object->path, &parent, &name);
	if (r == -ENOENT && !enabled)
		return 0;
	if (r == 0 && enabled)
		r = make_link(tree, object, &changed);
	else if (r == 0)
		r = apply_forget_object(tree, object);
	if (r == 0 && !enabled)
		r = file_remove(parent, name, &changed);
	return r < 0 || !changed ? r : dir_sync(parent);
}

int enablement_set(struct operation *operation, bool enabled)
{
	const struct plan *plan = operation->record->current;
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];

		if (object->type == PLAN_LINK && strstr(object->path, ".wants/"))
			r = set_link(&operation->tree, object, enabled);
	}
	return r;
}
