/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Version directories. A version's name belongs to the bytes that run; another bundle of the same
 * version waits beside it under a parked name. A crash can leave any of them under any name that
 * belongs to the version, so bytes are found by looking at them, never by trusting a name or a
 * remembered step.
 */

#include "plan/apply_version.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "plan/apply.h"
#include "plan/plan_paths.h"

void version_parked_name(const struct plan *plan, char name[VERSION_PARKED_SIZE])
{
	char digest[DIGEST_TEXT_SIZE];

	digest_to_string(&plan->bundle, digest);
	(void)snprintf(name, VERSION_PARKED_SIZE, ".%s~%.16s", plan->identity.version, digest);
}

int version_open_directory(const struct tree *tree, const char *id, int *ret_fd)
{
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	char path[128];
	int r;

	(void)snprintf(path, sizeof(path), PLAN_OPT_BASE "/%s/versions", id);
	r = tree_open_parent(tree, path, &parent, &name);
	if (r < 0)
		return r;
	return path_open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0, ret_fd);
}

static size_t count_entries(const struct plan *plan)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->n_objects; i++)
		n += plan->objects[i].entry != NULL;
	return n;
}

static int file_matches(int dirfd, const char *name, const struct plan_object *object, bool *ret)
{
	cleanup_fd int fd = -EBADF;
	struct digest digest;
	struct stat st;
	int r;

	r = path_open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
	if (r < 0)
		return r == -ELOOP ? 0 : r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != object->size)
		return 0;
	r = digest_of_fd(fd, &digest, NULL);
	if (r == 0)
		*ret = digest_is_equal(&digest, &object->digest);
	/* A bad block is damage like any other. */
	return r == -EIO ? 0 : r;
}

static int directory_matches(DIR *dir, const struct plan *plan, bool *ret)
{
	size_t found = 0;

	for (;;) {
		const struct plan_object *object;
		const struct dirent *entry = NULL;
		bool same = false;
		int r = dir_next(dir, &entry);

		if (r < 0)
			return r;
		if (!entry)
			break;
		/* A file that the plan does not have spoils nothing: version_fix() removes it. */
		object = plan_find_entry(plan, entry->d_name);
		if (!object)
			continue;
		r = file_matches(dirfd(dir), entry->d_name, object, &same);
		if (r < 0 || !same)
			return r;
		found++;
	}
	*ret = found == count_entries(plan);
	return 0;
}

int version_matches(int versions_fd, const char *name, const struct plan *plan, bool *ret)
{
	cleanup_dir DIR *dir = NULL;
	bool matches = false;
	int fd = -EBADF;
	int r;

	r = path_open_beneath(versions_fd, name, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (path_leads_nowhere(r)) {
		*ret = false;
		return 0;
	}
	if (r == 0)
		r = dir_take(fd, &dir);
	if (r != 0)
		return r;
	r = directory_matches(dir, plan, &matches);
	if (r == 0)
		*ret = matches;
	return r;
}

/* The parked directories of a version, sorted. */
static int list_parked(int versions_fd, const char *version, struct strv *ret)
{
	cleanup_dir DIR *dir = NULL;
	char prefix[VERSION_PARKED_SIZE];
	const struct dirent *entry = NULL;
	int r = dir_open(versions_fd, &dir);

	(void)snprintf(prefix, sizeof(prefix), ".%s~", version);
	while (r == 0) {
		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;
		if (str_starts_with(entry->d_name, prefix) &&
		    !str_ends_with(entry->d_name, FILE_TEMPORARY_SUFFIX))
			r = strv_add(ret, entry->d_name);
	}
	strv_sort(ret);
	return r;
}

static int exists(int dirfd, const char *name, bool *ret)
{
	struct stat st;

	*ret = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	return *ret || errno == ENOENT ? 0 : -errno;
}

bool version_is_new(const struct tree *tree, const char *id, const char *version)
{
	cleanup_strv struct strv parked = STRV_INIT;
	cleanup_fd int versions = -EBADF;
	bool is_there = false;
	int r = version_open_directory(tree, id, &versions);

	if (r == 0)
		r = exists(versions, version, &is_there);
	if (r == 0)
		r = list_parked(versions, version, &parked);
	return r == -ENOENT || (r == 0 && !is_there && parked.count == 0);
}

/* Gives what now lies under *name* the parked name of *from*, if it is *from*'s. */
static int park(int versions_fd, const char *name, const struct plan *from)
{
	char parked[VERSION_PARKED_SIZE];
	bool same = false;
	int r;

	version_parked_name(from, parked);
	if (strcmp(parked, name) == 0)
		return 0;
	r = version_matches(versions_fd, name, from, &same);
	if (r < 0 || !same)
		return r;
	return renameat(versions_fd, name, versions_fd, parked) < 0 ? -errno : 0;
}

static int exchange(int versions_fd, const char *name, const struct plan *to,
		    const struct plan *from)
{
	if (renameat2(versions_fd, name, versions_fd, to->identity.version, RENAME_EXCHANGE) < 0)
		return -errno;
	if (!from || strcmp(from->identity.version, to->identity.version) != 0)
		return 0;
	return park(versions_fd, name, from);
}

/* The parked directory that holds *plan*'s bytes: its name from *parked*, or NULL. */
static int find_parked(int versions_fd, const struct strv *parked, const struct plan *plan,
		       const char **ret)
{
	for (size_t i = 0; i < parked->count; i++) {
		bool same = false;
		int r = version_matches(versions_fd, parked->items[i], plan, &same);

		if (r < 0)
			return r;
		if (same) {
			*ret = parked->items[i];
			return 0;
		}
	}
	return 0;
}

/* Something stands under the version's name and something is parked: who is who is seen by looking.
 */
static int place_among(int versions_fd, const struct strv *parked, const struct plan *to,
		       const struct plan *from)
{
	const char *name = NULL;
	bool in_place = false;
	int r;

	r = version_matches(versions_fd, to->identity.version, to, &in_place);
	if (r < 0)
		return r;
	if (in_place) {
		/* A crash may have come between the exchange and the parking. */
		if (!from || strcmp(from->identity.version, to->identity.version) != 0)
			return 0;
		r = find_parked(versions_fd, parked, from, &name);
		return r < 0 || !name ? r : park(versions_fd, name, from);
	}
	r = find_parked(versions_fd, parked, to, &name);
	if (r < 0)
		return r;
	return name ? exchange(versions_fd, name, to, from) : -ENODATA;
}

int version_place(int versions_fd, const struct plan *to, const struct plan *from)
{
	cleanup_strv struct strv parked = STRV_INIT;
	char own[VERSION_PARKED_SIZE];
	bool taken = false;
	int r;

	r = exists(versions_fd, to->identity.version, &taken);
	if (r == 0)
		r = list_parked(versions_fd, to->identity.version, &parked);
	if (r < 0)
		return r;
	/* The common cases need no look at the bytes: nothing parked, or the name free for what was
	 * staged. */
	if (taken)
		return parked.count == 0 ? 0 : place_among(versions_fd, &parked, to, from);
	version_parked_name(to, own);
	if (!strv_has(&parked, own))
		return -ENODATA;
	return renameat(versions_fd, own, versions_fd, to->identity.version) < 0 ? -errno : 0;
}

int version_restore(int versions_fd, const struct plan *to, const struct plan *from)
{
	char parked[VERSION_PARKED_SIZE];
	bool is_theirs = false;
	bool taken = false;
	int r;

	r = version_place(versions_fd, to, from);
	if (r < 0 && r != -ENODATA)
		return r;
	if (!from || strcmp(from->identity.version, to->identity.version) != 0 ||
	    digest_is_equal(&from->bundle, &to->bundle))
		return 0;
	r = version_matches(versions_fd, to->identity.version, from, &is_theirs);
	if (r < 0 || !is_theirs)
		return r;
	/* What did not match when it made room went under the name that *from* came from. */
	version_parked_name(from, parked);
	r = exists(versions_fd, parked, &taken);
	if (r < 0)
		return r;
	return renameat2(versions_fd, to->identity.version, versions_fd, parked,
			 taken ? RENAME_EXCHANGE : 0) < 0
		       ? -errno
		       : 0;
}

/* Whether *plan* needs what is parked as its own: its version's name may hold the same bytes, when
 * they were staged once more and a crash came. */
static int needs_parked(int versions_fd, const struct plan *plan, const struct plan *current,
			bool *ret)
{
	bool is_in_place = false;
	int r = 0;

	*ret = false;
	if (digest_is_equal(&plan->bundle, &current->bundle))
		return 0;
	if (strcmp(plan->identity.version, current->identity.version) != 0)
		r = version_matches(versions_fd, plan->identity.version, plan, &is_in_place);
	*ret = !is_in_place;
	return r;
}

/* Whether one of the *n* plans needs the entry *name* of the versions directory; keep[0] is the one
 * in place. */
static int is_needed(int versions_fd, const char *name, const struct plan *const *keep, size_t n,
		     bool *ret)
{
	int r = 0;

	*ret = false;
	for (size_t i = 0; r == 0 && !*ret && i < n; i++) {
		char parked[VERSION_PARKED_SIZE];

		version_parked_name(keep[i], parked);
		if (strcmp(name, keep[i]->identity.version) == 0)
			*ret = true;
		else if (i > 0 && strcmp(name, parked) == 0)
			r = needs_parked(versions_fd, keep[i], keep[0], ret);
	}
	return r;
}

static int list_unneeded(int versions_fd, const struct plan *const *keep, size_t n,
			 struct strv *ret)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;
	int r = dir_open(versions_fd, &dir);

	while (r == 0) {
		bool is_kept = false;

		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;
		r = is_needed(versions_fd, entry->d_name, keep, n, &is_kept);
		if (r == 0 && !is_kept)
			r = strv_add(ret, entry->d_name);
	}
	return r;
}

/* Whether what stands under *version* is what one of the *n* plans has there. */
static int is_held(int versions_fd, const char *version, const struct plan *const *keep, size_t n,
		   bool *ret)
{
	int r = 0;

	*ret = false;
	for (size_t i = 0; r == 0 && !*ret && i < n; i++) {
		if (strcmp(keep[i]->identity.version, version) == 0)
			r = version_matches(versions_fd, version, keep[i], ret);
	}
	return r;
}

/* Gives the bytes of *plan* under *name* a name of *plan*'s own; *ret_gone*: nothing is under
 * *name* any more. */
static int name_anew(int versions_fd, const char *name, const struct plan *plan, bool is_in_place,
		     bool *ret_gone)
{
	char parked[VERSION_PARKED_SIZE];
	const char *own = is_in_place ? parked : plan->identity.version;
	bool taken = false;
	int r;

	version_parked_name(plan, parked);
	r = exists(versions_fd, own, &taken);
	if (r < 0)
		return r;
	*ret_gone = !taken;
	if (renameat2(versions_fd, name, versions_fd, own,
		      taken ? RENAME_EXCHANGE : RENAME_NOREPLACE) < 0)
		return -errno;
	return 0;
}

/*
 * Another build of a recorded version, installed over a third one, or tried and left again, made
 * the recorded one go under a name that is not its own. It is found by its bytes.
 */
static int rescue(int versions_fd, const char *name, const struct plan *const *keep, size_t n,
		  bool *ret_gone)
{
	*ret_gone = false;
	for (size_t i = 1; i < n; i++) {
		const char *version = keep[i]->identity.version;
		char prefix[VERSION_PARKED_SIZE];
		bool is_in_place = false;
		bool same = false;
		int r = 0;

		(void)snprintf(prefix, sizeof(prefix), ".%s~", version);
		if (str_starts_with(name, prefix))
			r = version_matches(versions_fd, name, keep[i], &same);
		if (r == 0 && same)
			r = needs_parked(versions_fd, keep[i], keep[0], &same);
		/* The name of the current version is its own, whatever became of its bytes. */
		is_in_place = strcmp(keep[0]->identity.version, version) == 0;
		if (r == 0 && same && !is_in_place)
			r = is_held(versions_fd, version, keep, n, &is_in_place);
		if (r < 0 || same)
			return r < 0 ? r
				     : name_anew(versions_fd, name, keep[i], is_in_place, ret_gone);
	}
	return 0;
}

static int rescue_or_remove(int versions_fd, const char *name, const struct plan *const *keep,
			    size_t n)
{
	bool is_gone = false;
	int r = rescue(versions_fd, name, keep, n, &is_gone);

	return r < 0 || is_gone ? r : tree_remove(versions_fd, name);
}

int apply_prune(const struct tree *tree, const char *id, const struct plan *const *keep, size_t n)
{
	cleanup_strv struct strv unneeded = STRV_INIT;
	cleanup_fd int versions = -EBADF;
	int r;

	r = version_open_directory(tree, id, &versions);
	if (r < 0)
		return path_leads_nowhere(r) ? 0 : r;
	r = list_unneeded(versions, keep, n, &unneeded);
	for (size_t i = 0; r == 0 && i < unneeded.count; i++)
		r = rescue_or_remove(versions, unneeded.items[i], keep, n);
	if (r == 0 && unneeded.count > 0)
		r = dir_sync(versions);
	return r;
}

int apply_has_bytes(const struct tree *tree, const struct plan *plan, bool *ret)
{
	cleanup_strv struct strv parked = STRV_INIT;
	cleanup_fd int versions = -EBADF;
	const char *name = NULL;
	bool in_place = false;
	int r;

	r = version_open_directory(tree, plan->identity.id, &versions);
	if (path_leads_nowhere(r)) {
		*ret = false;
		return 0;
	}
	if (r == 0)
		r = version_matches(versions, plan->identity.version, plan, &in_place);
	if (r == 0 && !in_place)
		r = list_parked(versions, plan->identity.version, &parked);
	if (r == 0 && !in_place)
		r = find_parked(versions, &parked, plan, &name);
	if (r == 0)
		*ret = in_place || name;
	return r;
}
