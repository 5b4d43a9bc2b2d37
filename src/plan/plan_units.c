/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The units of a plan. A unit's bytes are the bundle's, verbatim; what the host grants is restated
 * in a drop-in that sorts behind every other one, so that the unit policy's parser is not trusted
 * alone.
 */

#include "plan/plan_units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "plan/plan_objects.h"
#include "plan/plan_paths.h"
#include "unit/unit_file.h"
#include "unit/unit_install.h"
#include "unit/unit_policy.h"

/* The parsed units of a bundle, beside their names. */
struct unit_set {
	struct strv names;
	struct unit_file *files[BUNDLE_ENTRIES_MAX];
	size_t count;
};

static void unit_set_done(struct unit_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		(void)unit_file_free(set->files[i]);
	strv_done(&set->names);
}

static int parse_units(const struct bundle *bundle, struct unit_set *set,
		       struct diagnostics *diagnostics)
{
	for (size_t i = 0; i < bundle->n_entries; i++) {
		const struct bundle_entry *entry = &bundle->entries[i];
		struct unit_file *file = NULL;
		int r;

		if (!bundle_is_unit_name(entry->name))
			continue;
		r = unit_file_parse(entry->text, entry->size, entry->name, &file, diagnostics);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		set->files[set->count++] = file;
		r = strv_add(&set->names, entry->name);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_units(const struct unit_set *set, const struct bundle *bundle,
		       const struct host_policy *policy, const char **ret_primary,
		       struct diagnostics *diagnostics)
{
	const struct unit_context context = {
		.manifest = bundle->manifest,
		.units = &set->names,
		.files = (const struct unit_file *const *)set->files,
		.policy = policy,
	};

	for (size_t i = 0; i < set->count; i++) {
		int r = unit_policy_check(set->files[i], set->names.items[i], &context,
					  diagnostics);

		if (r < 0)
			return r;
	}
	if (diagnostics->count > 0)
		return 1;
	return unit_policy_primary(&set->names, (const struct unit_file *const *)set->files,
				   bundle->manifest, ret_primary, diagnostics);
}

static int add_capabilities(struct buffer *text, const char *directive, uint64_t mask)
{
	int r = buffer_format(text, "%s=\n", directive);

	for (int bit = 0; r == 0 && bit < 64; bit++) {
		if (mask & (1ULL << bit))
			r = buffer_format(text, "%s=%s\n", directive,
					  manifest_capability_to_string(bit));
	}
	return r;
}

/*
 * RestrictSUIDSGID= implies no new privileges for a user other than root, and with that file
 * capabilities are void (measured with systemd 252). Group= is emptied for a user that the add-on
 * does not own: systemd then takes the user's own. */
static int make_policy_drop_in(const struct plan *plan, struct buffer *text)
{
	bool own_user = plan_owns_user(plan);
	int r;

	r = buffer_format(
		text,
		"# What affix granted to this add-on, restated. Changes here are undone by 'affix repair'.\n"
		"[Service]\nUser=%s\nGroup=%s\nSupplementaryGroups=\nNoNewPrivileges=%s\nRestrictSUIDSGID=%s\n",
		plan->user, own_user ? plan->user : "", plan->file_capabilities ? "no" : "yes",
		plan->file_capabilities ? "no" : "yes");
	if (r == 0)
		r = add_capabilities(text, "CapabilityBoundingSet", plan->capabilities);
	if (r == 0)
		r = add_capabilities(text, "AmbientCapabilities",
				     plan->file_capabilities ? 0 : plan->capabilities);
	return r;
}

static int make_resources_drop_in(const struct plan *plan, const struct manifest *manifest,
				  struct buffer *text)
{
	const struct manifest_limits *limits = &plan->limits;
	int r = buffer_format(
		text,
		"# Configuration and limits. Changes here are undone by 'affix repair'.\n"
		"[Service]\nLoadCredential=config:" PLAN_CONFIG_BASE "/%s.json\n",
		plan->identity.id);

	if (r == 0 && limits->cpu_max_percent > 0)
		r = buffer_format(text, "CPUQuota=%llu%%\n",
				  (unsigned long long)limits->cpu_max_percent);
	if (r == 0 && limits->memory_high_bytes > 0)
		r = buffer_format(text, "MemoryHigh=%llu\n",
				  (unsigned long long)limits->memory_high_bytes);
	if (r == 0 && limits->memory_max_bytes > 0)
		r = buffer_format(text, "MemoryMax=%llu\n",
				  (unsigned long long)limits->memory_max_bytes);
	if (r == 0 && limits->tasks_max > 0)
		r = buffer_format(text, "TasksMax=%llu\n", (unsigned long long)limits->tasks_max);
	if (r == 0 && manifest->slice)
		r = buffer_format(text, "Slice=%s\n", manifest->slice);
	return r;
}

static int add_drop_ins(struct plan *plan, const char *unit, const struct manifest *manifest)
{
	cleanup_buffer struct buffer resources = BUFFER_INIT;
	cleanup_buffer struct buffer policy = BUFFER_INIT;
	char path[512];
	int r;

	r = make_resources_drop_in(plan, manifest, &resources);
	if (r == 0)
		r = make_policy_drop_in(plan, &policy);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), PLAN_UNIT_BASE "/%s.d", unit);
	r = plan_add_directory(plan, path, true);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), PLAN_UNIT_BASE "/%s.d/50-affix.conf", unit);
	r = plan_add_text(plan, path, 0644, resources.data);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), PLAN_UNIT_BASE "/%s.d/zz-affix-policy.conf", unit);
	return plan_add_text(plan, path, 0644, policy.data);
}

static int add_enablement(struct plan *plan, const struct unit_file *file, const char *unit)
{
	cleanup_strv struct strv links = STRV_INIT;
	char target[512];
	int r;

	r = unit_install_links(file, unit, &links);
	(void)snprintf(target, sizeof(target), PLAN_UNIT_BASE "/%s", unit);
	for (size_t i = 0; r == 0 && i < links.count; i++) {
		const char *name = path_last_name(links.items[i]);
		cleanup_free char *directory =
			strndup(links.items[i], (size_t)(name - links.items[i]) - 1);

		if (!directory)
			return -ENOMEM;
		r = plan_add_directory(plan, directory, true);
		if (r == 0)
			r = plan_add_link(plan, links.items[i], target);
	}
	return r;
}

static int add_unit(struct plan *plan, const char *name, bool is_primary)
{
	struct plan_unit *larger = reallocarray(plan->units, plan->n_units + 1, sizeof(*larger));
	struct plan_unit *unit;

	if (!larger)
		return -ENOMEM;
	plan->units = larger;
	unit = &larger[plan->n_units++];
	*unit = (struct plan_unit){
		.name = strdup(name),
		.is_timer = str_ends_with(name, ".timer"),
		.is_primary = is_primary,
	};
	return unit->name ? 0 : -ENOMEM;
}

static int add_unit_objects(struct plan *plan, const struct bundle *bundle,
			    const struct unit_set *set, const char *primary)
{
	int r = plan_add_directory(plan, "/etc/systemd", true);

	if (r == 0)
		r = plan_add_directory(plan, PLAN_UNIT_BASE, true);
	for (size_t i = 0; r == 0 && i < set->count; i++) {
		const char *name = set->names.items[i];
		char path[512];

		(void)snprintf(path, sizeof(path), PLAN_UNIT_BASE "/%s", name);
		r = plan_add_text(plan, path, 0644, bundle_find(bundle, name)->text);
		if (r == 0)
			r = add_unit(plan, name, strcmp(name, primary) == 0);
		if (r == 0 && str_ends_with(name, ".service"))
			r = add_drop_ins(plan, name, bundle->manifest);
		if (r == 0)
			r = add_enablement(plan, set->files[i], name);
	}
	return r;
}

static int read_units(const struct bundle *bundle, const struct host_policy *policy,
		      struct unit_set *set, const char **ret_primary,
		      struct refusal *reterr_refusal)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	int r;

	r = parse_units(bundle, set, &diagnostics);
	if (r < 0)
		return r;
	r = check_units(set, bundle, policy, ret_primary, &diagnostics);
	if (r < 0 || diagnostics.count == 0)
		return r;
	diagnostics_sort(&diagnostics);
	return diagnostics_refuse(&diagnostics, reterr_refusal);
}

int plan_check_units(const struct bundle *bundle, const struct host_policy *policy,
		     struct refusal *reterr_refusal)
{
	CLEANUP(unit_set_done) struct unit_set set = {0};
	const char *primary = NULL;

	return read_units(bundle, policy, &set, &primary, reterr_refusal);
}

int plan_add_units(struct plan *plan, const struct bundle *bundle, const struct host_policy *policy,
		   struct refusal *reterr_refusal)
{
	CLEANUP(unit_set_done) struct unit_set set = {0};
	const char *primary = NULL;
	int r = read_units(bundle, policy, &set, &primary, reterr_refusal);

	if (r != 0)
		return r;
	/* Where nothing is wrong, one of them is the primary. */
	return primary ? add_unit_objects(plan, bundle, &set, primary) : -EBADMSG;
}
