/* SPDX-License-Identifier: Apache-2.0 */

/*
 * plan_make(): the one place that says what an add-on is on a host. Nothing here reads or writes
 * anything; so a live install, an offline one and a later drift check agree because they look at
 * the same list.
 */

#include "plan/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "manifest/schema.h"
#include "plan/plan_objects.h"
#include "plan/plan_paths.h"
#include "plan/plan_units.h"

/* The rights: what the manifest asks for, narrowed by the request, within the host's allow-list. */
static int set_capabilities(struct plan *plan, const struct manifest *manifest,
			    const struct host_policy *policy,
			    const struct plan_narrowing *narrowing, struct refusal *reterr_refusal)
{
	uint64_t asked = manifest_capability_mask(&manifest->os_capabilities);
	uint64_t allowed = manifest_capability_mask(&policy->capabilities);
	uint64_t granted = asked;

	if (narrowing->has_capabilities) {
		if (narrowing->capabilities & ~asked)
			return refuse(
				reterr_refusal, REFUSAL_CAPABILITY_NOT_ALLOWED,
				"the request grants '%s' %s, which its manifest does not ask for; grant a subset of requires.os_capabilities",
				plan->identity.id,
				manifest_capability_to_string(
					__builtin_ctzll(narrowing->capabilities & ~asked)));
		granted = narrowing->capabilities;
	}
	if (granted & ~allowed)
		return refuse(
			reterr_refusal, REFUSAL_CAPABILITY_NOT_ALLOWED,
			"'%s' asks for %s, which is not allowed; an administrator can add it to 'capabilities' in " HOST_POLICY_PATH,
			plan->identity.id,
			manifest_capability_to_string(__builtin_ctzll(granted & ~allowed)));
	plan->capabilities = granted;
	plan->file_capabilities = manifest->file_capabilities;
	return 0;
}

static int set_user(struct plan *plan, const struct manifest *manifest,
		    const struct host_policy *policy, struct refusal *reterr_refusal)
{
	plan->user = strdup(manifest->run_as);
	if (!plan->user)
		return -ENOMEM;
	if (!plan_owns_user(plan) &&
	    !host_policy_allows_user(policy, manifest->id, manifest->run_as))
		return refuse(
			reterr_refusal, REFUSAL_USER_NOT_ALLOWED,
			"'%s' wants to run as '%s', expected 'affix-%s'; an administrator can allow it under 'users' in " HOST_POLICY_PATH,
			manifest->id, manifest->run_as, manifest->id);
	return 0;
}

static int lower(uint64_t manifest, uint64_t wanted, const char *name, const char *id,
		 uint64_t *ret, struct refusal *reterr_refusal)
{
	if (manifest > 0 && wanted > manifest)
		return refuse(
			reterr_refusal, REFUSAL_BAD_LIMITS,
			"the request raises %s of '%s' to %llu, the signed manifest says %llu; a request may only lower it",
			name, id, (unsigned long long)wanted, (unsigned long long)manifest);
	*ret = wanted > 0 ? wanted : manifest;
	return 0;
}

static int set_limits(struct plan *plan, const struct manifest *manifest,
		      const struct manifest_limits *wanted, struct refusal *reterr_refusal)
{
	const struct manifest_limits *own = &manifest->limits;
	struct manifest_limits limits = {0};
	int r;

	r = lower(own->cpu_max_percent, wanted->cpu_max_percent, "cpu_max_percent", manifest->id,
		  &limits.cpu_max_percent, reterr_refusal);
	if (r == 0)
		r = lower(own->memory_high_bytes, wanted->memory_high_bytes, "memory_high_bytes",
			  manifest->id, &limits.memory_high_bytes, reterr_refusal);
	if (r == 0)
		r = lower(own->memory_max_bytes, wanted->memory_max_bytes, "memory_max_bytes",
			  manifest->id, &limits.memory_max_bytes, reterr_refusal);
	if (r == 0)
		r = lower(own->tasks_max, wanted->tasks_max, "tasks_max", manifest->id,
			  &limits.tasks_max, reterr_refusal);
	if (r == 0)
		plan->limits = limits;
	return r;
}

/* run_as, health rule, directories: what is copied as it stands. */
static int copy_manifest(struct plan *plan, const struct manifest *manifest)
{
	const struct manifest_health *health = &manifest->health;

	plan->supervision = manifest->supervision;
	plan->health = (struct manifest_health){
		.window_seconds = health->window_seconds,
		.max_restarts = health->max_restarts,
		.run_once = health->run_once,
		.ready_socket = health->ready_socket ? strdup(health->ready_socket) : NULL,
	};
	if (health->ready_socket && !plan->health.ready_socket)
		return -ENOMEM;
	for (size_t i = 0; i < manifest->state_dirs.count; i++) {
		int r = strv_add(&plan->state_dirs, manifest->state_dirs.items[i]);

		if (r < 0)
			return r;
	}
	strv_sort(&plan->state_dirs);
	return str_format(&plan->binary, PLAN_OPT_BASE "/%s/current/%s", manifest->id,
			  manifest->exec_binary);
}

static int add_version(struct plan *plan, const struct bundle *bundle)
{
	const char *id = plan->identity.id;
	const char *version = plan->identity.version;
	char path[1024];
	int r;

	r = plan_add_directory(plan, "/opt", true);
	if (r == 0)
		r = plan_add_directory(plan, PLAN_OPT_BASE, true);
	(void)snprintf(path, sizeof(path), PLAN_OPT_BASE "/%s", id);
	if (r == 0)
		r = plan_add_directory(plan, path, true);
	(void)snprintf(path, sizeof(path), PLAN_OPT_BASE "/%s/versions", id);
	if (r == 0)
		r = plan_add_directory(plan, path, true);
	(void)snprintf(path, sizeof(path), PLAN_OPT_BASE "/%s/versions/%s", id, version);
	if (r == 0)
		r = plan_add_directory(plan, path, false);
	for (size_t i = 0; r == 0 && i < bundle->n_entries; i++) {
		(void)snprintf(path, sizeof(path), PLAN_OPT_BASE "/%s/versions/%s/%s", id, version,
			       bundle->entries[i].name);
		r = plan_add_entry(plan, path, &bundle->entries[i]);
	}
	return r;
}

static int add_current(struct plan *plan)
{
	char target[VERSION_MAX + 16];
	char path[128];

	(void)snprintf(path, sizeof(path), PLAN_OPT_BASE "/%s/current", plan->identity.id);
	(void)snprintf(target, sizeof(target), "versions/%s", plan->identity.version);
	return plan_add_link(plan, path, target);
}

/* The user that affix makes for the add-on; another user must exist already. */
static int add_sysusers(struct plan *plan)
{
	char text[256];
	char path[128];
	int r;

	if (!plan_owns_user(plan))
		return 0;
	(void)snprintf(text, sizeof(text), "u %s - \"affix add-on %s\" - -\n", plan->user,
		       plan->identity.id);
	(void)snprintf(path, sizeof(path), PLAN_SYSUSERS_BASE "/affix-%s.conf", plan->identity.id);
	r = plan_add_directory(plan, PLAN_SYSUSERS_BASE, true);
	return r < 0 ? r : plan_add_text(plan, path, 0644, text);
}

static int add_tmpfiles(struct plan *plan, const struct manifest *manifest)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char path[128];
	int r = 0;

	if (manifest->ipc)
		r = buffer_format(&text, "d " PLAN_RUN_BASE "/%s 2750 %s affix -\n", manifest->id,
				  plan->user);
	for (size_t i = 0; r == 0 && i < plan->state_dirs.count; i++)
		r = buffer_format(&text, "d %s 0750 %s %s -\n", plan->state_dirs.items[i],
				  plan->user, plan_owns_user(plan) ? plan->user : "-");
	if (r < 0 || text.size == 0)
		return r;
	(void)snprintf(path, sizeof(path), PLAN_TMPFILES_BASE "/affix-%s.conf", manifest->id);
	r = plan_add_directory(plan, PLAN_TMPFILES_BASE, true);
	return r < 0 ? r : plan_add_text(plan, path, 0644, text.data);
}

/* Fleet keys marked x-affix-local are dropped; then the administrator's own keys win. */
static int merge_config(const json_t *schema, const struct plan_config *config, json_t *merged)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)config->fleet, key, value)
	{
		int r;

		if (!schema_key_is_local(schema, key))
			r = json_object_set(merged, key, value) < 0 ? -ENOMEM : 0;
		else
			r = config->ret_dropped ? strv_add(config->ret_dropped, key) : 0;
		if (r < 0)
			return r;
	}
	json_object_foreach((json_t *)config->local, key, value)
	{
		if (json_object_set(merged, key, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* The merged configuration as text; the caller frees it. */
static int make_config(const struct bundle *bundle, const struct plan_config *config,
		       char **ret_text, struct refusal *reterr_refusal)
{
	const struct bundle_entry *entry = bundle_find(bundle, bundle->manifest->config_schema);
	cleanup_json json_t *merged = json_object();
	cleanup_json json_t *schema = NULL;
	struct json_problem problem = {0};
	int r;

	r = json_parse_object(entry->text, entry->size, &schema, &problem);
	if (r > 0)
		return refuse(reterr_refusal, REFUSAL_BAD_SCHEMA,
			      "%s: %s; expected a JSON Schema object", entry->name, problem.text);
	if (r == 0)
		r = merged ? merge_config(schema, config, merged) : -ENOMEM;
	if (r < 0)
		return r;
	*ret_text = json_to_canonical(merged);
	return *ret_text ? 0 : -ENOMEM;
}

static int add_config(struct plan *plan, const struct bundle *bundle,
		      const struct plan_config *config, struct refusal *reterr_refusal)
{
	cleanup_free char *text = NULL;
	char path[128];
	int r = make_config(bundle, config, &text, reterr_refusal);

	if (r != 0)
		return r;
	(void)snprintf(path, sizeof(path), PLAN_CONFIG_BASE "/%s.json", plan->identity.id);
	r = plan_add_directory(plan, "/etc/affix", true);
	if (r == 0)
		r = plan_add_directory(plan, PLAN_CONFIG_BASE, true);
	return r < 0 ? r : plan_add_text(plan, path, 0600, text);
}

int plan_renew_config(struct plan *plan, const struct bundle *bundle,
		      const struct plan_config *config, bool *ret_changed,
		      struct refusal *reterr_refusal)
{
	struct plan_object *object = NULL;
	cleanup_free char *text = NULL;
	int r;

	for (size_t i = 0; i < plan->n_objects; i++) {
		if (path_is_below(plan->objects[i].path, PLAN_CONFIG_BASE) &&
		    plan->objects[i].type == PLAN_FILE)
			object = &plan->objects[i];
	}
	if (!object)
		return -EBADMSG;
	r = make_config(bundle, config, &text, reterr_refusal);
	if (r != 0)
		return r;
	*ret_changed = strcmp(text, object->content) != 0;
	free(object->content);
	object->content = TAKE_PTR(text);
	object->size = strlen(object->content);
	digest_of(object->content, object->size, &object->digest);
	return 0;
}

static int check_supported(const struct manifest *manifest, struct refusal *reterr_refusal)
{
	if (manifest->delivery != MANIFEST_DELIVERY_PUSHED_ARTIFACT)
		return refuse(
			reterr_refusal, REFUSAL_UNSUPPORTED,
			"'%s' has delivery '%s', a bundle can only carry 'pushed-artifact'; change the manifest",
			manifest->id, manifest_delivery_to_string(manifest->delivery));
	if (manifest->supervision != MANIFEST_SUPERVISION_SYSTEMD_SERVICE &&
	    manifest->supervision != MANIFEST_SUPERVISION_SYSTEMD_TIMER)
		return refuse(
			reterr_refusal, REFUSAL_UNSUPPORTED,
			"'%s' has supervision '%s', this affix supervises 'systemd-service' and 'systemd-timer'; change the manifest",
			manifest->id, manifest_supervision_to_string(manifest->supervision));
	return 0;
}

/* What stands outside the version directory, in the order in which it can be made. */
static int add_host_objects(struct plan *plan, const struct bundle *bundle,
			    const struct host_policy *policy, const struct plan_config *config,
			    struct refusal *reterr_refusal)
{
	int r = plan_add_directory(plan, "/etc", true);

	if (r == 0)
		r = add_sysusers(plan);
	if (r == 0)
		r = add_tmpfiles(plan, bundle->manifest);
	if (r == 0)
		r = add_config(plan, bundle, config, reterr_refusal);
	if (r == 0)
		r = plan_add_units(plan, bundle, policy, reterr_refusal);
	return r;
}

/* A plan that a record could not be read with would end in the middle of what was begun. */
static int check_kept(const struct plan *plan, struct refusal *reterr_refusal)
{
	cleanup_plan struct plan *again = NULL;
	cleanup_json json_t *json = plan_to_json(plan);
	struct json_problem problem = {0};
	int r;

	if (!json)
		return -ENOMEM;
	r = plan_from_json(json, &again, &problem);
	return r <= 0 ? r
		      : refuse(reterr_refusal, REFUSAL_UNSUPPORTED,
			       "the plan of '%s' %s cannot be kept on a host: %s; its author has to change the add-on",
			       plan->identity.id, plan->identity.version, problem.text);
}

int plan_make(const struct bundle *bundle, const struct host_policy *policy,
	      const struct plan_config *config, const struct plan_narrowing *narrowing,
	      struct plan **ret, struct refusal *reterr_refusal)
{
	cleanup_plan struct plan *plan = calloc(1, sizeof(*plan));
	int r;

	if (!plan)
		return -ENOMEM;
	plan->identity = bundle->identity;
	plan->bundle = bundle->digest;
	memcpy(plan->key_id, bundle->key_id, sizeof(plan->key_id));
	r = check_supported(bundle->manifest, reterr_refusal);
	if (r == 0)
		r = set_capabilities(plan, bundle->manifest, policy, narrowing, reterr_refusal);
	if (r == 0)
		r = set_user(plan, bundle->manifest, policy, reterr_refusal);
	if (r == 0)
		r = set_limits(plan, bundle->manifest, &narrowing->limits, reterr_refusal);
	if (r == 0)
		r = copy_manifest(plan, bundle->manifest);
	if (r == 0)
		r = add_version(plan, bundle);
	if (r == 0)
		r = add_current(plan);
	if (r == 0)
		r = add_host_objects(plan, bundle, policy, config, reterr_refusal);
	if (r == 0)
		r = check_kept(plan, reterr_refusal);
	if (r == 0)
		*ret = TAKE_PTR(plan);
	return r;
}
