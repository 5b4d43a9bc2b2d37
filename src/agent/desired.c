/* SPDX-License-Identifier: Apache-2.0 */

/* What is wanted: the server's offer with the administrator's overrides over it, add-on by add-on,
 * and the keys by which "the same as was applied" is known. */

#include "agent/desired.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#define PATCH_DEPTH_MAX 64U

void desired_done(struct desired *desired)
{
	for (size_t i = 0; i < desired->count; i++)
		json_decref(desired->items[i].config);
	free(desired->items);
	*desired = DESIRED_INIT;
}

static json_t *patch_value(const json_t *target, json_t *patch, unsigned depth)
{
	cleanup_json json_t *result = NULL;
	const char *key;
	json_t *value;

	if (!json_is_object(patch) || depth > PATCH_DEPTH_MAX)
		return json_deep_copy(patch);
	result = json_is_object(target) ? json_deep_copy(target) : json_object();
	if (!result)
		return NULL;
	json_object_foreach(patch, key, value)
	{
		if (json_is_null(value))
			(void)json_object_del(result, key);
		else if (json_add(result, key,
				  patch_value(json_object_get(result, key), value, depth + 1)) < 0)
			return NULL;
	}
	return TAKE_PTR(result);
}

json_t *desired_patch(const json_t *target, const json_t *patch)
{
	return patch_value(target, (json_t *)patch, 0);
}

static void hash_text(crypto_hash_sha256_state *state, const char *text)
{
	/* With its NUL, so that no two lists of texts are the same bytes. */
	(void)crypto_hash_sha256_update(state, (const uint8_t *)text, strlen(text) + 1);
}

static int hash_json(crypto_hash_sha256_state *state, const json_t *json)
{
	cleanup_free char *text = json ? json_to_canonical(json) : strdup("");

	if (!text)
		return -ENOMEM;
	hash_text(state, text);
	return 0;
}

static void finish(crypto_hash_sha256_state *state, char key[DESIRED_KEY_SIZE])
{
	uint8_t digest[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256_final(state, digest);
	(void)sodium_bin2hex(key, DESIRED_KEY_SIZE, digest, sizeof(digest));
}

static int make_keys(struct wanted *wanted)
{
	crypto_hash_sha256_state state;
	crypto_hash_sha256_state whole;
	int r;

	(void)crypto_hash_sha256_init(&state);
	hash_text(&state, wanted->content_hash ? wanted->content_hash : "");
	hash_text(&state, wanted->signature ? wanted->signature : "");
	r = hash_json(&state, wanted->capabilities);
	if (r == 0)
		r = hash_json(&state, wanted->limits);
	whole = state;
	if (r == 0)
		r = hash_json(&whole, wanted->config);
	if (r < 0)
		return r;
	finish(&state, wanted->bundle_key);
	finish(&whole, wanted->key);
	return 0;
}

static const char *text_of(const json_t *item, const char *key)
{
	return json_string_value(json_object_get(item, key));
}

static void read_item(const json_t *item, struct wanted *wanted)
{
	wanted->is_offered = true;
	wanted->problem = text_of(item, "problem");
	wanted->version = text_of(item, "version");
	wanted->url = text_of(item, "url");
	wanted->content_hash = text_of(item, "content_hash");
	wanted->signature = text_of(item, "signature");
	wanted->hash = text_of(item, "hash");
	wanted->headers = json_object_get(item, "headers");
	if (!wanted->problem && (!wanted->version || !wanted->url || !wanted->content_hash ||
				 !wanted->signature || !wanted->hash))
		wanted->problem = "the offer on disk is damaged; a new one is awaited";
}

/* What the server says of the add-on beside its package. */
static void read_settings(const json_t *settings, struct wanted *wanted)
{
	const json_t *enabled = json_object_get(settings, "enabled");
	const json_t *capabilities = json_object_get(settings, "capabilities");
	const json_t *limits = json_object_get(settings, "limits");

	wanted->is_enabled = !json_is_false(enabled);
	wanted->is_revoked = json_is_true(json_object_get(settings, "revoked"));
	wanted->capabilities = json_is_array(capabilities) ? capabilities : NULL;
	wanted->limits = json_is_object(limits) ? limits : NULL;
}

static int apply_override(const struct overrides *overrides, struct wanted *wanted)
{
	const json_t *config = overrides_member(overrides, wanted->id, "config");
	const json_t *capabilities = overrides_member(overrides, wanted->id, "capabilities");
	const json_t *limits = overrides_member(overrides, wanted->id, "limits");
	enum overrides_enabled enabled = overrides_enabled(overrides, wanted->id);

	wanted->is_forced = enabled == OVERRIDES_ON;
	wanted->is_switched_off = enabled == OVERRIDES_OFF;
	wanted->is_enabled =
		enabled == OVERRIDES_AS_OFFERED ? wanted->is_enabled : enabled == OVERRIDES_ON;
	wanted->is_overridden = enabled != OVERRIDES_AS_OFFERED || config || capabilities || limits;
	if (capabilities)
		wanted->capabilities = capabilities;
	if (limits)
		wanted->limits = limits;
	if (config) {
		json_t *patched = desired_patch(wanted->config, config);

		if (!patched)
			return -ENOMEM;
		json_decref(wanted->config);
		wanted->config = patched;
	}
	return 0;
}

static int make_one(const struct offer *offer, const struct overrides *overrides, const char *id,
		    struct wanted *ret)
{
	const json_t *items = json_object_get(offer->packages, "items");
	const json_t *item = json_object_get(items, id);
	json_t *config = json_object_get(json_object_get(offer->config, "configs"), id);
	const json_t *settings = json_object_get(json_object_get(offer->config, "addons"), id);
	struct wanted wanted = {.id = id};
	int r;

	wanted.config = config ? json_incref(config) : json_object();
	if (!wanted.config)
		return -ENOMEM;
	if (item)
		read_item(item, &wanted);
	read_settings(settings, &wanted);
	r = apply_override(overrides, &wanted);
	if (r == 0)
		r = make_keys(&wanted);
	if (r < 0) {
		json_decref(wanted.config);
		return r;
	}
	*ret = wanted;
	return 0;
}

int desired_make(const struct offer *offer, const struct overrides *overrides, struct desired *ret)
{
	CLEANUP(desired_done) struct desired desired = DESIRED_INIT;
	json_t *items = json_object_get(offer->packages, "items");
	size_t most = json_object_size(items) + json_object_size(overrides->addons);
	const char *id;
	json_t *value;
	int r = 0;

	desired.is_known = offer->packages != NULL;
	desired.items = calloc(most + 1, sizeof(*desired.items));
	if (!desired.items)
		return -ENOMEM;
	json_object_foreach(items, id, value)
	{
		r = make_one(offer, overrides, id, &desired.items[desired.count]);
		if (r < 0)
			return r;
		desired.count++;
	}
	json_object_foreach(overrides->addons, id, value)
	{
		if (json_object_get(items, id))
			continue;
		r = make_one(offer, overrides, id, &desired.items[desired.count]);
		if (r < 0)
			return r;
		desired.count++;
	}
	*ret = desired;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): its cleanup reads it */
	desired = DESIRED_INIT;
	return 0;
}

const struct wanted *desired_find(const struct desired *desired, const char *id)
{
	for (size_t i = 0; i < desired->count; i++) {
		if (strcmp(desired->items[i].id, id) == 0)
			return &desired->items[i];
	}
	return NULL;
}
