/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The engine is the one place that knows how a request becomes files, records and users. Teaching
 * it to call libext2fs instead of the kernel would make a second applier of plans, that has to
 * agree with the first; instead the few dozen files that it touches are brought to it. Symlinks on
 * the way to them are copied as they are, so that RESOLVE_IN_ROOT finds in the copy what a boot
 * would find in the image.
 */

#include "image/excerpt.h"

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
#include "image/workspace.h"
#include "plan/plan_paths.h"
#include "store/record.h"

#define ENTRIES_MAX (1U << 17)
#define HEAD_SIZE   4096U
#define DEPTH_MAX   8U
#define NAMED_MAX   (256ULL << 10) /* of a file that need not be ours: no text of ours is larger */
#define SMALL_MAX   (256ULL << 20) /* of all files together but those of versions */

/* What of a place is copied. */
enum how {
	HOW_HEAD,  /* a file's first bytes */
	HOW_FILE,  /* a file */
	HOW_NAMES, /* a directory and the names in it */
	HOW_OURS,  /* a directory; what of it may be affix's whole, of the rest the names */
	HOW_TREE,  /* a directory and all below it */
	HOW_LARGE, /* the same, whatever the size of its files */
	HOW_NAMED, /* a directory, and what in it has affix's name */
	HOW_SMALL, /* what is in one that is called `affix`: of large files the names */
};

static const struct {
	const char *path;
	enum how how;
} places[] = {
	{"/usr/lib/systemd/systemd",       HOW_HEAD },
	{"/lib/systemd/systemd",           HOW_HEAD },
	{"/bin/sh",			HOW_HEAD },
	{"/etc/passwd",                    HOW_FILE },
	{"/etc/group",                     HOW_FILE },
	{"/etc/shadow",                    HOW_FILE },
	{"/etc/gshadow",                   HOW_FILE },
	{"/etc/affix",                     HOW_TREE },
	{"/etc/systemd/system",            HOW_OURS },
	{"/etc/systemd/system.control",    HOW_OURS },
	{"/run/systemd/system",            HOW_OURS },
	{"/etc/sysusers.d",                HOW_OURS },
	{"/etc/tmpfiles.d",                HOW_OURS },
	{"/usr/lib/systemd/system",        HOW_NAMED},
	{"/lib/systemd/system",            HOW_NAMED},
	{"/usr/local/lib/systemd/system",  HOW_NAMED},
	{"/etc/fstab",                     HOW_FILE },
	{"/etc/hostname",                  HOW_FILE },
	{"/etc/machine-id",                HOW_FILE },
	{"/etc/resolv.conf",               HOW_FILE },
	{"/var/lib/dbus/machine-id",       HOW_FILE },
	{"/etc/systemd/network",           HOW_NAMED},
	{"/etc/modules-load.d",            HOW_NAMED},
	{"/usr/bin",		       HOW_NAMED},
	{"/usr/lib",		       HOW_NAMED},
	{"/usr/lib/systemd/system-preset", HOW_NAMED},
	{"/usr/lib/sysusers.d",            HOW_NAMED},
	{"/usr/lib/tmpfiles.d",            HOW_NAMED},
	{"/usr/lib/affix/vm",              HOW_NAMED},
	{"/usr/share",                     HOW_NAMED},
	{"/usr/share/affix/vm",            HOW_NAMED},
	{"/opt",			   HOW_NAMES},
	{PLAN_OPT_BASE,                    HOW_NAMES},
	{PLAN_STATE_BASE,                  HOW_NAMES},
	{PLAN_CACHE_BASE,                  HOW_NAMES},
	{PLAN_LOGS_BASE,                   HOW_NAMES},
	{PLAN_RUN_BASE,                    HOW_NAMES},
	{RECORD_DIRECTORY,                 HOW_TREE },
};

static int compare_entries(const void *a, const void *b)
{
	const struct excerpt_entry *x = a;
	const struct excerpt_entry *y = b;

	return strcmp(x->path, y->path);
}

struct excerpt_entry *excerpt_find(const struct excerpt *excerpt, const char *path)
{
	const struct excerpt_entry key = {.path = (char *)path};

	return excerpt->count == 0 ? NULL
				   : bsearch(&key, excerpt->entries, excerpt->count, sizeof(key),
					     compare_entries);
}

/* Where the copy of *path* stands: below the descriptor. */
static const char *below(const char *path)
{
	return path[1] ? path + 1 : ".";
}

/* gcc 12's analyzer takes for lost what is kept behind the excerpt. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int add_entry(struct excerpt *excerpt, const char *path, enum excerpt_kind kind,
		     const struct edit_stat *st)
{
	struct excerpt_entry *entry;
	struct stat copy;

	if (fstatat(excerpt->fd, below(path), &copy, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (excerpt->count >= ENTRIES_MAX)
		return -E2BIG;
	if (memory_make_room(&excerpt->entries, excerpt->count, &excerpt->allocated) < 0)
		return -ENOMEM;
	entry = &excerpt->entries[excerpt->count];
	*entry = (struct excerpt_entry){
		.path = strdup(path),
		.kind = kind,
		.st = *st,
		.copy_ino = copy.st_ino,
		.copy_sec = copy.st_ctim.tv_sec,
		.copy_nsec = copy.st_ctim.tv_nsec,
	};
	if (!entry->path)
		return -ENOMEM;
	excerpt->count++;
	return 0;
}

#pragma GCC diagnostic pop

static int copy_directory(struct excerpt *excerpt, const char *path, const struct edit_stat *st)
{
	if (path[1] == '\0')
		return 0;
	if (mkdirat(excerpt->fd, below(path), 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (fchmodat(excerpt->fd, below(path), (st->mode & 07777) | 0700, 0) < 0)
		return -errno;
	return add_entry(excerpt, path, EXCERPT_DIRECTORY, st);
}

static int copy_link(struct excerpt *excerpt, const char *path, const struct edit_stat *st)
{
	cleanup_free char *target = NULL;
	int r = edit_read_link(excerpt->edit, st->ino, &target);

	if (r < 0)
		return r;
	if (symlinkat(target, excerpt->fd, below(path)) < 0)
		return errno == EEXIST ? 0 : -errno;
	return add_entry(excerpt, path, EXCERPT_LINK, st);
}

/* What the image says of its sizes may be anything. */
static int count_bytes(struct excerpt *excerpt, uint64_t n, bool is_large)
{
	excerpt->size += n;
	excerpt->small_size += is_large ? 0 : n;
	return excerpt->size > excerpt->edit->place.size || excerpt->small_size > SMALL_MAX ? -EFBIG
											    : 0;
}

/* At most *max* bytes of it; 0: the name only. */
static int copy_file(struct excerpt *excerpt, const char *path, const struct edit_stat *st,
		     uint64_t max, bool is_large)
{
	bool is_whole = S_ISREG(st->mode) && max >= st->size;
	cleanup_fd int fd = -EBADF;
	int r = 0;

	fd = openat(excerpt->fd, below(path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	if (S_ISREG(st->mode)) {
		r = count_bytes(excerpt, MIN(max, st->size), is_large);
		if (r == 0)
			r = edit_copy_file(excerpt->edit, st->ino, MIN(max, st->size), fd);
	}
	if (r == 0 && fchmod(fd, (st->mode & 07777) | 0600) < 0)
		r = -errno;
	return r < 0 ? r : add_entry(excerpt, path, is_whole ? EXCERPT_FILE : EXCERPT_NAME, st);
}

/* An object as what it is; *max* bytes of a file. */
static int copy_object(struct excerpt *excerpt, const char *path, const struct edit_stat *st,
		       uint64_t max, bool is_large)
{
	if (S_ISDIR(st->mode))
		return copy_directory(excerpt, path, st);
	if (S_ISLNK(st->mode))
		return copy_link(excerpt, path, st);
	return copy_file(excerpt, path, st, max, is_large);
}

/* Directories whose names are still to be copied, each with how. */
struct queue {
	struct strv paths;
	struct strv hows;
	size_t next;
};

static void queue_done(struct queue *queue)
{
	strv_done(&queue->paths);
	strv_done(&queue->hows);
}

static int queue_add(struct queue *queue, const char *path, enum how how, unsigned depth)
{
	const char text[] = {(char)('0' + how), (char)('0' + depth), '\0'};
	int r = strv_add(&queue->paths, path);

	return r < 0 ? r : strv_add(&queue->hows, text);
}

/* How an object called *name* in a directory that is copied *how* is to be copied. */
static enum how how_below(enum how how, const char *name, bool is_directory)
{
	if (how == HOW_OURS && str_starts_with(name, "affix-"))
		return HOW_TREE;
	/* What the plans of affix itself have below these are places (plan_bounds_own.c). */
	if (is_directory && (how == HOW_SMALL || (how == HOW_NAMED && strcmp(name, "affix") != 0)))
		return HOW_NAMES;
	if (how == HOW_NAMED)
		return HOW_SMALL;
	return how == HOW_OURS && !is_directory ? HOW_NAMES : how;
}

/* How much of a file is copied. */
static uint64_t size_of(enum how how, const struct edit_stat *st)
{
	bool is_whole =
		how == HOW_TREE || how == HOW_LARGE || (how == HOW_SMALL && st->size <= NAMED_MAX);

	return is_whole ? UINT64_MAX : 0;
}

static int copy_child(struct excerpt *excerpt, struct queue *queue, const char *directory,
		      ext2_ino_t dir, const char *name, enum how how, unsigned depth)
{
	cleanup_free char *path = NULL;
	struct edit_stat st;
	ext2_ino_t ino = 0;
	enum how below_it;
	int r;

	if (how == HOW_NAMED && !strstr(name, "affix"))
		return 0;
	r = edit_lookup(excerpt->edit, dir, name, &ino);
	if (r == 0)
		r = edit_stat(excerpt->edit, ino, &st);
	if (r == 0)
		r = str_format(&path, "%s/%s", directory[1] ? directory : "", name);
	if (r < 0 || !path)
		return r < 0 ? r : -ENOMEM;
	below_it = how_below(how, name, S_ISDIR(st.mode));
	r = copy_object(excerpt, path, &st, size_of(below_it, &st), below_it == HOW_LARGE);
	if (r < 0 || !S_ISDIR(st.mode) || below_it == HOW_NAMES)
		return r;
	return depth < DEPTH_MAX ? queue_add(queue, path, below_it, depth + 1) : -E2BIG;
}

static int copy_names(struct excerpt *excerpt, struct queue *queue, size_t i)
{
	const char *path = queue->paths.items[i];
	enum how how = (enum how)(queue->hows.items[i][0] - '0');
	unsigned depth = (unsigned)(queue->hows.items[i][1] - '0');
	cleanup_strv struct strv names = STRV_INIT;
	struct edit_stat st;
	int r;

	r = edit_resolve(excerpt->edit, path, NULL, &st, NULL);
	if (r == 0)
		r = edit_list(excerpt->edit, st.ino, &names);
	for (size_t n = 0; r == 0 && n < names.count; n++)
		r = copy_child(excerpt, queue, path, st.ino, names.items[n], how, depth);
	return r;
}

struct arrival {
	struct excerpt *excerpt;
	enum how how;
};

/* What is passed on the way to a place, and the place. */
static int arrive(void *user, const char *path, const struct edit_stat *st, bool is_end)
{
	const struct arrival *arrival = user;
	uint64_t max = arrival->how == HOW_FILE ? UINT64_MAX : HEAD_SIZE;

	return copy_object(arrival->excerpt, path, st, is_end ? max : 0, false);
}

/* A place that an image lacks, or that leads nowhere, is one that it lacks. */
static int copy_place(struct excerpt *excerpt, struct queue *queue, const char *path, enum how how)
{
	struct arrival arrival = {.excerpt = excerpt, .how = how};
	const struct edit_visitor visitor = {.visit = arrive, .user = &arrival};
	cleanup_free char *real = NULL;
	struct edit_stat st;
	int r = edit_resolve(excerpt->edit, path, &visitor, &st, &real);

	if (path_leads_nowhere(r))
		return 0;
	if (r < 0 || how == HOW_HEAD || how == HOW_FILE || !S_ISDIR(st.mode))
		return r;
	return queue_add(queue, real, how, 0);
}

static int copy_versions(struct excerpt *excerpt, struct queue *queue, const struct strv *ids)
{
	char path[256];
	int r = 0;

	if (ids->count == 0)
		return copy_place(excerpt, queue, PLAN_OPT_BASE, HOW_LARGE);
	for (size_t i = 0; r == 0 && i < ids->count; i++) {
		(void)snprintf(path, sizeof(path), PLAN_OPT_BASE "/%s", ids->items[i]);
		r = copy_place(excerpt, queue, path, HOW_LARGE);
	}
	return r;
}

static int copy_all(struct excerpt *excerpt, const struct strv *ids)
{
	CLEANUP(queue_done) struct queue queue = {0};
	int r = copy_versions(excerpt, &queue, ids);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++)
		r = copy_place(excerpt, &queue, places[i].path, places[i].how);
	for (; r == 0 && queue.next < queue.paths.count; queue.next++)
		r = copy_names(excerpt, &queue, queue.next);
	if (r == 0 && excerpt->count > 1)
		qsort(excerpt->entries, excerpt->count, sizeof(*excerpt->entries), compare_entries);
	return r;
}

/* Named after the image's file: whoever else works on that waits for its lock. */
static int make_directory(struct excerpt *excerpt, const char *base)
{
	cleanup_free char *suffix = NULL;
	struct stat st;
	int r;

	if (fstat(excerpt->edit->fd, &st) < 0)
		return -errno;
	r = str_format(&suffix, "%llx-%llx", (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino);
	return r < 0 ? r : workspace_make(base, suffix, &excerpt->path, &excerpt->fd);
}

int excerpt_make(struct edit *edit, const struct strv *ids, struct excerpt *ret,
		 struct problem *reterr_problem)
{
	cleanup_excerpt struct excerpt excerpt = EXCERPT_INIT;
	const char *base = workspace_base();
	int r;

	excerpt.edit = edit;
	r = make_directory(&excerpt, base);
	if (r < 0)
		return problem_refuse(reterr_problem, "no-workspace",
				      "no directory for what is worked on can be made in '%s': %s; "
				      "name another with TMPDIR",
				      base, strerrordesc_np(-r));
	r = copy_all(&excerpt, ids);
	if (r == -EFBIG)
		return problem_refuse(
			reterr_problem, "bad-image",
			"what '%s' has below /etc/affix and in files of affix's names "
			"is too large to be affix's; look with 'affix image ls'",
			edit->path);
	if (r == -E2BIG)
		return problem_refuse(
			reterr_problem, "bad-image",
			"what '%s' has below /etc/affix, /opt/affix, /var/lib/affix and "
			"/etc/systemd is more than %u files, or more than %u directories deep, "
			"which is not affix's; look with 'affix image ls'",
			edit->path, ENTRIES_MAX, DEPTH_MAX);
	if (r == -EUCLEAN)
		return problem_refuse(reterr_problem, "bad-image",
				      "the file system in '%s' cannot be read (%s); check it with "
				      "'e2fsck -f'",
				      edit->path, edit_describe(edit, r));
	if (r < 0)
		return r;
	*ret = excerpt;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): clang 14 does not see the cleanup */
	excerpt = EXCERPT_INIT;
	return 0;
}

void excerpt_remove(struct excerpt *excerpt)
{
	if (excerpt->fd >= 0)
		workspace_remove(excerpt->path, TAKE_FD(excerpt->fd));
}

void excerpt_done(struct excerpt *excerpt)
{
	for (size_t i = 0; i < excerpt->count; i++)
		free(excerpt->entries[i].path);
	free(excerpt->entries);
	excerpt_remove(excerpt);
	free(excerpt->path);
	*excerpt = EXCERPT_INIT;
}
