/* SPDX-License-Identifier: Apache-2.0 */

/* `[Install]` as links, the way `systemctl enable` makes them: an empty assignment drops what came
 * before it. */

#include "unit/unit_install.h"

#include <errno.h>
#include <string.h>

#define UNIT_DIRECTORY "/etc/systemd/system"
#define BLANKS         " \t"

/* Adds the words of all assignments of *key* that are still in force to *ret*. */
static int collect(const struct unit_file *unit, const char *key, struct strv *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < unit->count; i++) {
		const struct unit_entry *entry = &unit->entries[i];
		const char *p = entry->value;

		if (strcmp(entry->section, "Install") != 0 || strcmp(entry->key, key) != 0)
			continue;
		if (*p == '\0')
			strv_done(ret);
		for (p += strspn(p, BLANKS); r == 0 && *p != '\0'; p += strspn(p, BLANKS)) {
			size_t length = strcspn(p, BLANKS);
			cleanup_free char *word = strndup(p, length);

			r = word ? strv_add(ret, word) : -ENOMEM;
			p += length;
		}
	}
	return r;
}

static int add_links(const struct unit_file *unit, const char *name, const char *key,
		     const char *suffix, struct strv *links)
{
	cleanup_strv struct strv targets = STRV_INIT;
	int r = collect(unit, key, &targets);

	for (size_t i = 0; r == 0 && i < targets.count; i++) {
		cleanup_free char *link = NULL;

		r = str_format(&link, UNIT_DIRECTORY "/%s.%s/%s", targets.items[i], suffix, name);
		if (r == 0 && !strv_has(links, link))
			r = strv_add(links, link);
	}
	return r;
}

int unit_install_links(const struct unit_file *unit, const char *name, struct strv *links)
{
	int r;

	r = add_links(unit, name, "WantedBy", "wants", links);
	if (r == 0)
		r = add_links(unit, name, "RequiredBy", "requires", links);
	if (r == 0)
		strv_sort(links);
	return r;
}
