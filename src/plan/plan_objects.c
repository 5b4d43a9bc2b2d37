/* SPDX-License-Identifier: Apache-2.0 */

/* The list of objects of a plan, as it grows. */

#include "plan/plan_objects.h"

#include <errno.h>
#include <string.h>

#include "plan/plan_paths.h"

bool plan_is_own(const struct plan *plan)
{
	return manifest_id_is_own(plan->identity.id);
}

bool plan_owns_user(const struct plan *plan)
{
	if (plan_is_own(plan))
		return strcmp(plan->user, PLAN_ROOT_USER) != 0;
	return str_starts_with(plan->user, "affix-") &&
	       strcmp(plan->user + strlen("affix-"), plan->identity.id) == 0;
}

const struct plan_object *plan_find_entry(const struct plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->n_objects; i++) {
		if (plan->objects[i].entry && strcmp(plan->objects[i].entry, name) == 0)
			return &plan->objects[i];
	}
	return NULL;
}

/* gcc 12's analyzer takes for lost what is kept behind the plan. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int add_object(struct plan *plan, const char *path, enum plan_object_type type, mode_t mode,
		      struct plan_object **ret)
{
	struct plan_object *larger =
		reallocarray(plan->objects, plan->n_objects + 1, sizeof(*larger));
	struct plan_object *object;

	if (!larger)
		return -ENOMEM;
	plan->objects = larger;
	object = &larger[plan->n_objects++];
	*object = (struct plan_object){
		.path = strdup(path),
		.type = type,
		.mode = mode,
		.owner = strdup(PLAN_ROOT_USER),
		.group = strdup(PLAN_ROOT_USER),
	};
	if (!object->path || !object->owner || !object->group)
		return -ENOMEM;
	*ret = object;
	return 0;
}

#pragma GCC diagnostic pop

int plan_add_directory(struct plan *plan, const char *path, bool shared)
{
	struct plan_object *object;
	int r;

	if (plan_find(plan, path))
		return 0;
	r = add_object(plan, path, PLAN_DIRECTORY, 0755, &object);
	if (r < 0)
		return r;
	object->shared = shared;
	return 0;
}

int plan_add_text(struct plan *plan, const char *path, mode_t mode, const char *content)
{
	struct plan_object *object;
	int r = add_object(plan, path, PLAN_FILE, mode, &object);

	if (r < 0)
		return r;
	object->content = strdup(content);
	if (!object->content)
		return -ENOMEM;
	object->size = strlen(content);
	digest_of(content, object->size, &object->digest);
	return 0;
}

int plan_add_link(struct plan *plan, const char *path, const char *target)
{
	struct plan_object *object;
	int r = add_object(plan, path, PLAN_LINK, 0777, &object);

	if (r < 0)
		return r;
	object->target = strdup(target);
	return object->target ? 0 : -ENOMEM;
}

int plan_add_entry(struct plan *plan, const char *path, const struct bundle_entry *entry)
{
	struct plan_object *object;
	int r = add_object(plan, path, PLAN_FILE, entry->is_binary ? 0755 : 0644, &object);

	if (r < 0)
		return r;
	object->entry = strdup(entry->name);
	if (!object->entry)
		return -ENOMEM;
	object->size = entry->size;
	object->digest = entry->digest;
	if (!entry->is_binary || !plan->file_capabilities || plan->capabilities == 0)
		return 0;
	/* World-executable with capabilities would hand them to every local user. */
	object->mode = 0750;
	object->capabilities = plan->capabilities;
	free(object->group);
	object->group = strdup(plan->user);
	return object->group ? 0 : -ENOMEM;
}

int plan_clone(const struct plan *plan, struct plan **ret)
{
	cleanup_json json_t *json = plan_to_json(plan);
	int r;

	if (!json)
		return -ENOMEM;
	r = plan_from_json(json, ret, NULL);
	return r > 0 ? -EBADMSG : r;
}
