/* SPDX-License-Identifier: Apache-2.0 */

/* A plan as a value: its end, and what is looked up in it. */

#include "plan/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "plan/plan_paths.h"

static void object_done(struct plan_object *object)
{
	free(object->path);
	free(object->owner);
	free(object->group);
	free(object->target);
	free(object->content);
	free(object->entry);
}

struct plan *plan_free(struct plan *plan)
{
	if (!plan)
		return NULL;
	for (size_t i = 0; i < plan->n_objects; i++)
		object_done(&plan->objects[i]);
	for (size_t i = 0; i < plan->n_units; i++)
		free(plan->units[i].name);
	free(plan->objects);
	free(plan->units);
	free(plan->user);
	free(plan->binary);
	free(plan->health.ready_socket);
	strv_done(&plan->state_dirs);
	free(plan);
	return NULL;
}

const struct plan_object *plan_find(const struct plan *plan, const char *path)
{
	for (size_t i = 0; i < plan->n_objects; i++) {
		if (strcmp(plan->objects[i].path, path) == 0)
			return &plan->objects[i];
	}
	return NULL;
}

const struct plan_unit *plan_primary(const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_units; i++) {
		if (plan->units[i].is_primary)
			return &plan->units[i];
	}
	return NULL;
}

const char *plan_config_text(const struct plan *plan)
{
	char path[sizeof(PLAN_CONFIG_BASE "/.json") + MANIFEST_ID_MAX];
	const struct plan_object *object;

	(void)snprintf(path, sizeof(path), PLAN_CONFIG_BASE "/%s.json", plan->identity.id);
	object = plan_find(plan, path);
	return object ? object->content : NULL;
}

char *plan_version_path(const struct plan *plan)
{
	char *path = NULL;

	return str_format(&path, PLAN_OPT_BASE "/%s/versions/%s", plan->identity.id,
			  plan->identity.version) < 0
		       ? NULL
		       : path;
}

int plan_digest(const struct plan *plan, struct digest *ret)
{
	cleanup_json json_t *json = plan_to_json(plan);
	cleanup_free char *text = json ? json_to_canonical(json) : NULL;

	if (!text)
		return -ENOMEM;
	digest_of(text, strlen(text), ret);
	return 0;
}
