/* SPDX-License-Identifier: Apache-2.0 */

/*
 * affixd.yaml. Every key has a built-in value or is needed only with others; the file replaces
 * values, the command line replaces those again, and only then is looked at whether they fit
 * together.
 */

#include "control/config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "manifest/yaml_fields.h"
#include "oci/reference.h"

#define LISTEN_DEFAULT      "127.0.0.1:4320"
#define FRONTS_DEFAULT      2U
#define HEARTBEAT_DEFAULT   30U
#define HEARTBEAT_MIN       5U
#define HEARTBEAT_MAX       3600U
#define POLL_DEFAULT        10U
#define STALE_MAX           86400U
#define CONNECTIONS_DEFAULT 10000U
#define UNPROVEN_DEFAULT    256U
#define MESSAGES_DEFAULT    10U
#define LIMIT_MAX           1000000U
#define AUDIT_DEFAULT       400U /* a year, and a month to look back at it */
#define AUDIT_MAX           36500U
#define PORT_MAX            65535L

static const char *const certificate_choices[] = {
	[CONFIG_CERTIFICATE_REQUIRED] = "required",
	[CONFIG_CERTIFICATE_OPTIONAL] = "optional",
	NULL,
};

static_assert(ARRAY_SIZE(certificate_choices) == CONFIG_CERTIFICATE_N + 1,
	      "every choice has a name");

struct config *config_free(struct config *config)
{
	if (!config)
		return NULL;
	free(config->data);
	free(config->listen);
	free(config->public_url);
	free(config->trust);
	free(config->tls_certificate);
	free(config->tls_key);
	free(config->client_ca);
	strv_done(&config->registries);
	free(config->registry_auth);
	free(config->registry_ca);
	free(config);
	return NULL;
}

int config_default(struct config **ret)
{
	cleanup_config struct config *config = calloc(1, sizeof(*config));

	if (!config)
		return -ENOMEM;
	config->listen = strdup(LISTEN_DEFAULT);
	if (!config->listen)
		return -ENOMEM;
	config->fronts = FRONTS_DEFAULT;
	config->heartbeat_seconds = HEARTBEAT_DEFAULT;
	config->poll_seconds = POLL_DEFAULT;
	config->audit_keep_days = AUDIT_DEFAULT;
	config->connections_per_address = CONNECTIONS_DEFAULT;
	config->unproven_per_address = UNPROVEN_DEFAULT;
	config->messages_per_second = MESSAGES_DEFAULT;
	*ret = TAKE_PTR(config);
	return 0;
}

bool config_is_url(const char *text)
{
	return (str_starts_with(text, "http://") || str_starts_with(text, "https://")) &&
	       !str_ends_with(text, "/") && !strpbrk(text, " \t\r\n\"?#");
}

static bool is_registry(const char *text)
{
	cleanup_free char *name = NULL;
	struct oci_reference reference;

	return str_format(&name, "%s/name", text) == 0 &&
	       oci_reference_parse(name, &reference, NULL) == 0 &&
	       strcmp(reference.host, text) == 0;
}

static bool is_listen(const char *text)
{
	cleanup_free char *address = NULL;
	cleanup_free char *port = NULL;

	return config_split_listen(text, &address, &port) == 0;
}

#define AT(member) .offset = offsetof(struct config, member)
#define PATH_FIELD(name, member)                                                           \
	YAML_FIELD(name, YAML_FIELD_TEXT, AT(member), .is_valid = path_is_normal_absolute, \
		   .expected = "an absolute path without '.', '..' or a '/' at its end")
#define NUMBER_FIELD(name, member, least, most) \
	YAML_FIELD(name, YAML_FIELD_UNSIGNED, AT(member), .min = (least), .max = (most))

static const struct yaml_field config_fields[] = {
	PATH_FIELD("data", data),
	YAML_FIELD("listen", YAML_FIELD_TEXT, AT(listen), .is_valid = is_listen,
		   .expected = "ADDRESS:PORT, such as '0.0.0.0:4320' or '[::]:4320'"),
	YAML_FIELD("public_url", YAML_FIELD_TEXT, AT(public_url), .is_valid = config_is_url,
		   .expected = "http://HOST[:PORT] or https://HOST[:PORT] without a '/' at its "
			       "end"),
	PATH_FIELD("trust", trust),
	PATH_FIELD("tls_certificate", tls_certificate),
	PATH_FIELD("tls_key", tls_key),
	PATH_FIELD("client_ca", client_ca),
	YAML_FIELD("registries", YAML_FIELD_TEXTS, AT(registries), .is_valid = is_registry,
		   .expected = "HOST[:PORT] of a registry, such as 'registry.example'"),
	PATH_FIELD("registry_auth", registry_auth),
	PATH_FIELD("registry_ca", registry_ca),
	YAML_FIELD("client_certificate", YAML_FIELD_CHOICE, AT(client_certificate),
		   .choices = certificate_choices),
	YAML_FIELD("certificate_is_credential", YAML_FIELD_BOOL, AT(certificate_is_credential)),
	NUMBER_FIELD("fronts", fronts, 1, CONFIG_FRONTS_MAX),
	NUMBER_FIELD("heartbeat_seconds", heartbeat_seconds, HEARTBEAT_MIN, HEARTBEAT_MAX),
	NUMBER_FIELD("poll_seconds", poll_seconds, 1, HEARTBEAT_MAX),
	NUMBER_FIELD("stale_seconds", stale_seconds, HEARTBEAT_MIN, STALE_MAX),
	NUMBER_FIELD("audit_keep_days", audit_keep_days, 0, AUDIT_MAX),
	NUMBER_FIELD("connections_per_address", connections_per_address, 1, LIMIT_MAX),
	NUMBER_FIELD("unproven_per_address", unproven_per_address, 1, LIMIT_MAX),
	NUMBER_FIELD("messages_per_second", messages_per_second, 1, LIMIT_MAX),
	YAML_FIELD_END,
};

int config_parse(const char *text, size_t size, const char *file, struct config *config,
		 struct diagnostics *diagnostics)
{
	struct yaml_reader reader = {
		.file = file, .code = REFUSAL_BAD_REQUEST, .diagnostics = diagnostics};
	cleanup_yaml_document struct yaml_document *document = NULL;
	int r;

	r = yaml_parse(text, size, &reader, &document);
	if (r != 0)
		return r;
	yaml_fields_read(&reader, document->root, config_fields, config);
	if (reader.error < 0)
		return reader.error;
	return reader.problems > 0 ? 1 : 0;
}

int config_split_listen(const char *listen, char **ret_address, char **ret_port)
{
	const char *colon = strrchr(listen, ':');
	const char *start = listen;
	const char *end = colon;
	cleanup_free char *address = NULL;
	cleanup_free char *port = NULL;
	char *rest = NULL;
	long number;

	if (!colon || colon == listen || colon[1] < '0' || colon[1] > '9')
		return 1;
	number = strtol(colon + 1, &rest, 10);
	if (*rest || number > PORT_MAX)
		return 1;
	if (*start == '[' && end[-1] == ']') {
		start++;
		end--;
	}
	if (start >= end || memchr(start, '[', (size_t)(end - start)) ||
	    (start == listen && memchr(start, ':', (size_t)(end - start))))
		return 1;
	address = strndup(start, (size_t)(end - start));
	port = strdup(colon + 1);
	if (!address || !port)
		return -ENOMEM;
	*ret_address = TAKE_PTR(address);
	*ret_port = TAKE_PTR(port);
	return 0;
}
