/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From one plan to another. apply_switch() is told where to go and what may be in the way, never
 * how far an earlier attempt came: install, upgrade, rollback, repair, uninstall and recovery are
 * this one function with other arguments.
 */

#include "plan/apply.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
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

enum manner {
	MANNER_SWITCH,
	MANNER_OVERRULE, /* masks */
	MANNER_RESTORE,  /* the way back */
};

/* Entries and their directory are placed as a whole; everything else object by object. */
static bool is_version_object(const struct plan *plan, const struct plan_object *object)
{
	cleanup_free char *path = plan_version_path(plan);

	return object->entry || (path && strcmp(path, object->path) == 0);
}

static bool is_current(const struct plan_object *object)
{
	return object->type == PLAN_LINK && path_is_below(object->path, PLAN_OPT_BASE);
}

static bool is_single(const struct plan *plan, const struct plan_object *object)
{
	return object->type != PLAN_DIRECTORY && !is_version_object(plan, object) &&
	       !is_current(object);
}

static bool has_device(const dev_t *devices, size_t n, dev_t device)
{
	for (size_t i = 0; i < n; i++) {
		if (devices[i] == device)
			return true;
	}
	return false;
}

/* The file systems that were synced. */
struct synced {
	dev_t devices[8];
	size_t n;
};

static int sync_once(int fd, struct synced *synced)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (has_device(synced->devices, synced->n, st.st_dev))
		return 0;
	if (syncfs(fd) < 0)
		return -errno;
	synced->devices[synced->n++] = st.st_dev;
	return 0;
}

/* One sync for all that was written to the file systems that plans write to. */
int apply_sync(const struct tree *tree, int other_fd)
{
	static const char *const places[] = {
		"/etc",           PLAN_UNIT_BASE,     "/opt",
		PLAN_OPT_BASE,    PLAN_SYSUSERS_BASE, PLAN_TMPFILES_BASE,
		PLAN_CONFIG_BASE,
	};
	struct synced synced = {0};
	int r = 0;

	static_assert(ARRAY_SIZE(places) < ARRAY_SIZE(synced.devices), "each has a place");
	if (tree->is_copy)
		return 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++) {
		cleanup_fd int fd = -EBADF;

		r = path_open_in_root(tree->rootfd, places[i], O_RDONLY | O_DIRECTORY, 0, &fd);
		if (r == 0)
			r = sync_once(fd, &synced);
		else if (path_leads_nowhere(r))
			r = 0;
	}
	return r == 0 && other_fd >= 0 ? sync_once(other_fd, &synced) : r;
}

static int make_directories(const struct tree *tree, const struct plan *plan, bool is_way_back)
{
	for (size_t i = 0; i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];
		int r;

		if (object->type != PLAN_DIRECTORY || is_version_object(plan, object))
			continue;
		r = is_way_back ? apply_restore_directory(tree, object)
				: apply_make_directory(tree, object);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Which objects are to be published; *pending* has a place for each. On the way back a mask is as
 * new as what is left: it stays. */
static int prepare(const struct tree *tree, const struct plan *plan, bool is_way_back,
		   bool *pending, bool *ret_written)
{
	int r = make_directories(tree, plan, is_way_back);

	for (size_t i = 0; r == 0 && i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];
		bool is_masked = false;

		if (!is_single(plan, object) && !is_current(object))
			continue;
		if (is_way_back)
			r = apply_is_masked(tree, object, &is_masked);
		if (r == 0)
			r = is_masked
				    ? apply_forget_object(tree, object)
				    : apply_prepare_object(tree, object, &pending[i], ret_written);
	}
	return r;
}

int apply_prepare(const struct tree *tree, const struct plan *plan)
{
	cleanup_free bool *pending = calloc(plan->n_objects, sizeof(*pending));
	bool written = false;
	int r;

	if (!pending)
		return -ENOMEM;
	r = prepare(tree, plan, false, pending, &written);
	return r < 0 ? r : apply_sync(tree, -EBADF);
}

/* Removes what only *from* has. */
static int remove_rest(const struct tree *tree, const struct plan *from, const struct plan *to)
{
	int r = 0;

	for (size_t i = from->n_objects; r == 0 && i > 0; i--) {
		const struct plan_object *object = &from->objects[i - 1];

		if (object->seed || (to && plan_find(to, object->path)) ||
		    (!is_single(from, object) && !is_current(object)))
			continue;
		r = apply_forget_object(tree, object);
		if (r == 0)
			r = apply_remove_object(tree, object);
	}
	return r;
}

static int remove_directories(const struct tree *tree, const struct plan *to,
			      const struct strv *created)
{
	int r = 0;

	for (size_t i = created->count; r == 0 && i > 0; i--) {
		if (!to || !plan_find(to, created->items[i - 1]))
			r = apply_remove_directory(tree, created->items[i - 1]);
	}
	return r;
}

static int publish_object(const struct tree *tree, const struct plan_object *object,
			  enum manner manner)
{
	switch (manner) {
	case MANNER_RESTORE:
		return apply_restore_object(tree, object);
	case MANNER_OVERRULE:
		return apply_publish_object(tree, object);
	case MANNER_SWITCH:
	default:
		return apply_publish_unmasked(tree, object);
	}
}

static int publish(const struct tree *tree, const struct plan *plan, const bool *pending,
		   bool current, enum manner manner)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n_objects; i++) {
		if (pending[i] && is_current(&plan->objects[i]) == current)
			r = publish_object(tree, &plan->objects[i], manner);
	}
	return r;
}

static int switch_version(const struct tree *tree, const struct plan *to, const struct plan *from,
			  bool is_way_back)
{
	cleanup_fd int versions = -EBADF;
	int r;

	r = version_open_directory(tree, to->identity.id, &versions);
	if (r == 0)
		r = is_way_back ? version_restore(versions, to, from)
				: version_place(versions, to, from);
	if (r == 0)
		r = version_fix(tree, versions, to);
	return is_way_back && path_leads_nowhere(r) ? 0 : r;
}

/* Bytes first, `current` behind them: the link never points at what is not there. */
static int switch_to(const struct tree *tree, const struct plan *to, const struct plan *from,
		     enum manner manner)
{
	bool is_way_back = manner == MANNER_RESTORE;
	cleanup_free bool *pending = calloc(to->n_objects, sizeof(*pending));
	bool written = false;
	int r;

	if (!pending)
		return -ENOMEM;
	r = prepare(tree, to, is_way_back, pending, &written);
	if (r == 0 && written)
		r = apply_sync(tree, -EBADF);
	if (r == 0 && from)
		r = remove_rest(tree, from, to);
	if (r == 0)
		r = publish(tree, to, pending, false, manner);
	if (r == 0)
		r = switch_version(tree, to, from, is_way_back);
	return r < 0 ? r : publish(tree, to, pending, true, manner);
}

static int switch_plans(const struct tree *tree, const struct plan *to, const struct plan *from,
			const struct strv *created, enum manner manner)
{
	int r = to ? switch_to(tree, to, from, manner) : remove_rest(tree, from, NULL);

	return r < 0 ? r : remove_directories(tree, to, created);
}

int apply_switch(const struct tree *tree, const struct plan *to, const struct plan *from,
		 const struct strv *created)
{
	return switch_plans(tree, to, from, created, MANNER_SWITCH);
}

int apply_overrule(const struct tree *tree, const struct plan *to, const struct plan *from,
		   const struct strv *created)
{
	return switch_plans(tree, to, from, created, MANNER_OVERRULE);
}

int apply_restore(const struct tree *tree, const struct plan *to, const struct plan *from,
		  const struct strv *created)
{
	return switch_plans(tree, to, from, created, MANNER_RESTORE);
}

int apply_missing_directories(const struct tree *tree, const struct plan *plan, struct strv *ret)
{
	for (size_t i = 0; i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];
		cleanup_fd int fd = -EBADF;
		int r;

		if (object->type != PLAN_DIRECTORY || !object->shared)
			continue;
		r = path_open_in_root(tree->rootfd, object->path, O_PATH | O_DIRECTORY, 0, &fd);
		if (r == -ENOENT)
			r = strv_add(ret, object->path);
		if (r < 0)
			return r;
	}
	return 0;
}
