/* SPDX-License-Identifier: Apache-2.0 */

/* passwd(5) and its relatives as text. Lines that are not touched keep their bytes. */

#include "plan/accounts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* One entry: its name, and what follows the first colon. */
struct entry {
	const char *name;
	size_t name_length;
	const char *rest;
	size_t rest_length;
};

static bool is_nis(const char *line)
{
	return *line == '+' || *line == '-';
}

/* The next entry at or behind *at*, which moves behind it. */
static bool next_entry(const char **at, struct entry *ret)
{
	while (**at != '\0') {
		const char *line = *at;
		size_t length = strcspn(line, "\n");
		size_t name_length = strcspn(line, ":\n");

		*at = line + length + (line[length] == '\n' ? 1 : 0);
		if (name_length == 0 || name_length == length || *line == '#' || is_nis(line))
			continue;
		*ret = (struct entry){
			.name = line,
			.name_length = name_length,
			.rest = line + name_length + 1,
			.rest_length = length - name_length - 1,
		};
		return true;
	}
	return false;
}

static bool is_named(const struct entry *entry, const char *name)
{
	return strlen(name) == entry->name_length &&
	       memcmp(entry->name, name, entry->name_length) == 0;
}

/* A decimal number that is an id. */
static bool entry_number(const struct entry *entry, enum accounts_field field, uint32_t *ret)
{
	const char *end = entry->rest + entry->rest_length;
	const char *at = entry->rest;
	uint32_t id = 0;

	for (int i = 0; i < (int)field; i++) {
		at = memchr(at, ':', (size_t)(end - at));
		if (!at || ++at == end)
			return false;
	}
	if (*at == ':')
		return false;
	for (; at < end && *at != ':'; at++) {
		if (*at < '0' || *at > '9' || __builtin_mul_overflow(id, 10U, &id) ||
		    __builtin_add_overflow(id, (uint32_t)(*at - '0'), &id))
			return false;
	}
	/* The largest number means "none" to chown(2). */
	if (at == end || id == UINT32_MAX)
		return false;
	*ret = id;
	return true;
}

bool accounts_find_number(const char *text, const char *name, enum accounts_field field,
			  uint32_t *ret)
{
	struct entry entry;

	while (next_entry(&text, &entry)) {
		if (is_named(&entry, name))
			return entry_number(&entry, field, ret);
	}
	return false;
}

bool accounts_find_id(const char *text, const char *name, uint32_t *ret)
{
	return accounts_find_number(text, name, ACCOUNTS_ID, ret);
}

bool accounts_find_other(const char *text, const char *name, enum accounts_field field,
			 uint32_t number, char *ret_name, size_t size)
{
	struct entry entry;

	while (next_entry(&text, &entry)) {
		uint32_t other;

		if (is_named(&entry, name) || !entry_number(&entry, field, &other) ||
		    other != number)
			continue;
		(void)snprintf(ret_name, size, "%.*s", (int)entry.name_length, entry.name);
		return true;
	}
	return false;
}

bool accounts_has_id(const char *text, uint32_t id)
{
	struct entry entry;

	while (next_entry(&text, &entry)) {
		uint32_t other;

		if (entry_number(&entry, ACCOUNTS_ID, &other) && other == id)
			return true;
	}
	return false;
}

bool accounts_has_name(const char *text, const char *name)
{
	struct entry entry;

	while (next_entry(&text, &entry)) {
		if (is_named(&entry, name))
			return true;
	}
	return false;
}

/* Where the NIS entries begin, or the end. */
static const char *find_nis(const char *text)
{
	while (*text != '\0' && !is_nis(text)) {
		size_t length = strcspn(text, "\n");

		text += length + (text[length] == '\n' ? 1 : 0);
	}
	return text;
}

int accounts_add(const char *text, const char *line, char **ret)
{
	size_t before = (size_t)(find_nis(text) - text);
	bool is_cut = before > 0 && text[before - 1] != '\n';

	return str_format(ret, "%.*s%s%s\n%s", (int)before, text, is_cut ? "\n" : "", line,
			  text + before);
}
