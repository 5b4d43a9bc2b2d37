/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the server is told, in OpAMP's messages. Every number in them changes only when something
 * happened, so that a report which is the same is the same bytes, and is not sent.
 */

#include "agent/report.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "agent/report_status.h"
#include "base/json.h"
#include "manifest/manifest.h"

#define NANOSECONDS      1000000000ULL
#define ATTRIBUTES_MAX   80U
#define HOST_NAME_SIZE   256U
#define EFFECTIVE_MAX    (256UL * 1024)
#define AGENT_ABILITIES  "systemd-service,systemd-timer"
#define CAPABILITY(name) OPAMP__PROTO__AGENT_CAPABILITIES__AgentCapabilities_##name

uint64_t report_capabilities(void)
{
	return (uint64_t)CAPABILITY(ReportsStatus) | CAPABILITY(AcceptsRemoteConfig) |
	       CAPABILITY(ReportsEffectiveConfig) | CAPABILITY(AcceptsPackages) |
	       CAPABILITY(ReportsPackageStatuses) | CAPABILITY(AcceptsOpAMPConnectionSettings) |
	       CAPABILITY(ReportsHealth) | CAPABILITY(ReportsRemoteConfig) |
	       CAPABILITY(ReportsHeartbeat) | CAPABILITY(ReportsConnectionSettingsStatus);
}

/* Attributes of a description; the pointers are into the struct itself. */
struct attributes {
	Opamp__Proto__KeyValue keys[ATTRIBUTES_MAX];
	Opamp__Proto__AnyValue values[ATTRIBUTES_MAX];
	Opamp__Proto__KeyValue *list[ATTRIBUTES_MAX];
	char *labels[ATTRIBUTES_MAX]; /* owned keys */
	size_t count;
	size_t n_labels;
};

static void attributes_done(struct attributes *attributes)
{
	for (size_t i = 0; i < attributes->n_labels; i++)
		free(attributes->labels[i]);
}

static void add_attribute(struct attributes *attributes, const char *key, const char *value)
{
	size_t i = attributes->count;

	if (i == ATTRIBUTES_MAX)
		return;
	opamp__proto__key_value__init(&attributes->keys[i]);
	opamp__proto__any_value__init(&attributes->values[i]);
	attributes->keys[i].key = (char *)key;
	attributes->keys[i].value = &attributes->values[i];
	attributes->values[i].value_case = OPAMP__PROTO__ANY_VALUE__VALUE_STRING_VALUE;
	attributes->values[i].string_value = (char *)value;
	attributes->list[i] = &attributes->keys[i];
	attributes->count++;
}

static int add_labels(struct attributes *attributes, json_t *labels)
{
	const char *key;
	json_t *value;

	json_object_foreach(labels, key, value)
	{
		char **label = &attributes->labels[attributes->n_labels];

		if (attributes->count == ATTRIBUTES_MAX)
			return 0;
		if (str_format(label, "affix.label.%s", key) < 0)
			return -ENOMEM;
		attributes->n_labels++;
		add_attribute(attributes, *label, json_string_value(value));
	}
	return 0;
}

static int set_custom_capabilities(struct opamp_client *client)
{
	Opamp__Proto__CustomCapabilities capabilities = OPAMP__PROTO__CUSTOM_CAPABILITIES__INIT;
	char *list[] = {(char *)REPORT_CAPABILITY};

	capabilities.n_capabilities = ARRAY_SIZE(list);
	capabilities.capabilities = list;
	return opamp_client_set(client, OPAMP_PART_CUSTOM_CAPABILITIES, &capabilities);
}

int report_describe(struct opamp_client *client, const struct config *config)
{
	Opamp__Proto__AgentDescription description = OPAMP__PROTO__AGENT_DESCRIPTION__INIT;
	CLEANUP(attributes_done) struct attributes who = {.count = 0};
	CLEANUP(attributes_done) struct attributes where = {.count = 0};
	char name[HOST_NAME_SIZE] = "";
	char uid[2 * OPAMP_UID_SIZE + 1];
	int r;

	(void)sodium_bin2hex(uid, sizeof(uid), opamp_client_uid(client), OPAMP_UID_SIZE);
	add_attribute(&who, "service.name", "io.affix.agent");
	add_attribute(&who, "service.version", AFFIX_VERSION);
	add_attribute(&who, "service.instance.id", uid);
	if (gethostname(name, sizeof(name) - 1) == 0 && str_is_utf8(name, strlen(name)))
		add_attribute(&where, "host.name", name);
	add_attribute(&where, "os.type", "linux");
	add_attribute(&where, "host.arch", manifest_native_arch());
	add_attribute(&where, "affix.capabilities", AGENT_ABILITIES);
	r = add_labels(&where, config->labels);
	if (r < 0)
		return r;
	description.n_identifying_attributes = who.count;
	description.identifying_attributes = who.list;
	description.n_non_identifying_attributes = where.count;
	description.non_identifying_attributes = where.list;
	r = opamp_client_set(client, OPAMP_PART_DESCRIPTION, &description);
	return r < 0 ? r : set_custom_capabilities(client);
}

/* The messages about one add-on, side by side. */
struct entry {
	Opamp__Proto__ComponentHealth__ComponentHealthMapEntry health_entry;
	Opamp__Proto__ComponentHealth health;
	Opamp__Proto__PackageStatuses__PackagesEntry package_entry;
	Opamp__Proto__PackageStatus package;
	uint8_t has_hash[OFFER_HASH_MAX];
	uint8_t offered_hash[OFFER_HASH_MAX];
};

static ProtobufCBinaryData from_hex(const char *hex, uint8_t bytes[OFFER_HASH_MAX])
{
	size_t size = 0;

	if (!hex || sodium_hex2bin(bytes, OFFER_HASH_MAX, hex, strlen(hex), NULL, &size, NULL) != 0)
		size = 0;
	return (ProtobufCBinaryData){.len = size, .data = bytes};
}

static Opamp__Proto__PackageStatusEnum package_status(const struct report_input *input,
						      const struct step *step,
						      const struct addon_state *state)
{
	bool is_active = strcmp(input->active_id, step->id) == 0;

	if (is_active && input->activity == ACTIVITY_DOWNLOADING)
		return OPAMP__PROTO__PACKAGE_STATUS_ENUM__PackageStatusEnum_Downloading;
	if (is_active && input->activity == ACTIVITY_WORKING)
		return OPAMP__PROTO__PACKAGE_STATUS_ENUM__PackageStatusEnum_Installing;
	if (state->is_failed || strcmp(state->name, "bad-offer") == 0)
		return OPAMP__PROTO__PACKAGE_STATUS_ENUM__PackageStatusEnum_InstallFailed;
	return step->kind == STEP_INSTALL || step->kind == STEP_CONFIGURE ||
			       step->kind == STEP_ROLLBACK || step->kind == STEP_WAIT
		       ? OPAMP__PROTO__PACKAGE_STATUS_ENUM__PackageStatusEnum_InstallPending
		       : OPAMP__PROTO__PACKAGE_STATUS_ENUM__PackageStatusEnum_Installed;
}

static void fill_package(const struct report_input *input, const struct step *step,
			 const struct memory_addon *memory, const struct addon_state *state,
			 struct entry *entry)
{
	const struct wanted *wanted = desired_find(input->desired, step->id);
	const struct host_addon *addon = host_find(input->host, step->id);
	Opamp__Proto__PackageStatus *package = &entry->package;

	package->name = (char *)step->id;
	package->status = package_status(input, step, state);
	if (addon && addon->is_installed && addon->version && addon->plan) {
		bool is_ours = memory && strcmp(memory->plan, addon->plan) == 0;

		package->agent_has_version = (char *)addon->version;
		package->agent_has_hash =
			from_hex(is_ours ? memory->package_hash : addon->plan, entry->has_hash);
	}
	if (wanted && wanted->is_offered && !wanted->problem) {
		package->server_offered_version = (char *)wanted->version;
		package->server_offered_hash = from_hex(wanted->hash, entry->offered_hash);
	}
	if (package->status == OPAMP__PROTO__PACKAGE_STATUS_ENUM__PackageStatusEnum_InstallFailed)
		package->error_message = (char *)state->reason;
}

static void fill_health(const struct addon_state *state, const struct memory_addon *memory,
			Opamp__Proto__ComponentHealth *health)
{
	uint64_t since = memory ? memory->since * NANOSECONDS : 0;

	health->healthy = state->is_healthy;
	health->status = (char *)state->word;
	health->status_time_unix_nano = since;
	health->start_time_unix_nano = state->is_healthy ? since : 0;
	if (!state->is_healthy)
		health->last_error = (char *)state->reason;
}

/* Lists of pointers to the entries, as protobuf-c wants its maps. */
struct lists {
	struct entry *entries;
	struct report_addon *addons;
	Opamp__Proto__ComponentHealth__ComponentHealthMapEntry **health;
	Opamp__Proto__PackageStatuses__PackagesEntry **packages;
	size_t count;
	size_t n_packages;
};

static void lists_done(struct lists *lists)
{
	free(lists->entries);
	free(lists->addons);
	free((void *)lists->health);
	free((void *)lists->packages);
}

static int lists_new(size_t count, struct lists *ret)
{
	ret->entries = calloc(count + 1, sizeof(*ret->entries));
	ret->addons = calloc(count + 1, sizeof(*ret->addons));
	ret->health = calloc(count + 1, sizeof(void *));
	ret->packages = calloc(count + 1, sizeof(void *));
	return ret->entries && ret->addons && ret->health && ret->packages ? 0 : -ENOMEM;
}

static void fill_entry(const struct report_input *input, struct memory *memory, size_t i,
		       struct lists *lists)
{
	const struct step *step = &input->result->steps[i];
	const struct wanted *wanted = desired_find(input->desired, step->id);
	const struct host_addon *addon = host_find(input->host, step->id);
	struct memory_addon *kept = memory_find(memory, step->id);
	bool is_active = strcmp(input->active_id, step->id) == 0;
	struct addon_state state = addon_state_judge(step, wanted, addon, kept,
						     is_active ? input->activity : ACTIVITY_NONE);
	const char *ipc_problem = addon_ipc_problem(input->ipc, step->id);
	struct entry *entry = &lists->entries[lists->count];

	/* What was here once and is neither here nor wanted any more is nobody's concern. */
	if (!is_active && step->kind == STEP_NONE && addon && !addon->is_installed &&
	    !(wanted && wanted->is_offered) && strcmp(addon->state, "not-installed") == 0)
		return;

	if (ipc_problem && state.is_healthy) {
		state.word = "degraded";
		state.name = "ipc";
		state.reason = ipc_problem;
		state.is_healthy = false;
	}
	if (kept && strcmp(kept->state, state.word) != 0) {
		(void)snprintf(kept->state, sizeof(kept->state), "%s", state.word);
		kept->since = input->now;
	}
	if (kept && addon)
		kept->restarts = addon->restarts;
	opamp__proto__component_health__component_health_map_entry__init(&entry->health_entry);
	opamp__proto__component_health__init(&entry->health);
	opamp__proto__package_statuses__packages_entry__init(&entry->package_entry);
	opamp__proto__package_status__init(&entry->package);
	fill_health(&state, kept, &entry->health);
	fill_package(input, step, kept, &state, entry);
	entry->health_entry.key = (char *)step->id;
	entry->health_entry.value = &entry->health;
	entry->package_entry.key = (char *)step->id;
	entry->package_entry.value = &entry->package;
	lists->health[lists->count] = &entry->health_entry;
	if ((addon && addon->is_installed) || (wanted && wanted->is_offered))
		lists->packages[lists->n_packages++] = &entry->package_entry;
	lists->addons[lists->count++] =
		(struct report_addon){.step = step,
				      .wanted = wanted,
				      .host = addon,
				      .memory = kept,
				      .events = json_object_get(input->events, step->id),
				      .state = state};
}

static int set_health(struct opamp_client *client, const struct report_input *input,
		      const struct lists *lists)
{
	Opamp__Proto__ComponentHealth health = OPAMP__PROTO__COMPONENT_HEALTH__INIT;
	const char *problem = input->overrides_problem;

	if (input->updater_problem[0] != '\0')
		problem = input->updater_problem;
	else if (input->state_problem[0] != '\0')
		problem = input->state_problem;
	else if (input->config_problem[0] != '\0')
		problem = input->config_problem;
	health.healthy = problem[0] == '\0';
	health.status = (char *)(problem[0] ? "degraded" : "running");
	health.last_error = (char *)problem;
	health.start_time_unix_nano = input->started * NANOSECONDS;
	health.status_time_unix_nano = input->started * NANOSECONDS;
	health.n_component_health_map = lists->count;
	health.component_health_map = lists->health;
	return opamp_client_set(client, OPAMP_PART_HEALTH, &health);
}

static int set_packages(struct opamp_client *client, const struct report_input *input,
			const struct lists *lists)
{
	Opamp__Proto__PackageStatuses statuses = OPAMP__PROTO__PACKAGE_STATUSES__INIT;
	const char *problem = offer_packages_problem(input->offer);
	uint8_t hash[OFFER_HASH_MAX];

	statuses.n_packages = lists->n_packages;
	statuses.packages = lists->packages;
	/* A server that sees another hash than its own offers anew. */
	if (!input->wants_offer)
		statuses.server_provided_all_packages_hash =
			from_hex(offer_packages_hash(input->offer), hash);
	if (input->offer_problem[0] != '\0')
		problem = input->offer_problem;
	if (problem)
		statuses.error_message = (char *)problem;
	return opamp_client_set(client, OPAMP_PART_PACKAGE_STATUSES, &statuses);
}

/* An add-on whose configuration was refused, or NULL. */
static const struct report_addon *find_refused(const struct lists *lists)
{
	for (size_t i = 0; i < lists->count; i++) {
		if (lists->addons[i].state.is_failed &&
		    strcmp(lists->addons[i].state.name, "bad-config") == 0)
			return &lists->addons[i];
	}
	return NULL;
}

static bool is_configuring(const struct reconcile_result *result)
{
	for (size_t i = 0; i < result->count; i++) {
		if (result->steps[i].kind == STEP_CONFIGURE)
			return true;
	}
	return false;
}

static int set_config_status(struct opamp_client *client, const struct report_input *input,
			     const struct lists *lists)
{
	Opamp__Proto__RemoteConfigStatus status = OPAMP__PROTO__REMOTE_CONFIG_STATUS__INIT;
	const struct report_addon *refused = find_refused(lists);
	const char *problem = offer_config_problem(input->offer);
	uint8_t hash[OFFER_HASH_MAX];

	if (!problem && refused)
		problem = refused->state.reason;
	status.last_remote_config_hash = from_hex(offer_config_hash(input->offer), hash);
	if (!input->offer->config)
		return opamp_client_set(client, OPAMP_PART_REMOTE_CONFIG_STATUS, &status);
	if (problem) {
		status.status = OPAMP__PROTO__REMOTE_CONFIG_STATUSES__RemoteConfigStatuses_FAILED;
		status.error_message = (char *)problem;
	} else if (is_configuring(input->result)) {
		status.status = OPAMP__PROTO__REMOTE_CONFIG_STATUSES__RemoteConfigStatuses_APPLYING;
	} else {
		status.status = OPAMP__PROTO__REMOTE_CONFIG_STATUSES__RemoteConfigStatuses_APPLIED;
	}
	return opamp_client_set(client, OPAMP_PART_REMOTE_CONFIG_STATUS, &status);
}

/* The messages of one effective configuration; *text* is owned. */
struct effective {
	Opamp__Proto__AgentConfigMap__ConfigMapEntry entry;
	Opamp__Proto__AgentConfigFile file;
	char *text;
};

static int fill_effective(const struct desired *desired, struct effective *items,
			  Opamp__Proto__AgentConfigMap *map)
{
	size_t total = 0;

	for (size_t i = 0; i < desired->count; i++) {
		const struct wanted *wanted = &desired->items[i];
		struct effective *item = &items[map->n_config_map];

		if (!wanted->is_offered || !wanted->is_enabled)
			continue;
		item->text = json_to_canonical(wanted->config);
		if (!item->text)
			return -ENOMEM;
		total += strlen(item->text);
		/* A report has its bound; what does not fit the server knows from its offer. */
		if (total > EFFECTIVE_MAX)
			return 0;
		opamp__proto__agent_config_map__config_map_entry__init(&item->entry);
		opamp__proto__agent_config_file__init(&item->file);
		item->entry.key = (char *)wanted->id;
		item->entry.value = &item->file;
		item->file.content_type = (char *)"application/json";
		item->file.body = (ProtobufCBinaryData){.len = strlen(item->text),
							.data = (uint8_t *)item->text};
		map->config_map[map->n_config_map++] = &item->entry;
	}
	return 0;
}

static int set_effective(struct opamp_client *client, const struct report_input *input)
{
	Opamp__Proto__EffectiveConfig config = OPAMP__PROTO__EFFECTIVE_CONFIG__INIT;
	Opamp__Proto__AgentConfigMap map = OPAMP__PROTO__AGENT_CONFIG_MAP__INIT;
	size_t count = input->desired->count;
	struct effective *items = calloc(count + 1, sizeof(*items));
	int r = -ENOMEM;

	map.config_map = calloc(count + 1, sizeof(void *));
	config.config_map = &map;
	if (items && map.config_map)
		r = fill_effective(input->desired, items, &map);
	if (r == 0)
		r = opamp_client_set(client, OPAMP_PART_EFFECTIVE_CONFIG, &config);
	for (size_t i = 0; items && i < count; i++)
		free(items[i].text);
	free((void *)map.config_map);
	free(items);
	return r;
}

static int set_status_message(struct opamp_client *client, const struct lists *lists)
{
	Opamp__Proto__CustomMessage message = OPAMP__PROTO__CUSTOM_MESSAGE__INIT;
	cleanup_json json_t *json = report_status(lists->addons, lists->count);
	cleanup_free char *text = json ? json_to_canonical(json) : NULL;

	if (!text)
		return -ENOMEM;
	message.capability = (char *)REPORT_CAPABILITY;
	message.type = (char *)"status";
	message.data = (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
	return opamp_client_set(client, OPAMP_PART_CUSTOM_MESSAGE, &message);
}

int report_update(struct opamp_client *client, const struct report_input *input,
		  struct memory *memory)
{
	CLEANUP(lists_done) struct lists lists = {NULL};
	int r = lists_new(input->result->count, &lists);

	if (r < 0)
		return r;
	for (size_t i = 0; i < input->result->count; i++)
		fill_entry(input, memory, i, &lists);
	r = set_health(client, input, &lists);
	/* Nothing is said of add-ons before anything is known: it would read as "there are none".
	 */
	if (r < 0 || !input->host->is_known)
		return r;
	r = set_packages(client, input, &lists);
	if (r == 0)
		r = set_config_status(client, input, &lists);
	if (r == 0)
		r = set_effective(client, input);
	return r < 0 ? r : set_status_message(client, &lists);
}
