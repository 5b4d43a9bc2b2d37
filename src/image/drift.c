/* SPDX-License-Identifier: Apache-2.0 */

/* Drift of what is in the image only. The rest is the engine's comparison of the copy. */

#include "image/drift.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/path.h"
#include "engine/running.h"
#include "plan/diff.h"

/* What the owner of a copy may always do with it: excerpt.c. */
#define COPY_MODE           0600U
#define COPY_MODE_DIRECTORY 0700U

static json_t *find_addon(json_t *addons, const char *id)
{
	size_t i;
	json_t *addon;

	json_array_foreach(addons, i, addon)
	{
		const char *found = NULL;

		if (json_member_string(addon, "id", &found) == 0 && strcmp(found, id) == 0)
			return addon;
	}
	return NULL;
}

static int add_item(json_t *addon, const struct attributes_item *item, const char *kind,
		    const struct edit_stat *st, const struct edit_attributes *wanted)
{
	const struct plan_object *object = item->object;
	char want[160] = "";
	char found[64] = "";
	int r;

	if (strcmp(kind, diff_kind_to_string(DIFF_OWNER)) == 0) {
		(void)snprintf(want, sizeof(want), "%s:%s", object->owner, object->group);
		(void)snprintf(found, sizeof(found), "%u:%u", st->uid, st->gid);
	} else if (strcmp(kind, diff_kind_to_string(DIFF_MODE)) == 0) {
		(void)snprintf(want, sizeof(want), "%04o", wanted->mode);
		(void)snprintf(found, sizeof(found), "%04o", st->mode & 07777);
	} else {
		(void)snprintf(want, sizeof(want), "%llx",
			       (unsigned long long)object->capabilities);
		(void)snprintf(found, sizeof(found), "other");
	}
	r = running_add_item(json_object_get(addon, "items"), kind, object->path, want, found);
	return r < 0 ? r : json_object_set_new(addon, "drifted", json_true());
}

static int compare(struct edit *edit, const struct attributes *attributes,
		   const struct attributes_item *item, json_t *addon)
{
	struct edit_attributes wanted;
	const char *difference = NULL;
	struct vfs_cap_data xattr;
	struct edit_stat seen;
	struct edit_stat st;
	uint32_t shown;
	int r = edit_find(edit, item->path, &st);

	/* The engine says what is missing. */
	if (path_leads_nowhere(r))
		return 0;
	if (r == 0)
		r = attributes_of(attributes, item->object, &xattr, &wanted);
	if (r != 0)
		return r == -ESRCH ? 0 : r;
	seen = st;
	shown = S_ISDIR(st.mode) ? COPY_MODE_DIRECTORY : COPY_MODE;
	if ((st.mode & shown) == shown)
		seen.mode = (st.mode & S_IFMT) | wanted.mode;
	r = attributes_compare(edit, &seen, &wanted, &difference);
	return r < 0 || !difference ? r : add_item(addon, item, difference, &st, &wanted);
}

int image_add_drift(struct edit *edit, const struct attributes *attributes, json_t *addons)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < attributes->count; i++) {
		const struct attributes_item *item = &attributes->items[i];
		json_t *addon = find_addon(addons, item->id);

		if (addon && item->is_current && !item->object->shared)
			r = compare(edit, attributes, item, addon);
	}
	return r;
}
