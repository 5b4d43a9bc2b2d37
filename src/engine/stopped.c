/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Stopped by the administrator. The record says so first; that it is so is seen to by every
 * operation that ends, since each of them may have brought links back (an upgrade, a repair), and
 * by every later one, since the first may have been killed.
 */

#include "engine/stopped.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "engine/transaction_steps.h"
#include "engine/units.h"
#include "plan/apply.h"
#include "plan/apply_objects.h"
#include "plan/plan_paths.h"

bool stopped_is_without(const struct plan_object *object)
{
	return object->type == PLAN_LINK && path_is_below(object->path, PLAN_UNIT_BASE);
}

bool stopped_is_intended(const struct record *record, const struct diff_item *item)
{
	const struct plan_object *object = plan_find(record->current, item->path);

	return record->is_stopped && item->kind == DIFF_MISSING && object &&
	       stopped_is_without(object);
}

size_t stopped_count_damage(const struct record *record, const struct diff *diff)
{
	size_t n = diff_count_damage(diff);

	for (size_t i = 0; i < diff->count; i++)
		n -= stopped_is_intended(record, &diff->items[i]);
	return n;
}

static int remove_link(struct operation *operation, const struct plan_object *object,
		       bool *ret_changed)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	struct stat st;
	int r;

	r = tree_open_parent(&operation->tree, object->path, &parent, &name);
	if (r < 0)
		return path_leads_nowhere(r) ? 0 : r;
	r = file_forget(parent, name);
	if (r < 0)
		return r;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	*ret_changed = true;
	r = apply_remove_object(&operation->tree, object);
	return r < 0 ? r : dir_sync(parent);
}

static int make_link(struct operation *operation, const struct plan_object *object,
		     bool *ret_changed)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	bool written = false;
	int r;

	r = tree_open_parent(&operation->tree, object->path, &parent, &name);
	if (r == 0)
		r = apply_prepare_object(&operation->tree, object, ret_changed, &written);
	if (r == 0 && *ret_changed)
		r = apply_publish_object(&operation->tree, object);
	return r < 0 || !*ret_changed ? r : dir_sync(parent);
}

static int set_links(struct operation *operation,
		     int (*set)(struct operation *operation, const struct plan_object *object,
				bool *ret_changed))
{
	const struct plan *plan = operation->record->current;
	bool is_any = false;
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n_objects; i++) {
		bool changed = false;

		if (stopped_is_without(&plan->objects[i]))
			r = set(operation, &plan->objects[i], &changed);
		is_any = is_any || changed;
	}
	if (r < 0 || !is_any || !operation->manager)
		return r;
	return manager_reload(operation->manager, RELOAD_TIMEOUT);
}

int stopped_keep(struct operation *operation)
{
	const struct record *record = operation->record;
	int r;

	if (!record->is_stopped || !record->current)
		return 0;
	r = units_stop(operation->manager, record->current, UNITS_STOP_USEC);
	return r < 0 ? r : set_links(operation, remove_link);
}

int stopped_enable(struct operation *operation)
{
	const struct plan *plan = operation->record->current;
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n_objects; i++) {
		if (stopped_is_without(&plan->objects[i]))
			r = apply_check_place(&operation->tree, &plan->objects[i], true,
					      &operation->refusal);
	}
	return r != 0 ? r : set_links(operation, make_link);
}
