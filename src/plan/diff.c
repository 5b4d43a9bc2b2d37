/* SPDX-License-Identifier: Apache-2.0 */

/* Drift: the tree against the plan, every byte of it, with nothing but reads. */

#include "plan/diff.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "plan/masks.h"

static const char *const kinds[] = {
	[DIFF_MISSING] = "missing", [DIFF_TYPE] = "type",
	[DIFF_CONTENT] = "content", [DIFF_MODE] = "mode",
	[DIFF_OWNER] = "owner",     [DIFF_CAPABILITIES] = "capabilities",
	[DIFF_TARGET] = "target",   [DIFF_MASKED] = "masked",
	[DIFF_FOREIGN] = "foreign", [DIFF_LOCAL_OVERRIDE] = "local-override",
};

static_assert(ARRAY_SIZE(kinds) == DIFF_N, "every kind has a name");

const char *diff_kind_to_string(enum diff_kind kind)
{
	return kinds[kind];
}

static void item_done(struct diff_item *item)
{
	free(item->path);
	free(item->wanted);
	free(item->found);
}

void diff_done(struct diff *diff)
{
	for (size_t i = 0; i < diff->count; i++)
		item_done(&diff->items[i]);
	free(diff->items);
	*diff = DIFF_INIT;
}

size_t diff_count_damage(const struct diff *diff)
{
	size_t n = 0;

	for (size_t i = 0; i < diff->count; i++)
		n += diff->items[i].kind != DIFF_LOCAL_OVERRIDE;
	return n;
}

/* gcc 12's analyzer takes for lost what is kept behind the diff. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int add(struct diff *diff, enum diff_kind kind, const char *path, const char *wanted,
	       const char *found)
{
	struct diff_item *larger = reallocarray(diff->items, diff->count + 1, sizeof(*larger));
	struct diff_item *item;

	if (!larger)
		return -ENOMEM;
	diff->items = larger;
	item = &larger[diff->count++];
	*item = (struct diff_item){
		.kind = kind,
		.path = strdup(path),
		.wanted = wanted ? strdup(wanted) : NULL,
		.found = found ? str_escape(found, strlen(found), 256) : NULL,
	};
	if (!item->path || (wanted && !item->wanted) || (found && !item->found))
		return -ENOMEM;
	return 0;
}

#pragma GCC diagnostic pop

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "link";
	default:
		return "other";
	}
}

static mode_t type_mode(enum plan_object_type type)
{
	static const mode_t modes[] = {
		[PLAN_DIRECTORY] = S_IFDIR, [PLAN_FILE] = S_IFREG, [PLAN_LINK] = S_IFLNK};

	return modes[type];
}

static int compare_owner(const struct tree *tree, const struct plan_object *object,
			 const struct stat *st, struct diff *diff)
{
	char wanted[128];
	char found[64];
	uid_t uid = 0;
	gid_t gid = 0;
	int r;

	r = tree_user(tree, object->owner, &uid);
	if (r == 0)
		r = tree_group(tree, object->group, &gid);
	if (r < 0 && r != -ESRCH)
		return r;
	if (r == 0 && st->st_uid == uid && st->st_gid == gid)
		return 0;
	(void)snprintf(wanted, sizeof(wanted), "%s:%s", object->owner, object->group);
	(void)snprintf(found, sizeof(found), "%u:%u", st->st_uid, st->st_gid);
	return add(diff, DIFF_OWNER, object->path, wanted, found);
}

static int compare_mode(const struct plan_object *object, const struct stat *st, struct diff *diff)
{
	char wanted[16];
	char found[16];

	if ((st->st_mode & 07777) == object->mode)
		return 0;
	(void)snprintf(wanted, sizeof(wanted), "%04o", object->mode);
	(void)snprintf(found, sizeof(found), "%04o", st->st_mode & 07777);
	return add(diff, DIFF_MODE, object->path, wanted, found);
}

/* The mask of a file's capability xattr; anything but "permitted and effective, nothing else" reads
 * as all bits. */
static uint64_t read_capabilities(int fd)
{
	struct vfs_ns_cap_data data = {0};
	ssize_t n = fgetxattr(fd, "security.capability", &data, sizeof(data));

	if (n < 0)
		return errno == ENODATA || errno == ENOTSUP ? 0 : UINT64_MAX;
	if (n != sizeof(struct vfs_cap_data) ||
	    le32toh(data.magic_etc) != (VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE) ||
	    data.data[0].inheritable || data.data[1].inheritable)
		return UINT64_MAX;
	return le32toh(data.data[0].permitted) | (uint64_t)le32toh(data.data[1].permitted) << 32;
}

static int compare_content(const struct plan_object *object, int fd, const struct stat *st,
			   struct diff *diff)
{
	struct digest digest;
	char wanted[DIGEST_TEXT_SIZE];
	char found[DIGEST_TEXT_SIZE];
	int r;

	digest_to_string(&object->digest, wanted);
	r = digest_of_fd(fd, &digest, NULL);
	/* A bad block is damage like any other. */
	if (r == -EIO)
		return add(diff, DIFF_CONTENT, object->path, wanted, "cannot be read");
	if (r < 0)
		return r;
	if ((uint64_t)st->st_size == object->size && digest_is_equal(&digest, &object->digest))
		return 0;
	digest_to_string(&digest, found);
	return add(diff, DIFF_CONTENT, object->path, wanted, found);
}

static int compare_file(const struct tree *tree, const struct plan_object *object, int parent,
			const char *name, struct diff *diff)
{
	cleanup_fd int fd = -EBADF;
	uint64_t capabilities;
	char wanted[32];
	char found[32];
	struct stat st;
	int r;

	r = path_open_beneath(parent, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	r = compare_content(object, fd, &st, diff);
	capabilities = tree->is_copy ? object->capabilities : read_capabilities(fd);
	if (r < 0 || capabilities == object->capabilities)
		return r;
	(void)snprintf(wanted, sizeof(wanted), "%llx", (unsigned long long)object->capabilities);
	(void)snprintf(found, sizeof(found), "%llx", (unsigned long long)capabilities);
	return add(diff, DIFF_CAPABILITIES, object->path, wanted, found);
}

static int compare_link(const struct plan_object *object, int parent, const char *name,
			struct diff *diff)
{
	char target[1024];
	ssize_t n = readlinkat(parent, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	return strcmp(target, object->target) == 0
		       ? 0
		       : add(diff, DIFF_TARGET, object->path, object->target, target);
}

static int compare_object(const struct tree *tree, const struct plan_object *object,
			  struct diff *diff)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	struct stat st;
	int r;

	r = tree_open_parent(tree, object->path, &parent, &name);
	if (path_leads_nowhere(r))
		return add(diff, DIFF_MISSING, object->path, NULL, NULL);
	if (r < 0)
		return r;
	if (object->seed)
		return 0;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? add(diff, DIFF_MISSING, object->path, NULL, NULL) : -errno;
	/* A shared directory is only ever needed, not owned. */
	if (object->shared && (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)))
		return 0;
	if ((st.st_mode & S_IFMT) != type_mode(object->type))
		return add(diff, DIFF_TYPE, object->path, type_name(type_mode(object->type)),
			   type_name(st.st_mode));
	if (object->type == PLAN_LINK)
		return compare_link(object, parent, name, diff);
	r = compare_mode(object, &st, diff);
	if (r == 0)
		r = compare_owner(tree, object, &st, diff);
	if (r == 0 && object->type == PLAN_FILE)
		r = compare_file(tree, object, parent, name, diff);
	return r;
}

/* Every name in the directory *path* that the plan does not have and that ends in *suffix*. */
static int find_others(const struct tree *tree, const struct plan *plan, const char *path,
		       const char *suffix, enum diff_kind kind, struct diff *diff)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;
	int fd = -EBADF;
	int r;

	r = path_open_in_root(tree->rootfd, path, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r < 0)
		return path_leads_nowhere(r) ? 0 : r;
	r = dir_take(fd, &dir);
	while (r == 0) {
		cleanup_free char *full = NULL;

		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;
		if (!str_ends_with(entry->d_name, suffix))
			continue;
		r = str_format(&full, "%s/%s", path, entry->d_name);
		if (r == 0 && !plan_find(plan, full)) {
			cleanup_free char *shown = str_escape(full, strlen(full), 1024);

			r = shown ? add(diff, kind, shown, NULL, NULL) : -ENOMEM;
		}
	}
	return r;
}

/* The drop-ins in NAME.d, where the *length* first characters of *unit* and its type are the name.
 */
static int find_drop_ins(const struct tree *tree, const struct plan *plan, const char *unit,
			 size_t length, struct diff *diff)
{
	static const char *const places[] = {"/etc/systemd/system", "/etc/systemd/system.control",
					     "/run/systemd/system"};
	const char *type = strrchr(unit, '.');
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++) {
		char path[512];

		(void)snprintf(path, sizeof(path), "%s/%.*s%s.d", places[i], (int)length, unit,
			       length > 0 ? type : type + 1);
		r = find_others(tree, plan, path, ".conf", DIFF_LOCAL_OVERRIDE, diff);
	}
	return r;
}

/* systemd.unit(5): those of the unit, of each of its name's beginnings that end with a dash, and of
 * all units of its type. */
static int find_overrides(const struct tree *tree, const struct plan *plan, struct diff *diff)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n_units; i++) {
		const char *unit = plan->units[i].name;
		size_t whole = (size_t)(strrchr(unit, '.') - unit);

		for (size_t length = 0; r == 0 && length <= whole; length++) {
			if (length == 0 || length == whole || unit[length - 1] == '-')
				r = find_drop_ins(tree, plan, unit, length, diff);
		}
	}
	return r;
}

static int compare_items(const void *a, const void *b)
{
	const struct diff_item *x = a;
	const struct diff_item *y = b;
	int r = strcmp(x->path, y->path);

	return r != 0 ? r : (int)x->kind - (int)y->kind;
}

/* Several units may have the same drop-in: it is said once. */
static void sort(struct diff *diff)
{
	size_t n = 0;

	if (diff->count > 1)
		qsort(diff->items, diff->count, sizeof(*diff->items), compare_items);

	for (size_t i = 0; i < diff->count; i++) {
		if (n > 0 && compare_items(&diff->items[n - 1], &diff->items[i]) == 0)
			item_done(&diff->items[i]);
		else
			diff->items[n++] = diff->items[i];
	}
	diff->count = n;
}

int plan_find_overrides(const struct plan *plan, const struct tree *tree, struct diff *ret)
{
	cleanup_diff struct diff diff = DIFF_INIT;
	int r = find_overrides(tree, plan, &diff);

	if (r < 0)
		return r;
	sort(&diff);
	*ret = diff;
	diff = DIFF_INIT;
	return 0;
}

int plan_diff(const struct plan *plan, const struct tree *tree, struct diff *ret)
{
	cleanup_diff struct diff diff = DIFF_INIT;
	cleanup_free char *version_path = plan_version_path(plan);
	cleanup_strv struct strv masks = STRV_INIT;
	int r = version_path ? masks_find(tree, plan, &masks) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < masks.count; i++)
		r = add(&diff, DIFF_MASKED, masks.items[i], NULL, NULL);
	for (size_t i = 0; r == 0 && i < plan->n_objects; i++)
		r = strv_has(&masks, plan->objects[i].path)
			    ? 0
			    : compare_object(tree, &plan->objects[i], &diff);
	if (r == 0)
		r = find_others(tree, plan, version_path, "", DIFF_FOREIGN, &diff);
	if (r == 0)
		r = find_overrides(tree, plan, &diff);
	if (r < 0)
		return r;
	sort(&diff);
	*ret = diff;
	diff = DIFF_INIT;
	return 0;
}
