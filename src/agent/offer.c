/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Offers, from OpAMP's messages into JSON. Everything is judged here once, so that whoever reads an
 * offer, fresh or from disk, meets texts of known shape only. What cannot be used is kept with a
 * sentence, because an add-on that is not in an offer is one that may be removed.
 */

#include "agent/offer.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "ipc/request.h"
#include "manifest/manifest.h"
#include "manifest/version.h"

#define CONTENT_HASH_SIZE 32U

void offer_done(struct offer *offer)
{
	json_decref(offer->packages);
	json_decref(offer->config);
	*offer = OFFER_INIT;
}

static int add_hex(json_t *object, const char *key, ProtobufCBinaryData bytes)
{
	char text[OFFER_HASH_MAX * 2 + 1];

	if (bytes.len > OFFER_HASH_MAX)
		bytes.len = OFFER_HASH_MAX;
	(void)sodium_bin2hex(text, sizeof(text), bytes.data, bytes.len);
	return json_add_string(object, key, text);
}

/* Text that may go into a header or a request line: printable ASCII. */
static bool is_plain(const char *text)
{
	if (strlen(text) > OFFER_TEXT_MAX)
		return false;
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
			return false;
	}
	return true;
}

static bool is_url(const char *url)
{
	return is_plain(url) && !strchr(url, ' ') &&
	       (str_starts_with(url, "https://") || str_starts_with(url, "http://") ||
		(url[0] == '/' && url[1] != '/'));
}

/* Why the package cannot be used, or NULL. */
static const char *judge(const Opamp__Proto__PackageAvailable *package)
{
	const Opamp__Proto__DownloadableFile *file = package ? package->file : NULL;
	const Opamp__Proto__Headers *headers = file ? file->headers : NULL;

	if (!file)
		return "the offer has no file to download";
	if (package->type != OPAMP__PROTO__PACKAGE_TYPE__PackageType_Addon)
		return "the offer is for a package of type top-level; expected an add-on";
	if (!version_is_valid(package->version))
		return "the offered version is not a semantic version";
	if (package->hash.len == 0 || package->hash.len > OFFER_HASH_MAX)
		return "the offer's hash is missing or longer than 64 bytes";
	if (file->content_hash.len != CONTENT_HASH_SIZE)
		return "the offer's content hash is not a SHA-256";
	if (file->signature.len == 0 || file->signature.len > REQUEST_SIGNATURE_MAX ||
	    !str_is_utf8((const char *)file->signature.data, file->signature.len))
		return "the offer carries no minisign signature";
	if (!is_url(file->download_url))
		return "the offer's download URL is neither https nor http";
	for (size_t i = 0; headers && i < headers->n_headers; i++) {
		const Opamp__Proto__Header *header = headers->headers[i];

		if (headers->n_headers > OFFER_HEADERS_MAX || header->key[0] == '\0' ||
		    !is_plain(header->key) || !is_plain(header->value) ||
		    strpbrk(header->key, ": "))
			return "the offer's download headers are too many or malformed";
	}
	return NULL;
}

static int add_headers(json_t *item, const Opamp__Proto__Headers *headers)
{
	json_t *object = json_object();
	int r = json_add(item, "headers", object);

	for (size_t i = 0; r == 0 && headers && i < headers->n_headers; i++)
		r = json_add_string(object, headers->headers[i]->key, headers->headers[i]->value);
	return r;
}

static json_t *make_item(const Opamp__Proto__PackageAvailable *package)
{
	cleanup_json json_t *item = json_object();
	const char *problem = judge(package);
	int r;

	if (!item)
		return NULL;
	if (problem) {
		r = json_add_string(item, "problem", problem);
		if (r == 0 && package && version_is_valid(package->version))
			r = json_add_string(item, "version", package->version);
		if (r == 0 && package)
			r = add_hex(item, "hash", package->hash);
		return r < 0 ? NULL : TAKE_PTR(item);
	}
	r = json_add_string(item, "version", package->version);
	if (r == 0)
		r = json_add_string(item, "url", package->file->download_url);
	if (r == 0)
		r = add_hex(item, "content_hash", package->file->content_hash);
	if (r == 0)
		r = json_add(item, "signature",
			     json_stringn((const char *)package->file->signature.data,
					  package->file->signature.len));
	if (r == 0)
		r = add_hex(item, "hash", package->hash);
	if (r == 0)
		r = add_headers(item, package->file->headers);
	return r < 0 ? NULL : TAKE_PTR(item);
}

int offer_set_packages(struct offer *offer, const Opamp__Proto__PackagesAvailable *packages)
{
	cleanup_json json_t *document = json_object();
	json_t *items = json_object();
	int r;

	r = document ? json_add(document, "items", items) : -ENOMEM;
	if (r == 0)
		r = add_hex(document, "hash", packages->all_packages_hash);
	for (size_t i = 0; r == 0 && i < packages->n_packages; i++) {
		const char *id = packages->packages[i]->key;

		if (!manifest_id_is_valid(id))
			r = json_add_string(document, "problem",
					    "a package's name is not the id of an add-on");
		else if (json_object_size(items) >= OFFER_ADDONS_MAX)
			/* What is left out must not look as if it were unassigned. */
			return 1;
		else
			r = json_add(items, id, make_item(packages->packages[i]->value));
	}
	if (r < 0)
		return r;
	json_decref(offer->packages);
	offer->packages = TAKE_PTR(document);
	return 0;
}

static int add_problem(json_t *document, const char *name, const char *what)
{
	cleanup_free char *shown = str_escape(name, strlen(name), MANIFEST_ID_MAX);
	cleanup_free char *text = NULL;
	int r = shown ? str_format(&text, "the configuration of '%s' %s", shown, what) : -ENOMEM;

	return r < 0 ? r : json_add_string(document, "problem", text);
}

/* The parts of affix's own entry whose shape is right; others are as if they were not there. */
static int add_settings(json_t *document, const json_t *settings)
{
	json_t *addons = NULL;
	json_t *confirm = NULL;
	int r;

	r = json_add(document, "is_affix", json_true());
	if (r == 0 && json_member_object(settings, "addons", &addons) == 0)
		r = json_add(document, "addons", json_incref(addons));
	if (r == 0 && json_member_array(settings, "confirm_removal", &confirm) == 0)
		r = json_add(document, "confirm_removal", json_incref(confirm));
	return r;
}

static int add_entry(json_t *document, json_t *configs, const char *name,
		     const Opamp__Proto__AgentConfigFile *file)
{
	struct json_problem problem = {0};
	cleanup_json json_t *json = NULL;
	int r;

	if (!file || file->body.len > REQUEST_CONFIG_MAX)
		return add_problem(document, name, "is missing or larger than 256 KiB");
	r = json_parse_object((const char *)file->body.data, file->body.len, &json, &problem);
	if (r > 0)
		return add_problem(document, name, "is not one JSON object without duplicate keys");
	if (r < 0)
		return r;
	if (strcmp(name, OFFER_SETTINGS_KEY) == 0)
		return add_settings(document, json);
	if (!manifest_id_is_valid(name))
		return add_problem(document, name, "has a name that is not the id of an add-on");
	return json_add(configs, name, TAKE_PTR(json));
}

/* A configuration that cannot be read leaves the one before in force. */
static int keep_former(const struct offer *offer, json_t *configs, const char *name)
{
	json_t *former = NULL;
	json_t *value = NULL;

	if (json_member_object(offer->config, "configs", &former) < 0 ||
	    json_object_get(configs, name))
		return 0;
	value = json_object_get(former, name);
	return value ? json_add(configs, name, json_incref(value)) : 0;
}

int offer_set_config(struct offer *offer, const Opamp__Proto__AgentRemoteConfig *config)
{
	const Opamp__Proto__AgentConfigMap *map = config->config;
	cleanup_json json_t *document = json_object();
	json_t *configs = json_object();
	int r;

	r = document ? json_add(document, "configs", configs) : -ENOMEM;
	if (r == 0)
		r = add_hex(document, "hash", config->config_hash);
	for (size_t i = 0; r == 0 && map && i < map->n_config_map; i++) {
		r = add_entry(document, configs, map->config_map[i]->key,
			      map->config_map[i]->value);
		if (r == 0)
			r = keep_former(offer, configs, map->config_map[i]->key);
	}
	if (r < 0)
		return r;
	json_decref(offer->config);
	offer->config = TAKE_PTR(document);
	return 0;
}

json_t *offer_to_json(const struct offer *offer)
{
	cleanup_json json_t *json = json_object();
	int r;

	r = json ? json_add_uint(json, "schema", 1) : -ENOMEM;
	if (r == 0)
		r = json_add(json, "packages",
			     offer->packages ? json_incref(offer->packages) : json_null());
	if (r == 0)
		r = json_add(json, "config",
			     offer->config ? json_incref(offer->config) : json_null());
	return r < 0 ? NULL : TAKE_PTR(json);
}

int offer_from_json(const json_t *json, struct offer *ret)
{
	json_t *packages = NULL;
	json_t *config = NULL;
	json_t *member = NULL;
	uint64_t schema = 0;

	if (json_member_uint(json, "schema", 1, &schema) < 0 || schema != 1)
		return 1;
	if (json_member_object(json, "packages", &packages) == 0 &&
	    json_member_object(packages, "items", &member) < 0)
		return 1;
	if (json_member_object(json, "config", &config) == 0 &&
	    json_member_object(config, "configs", &member) < 0)
		return 1;
	*ret = (struct offer){.packages = json_incref(packages), .config = json_incref(config)};
	return 0;
}

static const char *text_of(const json_t *document, const char *key)
{
	return document ? json_string_value(json_object_get(document, key)) : NULL;
}

const char *offer_packages_hash(const struct offer *offer)
{
	const char *hash = text_of(offer->packages, "hash");

	return hash ? hash : "";
}

const char *offer_config_hash(const struct offer *offer)
{
	const char *hash = text_of(offer->config, "hash");

	return hash ? hash : "";
}

const char *offer_packages_problem(const struct offer *offer)
{
	return text_of(offer->packages, "problem");
}

const char *offer_config_problem(const struct offer *offer)
{
	return text_of(offer->config, "problem");
}

bool offer_is_affix(const struct offer *offer)
{
	return json_is_true(json_object_get(offer->config, "is_affix"));
}

bool offer_confirms_removal(const struct offer *offer, const char *id)
{
	const json_t *list = json_object_get(offer->config, "confirm_removal");
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (json_is_string(item) && strcmp(json_string_value(item), id) == 0)
			return true;
	}
	return false;
}
