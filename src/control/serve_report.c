/* SPDX-License-Identifier: Apache-2.0 */

/* From a report on the link to a call of the fleet: other structs, the same bytes. */

#include "control/serve_report.h"

#include <errno.h>
#include <stdlib.h>

static struct fleet_bytes bytes_of(ProtobufCBinaryData data)
{
	return (struct fleet_bytes){data.data, data.len};
}

/* The lists of a report in the fleet's form, freed together. */
struct lists {
	struct fleet_attribute *attributes;
	struct fleet_health *health;
	struct fleet_package_status *packages;
	struct fleet_config_entry *config;
};

static void lists_done(struct lists *lists)
{
	free(lists->attributes);
	free(lists->health);
	free(lists->packages);
	free(lists->config);
}

static int take_description(const Link__Description *from, struct lists *lists,
			    struct fleet_report *report)
{
	size_t n;

	if (!from)
		return 0;
	n = from->n_identifying + from->n_non_identifying;
	lists->attributes = calloc(n + 1, sizeof(*lists->attributes));
	if (!lists->attributes)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		bool is_identifying = i < from->n_identifying;
		const Link__Attribute *attribute =
			is_identifying ? from->identifying[i]
				       : from->non_identifying[i - from->n_identifying];

		lists->attributes[i] =
			(struct fleet_attribute){attribute->key, attribute->value, is_identifying};
	}
	report->has_description = true;
	report->attributes = lists->attributes;
	report->n_attributes = n;
	return 0;
}

static int take_health(const Link__Health *from, struct lists *lists, struct fleet_report *report)
{
	if (!from)
		return 0;
	lists->health = calloc(from->n_entries + 1, sizeof(*lists->health));
	if (!lists->health)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_entries; i++) {
		const Link__HealthEntry *entry = from->entries[i];

		lists->health[i] =
			(struct fleet_health){entry->path, entry->healthy, entry->status,
					      entry->last_error, entry->start_time_unix_nano};
	}
	report->has_health = true;
	report->health = lists->health;
	report->n_health = from->n_entries;
	return 0;
}

static int take_packages(const Link__PackageStatuses *from, struct lists *lists,
			 struct fleet_report *report)
{
	if (!from)
		return 0;
	lists->packages = calloc(from->n_packages + 1, sizeof(*lists->packages));
	if (!lists->packages)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_packages; i++) {
		const Link__PackageStatus *package = from->packages[i];

		lists->packages[i] = (struct fleet_package_status){
			.name = package->name,
			.has_version = package->agent_version,
			.has_hash = bytes_of(package->agent_hash),
			.offered_version = package->offered_version,
			.offered_hash = bytes_of(package->offered_hash),
			.status = package->status,
			.error = package->error,
		};
	}
	report->has_packages = true;
	report->packages = lists->packages;
	report->n_packages = from->n_packages;
	report->packages_hash = bytes_of(from->all_packages_hash);
	report->packages_error = from->error;
	return 0;
}

static int take_config(const Link__EffectiveConfig *from, struct lists *lists,
		       struct fleet_report *report)
{
	if (!from)
		return 0;
	lists->config = calloc(from->n_files + 1, sizeof(*lists->config));
	if (!lists->config)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_files; i++)
		lists->config[i] = (struct fleet_config_entry){from->files[i]->name,
							       from->files[i]->content_type,
							       bytes_of(from->files[i]->body)};
	report->has_effective_config = true;
	report->effective_config = lists->config;
	report->n_effective_config = from->n_files;
	return 0;
}

static void take_plain_parts(const Link__AgentReport *from, struct fleet_report *report)
{
	const Link__RemoteConfigStatus *status = from->remote_config_status;

	if (status) {
		report->has_config_status = true;
		report->config_hash = bytes_of(status->last_hash);
		report->config_status = status->status;
		report->config_error = status->error;
	}
	if (from->custom_capabilities) {
		report->has_custom_capabilities = true;
		report->custom_capabilities = (const char *const *)from->custom_capabilities->names;
		report->n_custom_capabilities = from->custom_capabilities->n_names;
	}
	if (from->custom_message) {
		report->has_custom_message = true;
		report->custom_capability = from->custom_message->capability;
		report->custom_type = from->custom_message->type;
		report->custom_data = bytes_of(from->custom_message->data);
	}
}

int serve_report(struct fleet *fleet, unsigned front, const Link__AgentReport *from)
{
	CLEANUP(lists_done) struct lists lists = {0};
	struct fleet_report report = {
		.connection = FLEET_CONNECTION(front, from->connection),
		.sequence = from->sequence_num,
		.is_after_gap = from->is_after_gap,
		.capabilities = from->capabilities,
		.flags = from->flags,
		.disconnect = from->is_disconnect,
	};
	int r;

	take_plain_parts(from, &report);
	r = take_description(from->description, &lists, &report);
	if (r == 0)
		r = take_health(from->health, &lists, &report);
	if (r == 0)
		r = take_packages(from->package_statuses, &lists, &report);
	if (r == 0)
		r = take_config(from->effective_config, &lists, &report);
	return r == 0 ? fleet_report(fleet, &report) : r;
}
