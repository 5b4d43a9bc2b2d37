/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Opening and ending an edit. The order is what keeps two processes and an interrupted one apart:
 * the lock, then what an earlier process left, and only then a look at the file system.
 */

#include "ext4/edit.h"

#include <errno.h>
#include <et/com_err.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "ext4/lock.h"

int edit_error(struct edit *edit, errcode_t error)
{
	edit->error = error;
	switch (error) {
	case 0:
		return 0;
	case EXT2_ET_FILE_NOT_FOUND:
		return -ENOENT;
	case EXT2_ET_NO_DIRECTORY:
		return -ENOTDIR;
	case EXT2_ET_NO_MEMORY:
		return -ENOMEM;
	case EXT2_ET_EA_KEY_NOT_FOUND:
		return -ENODATA;
	case EXT2_ET_BLOCK_ALLOC_FAIL:
	case EXT2_ET_INODE_ALLOC_FAIL:
	case EXT2_ET_EA_NO_SPACE:
		return -ENOSPC;
	case EXT2_ET_MISSING_EA_FEATURE:
		return -EOPNOTSUPP;
	default:
		return error > 0 && error < 256 ? -(int)error : -EUCLEAN;
	}
}

const char *edit_describe(const struct edit *edit, int r)
{
	return r == -EUCLEAN && edit->error ? error_message(edit->error) : strerrordesc_np(-r);
}

/* `FILE:PARTITION`, unless a file has that very name. */
static int split_where(const char *where, char **ret_file, unsigned *ret_partition)
{
	const char *colon = strrchr(where, ':');
	size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
	struct stat st;
	size_t length = strlen(where);

	*ret_partition = 0;
	if (colon && digits > 0 && digits <= 4 && colon[1 + digits] == '\0' &&
	    stat(where, &st) < 0) {
		length = (size_t)(colon - where);
		*ret_partition = (unsigned)strtoul(colon + 1, NULL, 10);
	}
	*ret_file = strndup(where, length);
	return *ret_file ? 0 : -ENOMEM;
}

/* Symlinks are followed here, once: below, the name must be the file's own. */
static int open_directory(struct edit *edit, const char *file)
{
	cleanup_free char *directory = NULL;

	edit->path = realpath(file, NULL);
	if (!edit->path)
		return errno > 0 ? -errno : -ENOENT;
	directory = strndup(edit->path, (size_t)(path_last_name(edit->path) - edit->path));
	if (!directory ||
	    str_format(&edit->redo_name, "%s" REDO_SUFFIX, path_last_name(edit->path)) < 0)
		return -ENOMEM;
	edit->dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return edit->dirfd < 0 ? -errno : 0;
}

static int open_file(struct edit *edit, const char *file, bool writable, struct problem *problem)
{
	int r = open_directory(edit, file);

	return r < 0 ? r
		     : image_lock(edit->dirfd, path_last_name(edit->path),
				  writable ? O_RDWR : O_RDONLY, edit->path, &edit->fd, problem);
}

/* A reader may do it too, if it may write to the image. */
static int finish_earlier(struct edit *edit, bool writable, struct holes *ret_left,
			  struct problem *problem)
{
	cleanup_fd int fd = -EBADF;
	bool exists = false;
	int r = redo_exists(edit->dirfd, edit->redo_name, &exists);

	if (r < 0 || !exists || !edit->path)
		return r;
	if (writable)
		return redo_finish(edit->fd, edit->path, edit->dirfd, edit->redo_name, ret_left,
				   problem);
	fd = openat(edit->dirfd, path_last_name(edit->path), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = image_has_name(edit->fd, edit->dirfd, path_last_name(edit->path), &exists);
	if (r == 0 && !exists)
		r = -ESTALE;
	return r < 0 ? r
		     : redo_finish(fd, edit->path, edit->dirfd, edit->redo_name, ret_left, problem);
}

static int refuse_damaged(const char *name, errcode_t error, struct problem *problem)
{
	if (error == EXT2_ET_UNSUPP_FEATURE || error == EXT2_ET_RO_UNSUPP_FEATURE)
		return problem_refuse(
			problem, "unsupported-filesystem",
			"the file system in '%s' has features that this program does not "
			"know; use a newer one, or make the image without them",
			name);
	return problem_refuse(
		problem, "bad-image",
		"the file system in '%s' cannot be used (%s); check it with 'e2fsck -f'", name,
		error_message(error));
}

int edit_open_fs(struct edit *edit, const char *name, bool writable, struct problem *reterr_problem)
{
	int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP | (writable ? EXT2_FLAG_RW : 0);
	errcode_t error;
	int r;

	initialize_ext2_error_table();
	error = redo_open_fs(edit->redo, flags, &edit->fs);
	if (error == EXT2_ET_NO_MEMORY)
		return -ENOMEM;
	if (error)
		return refuse_damaged(name, error, reterr_problem);
	if (ext2fs_blocks_count(edit->fs->super) > edit->place.size / edit->fs->blocksize)
		return problem_refuse(
			reterr_problem, "bad-image",
			"the file system in '%s' is larger than its place; the image is "
			"cut off, copy it again",
			name);
	r = edit_check_features(edit->fs, name, writable, reterr_problem);
	if (r != 0 || !writable)
		return r;
	edit->fs->now = (time_t)clock_repeatable_sec();
	error = ext2fs_read_bitmaps(edit->fs);
	if (!error)
		error = ext2fs_copy_bitmap(edit->fs->block_map, &edit->old_blocks);
	return error ? refuse_damaged(name, error, reterr_problem)
		     : edit_check_bitmap(edit->fs, name, reterr_problem);
}

/* What of a range is in free blocks now: somebody may have used the others since. */
static int add_free(struct edit *edit, uint64_t begin, uint64_t end, struct holes *ret)
{
	uint64_t base = edit->place.offset;
	uint64_t size = edit->fs->blocksize;
	blk64_t at = edit->fs->super->s_first_data_block;
	blk64_t stop = ext2fs_blocks_count(edit->fs->super);
	int r = 0;

	if (begin > base)
		at = MAX(at, (begin - base) / size + ((begin - base) % size > 0));
	stop = end > base ? MIN(stop, (end - base) / size) : 0;
	while (r == 0 && at < stop) {
		blk64_t used = stop;

		if (ext2fs_find_first_zero_block_bitmap2(edit->old_blocks, at, stop - 1, &at) != 0)
			break;
		if (ext2fs_find_first_set_block_bitmap2(edit->old_blocks, at, stop - 1, &used) != 0)
			used = stop;
		r = holes_add(ret, base + at * size, base + used * size);
		at = used;
	}
	return r;
}

/* What a process that was killed took of a sparse image's room is given back. */
static int punch_free(struct edit *edit, const struct holes *left)
{
	CLEANUP(holes_done) struct holes now = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < left->count; i++) {
		uint64_t begin = 0;
		uint64_t end = 0;

		holes_get(left, i, &begin, &end);
		r = add_free(edit, begin, end, &now);
	}
	if (r == 0)
		holes_punch(&now, edit->fd);
	return r;
}

int edit_open(const char *where, bool writable, struct edit *ret, struct problem *reterr_problem)
{
	cleanup_edit struct edit edit = EDIT_INIT;
	CLEANUP(holes_done) struct holes left = {0};
	cleanup_free char *file = NULL;
	unsigned partition = 0;
	int r;

	r = split_where(where, &file, &partition);
	if (r == 0)
		r = open_file(&edit, file, writable, reterr_problem);
	if (r < 0 && r != -ENOMEM)
		return problem_refuse(
			reterr_problem, "bad-image",
			"the image '%s' cannot be opened%s: %s; name a file that holds "
			"a file system or a disk",
			file, writable ? " for writing" : "", strerrordesc_np(-r));
	if (r == 0)
		r = edit_check_unused(edit.fd, edit.path, reterr_problem);
	if (r == 0)
		r = finish_earlier(&edit, writable, &left, reterr_problem);
	if (r == 0)
		r = disk_find(edit.fd, edit.path, partition, &edit.place, reterr_problem);
	if (r == 0)
		r = redo_open(edit.fd, edit.dirfd, writable ? edit.redo_name : NULL, &edit.place,
			      &edit.redo);
	if (r == 0)
		r = edit_open_fs(&edit, edit.path, writable, reterr_problem);
	if (r == 0 && writable)
		r = punch_free(&edit, &left);
	if (r != 0)
		return r;
	*ret = edit;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): clang 14 does not see the cleanup */
	edit = EDIT_INIT;
	return 0;
}

int edit_open_new(int fd, const char *path, struct edit *ret, struct problem *reterr_problem)
{
	cleanup_edit struct edit edit = EDIT_INIT;
	struct stat st;
	int r;

	edit.path = strdup(path);
	if (!edit.path)
		return -ENOMEM;
	edit.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (edit.fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	edit.place.size = (uint64_t)st.st_size;
	r = redo_open_new(edit.fd, &edit.place, &edit.redo);
	if (r == 0)
		r = edit_open_fs(&edit, path, true, reterr_problem);
	if (r != 0)
		return r;
	*ret = edit;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): clang 14 does not see the cleanup */
	edit = EDIT_INIT;
	return 0;
}

void edit_done(struct edit *edit)
{
	holes_punch(&edit->holes, edit->fd);
	holes_done(&edit->holes);
	if (edit->old_blocks)
		ext2fs_free_block_bitmap(edit->old_blocks);
	if (edit->fs)
		ext2fs_free(edit->fs);
	(void)redo_free(edit->redo);
	free(edit->redo_name);
	free(edit->path);
	(void)fd_close(edit->dirfd);
	(void)fd_close(edit->fd);
	*edit = EDIT_INIT;
}

int edit_settle(struct edit *edit)
{
	return redo_settle(edit->redo);
}

int edit_flush(struct edit *edit, bool *ret_changed)
{
	errcode_t error = ext2fs_write_bitmaps(edit->fs);

	if (!error && ext2fs_test_changed(edit->fs))
		error = ext2fs_flush2(edit->fs, EXT2_FLAG_FLUSH_NO_SYNC);
	/* libext2fs does not take it back, and would write the same once more. */
	if (!error)
		edit->fs->flags &= ~EXT2_FLAG_CHANGED;
	*ret_changed = redo_size(edit->redo) > 0;
	return edit_error(edit, error);
}

int edit_prepare(struct edit *edit)
{
	bool changed = false;
	int r = edit_flush(edit, &changed);

	return r < 0 ? r : redo_prepare(edit->redo);
}

int edit_commit(struct edit *edit, bool *ret_committed)
{
	bool changed = false;
	bool has_name = false;
	int r = edit_flush(edit, &changed);

	*ret_committed = false;
	if (r == 0 && !edit->redo_name)
		return edit_settle(edit);
	if (r < 0 || !changed)
		return r;
	/* What nobody will ever find would be changed, and a success reported. */
	r = image_has_name(edit->fd, edit->dirfd, path_last_name(edit->path), &has_name);
	if (r == 0 && !has_name)
		r = -ESTALE;
	if (r < 0)
		return r;
	r = redo_commit(edit->redo, ret_committed);
	if (r == 0 || *ret_committed)
		holes_done(&edit->holes);
	return r;
}
