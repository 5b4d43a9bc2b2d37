/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From one plan to another. apply_switch() is told where to go and what may be in the way, never
 * how far an earlier attempt came: install, upgrade, rollback, repair, uninstall and recovery are
 * this one function with other arguments.
 */

#include "plan/apply.h"

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

static int clean_temporaries(const struct tree *tree, const struct plan *plan, struct strv *changed)
{
	int r = 0;

	for (size_t i = 0; plan && r == 0 && i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];

		if (is_single(plan, object) || is_current(object))
			r = apply_remove_temporary(tree, object, changed);
	}
	return r;
}

static int make_directories(const struct tree *tree, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];
		int r;

		if (object->type != PLAN_DIRECTORY || is_version_object(plan, object))
			continue;
		r = apply_make_directory(tree, object);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_objects(const struct tree *tree, const struct plan *plan, struct strv *changed)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n_objects; i++) {
		if (is_single(plan, &plan->objects[i]))
			r = apply_make_object(tree, &plan->objects[i], changed);
	}
	return r;
}

/* Removes what only *from* has; directories only if they were made for it. */
static int remove_rest(const struct tree *tree, const struct plan *from, const struct plan *to,
		       struct strv *changed)
{
	int r = 0;

	for (size_t i = from->n_objects; r == 0 && i > 0; i--) {
		const struct plan_object *object = &from->objects[i - 1];

		if (to && plan_find(to, object->path))
			continue;
		if (is_single(from, object) || is_current(object))
			r = apply_remove_object(tree, object, changed);
	}
	return r;
}

static int remove_directories(const struct tree *tree, const struct plan *from,
			      const struct plan *to, const struct strv *created)
{
	int r = 0;

	for (size_t i = from->n_objects; r == 0 && i > 0; i--) {
		const struct plan_object *object = &from->objects[i - 1];

		if (object->type != PLAN_DIRECTORY || !strv_has(created, object->path))
			continue;
		if (!to || !plan_find(to, object->path))
			r = apply_remove_directory(tree, object->path);
	}
	return r;
}

/* Bytes first, `current` behind them: the link never points at what is not there. */
static int switch_version(const struct tree *tree, const struct plan *to, const struct plan *from,
			  struct strv *changed)
{
	cleanup_fd int versions = -EBADF;
	int r;

	r = version_open_directory(tree, to->identity.id, &versions);
	if (r == 0)
		r = version_place(versions, to, from);
	if (r == 0)
		r = version_fix(tree, versions, to);
	if (r < 0)
		return r;
	if (fsync(versions) < 0)
		return -errno;
	for (size_t i = 0; r == 0 && i < to->n_objects; i++) {
		if (is_current(&to->objects[i]))
			r = apply_make_object(tree, &to->objects[i], changed);
	}
	return r;
}

int apply_switch(const struct tree *tree, const struct plan *to, const struct plan *from,
		 const struct strv *created)
{
	cleanup_strv struct strv changed = STRV_INIT;
	int r;

	r = clean_temporaries(tree, to, &changed);
	if (r == 0)
		r = clean_temporaries(tree, from, &changed);
	if (r == 0 && from)
		r = remove_rest(tree, from, to, &changed);
	if (r == 0 && to)
		r = make_directories(tree, to);
	if (r == 0 && to)
		r = make_objects(tree, to, &changed);
	if (r == 0 && to)
		r = switch_version(tree, to, from, &changed);
	if (r == 0)
		r = apply_sync(tree, &changed);
	if (r == 0 && from)
		r = remove_directories(tree, from, to, created);
	return r;
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
