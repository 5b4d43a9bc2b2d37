/* SPDX-License-Identifier: Apache-2.0 */

/* Owners and capabilities, by path, from all plans whose files are in the image. */

#include "image/attributes.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/str.h"
#include "plan/apply_version.h"

#define CAPABILITY "security.capability"

void attributes_done(struct attributes *attributes)
{
	for (size_t i = 0; i < attributes->count; i++)
		free(attributes->items[i].path);
	free(attributes->items);
	for (size_t i = 0; i < attributes->n_records; i++)
		(void)record_free(attributes->records[i]);
	free(attributes->records);
	free(attributes->root);
	tree_done(&attributes->tree);
	*attributes = ATTRIBUTES_INIT;
}

/* The path of a held directory, as the kernel has it; the caller frees it. */
static int read_path(int fd, char **ret)
{
	char link[64];
	char path[4096];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	*ret = strdup(path);
	return *ret ? 0 : -ENOMEM;
}

/* Where a path of a plan leads, its directory's symlinks resolved inside the tree. */
static int find_real(const struct attributes *attributes, const char *path, char **ret)
{
	const char *name = path_last_name(path);
	cleanup_free char *directory = strndup(path, (size_t)(name - path));
	cleanup_free char *real = NULL;
	cleanup_fd int fd = -EBADF;
	int r = directory ? 0 : -ENOMEM;

	if (r == 0)
		r = path_open_in_root(attributes->tree.rootfd, directory, O_PATH | O_DIRECTORY, 0,
				      &fd);
	if (r == 0)
		r = read_path(fd, &real);
	if (r < 0)
		return r;
	return str_format(ret, "%s/%s", real + strlen(attributes->root), name);
}

/* gcc 12's analyzer takes for lost what is kept behind the attributes. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int add_item(struct attributes *attributes, const char *path, const char *id,
		    const struct plan_object *object, bool is_current)
{
	struct attributes_item *item;
	char *real = NULL;
	int r = find_real(attributes, path, &real);

	if (r < 0)
		return path_leads_nowhere(r) ? 0 : r;
	if (memory_make_room(&attributes->items, attributes->count, &attributes->allocated) < 0) {
		free(real);
		return -ENOMEM;
	}
	item = &attributes->items[attributes->count];
	*item = (struct attributes_item){
		.path = real, .id = id, .object = object, .is_current = is_current};
	attributes->count++;
	return 0;
}

static int add_record(struct attributes *attributes, struct record *record)
{
	struct record **larger = reallocarray(attributes->records, attributes->n_records + 1,
					      sizeof(struct record *));

	if (!larger)
		return -ENOMEM;
	attributes->records = larger;
	larger[attributes->n_records++] = record;
	return 0;
}

#pragma GCC diagnostic pop

/* A version's files, where they stand while another bundle of the same version runs. */
static int add_parked(struct attributes *attributes, const struct plan *plan,
		      const struct plan_object *object)
{
	cleanup_free char *version = plan_version_path(plan);
	cleanup_free char *path = NULL;
	char name[VERSION_PARKED_SIZE];
	int r;

	if (!version)
		return -ENOMEM;
	if (!object->entry && strcmp(object->path, version) != 0)
		return 0;
	version_parked_name(plan, name);
	r = str_format(&path, "%.*s/%s%s%s", (int)(path_last_name(version) - version - 1), version,
		       name, object->entry ? "/" : "",
		       object->entry ? path_last_name(object->path) : "");
	return r < 0 ? r : add_item(attributes, path, plan->identity.id, object, false);
}

static int add_plan(struct attributes *attributes, const struct plan *plan, bool is_current)
{
	int r = 0;

	for (size_t i = 0; plan && r == 0 && i < plan->n_objects; i++) {
		const struct plan_object *object = &plan->objects[i];

		if (object->seed)
			continue;
		r = add_parked(attributes, plan, object);
		if (r == 0 && (is_current || object->entry))
			r = add_item(attributes, object->path, plan->identity.id, object,
				     is_current);
	}
	return r;
}

/* Oldest first: what is said later goes. */
static int add_plans(struct attributes *attributes, const struct record *record)
{
	int r = 0;

	for (size_t i = record->n_older; r == 0 && i > 0; i--)
		r = add_plan(attributes, record->older[i - 1], false);
	if (r == 0)
		r = add_plan(attributes, record->previous, false);
	return r < 0 ? r : add_plan(attributes, record->current, true);
}

static int load_record(struct attributes *attributes, const struct store *store, const char *id)
{
	cleanup_record struct record *record = NULL;
	struct record *kept;
	int r = store_load(store, id, &record, NULL);

	if (r != 0)
		return r > 0 || r == -ENOENT ? 0 : r;
	kept = record;
	r = add_record(attributes, record);
	if (r < 0)
		return r;
	record = NULL;
	return add_plans(attributes, kept);
}

int attributes_load(const char *path, struct attributes *ret)
{
	cleanup_attributes struct attributes attributes = ATTRIBUTES_INIT;
	cleanup_store struct store store = {.dirfd = -EBADF};
	cleanup_strv struct strv ids = STRV_INIT;
	int r;

	r = tree_open(path, false, &attributes.tree);
	if (r == 0)
		r = read_path(attributes.tree.rootfd, &attributes.root);
	if (r == 0)
		r = store_open(&attributes.tree, false, &store);
	if (r == 0)
		r = store_list(&store, &ids);
	if (r == -ENOENT)
		r = 0;
	for (size_t i = 0; r == 0 && i < ids.count; i++)
		r = load_record(&attributes, &store, ids.items[i]);
	if (r < 0)
		return r;
	*ret = attributes;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): clang 14 does not see the cleanup */
	attributes = ATTRIBUTES_INIT;
	return 0;
}

const struct attributes_item *attributes_find(const struct attributes *attributes, const char *path)
{
	for (size_t i = attributes->count; i > 0; i--) {
		if (strcmp(attributes->items[i - 1].path, path) == 0)
			return &attributes->items[i - 1];
	}
	return NULL;
}

int attributes_of(const struct attributes *attributes, const struct plan_object *object,
		  struct vfs_cap_data *xattr, struct edit_attributes *ret)
{
	uid_t uid = 0;
	gid_t gid = 0;
	int r = tree_user(&attributes->tree, object->owner, &uid);

	if (r == 0)
		r = tree_group(&attributes->tree, object->group, &gid);
	if (r < 0)
		return r;
	*ret = (struct edit_attributes){.mode = object->mode, .uid = uid, .gid = gid};
	if (object->capabilities == 0)
		return 0;
	version_make_capability(object->capabilities, xattr);
	ret->capability = xattr;
	ret->capability_size = sizeof(*xattr);
	return 0;
}

int attributes_compare(struct edit *edit, const struct edit_stat *st,
		       const struct edit_attributes *wanted, const char **ret)
{
	cleanup_free void *found = NULL;
	size_t size = 0;
	int r = 0;

	*ret = NULL;
	/* As in a tree: whose a link is means nothing. */
	if (S_ISLNK(st->mode))
		return 0;
	if (S_ISREG(st->mode))
		r = edit_read_xattr(edit, st->ino, CAPABILITY, &found, &size);
	if (r < 0 && r != -ENODATA)
		return r;
	if (st->uid != wanted->uid || st->gid != wanted->gid)
		*ret = "owner";
	else if ((st->mode & 07777) != wanted->mode)
		*ret = "mode";
	else if (size != wanted->capability_size ||
		 (size > 0 && memcmp(found, wanted->capability, size) != 0))
		*ret = "capabilities";
	return 0;
}
