/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From OpAMP's messages to the link's. The one nests as deep as its author likes (within what
 * opamp/decode.h allows), the other is flat: values become text, the health tree a list of paths.
 * Nothing is judged here. A component's key may hold a '/', which only makes its path ambiguous to
 * those who read it as one.
 */

#include "control/front_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define HEALTH_ENTRIES_MAX 4096U
#define HEALTH_PATH_MAX    512U /* children repeat it: without a bound, memory would multiply */

/* All that one frame is made of, freed together. */
struct piece {
	struct piece *next;
	max_align_t bytes[];
};

struct scratch {
	struct piece *pieces;
};

static void scratch_done(struct scratch *scratch)
{
	while (scratch->pieces) {
		struct piece *piece = scratch->pieces;

		scratch->pieces = piece->next;
		free(piece);
	}
}

static void *take(struct scratch *scratch, size_t n, size_t size)
{
	struct piece *piece;
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(struct piece), &bytes))
		return NULL;
	piece = calloc(1, bytes);
	if (!piece)
		return NULL;
	piece->next = scratch->pieces;
	scratch->pieces = piece;
	return piece->bytes;
}

/* A list of pointers to *n* new messages of *size* bytes behind it. NULL: no memory. */
static void *take_list(struct scratch *scratch, size_t n, size_t size)
{
	void **list = take(scratch, n + 1, sizeof(*list));
	char *items = take(scratch, n, size);

	if (!list || !items)
		return NULL;
	for (size_t i = 0; i < n; i++)
		list[i] = items + i * size;
	return list;
}

static char *keep_text(struct scratch *scratch, char *text)
{
	size_t size = text ? strlen(text) + 1 : 0;
	char *kept = text ? take(scratch, 1, size) : NULL;

	if (kept)
		memcpy(kept, text, size);
	return kept;
}

static char *text_of_number(struct scratch *scratch, const Opamp__Proto__AnyValue *value)
{
	cleanup_free char *text = NULL;
	int r;

	if (value->value_case == OPAMP__PROTO__ANY_VALUE__VALUE_INT_VALUE)
		r = str_format(&text, "%" PRId64, value->int_value);
	else
		r = str_format(&text, "%g", value->double_value);
	return r < 0 ? NULL : keep_text(scratch, text);
}

static const char *text_of_value(struct scratch *scratch, const Opamp__Proto__AnyValue *value)
{
	switch (value ? value->value_case : OPAMP__PROTO__ANY_VALUE__VALUE__NOT_SET) {
	case OPAMP__PROTO__ANY_VALUE__VALUE_STRING_VALUE:
		return value->string_value;
	case OPAMP__PROTO__ANY_VALUE__VALUE_BOOL_VALUE:
		return value->bool_value ? "true" : "false";
	case OPAMP__PROTO__ANY_VALUE__VALUE_INT_VALUE:
	case OPAMP__PROTO__ANY_VALUE__VALUE_DOUBLE_VALUE:
		return text_of_number(scratch, value);
	default:
		/* Lists, maps and bytes are nothing that a host is chosen by. */
		return "";
	}
}

static int add_attributes(struct scratch *scratch, Opamp__Proto__KeyValue *const *from, size_t n,
			  Link__Attribute ***ret)
{
	Link__Attribute **list = take_list(scratch, n, sizeof(**list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const char *value;

		link__attribute__init(list[i]);
		list[i]->key = from[i]->key;
		value = text_of_value(scratch, from[i]->value);
		if (!value)
			return -ENOMEM;
		list[i]->value = (char *)value;
	}
	*ret = list;
	return 0;
}

static int add_description(struct scratch *scratch, const Opamp__Proto__AgentDescription *from,
			   Link__AgentReport *report)
{
	Link__Description *to;
	int r;

	if (!from)
		return 0;
	to = take(scratch, 1, sizeof(*to));
	if (!to)
		return -ENOMEM;
	link__description__init(to);
	to->n_identifying = from->n_identifying_attributes;
	r = add_attributes(scratch, from->identifying_attributes, to->n_identifying,
			   &to->identifying);
	to->n_non_identifying = from->n_non_identifying_attributes;
	if (r == 0)
		r = add_attributes(scratch, from->non_identifying_attributes, to->n_non_identifying,
				   &to->non_identifying);
	report->description = to;
	return r;
}

static size_t count_health(const Opamp__Proto__ComponentHealth *from)
{
	size_t n = 1;

	for (size_t i = 0; from && i < from->n_component_health_map; i++)
		n += count_health(from->component_health_map[i]->value);
	return n;
}

static char *join_path(struct scratch *scratch, const char *parent, const char *key)
{
	cleanup_free char *path = NULL;

	if (*parent == '\0')
		return keep_text(scratch, (char *)key);
	return str_format(&path, "%s/%s", parent, key) < 0 ? NULL : keep_text(scratch, path);
}

/* Parents before children; the recursion is as deep as the decoder allows, which is little. */
static int add_health_node(struct scratch *scratch, const Opamp__Proto__ComponentHealth *from,
			   char *path, Link__Health *to)
{
	Link__HealthEntry *entry = to->entries[to->n_entries++];

	link__health_entry__init(entry);
	entry->path = path;
	if (!from)
		return 0;
	entry->healthy = from->healthy;
	entry->status = from->status;
	entry->last_error = from->last_error;
	entry->start_time_unix_nano = from->start_time_unix_nano;
	entry->status_time_unix_nano = from->status_time_unix_nano;
	for (size_t i = 0; i < from->n_component_health_map; i++) {
		const Opamp__Proto__ComponentHealth__ComponentHealthMapEntry *child =
			from->component_health_map[i];
		char *below;
		int r;

		if (strlen(path) + strlen(child->key) >= HEALTH_PATH_MAX)
			return 1;
		below = join_path(scratch, path, child->key);
		r = below ? add_health_node(scratch, child->value, below, to) : -ENOMEM;
		if (r != 0)
			return r;
	}
	return 0;
}

static int add_health(struct scratch *scratch, const Opamp__Proto__ComponentHealth *from,
		      Link__AgentReport *report)
{
	size_t n = count_health(from);
	Link__Health *to;

	if (!from)
		return 0;
	if (n > HEALTH_ENTRIES_MAX)
		return 1;
	to = take(scratch, 1, sizeof(*to));
	if (!to)
		return -ENOMEM;
	link__health__init(to);
	to->entries = take_list(scratch, n, sizeof(**to->entries));
	if (!to->entries)
		return -ENOMEM;
	report->health = to;
	return add_health_node(scratch, from, (char *)protobuf_c_empty_string, to);
}

static int add_config_status(struct scratch *scratch, const Opamp__Proto__RemoteConfigStatus *from,
			     Link__AgentReport *report)
{
	Link__RemoteConfigStatus *to;

	if (!from)
		return 0;
	to = take(scratch, 1, sizeof(*to));
	if (!to)
		return -ENOMEM;
	link__remote_config_status__init(to);
	to->last_hash = from->last_remote_config_hash;
	to->status = from->status;
	to->error = from->error_message;
	report->remote_config_status = to;
	return 0;
}

static int add_effective_config(struct scratch *scratch, const Opamp__Proto__EffectiveConfig *from,
				Link__AgentReport *report)
{
	size_t n = from && from->config_map ? from->config_map->n_config_map : 0;
	Link__EffectiveConfig *to;

	if (!from)
		return 0;
	to = take(scratch, 1, sizeof(*to));
	if (!to)
		return -ENOMEM;
	link__effective_config__init(to);
	to->files = take_list(scratch, n, sizeof(**to->files));
	if (!to->files)
		return -ENOMEM;
	for (; to->n_files < n; to->n_files++) {
		const Opamp__Proto__AgentConfigFile *file =
			from->config_map->config_map[to->n_files]->value;

		link__config_file__init(to->files[to->n_files]);
		to->files[to->n_files]->name = from->config_map->config_map[to->n_files]->key;
		if (!file)
			continue;
		to->files[to->n_files]->body = file->body;
		to->files[to->n_files]->content_type = file->content_type;
	}
	report->effective_config = to;
	return 0;
}

static void fill_package(const Opamp__Proto__PackageStatus *from, char *key,
			 Link__PackageStatus *to)
{
	link__package_status__init(to);
	to->name = key;
	if (!from)
		return;
	to->agent_version = from->agent_has_version;
	to->agent_hash = from->agent_has_hash;
	to->offered_version = from->server_offered_version;
	to->offered_hash = from->server_offered_hash;
	to->status = from->status;
	to->error = from->error_message;
}

static int add_packages(struct scratch *scratch, const Opamp__Proto__PackageStatuses *from,
			Link__AgentReport *report)
{
	Link__PackageStatuses *to;

	if (!from)
		return 0;
	to = take(scratch, 1, sizeof(*to));
	if (!to)
		return -ENOMEM;
	link__package_statuses__init(to);
	to->packages = take_list(scratch, from->n_packages, sizeof(**to->packages));
	if (!to->packages)
		return -ENOMEM;
	for (; to->n_packages < from->n_packages; to->n_packages++)
		fill_package(from->packages[to->n_packages]->value,
			     from->packages[to->n_packages]->key, to->packages[to->n_packages]);
	to->all_packages_hash = from->server_provided_all_packages_hash;
	to->error = from->error_message;
	report->package_statuses = to;
	return 0;
}

static int add_custom(struct scratch *scratch, const Opamp__Proto__AgentToServer *from,
		      Link__AgentReport *report)
{
	if (from->custom_capabilities) {
		Link__CustomCapabilities *to = take(scratch, 1, sizeof(*to));

		if (!to)
			return -ENOMEM;
		link__custom_capabilities__init(to);
		to->names = from->custom_capabilities->capabilities;
		to->n_names = from->custom_capabilities->n_capabilities;
		report->custom_capabilities = to;
	}
	if (from->custom_message) {
		Link__CustomMessage *to = take(scratch, 1, sizeof(*to));

		if (!to)
			return -ENOMEM;
		link__custom_message__init(to);
		to->capability = from->custom_message->capability;
		to->type = from->custom_message->type;
		to->data = from->custom_message->data;
		report->custom_message = to;
	}
	return 0;
}

static int fill(struct scratch *scratch, const Opamp__Proto__AgentToServer *from,
		Link__AgentReport *to)
{
	int r;

	to->instance_uid = from->instance_uid;
	to->sequence_num = from->sequence_num;
	to->capabilities = from->capabilities;
	to->flags = from->flags;
	to->is_disconnect = from->agent_disconnect != NULL;
	to->wants_connection_settings = from->connection_settings_request != NULL;
	r = add_description(scratch, from->agent_description, to);
	if (r == 0)
		r = add_health(scratch, from->health, to);
	if (r == 0)
		r = add_config_status(scratch, from->remote_config_status, to);
	if (r == 0)
		r = add_effective_config(scratch, from->effective_config, to);
	if (r == 0)
		r = add_packages(scratch, from->package_statuses, to);
	if (r == 0)
		r = add_custom(scratch, from, to);
	return r;
}

int report_send(struct link *link, const struct report *report)
{
	CLEANUP(scratch_done) struct scratch scratch = {0};
	Link__AgentReport body = LINK__AGENT_REPORT__INIT;
	Link__Frame frame = LINK__FRAME__INIT;
	int r;

	body.connection = report->connection;
	body.is_after_gap = report->is_after_gap;
	r = fill(&scratch, report->message, &body);
	if (r != 0)
		return r;
	frame.body_case = LINK__FRAME__BODY_AGENT_REPORT;
	frame.agent_report = &body;
	r = link_send(link, &frame);
	return r == -EMSGSIZE ? 1 : r;
}

bool report_is_heartbeat(const Opamp__Proto__AgentToServer *message)
{
	return message->flags == 0 && !message->agent_description && !message->health &&
	       !message->effective_config && !message->remote_config_status &&
	       !message->package_statuses && !message->agent_disconnect &&
	       !message->connection_settings_request && !message->custom_capabilities &&
	       !message->custom_message && !message->available_components &&
	       !message->connection_settings_status;
}
