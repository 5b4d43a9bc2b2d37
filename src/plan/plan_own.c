/* SPDX-License-Identifier: Apache-2.0 */

/* Plans of affix itself, as they are made. */

#include "plan/plan_own.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "plan/plan_bounds.h"
#include "plan/plan_objects.h"
#include "plan/plan_paths.h"

/* Nothing of it is watched; a plan has a window nevertheless. */
#define WINDOW_SECONDS 1U

static int set_process(struct plan *plan, const struct bundle *bundle, const char *user)
{
	plan->identity = bundle->identity;
	plan->bundle = bundle->digest;
	memcpy(plan->key_id, bundle->key_id, sizeof(plan->key_id));
	plan->supervision = MANIFEST_SUPERVISION_SYSTEMD_SERVICE;
	plan->health = (struct manifest_health){.window_seconds = WINDOW_SECONDS};
	plan->user = strdup(user);
	if (!plan->user)
		return -ENOMEM;
	return str_format(&plan->binary, PLAN_OPT_BASE "/%s/current/%s", plan->identity.id,
			  bundle->n_entries > 0 ? bundle->entries[0].name : "affix");
}

static int add_version(struct plan *plan, const struct bundle *bundle)
{
	cleanup_free char *version = plan_version_path(plan);
	char path[1024];
	int r = version ? plan_add_parents(plan, version) : -ENOMEM;

	if (r == 0)
		r = plan_add_directory(plan, version, false);
	for (size_t i = 0; r == 0 && i < bundle->n_entries; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", version, bundle->entries[i].name);
		r = plan_add_entry(plan, path, &bundle->entries[i]);
	}
	(void)snprintf(path, sizeof(path), PLAN_OPT_BASE "/%s/current", plan->identity.id);
	return r < 0 ? r
		     : plan_add_link(plan, path,
				     version + strlen(PLAN_OPT_BASE "//") +
					     strlen(plan->identity.id));
}

int plan_begin_own(const struct bundle *bundle, const char *user, struct plan **ret)
{
	cleanup_plan struct plan *plan = calloc(1, sizeof(*plan));
	int r = plan ? set_process(plan, bundle, user) : -ENOMEM;

	if (r == 0)
		r = add_version(plan, bundle);
	if (r == 0)
		*ret = TAKE_PTR(plan);
	return r;
}

int plan_add_text_seed(struct plan *plan, const char *path, const char *content)
{
	int r = plan_add_text(plan, path, 0644, content);

	if (r == 0)
		plan->objects[plan->n_objects - 1].seed = true;
	return r;
}

int plan_add_link_seed(struct plan *plan, const char *path, const char *target)
{
	int r = plan_add_link(plan, path, target);

	if (r == 0)
		plan->objects[plan->n_objects - 1].seed = true;
	return r;
}

/* gcc 12's analyzer takes for lost what is kept behind the plan. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int set_name(char **place, const char *name)
{
	char *copy = strdup(name);

	if (!copy)
		return -ENOMEM;
	free(*place);
	*place = copy;
	return 0;
}

#pragma GCC diagnostic pop

int plan_add_directory_of(struct plan *plan, const char *path, mode_t mode, const char *owner,
			  const char *group)
{
	struct plan_object *object;
	int r;

	if (plan_find(plan, path))
		return 0;
	r = plan_add_directory(plan, path, true);
	if (r < 0)
		return r;
	object = &plan->objects[plan->n_objects - 1];
	object->mode = mode;
	r = set_name(&object->owner, owner);
	return r < 0 ? r : set_name(&object->group, group);
}

int plan_add_parents(struct plan *plan, const char *path)
{
	int r = 0;

	for (const char *slash = strchr(path + 1, '/'); r == 0 && slash;
	     slash = strchr(slash + 1, '/')) {
		cleanup_free char *parent = strndup(path, (size_t)(slash - path));

		r = parent ? plan_add_directory(plan, parent, true) : -ENOMEM;
	}
	return r;
}

int plan_check_own(const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_objects; i++) {
		if (!plan_bounds_allow_object(plan, &plan->objects[i]))
			return -EINVAL;
	}
	return 0;
}
