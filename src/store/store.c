/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The updater's directory: `<id>.json` is the record of an add-on, `locks` is where store_lock.c
 * keeps its files.
 *
 * A record that cannot be read stops the operations on its own add-on, nothing is guessed from it.
 * It also stops what must look at all records (store_time_floor()): to leave it out would lower
 * the floor for whoever manages to damage it.
 *
 * A record is replaced by a new file, for which a full disk has no place: nothing could be removed
 * from it any more, and what was interrupted could not be ended. So `.reserve` lies there, a file
 * that has blocks and says nothing, for whoever has to write all the same.
 */

#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"

#define RECORD_SUFFIX ".json"
#define RESERVE_NAME  ".reserve"
/* What a record grows by while something is done with it. */
#define RESERVE_SPARE 32768

/* How the directories are opened. */
struct opening {
	bool make; /* those that are missing */
	bool made; /* one was */
};

/* Opens *name* in *dirfd* as a directory. */
static int open_directory(int dirfd, const char *name, mode_t mode, struct opening *opening,
			  int *ret_fd)
{
	cleanup_fd int fd = -EBADF;
	int r = path_open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0, &fd);

	if (r != -ENOENT || !opening->make) {
		if (r == 0)
			*ret_fd = TAKE_FD(fd);
		return r;
	}
	if (mkdirat(dirfd, name, mode) < 0 && errno != EEXIST)
		return -errno;
	opening->made = true;
	r = path_open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r < 0)
		return r;
	if (fchmod(fd, mode) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Whoever can write there could forge records. No system call has this errno for a directory. */
static int check_owner(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_uid == geteuid() && (st.st_mode & 022) == 0 ? 0 : -ENOTRECOVERABLE;
}

/* /var/lib, which a tree that was made by hand may not have yet; both may be links inside the tree.
 */
static int open_base(const struct tree *tree, struct opening *opening, int *ret_fd)
{
	cleanup_fd int var = -EBADF;
	cleanup_fd int root = -EBADF;
	int r;

	r = path_open_in_root(tree->rootfd, "/var/lib", O_RDONLY | O_DIRECTORY, 0, ret_fd);
	if (r != -ENOENT || !opening->make)
		return r;
	r = path_open_in_root(tree->rootfd, "/var", O_RDONLY | O_DIRECTORY, 0, &var);
	if (r == -ENOENT)
		r = path_open_in_root(tree->rootfd, "/", O_RDONLY | O_DIRECTORY, 0, &root);
	if (r == 0 && root >= 0)
		r = open_directory(root, "var", 0755, opening, &var);
	return r < 0 ? r : open_directory(var, "lib", 0755, opening, ret_fd);
}

int store_open(const struct tree *tree, bool make, struct store *ret)
{
	cleanup_fd int base = -EBADF;
	cleanup_fd int affix = -EBADF;
	cleanup_fd int fd = -EBADF;
	struct opening opening = {.make = make};
	int r;

	r = open_base(tree, &opening, &base);
	if (r == 0)
		r = open_directory(base, "affix", 0755, &opening, &affix);
	if (r == 0)
		r = open_directory(affix, path_last_name(RECORD_DIRECTORY), 0700, &opening, &fd);
	if (r == 0)
		r = check_owner(fd);
	if (r == 0)
		*ret = (struct store){
			.dirfd = TAKE_FD(fd), .is_copy = tree->is_copy, .is_new = opening.made};
	return r;
}

void store_done(struct store *store)
{
	store->dirfd = fd_close(store->dirfd);
}

/* `<id>.json`; the caller frees it. An id that is none is never looked for. */
static int record_name(const char *id, char **ret)
{
	return manifest_id_is_recorded(id) ? str_format(ret, "%s" RECORD_SUFFIX, id) : -EINVAL;
}

static int refuse_record(struct refusal *refusal, const char *id, const char *why)
{
	return refuse(
		refusal, REFUSAL_BAD_RECORD,
		"the record '" RECORD_DIRECTORY "/%s" RECORD_SUFFIX
		"' cannot be used (%s); put it back from a backup, or remove it and what it was about, as affix-updater(8) says under RECOVERY, and install '%s' again",
		id, why, id);
}

static int read_record_file(const struct store *store, const char *id, char **ret_text,
			    size_t *ret_size, struct refusal *reterr_refusal)
{
	cleanup_free char *name = NULL;
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r;

	r = record_name(id, &name);
	if (r == 0)
		r = path_open_beneath(store->dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
	if (r == -ELOOP || r == -ENXIO)
		return refuse_record(reterr_refusal, id, "it is not a regular file");
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return refuse_record(reterr_refusal, id, "it is not a regular file");
	if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
		return refuse_record(reterr_refusal, id, "others than root may have written it");
	r = fd_read_all(fd, RECORD_SIZE_MAX, ret_text, ret_size);
	return r == -EFBIG ? refuse_record(reterr_refusal, id, "it is larger than 8 MiB") : r;
}

/* 0; 1 with *reterr_problem*; -errno. */
static int parse_record(const char *text, size_t size, struct record **ret,
			struct json_problem *reterr_problem)
{
	cleanup_json json_t *json = NULL;
	int r = json_parse_kept(text, size, &json, reterr_problem);

	return r != 0 ? r : record_from_json(json, ret, reterr_problem);
}

int store_load(const struct store *store, const char *id, struct record **ret,
	       struct refusal *reterr_refusal)
{
	cleanup_record struct record *record = NULL;
	cleanup_free char *text = NULL;
	struct json_problem problem = {0};
	size_t size = 0;
	int r;

	if (store->dirfd < 0)
		return -ENOENT;
	r = read_record_file(store, id, &text, &size, reterr_refusal);
	if (r != 0)
		return r;
	r = parse_record(text, size, &record, &problem);
	if (r < 0)
		return r;
	if (r > 0)
		return refuse_record(reterr_refusal, id, problem.text);
	if (strcmp(record->id, id) != 0)
		return refuse_record(reterr_refusal, id, "it is another add-on's");
	*ret = TAKE_PTR(record);
	return 0;
}

/* A record that could not be read again would be as bad as none: it must not replace a good one.
 * What a dump of *json* is parsed to is the same, if it is not too deep. */
static int check_readable(const json_t *json, const char *text)
{
	cleanup_record struct record *again = NULL;
	int r = json_can_be_kept(text, strlen(text)) ? record_from_json(json, &again, NULL) : 1;

	return r > 0 ? -EBADMSG : r;
}

static struct file_attributes record_attributes(const struct store *store)
{
	return (struct file_attributes){
		.mode = 0600,
		.uid = geteuid(),
		.gid = getegid(),
		.is_fleeting = store->is_copy,
	};
}

static int format_record(const struct record *record, char **ret)
{
	cleanup_json json_t *json = record_to_json(record);
	cleanup_free char *text = json ? json_to_pretty(json) : NULL;
	int r;

	if (!text)
		return -ENOMEM;
	if (strlen(text) > RECORD_SIZE_MAX)
		return -EFBIG;
	r = check_readable(json, text);
	if (r == 0)
		*ret = TAKE_PTR(text);
	return r;
}

static int sync_records(const struct store *store)
{
	if (store->is_copy)
		return 0;
	/* A directory that was made has to last too, and those above it. */
	if (store->is_new)
		return syncfs(store->dirfd) < 0 ? -errno : 0;
	return dir_sync(store->dirfd);
}

/* Gives the text of *record* to *put*, under the name of its file. */
static int put_record(const struct store *store, const struct record *record,
		      int (*put)(int dirfd, const char *name, const void *data, size_t size,
				 const struct file_attributes *attributes))
{
	const struct file_attributes attributes = record_attributes(store);
	cleanup_free char *text = NULL;
	cleanup_free char *name = NULL;
	int r = format_record(record, &text);

	if (r == 0)
		r = record_name(record->id, &name);
	return r < 0 ? r : put(store->dirfd, name, text, strlen(text), &attributes);
}

static int fill_reserve(const struct store *store, off_t size)
{
	cleanup_fd int fd = -EBADF;
	int r = path_open_beneath(store->dirfd, RESERVE_NAME, O_RDWR | O_CREAT, 0600, &fd);

	/* Where nothing can be reserved it writes, as long as what it reads is a hole. */
	return r < 0 ? r : -posix_fallocate(fd, 0, size);
}

/* What it has blocks for: a copy of it may have its size and none. */
static off_t reserve_room(const struct store *store)
{
	struct stat reserve;

	if (fstatat(store->dirfd, RESERVE_NAME, &reserve, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return reserve.st_blocks * 512;
}

/* Room for one more record such as *name*, as much as there is; those that are smaller fit as well.
 */
static void keep_reserve(const struct store *store, const char *name)
{
	struct stat record;
	off_t spare = (off_t)2 * RESERVE_SPARE;

	if (store->is_copy || fstatat(store->dirfd, name, &record, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (reserve_room(store) >= record.st_size + RESERVE_SPARE)
		return;
	while (spare >= 0 && fill_reserve(store, record.st_size + spare) < 0)
		spare -= RESERVE_SPARE;
	/* Half of one would be in the way. */
	if (reserve_room(store) < record.st_size)
		ignore_result(store_spend_reserve(store));
}

int store_spend_reserve(const struct store *store)
{
	return unlinkat(store->dirfd, RESERVE_NAME, 0) < 0 ? -errno : 0;
}

static int finish_record(const struct store *store, const char *name)
{
	int r = sync_records(store);

	if (r == 0)
		keep_reserve(store, name);
	return r;
}

int store_save(const struct store *store, const struct record *record)
{
	cleanup_free char *name = NULL;
	int r = record_name(record->id, &name);

	if (r == 0)
		r = put_record(store, record, file_replace);
	return r < 0 ? r : finish_record(store, name);
}

int store_prepare(const struct store *store, const struct record *record)
{
	return put_record(store, record, file_prepare);
}

int store_publish(const struct store *store, const char *id)
{
	cleanup_free char *name = NULL;
	int r = record_name(id, &name);

	if (r == 0)
		r = file_publish(store->dirfd, name);
	return r < 0 ? r : finish_record(store, name);
}

/* The id of a record's file name in *id*; whether it is one. */
static bool id_of_name(const char *name, char id[MANIFEST_ID_MAX + 1])
{
	size_t length = strlen(name);

	if (!str_ends_with(name, RECORD_SUFFIX) || length - strlen(RECORD_SUFFIX) > MANIFEST_ID_MAX)
		return false;
	memcpy(id, name, length - strlen(RECORD_SUFFIX));
	id[length - strlen(RECORD_SUFFIX)] = '\0';
	return manifest_id_is_recorded(id);
}

/* The same for the temporary file of one. */
static bool id_of_temporary(const char *name, char id[MANIFEST_ID_MAX + 1])
{
	char record[MANIFEST_ID_MAX + sizeof(RECORD_SUFFIX)];
	size_t length = strlen(name);

	if (name[0] != '.' || !str_ends_with(name, FILE_TEMPORARY_SUFFIX))
		return false;
	length -= 1 + strlen(FILE_TEMPORARY_SUFFIX);
	if (length >= sizeof(record))
		return false;
	memcpy(record, name + 1, length);
	record[length] = '\0';
	return id_of_name(record, id);
}

static int list_ids(const struct store *store, bool (*id_of)(const char *name, char *id),
		    struct strv *ret)
{
	cleanup_strv struct strv ids = STRV_INIT;
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;
	int r = dir_open(store->dirfd, &dir);

	while (r == 0) {
		char id[MANIFEST_ID_MAX + 1];

		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;
		if (id_of(entry->d_name, id))
			r = strv_add(&ids, id);
	}
	if (r < 0)
		return r;
	strv_sort(&ids);
	*ret = ids;
	ids = STRV_INIT;
	return 0;
}

int store_list(const struct store *store, struct strv *ret)
{
	return store->dirfd < 0 ? 0 : list_ids(store, id_of_name, ret);
}

int store_list_unfinished(const struct store *store, struct strv *ret)
{
	return list_ids(store, id_of_temporary, ret);
}

int store_forget_unfinished(const struct store *store, const char *id)
{
	cleanup_free char *name = NULL;
	int r = record_name(id, &name);

	return r < 0 ? r : file_forget(store->dirfd, name);
}

int store_time_floor(const struct store *store, uint64_t *ret, struct refusal *reterr_refusal)
{
	cleanup_strv struct strv ids = STRV_INIT;
	uint64_t floor = 0;
	int r;

	r = store_list(store, &ids);
	for (size_t i = 0; r == 0 && i < ids.count; i++) {
		cleanup_record struct record *record = NULL;

		r = store_load(store, ids.items[i], &record, reterr_refusal);
		if (r == 0 && record)
			floor = MAX(floor, record->newest_created);
	}
	if (r == 0)
		*ret = floor;
	return r;
}
