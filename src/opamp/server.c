/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The server's messages. protobuf-c wants maps as arrays of pointers to entries of pointers; that
 * shape is built here from plain values and packed at once, so that nobody else has to own it.
 */

#include "opamp/server.h"

#include <errno.h>

#define NANOSECONDS 1000000000ULL

static ProtobufCBinaryData binary(struct opamp_bytes bytes)
{
	return (ProtobufCBinaryData){.len = bytes.size, .data = (uint8_t *)bytes.data};
}

/* protobuf-c's empty text, for what is not said. */
static char *text(const char *s)
{
	return s ? (char *)s : (char *)protobuf_c_empty_string;
}

/* An array of *count* pointers to elements of *size* bytes, in one piece of memory. */
static void **pointers(size_t count, size_t size)
{
	size_t table = (count * sizeof(void *) + 15) / 16 * 16;
	char *memory = calloc(1, table + count * size + 1);
	void **list = (void **)(void *)memory;

	for (size_t i = 0; memory && i < count; i++)
		list[i] = memory + table + i * size;
	return list;
}

/* The messages of one package, side by side. */
struct package_entry {
	Opamp__Proto__PackagesAvailable__PackagesEntry entry;
	Opamp__Proto__PackageAvailable package;
	Opamp__Proto__DownloadableFile file;
	Opamp__Proto__Headers headers;
};

struct config_entry {
	Opamp__Proto__AgentConfigMap__ConfigMapEntry entry;
	Opamp__Proto__AgentConfigFile file;
};

static int fill_headers(const struct opamp_header *from, size_t count, Opamp__Proto__Headers *to)
{
	void **list = pointers(count, sizeof(Opamp__Proto__Header));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		Opamp__Proto__Header *header = list[i];

		opamp__proto__header__init(header);
		header->key = text(from[i].key);
		header->value = text(from[i].value);
	}
	to->n_headers = count;
	to->headers = (Opamp__Proto__Header **)list;
	return 0;
}

static int fill_package(const struct opamp_package *from, struct package_entry *to)
{
	opamp__proto__packages_available__packages_entry__init(&to->entry);
	opamp__proto__package_available__init(&to->package);
	opamp__proto__downloadable_file__init(&to->file);
	opamp__proto__headers__init(&to->headers);
	to->entry.key = text(from->name);
	to->entry.value = &to->package;
	to->package.type = OPAMP__PROTO__PACKAGE_TYPE__PackageType_Addon;
	to->package.version = text(from->version);
	to->package.hash = binary(from->hash);
	to->package.file = &to->file;
	to->file.download_url = text(from->url);
	to->file.content_hash = binary(from->content_hash);
	to->file.signature = binary(from->signature);
	if (from->n_headers == 0)
		return 0;
	to->file.headers = &to->headers;
	return fill_headers(from->headers, from->n_headers, &to->headers);
}

/* The entry is the first member of its element, so a list of elements is one of entries. */
static int fill_packages(const struct opamp_offer *offer, Opamp__Proto__PackagesAvailable *to)
{
	void **list = pointers(offer->n_packages, sizeof(struct package_entry));
	int r = 0;

	if (!list)
		return -ENOMEM;
	to->packages = (Opamp__Proto__PackagesAvailable__PackagesEntry **)list;
	to->all_packages_hash = binary(offer->all_packages_hash);
	for (size_t i = 0; r == 0 && i < offer->n_packages; i++) {
		r = fill_package(&offer->packages[i], list[i]);
		to->n_packages = i + 1;
	}
	return r;
}

static void free_packages(Opamp__Proto__PackagesAvailable *packages)
{
	for (size_t i = 0; i < packages->n_packages; i++) {
		struct package_entry *entry = (struct package_entry *)packages->packages[i];

		free((void *)entry->headers.headers);
	}
	free((void *)packages->packages);
}

static int fill_configs(const struct opamp_offer *offer, Opamp__Proto__AgentConfigMap *to)
{
	void **list = pointers(offer->n_configs, sizeof(struct config_entry));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < offer->n_configs; i++) {
		const struct opamp_config *from = &offer->configs[i];
		struct config_entry *entry = list[i];

		opamp__proto__agent_config_map__config_map_entry__init(&entry->entry);
		opamp__proto__agent_config_file__init(&entry->file);
		entry->entry.key = text(from->name);
		entry->entry.value = &entry->file;
		entry->file.body = binary(from->body);
		entry->file.content_type = text(from->content_type);
	}
	to->config_map = (Opamp__Proto__AgentConfigMap__ConfigMapEntry **)list;
	to->n_config_map = offer->n_configs;
	return 0;
}

static int compose_failure(const struct opamp_offer *offer, size_t prefix, uint8_t **ret,
			   size_t *ret_size)
{
	Opamp__Proto__ServerToAgent message = OPAMP__PROTO__SERVER_TO_AGENT__INIT;
	Opamp__Proto__ServerErrorResponse response = OPAMP__PROTO__SERVER_ERROR_RESPONSE__INIT;
	Opamp__Proto__RetryInfo retry = OPAMP__PROTO__RETRY_INFO__INIT;

	message.instance_uid = binary(offer->uid);
	message.error_response = &response;
	response.type = offer->failure->type;
	response.error_message = text(offer->failure->message);
	if (offer->failure->retry_after_seconds > 0) {
		retry.retry_after_nanoseconds = offer->failure->retry_after_seconds * NANOSECONDS;
		response.details_case = OPAMP__PROTO__SERVER_ERROR_RESPONSE__DETAILS_RETRY_INFO;
		response.retry_info = &retry;
	}
	return opamp_encode(&message, prefix, ret, ret_size);
}

/* The messages that hang below a ServerToAgent. */
struct parts {
	Opamp__Proto__PackagesAvailable packages;
	Opamp__Proto__AgentRemoteConfig remote;
	Opamp__Proto__AgentConfigMap configs;
	Opamp__Proto__ConnectionSettingsOffers settings;
	Opamp__Proto__OpAMPConnectionSettings opamp;
	Opamp__Proto__Headers headers;
	Opamp__Proto__Header header;
	Opamp__Proto__Header *header_list[1];
	Opamp__Proto__AgentIdentification identification;
	Opamp__Proto__CustomCapabilities capabilities;
	Opamp__Proto__CustomMessage custom;
};

static void parts_init(struct parts *parts)
{
	opamp__proto__packages_available__init(&parts->packages);
	opamp__proto__agent_remote_config__init(&parts->remote);
	opamp__proto__agent_config_map__init(&parts->configs);
	opamp__proto__connection_settings_offers__init(&parts->settings);
	opamp__proto__op_ampconnection_settings__init(&parts->opamp);
	opamp__proto__headers__init(&parts->headers);
	opamp__proto__header__init(&parts->header);
	opamp__proto__agent_identification__init(&parts->identification);
	opamp__proto__custom_capabilities__init(&parts->capabilities);
	opamp__proto__custom_message__init(&parts->custom);
}

static void parts_done(struct parts *parts)
{
	free_packages(&parts->packages);
	free((void *)parts->configs.config_map);
}

static void fill_settings(const struct opamp_settings *from, struct parts *parts)
{
	parts->settings.hash = binary(from->hash);
	parts->settings.opamp = &parts->opamp;
	parts->opamp.destination_endpoint = text(from->endpoint);
	parts->opamp.heartbeat_interval_seconds = from->heartbeat_seconds;
	if (!from->authorization)
		return;
	parts->header.key = text("Authorization");
	parts->header.value = text(from->authorization);
	parts->header_list[0] = &parts->header;
	parts->headers.n_headers = 1;
	parts->headers.headers = parts->header_list;
	parts->opamp.headers = &parts->headers;
}

static void fill_custom(const struct opamp_offer *offer, struct parts *parts,
			Opamp__Proto__ServerToAgent *message)
{
	if (offer->n_custom_capabilities > 0) {
		parts->capabilities.n_capabilities = offer->n_custom_capabilities;
		parts->capabilities.capabilities = (char **)offer->custom_capabilities;
		message->custom_capabilities = &parts->capabilities;
	}
	if (offer->custom_capability) {
		parts->custom.capability = text(offer->custom_capability);
		parts->custom.type = text(offer->custom_type);
		parts->custom.data = binary(offer->custom_data);
		message->custom_message = &parts->custom;
	}
}

static int fill(const struct opamp_offer *offer, struct parts *parts,
		Opamp__Proto__ServerToAgent *message)
{
	int r = 0;

	message->instance_uid = binary(offer->uid);
	message->capabilities = offer->capabilities;
	message->flags = offer->flags;
	fill_custom(offer, parts, message);
	if (offer->settings) {
		fill_settings(offer->settings, parts);
		message->connection_settings = &parts->settings;
	}
	if (offer->new_uid.size > 0) {
		parts->identification.new_instance_uid = binary(offer->new_uid);
		message->agent_identification = &parts->identification;
	}
	if (offer->has_packages) {
		message->packages_available = &parts->packages;
		r = fill_packages(offer, &parts->packages);
	}
	if (r == 0 && offer->has_config) {
		message->remote_config = &parts->remote;
		parts->remote.config = &parts->configs;
		parts->remote.config_hash = binary(offer->config_hash);
		r = fill_configs(offer, &parts->configs);
	}
	return r;
}

int opamp_offer_compose(const struct opamp_offer *offer, size_t prefix, uint8_t **ret,
			size_t *ret_size)
{
	Opamp__Proto__ServerToAgent message = OPAMP__PROTO__SERVER_TO_AGENT__INIT;
	CLEANUP(parts_done) struct parts parts = {0};
	int r;

	if (offer->failure)
		return compose_failure(offer, prefix, ret, ret_size);
	parts_init(&parts);
	r = fill(offer, &parts, &message);
	return r < 0 ? r : opamp_encode(&message, prefix, ret, ret_size);
}
