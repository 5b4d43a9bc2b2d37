/* SPDX-License-Identifier: Apache-2.0 */

/* The agent's memory of add-ons, on disk as JSON. Losing it costs one more request per add-on,
 * which the updater answers with "nothing needed doing", and one more removal delay. */

#include "agent/memory.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

/* Members that are texts or numbers, by name. */
struct text_member {
	const char *key;
	size_t offset;
	size_t size;
	bool is_late; /* memories of older agents do without it */
};

struct number_member {
	const char *key;
	size_t offset;
};

#define TEXT(name)                                               \
	{                                                        \
#name, offsetof(struct memory_addon, name),      \
			sizeof(((struct memory_addon *)0)->name) \
	}
#define LATE_TEXT(name)                                                \
	{                                                              \
#name, offsetof(struct memory_addon, name),            \
			sizeof(((struct memory_addon *)0)->name), true \
	}
#define NUMBER(name)                                       \
	{                                                  \
#name, offsetof(struct memory_addon, name) \
	}

static const struct text_member texts[] = {
	TEXT(key),
	TEXT(bundle_key),
	TEXT(content_hash),
	TEXT(package_hash),
	TEXT(plan),
	TEXT(previous_hash),
	TEXT(failed_key),
	TEXT(failed_plan),
	TEXT(failed_url),
	TEXT(failed_name),
	TEXT(failed_text),
	TEXT(state),
	LATE_TEXT(failed_local),
	LATE_TEXT(previous_bundle_key),
};

static const struct number_member numbers[] = {
	NUMBER(attempts), NUMBER(retry_at), NUMBER(missing_seconds), NUMBER(missing_connections),
	NUMBER(since),    NUMBER(restarts),
};

static const char *const failure_names[MEMORY_FAILURE_N] = {
	[MEMORY_NO_FAILURE] = "none",         [MEMORY_TRANSIENT] = "transient",
	[MEMORY_PERMANENT] = "permanent",     [MEMORY_QUARANTINED] = "quarantined",
	[MEMORY_FRESH_OFFER] = "fresh-offer",
};

void memory_done(struct memory *memory)
{
	free(memory->items);
	*memory = MEMORY_INIT;
}

struct memory_addon *memory_find(const struct memory *memory, const char *id)
{
	for (size_t i = 0; i < memory->count; i++) {
		if (strcmp(memory->items[i].id, id) == 0)
			return &memory->items[i];
	}
	return NULL;
}

struct memory_addon *memory_get(struct memory *memory, const char *id)
{
	struct memory_addon *found = memory_find(memory, id);
	struct memory_addon *items;

	if (found)
		return found;
	items = reallocarray(memory->items, memory->count + 1, sizeof(*items));
	if (!items)
		return NULL;
	memory->items = items;
	found = &items[memory->count++];
	*found = (struct memory_addon){0};
	(void)snprintf(found->id, sizeof(found->id), "%s", id);
	return found;
}

void memory_forget(struct memory *memory, const char *id)
{
	struct memory_addon *found = memory_find(memory, id);

	if (found)
		*found = memory->items[--memory->count];
}

static void clear_failure(struct memory_addon *addon)
{
	addon->failure = MEMORY_NO_FAILURE;
	addon->attempts = 0;
}

void memory_clear_failures(struct memory *memory)
{
	for (size_t i = 0; i < memory->count; i++)
		clear_failure(&memory->items[i]);
}

void memory_clear_named_failures(struct memory *memory, const char *name)
{
	for (size_t i = 0; i < memory->count; i++) {
		if (str_equal(memory->items[i].failed_name, name))
			clear_failure(&memory->items[i]);
	}
}

static json_t *addon_to_json(const struct memory_addon *addon)
{
	cleanup_json json_t *json = json_object();
	int r = json ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++)
		r = json_add_string(json, texts[i].key, (const char *)addon + texts[i].offset);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(numbers); i++)
		r = json_add_uint(
			json, numbers[i].key,
			*(const uint64_t *)(const void *)((const char *)addon + numbers[i].offset));
	if (r == 0)
		r = json_add_string(json, "failure", failure_names[addon->failure]);
	/* In hexadecimal: it may be larger than JSON's integers. */
	if (r == 0 && addon->is_missing) {
		char text[32];

		(void)snprintf(text, sizeof(text), "%016llx",
			       (unsigned long long)addon->missing_connection);
		r = json_add_string(json, "missing_connection", text);
	}
	return r < 0 ? NULL : TAKE_PTR(json);
}

json_t *memory_to_json(const struct memory *memory)
{
	cleanup_json json_t *json = json_object();
	json_t *addons = json_object();
	int r = json ? json_add_uint(json, "schema", 1) : -ENOMEM;

	r = r == 0 ? json_add(json, "addons", addons) : r;
	for (size_t i = 0; r == 0 && i < memory->count; i++)
		r = json_add(addons, memory->items[i].id, addon_to_json(&memory->items[i]));
	return r < 0 ? NULL : TAKE_PTR(json);
}

static bool addon_from_json(const json_t *json, struct memory_addon *addon)
{
	const char *text = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (texts[i].is_late && !json_object_get(json, texts[i].key))
			continue;
		if (json_member_string(json, texts[i].key, &text) < 0 ||
		    strlen(text) >= texts[i].size)
			return false;
		memcpy((char *)addon + texts[i].offset, text, strlen(text) + 1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		if (json_member_uint(json, numbers[i].key, INT64_MAX,
				     (uint64_t *)(void *)((char *)addon + numbers[i].offset)) < 0)
			return false;
	}
	if (json_member_string(json, "failure", &text) < 0)
		return false;
	while (addon->failure < MEMORY_FAILURE_N &&
	       strcmp(failure_names[addon->failure], text) != 0)
		addon->failure++;
	if (addon->failure == MEMORY_FAILURE_N)
		return false;
	if (json_member_string(json, "missing_connection", &text) == 0) {
		addon->is_missing = true;
		addon->missing_connection = strtoull(text, NULL, 16);
	}
	return true;
}

int memory_from_json(const json_t *json, struct memory *ret)
{
	CLEANUP(memory_done) struct memory memory = MEMORY_INIT;
	json_t *addons = NULL;
	uint64_t schema = 0;
	const char *id;
	json_t *value;

	if (json_member_uint(json, "schema", 1, &schema) < 0 || schema != 1 ||
	    json_member_object(json, "addons", &addons) < 0)
		return 1;
	json_object_foreach(addons, id, value)
	{
		struct memory_addon *addon;

		if (!manifest_id_is_valid(id))
			return 1;
		addon = memory_get(&memory, id);
		if (!addon)
			return -ENOMEM;
		if (!addon_from_json(value, addon))
			return 1;
	}
	*ret = memory;
	memory = MEMORY_INIT;
	return 0;
}
