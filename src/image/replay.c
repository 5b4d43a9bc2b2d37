/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From the copy back into the image. An entry whose copy is the same inode with the same change
 * time was not touched, since the engine replaces files and never writes into them; what has no
 * entry is new; an entry that has no copy any more was removed.
 */

#include "image/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/path.h"
#include "engine/stopped.h"
#include "ext4/edit_file.h"

#define PIECE_SIZE      (256UL << 10) /* of content that is moved at once */
#define DIRECTORIES_MAX 32U           /* remembered */

/* Left to those who need them: locks are made anew. */
#define LOCKS    "/affix/updater/locks"
#define PWD_LOCK ".pwd.lock"

struct change {
	char *path; /* real, absolute */
	mode_t mode;
	uint64_t size;
	bool replaces; /* something of that name is in the image */
	bool keeps;    /* its inode stays, with all that it has but the content */
	uint64_t copy_ino;
	const struct content_file *file; /* its content goes that way */
	ext2_ino_t ino;                  /* of a file, as it was made */
	struct digest digest;
};

/* A directory of the image. Nothing is removed any more once the first is noted. */
struct directory {
	char *path;
	ext2_ino_t ino;
};

struct changes {
	struct excerpt *excerpt;
	struct attributes attributes;
	struct strv *mended; /* add-ons, of fix_attributes() */
	struct content *content;
	uint8_t *piece;
	struct change *items;
	size_t count;
	size_t allocated;
	struct directory directories[DIRECTORIES_MAX]; /* found last, in turn */
	size_t next_directory;
};

static void changes_done(struct changes *changes)
{
	free(changes->piece);
	for (size_t i = 0; i < DIRECTORIES_MAX; i++)
		free(changes->directories[i].path);
	for (size_t i = 0; i < changes->count; i++)
		free(changes->items[i].path);
	free(changes->items);
	attributes_done(&changes->attributes);
}

/* gcc 12's analyzer takes for lost what is kept behind the changes. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int add_change(struct changes *changes, const char *path, const struct stat *st,
		      const struct excerpt_entry *entry)
{
	struct change *change;

	if (memory_make_room(&changes->items, changes->count, &changes->allocated) < 0)
		return -ENOMEM;
	change = &changes->items[changes->count];
	*change = (struct change){
		.path = strdup(path),
		.mode = st->st_mode,
		.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
		.copy_ino = st->st_ino,
		.replaces = entry != NULL,
		.keeps = entry && entry->kind == EXCERPT_FILE && S_ISREG(st->st_mode) &&
			 !attributes_find(&changes->attributes, path),
	};
	if (!change->path)
		return -ENOMEM;
	changes->count++;
	return 0;
}

#pragma GCC diagnostic pop

static bool is_left_out(const char *path)
{
	const char *locks = strstr(path, LOCKS);

	return (locks && (locks[strlen(LOCKS)] == '\0' || locks[strlen(LOCKS)] == '/')) ||
	       strcmp(path_last_name(path), PWD_LOCK) == 0;
}

static bool is_unchanged(const struct excerpt_entry *entry, const struct stat *st)
{
	if (entry->kind == EXCERPT_DIRECTORY)
		return S_ISDIR(st->st_mode);
	return entry->copy_ino == st->st_ino && entry->copy_sec == st->st_ctim.tv_sec &&
	       entry->copy_nsec == st->st_ctim.tv_nsec;
}

static int look_at(struct changes *changes, const char *path, const struct stat *st)
{
	struct excerpt_entry *entry = excerpt_find(changes->excerpt, path);

	if (entry)
		entry->is_seen = true;
	if ((entry && is_unchanged(entry, st)) || is_left_out(path))
		return 0;
	/* What was not looked into is nobody's to change. */
	if (entry && (entry->kind == EXCERPT_NAME || S_ISDIR(entry->st.mode)))
		return -EEXIST;
	return add_change(changes, path, st, entry);
}

static void close_fts(FTS **fts)
{
	if (*fts)
		ignore_result(fts_close(*fts));
}

static int compare_changes(const void *a, const void *b)
{
	const struct change *x = a;
	const struct change *y = b;

	return strcmp(x->path, y->path);
}

static int find_changes(struct changes *changes)
{
	char *const roots[] = {changes->excerpt->path, NULL};
	size_t skip = strlen(changes->excerpt->path);
	CLEANUP(close_fts)
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	const FTSENT *found;
	int r = 0;

	if (!fts)
		return -errno;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while (r == 0 && (found = fts_read(fts))) {
		if (found->fts_level == 0 || found->fts_info == FTS_DP)
			continue;
		if (found->fts_info == FTS_ERR || found->fts_info == FTS_DNR ||
		    found->fts_info == FTS_NS)
			return found->fts_errno > 0 ? -found->fts_errno : -EIO;
		r = look_at(changes, found->fts_path + skip, found->fts_statp);
	}
	if (r == 0 && changes->count > 1)
		qsort(changes->items, changes->count, sizeof(*changes->items), compare_changes);
	return r;
}

/* The file system in the image, and not that which the image is in. */
static bool is_full(const struct edit *edit)
{
	return edit->error == EXT2_ET_BLOCK_ALLOC_FAIL || edit->error == EXT2_ET_INODE_ALLOC_FAIL ||
	       edit->error == EXT2_ET_EA_NO_SPACE;
}

static const char *say_how_to_grow(const struct edit *edit)
{
	return edit->redo_name ? "make its file system larger (truncate, resize2fs)"
			       : "give it a larger --size, or 'fit'";
}

int replay_refuse_full(const struct edit *edit, struct problem *reterr_problem)
{
	return is_full(edit) ? problem_refuse(reterr_problem, "no-space",
					      "the file system in '%s' has too little room; %s",
					      edit->path, say_how_to_grow(edit))
			     : -ENOSPC;
}

/* Enough, and a little more: nodes of extent trees, directories that grow. */
static int check_room(const struct changes *changes, struct problem *problem)
{
	struct edit *edit = changes->excerpt->edit;
	uint64_t block_size = edit->fs->blocksize;
	uint64_t blocks = 0;
	uint64_t inodes = 0;
	uint64_t free_blocks = 0;
	uint64_t free_inodes = 0;

	edit_room(edit, &free_blocks, &free_inodes);
	/* What has its blocks already is counted on both sides. */
	for (size_t i = 0; i < changes->count; i++) {
		uint64_t n = (changes->items[i].size + block_size - 1) / block_size;

		if (content_find(changes->content, changes->items[i].copy_ino)) {
			free_blocks += n;
			free_inodes++;
		}
		/* A block for each name is what its directory may grow by. */
		blocks += n + n / 64 + 1 + (S_ISDIR(changes->items[i].mode) ? 1 : 0);
		inodes += !changes->items[i].keeps;
	}
	if (blocks > free_blocks)
		return problem_refuse(
			problem, "no-space", "%llu bytes are needed in '%s' and %llu are free; %s",
			(unsigned long long)(blocks * block_size), edit->path,
			(unsigned long long)(free_blocks * block_size), say_how_to_grow(edit));
	if (inodes > free_inodes)
		return problem_refuse(problem, "no-inodes",
				      "%llu inodes are needed in '%s' and %llu are free; %s",
				      (unsigned long long)inodes, edit->path,
				      (unsigned long long)free_inodes, say_how_to_grow(edit));
	return 0;
}

static int remove_path(struct edit *edit, const char *path)
{
	const char *name = NULL;
	ext2_ino_t dir = 0;
	int r = edit_find_parent(edit, path, &dir, &name);

	if (r == 0)
		r = edit_remove(edit, dir, name);
	/* The copy may be empty where the image is not: a directory that is in use stays. */
	return r == -ENOTEMPTY ? 0 : r;
}

/* What is gone, the last names first, and what is in the way of its successor. */
static int remove_old(struct changes *changes)
{
	const struct excerpt *excerpt = changes->excerpt;
	int r = 0;

	for (size_t i = excerpt->count; r == 0 && i > 0; i--) {
		if (!excerpt->entries[i - 1].is_seen)
			r = remove_path(excerpt->edit, excerpt->entries[i - 1].path);
	}
	for (size_t i = 0; r == 0 && i < changes->count; i++) {
		if (changes->items[i].replaces && !changes->items[i].keeps)
			r = remove_path(excerpt->edit, changes->items[i].path);
	}
	return r;
}

static const struct directory *find_directory(const struct changes *changes, const char *path,
					      size_t length)
{
	for (size_t i = 0; i < DIRECTORIES_MAX; i++) {
		const struct directory *directory = &changes->directories[i];

		if (directory->path && strncmp(directory->path, path, length) == 0 &&
		    directory->path[length] == '\0')
			return directory;
	}
	return NULL;
}

/* As edit_find_parent(). To look for each directory once is most of what is read of an image. */
static int find_parent(struct changes *changes, const char *path, ext2_ino_t *ret,
		       const char **ret_name)
{
	size_t length = (size_t)(path_last_name(path) - path);
	const struct directory *known = find_directory(changes, path, length);
	struct directory *place = &changes->directories[changes->next_directory];
	char *copy;
	int r;

	if (known) {
		*ret = known->ino;
		*ret_name = path + length;
		return 0;
	}
	r = edit_find_parent(changes->excerpt->edit, path, ret, ret_name);
	if (r < 0)
		return r;
	copy = strndup(path, length);
	if (!copy)
		return -ENOMEM;
	free(place->path);
	*place = (struct directory){.path = copy, .ino = *ret};
	changes->next_directory = (changes->next_directory + 1) % DIRECTORIES_MAX;
	return 0;
}

/* As edit_find(). */
static int find(struct changes *changes, const char *path, struct edit_stat *ret)
{
	const char *name = NULL;
	ext2_ino_t dir = 0;
	int r = find_parent(changes, path, &dir, &name);

	return r < 0 ? r : edit_find_in(changes->excerpt->edit, dir, name, ret);
}

static int find_attributes(const struct changes *changes, const struct change *change,
			   struct vfs_cap_data *xattr, struct edit_attributes *ret)
{
	const struct attributes_item *item = attributes_find(&changes->attributes, change->path);

	if (item)
		return attributes_of(&changes->attributes, item->object, xattr, ret);
	/* Records, directories above: root's, with the mode that they were made with. */
	*ret = (struct edit_attributes){.mode = change->mode & 07777};
	return 0;
}

/* What is to be read back: what the plan says, so that the copy is judged, too; or what the copy
 * has. A hole that stands for content has nothing.
 */
static int find_digest(const struct changes *changes, struct change *change, int fd)
{
	const struct attributes_item *item = attributes_find(&changes->attributes, change->path);

	if (item && item->is_current) {
		change->digest = item->object->digest;
		return 0;
	}
	return change->file ? -EINVAL : digest_of_fd(fd, &change->digest, NULL);
}

static size_t piece_at(uint64_t size, uint64_t offset)
{
	return (size_t)MIN((uint64_t)PIECE_SIZE, size - offset);
}

static int write_piece(struct changes *changes, const struct change *change, int fd,
		       uint64_t offset)
{
	size_t wanted = piece_at(change->size, offset);
	size_t n = 0;
	int r = fd_pread_full(fd, changes->piece, wanted, offset, &n);

	if (r < 0 || n < wanted)
		return r < 0 ? r : -EIO;
	if (!change->file)
		return edit_write_blocks(changes->excerpt->edit, change->ino, offset,
					 changes->piece, n);
	content_add(changes->content, changes->piece, n);
	return 0;
}

/* Of small ones the content is read back when all are on the disk: check_content(). */
static int write_content(struct changes *changes, struct change *change, int fd)
{
	bool is_large = content_is_large(change->size);
	int r = 0;

	if (is_large)
		r = content_begin(changes->content, change->ino, change->size, &change->file);
	for (uint64_t at = 0; r == 0 && at < change->size; at += PIECE_SIZE)
		r = write_piece(changes, change, fd, at);
	if (is_large && r == 0)
		content_end(changes->content);
	return r;
}

static int make_content(struct changes *changes, struct change *change, ext2_ino_t dir,
			const char *name, const struct edit_attributes *attributes, int fd)
{
	struct edit *edit = changes->excerpt->edit;
	int r = change->keeps ? edit_lookup(edit, dir, name, &change->ino) : 0;

	if (r == 0)
		r = change->keeps ? edit_replace_content(edit, change->ino, change->size)
				  : edit_make_file(edit, dir, name, change->size, attributes,
						   &change->ino);
	return r < 0 ? r : write_content(changes, change, fd);
}

static int make_file(struct changes *changes, struct change *change, ext2_ino_t dir,
		     const char *name, const struct edit_attributes *attributes)
{
	cleanup_fd int fd = -EBADF;
	int r;

	change->file = content_take(changes->content, change->copy_ino, &change->ino);
	r = path_open_beneath(changes->excerpt->fd, change->path, O_RDONLY | O_NOCTTY, 0, &fd);
	if (r == 0)
		r = find_digest(changes, change, fd);
	if (r < 0)
		return r;
	return change->file
		       ? edit_name_file(changes->excerpt->edit, dir, name, change->ino, attributes)
		       : make_content(changes, change, dir, name, attributes, fd);
}

static int make_link(struct changes *changes, const struct change *change, ext2_ino_t dir,
		     const char *name)
{
	char target[4096];
	ssize_t n = readlinkat(changes->excerpt->fd, change->path + 1, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	return edit_make_link(changes->excerpt->edit, dir, name, target);
}

static int make(struct changes *changes, struct change *change)
{
	struct edit *edit = changes->excerpt->edit;
	struct edit_attributes attributes = {0};
	struct vfs_cap_data xattr;
	const char *name = NULL;
	ext2_ino_t dir = 0;
	ext2_ino_t made = 0;
	int r = find_parent(changes, change->path, &dir, &name);

	if (r == 0)
		r = find_attributes(changes, change, &xattr, &attributes);
	if (r < 0)
		return r;
	switch (change->mode & S_IFMT) {
	case S_IFDIR:
		return edit_make_directory(edit, dir, name, &attributes, &made);
	case S_IFLNK:
		return make_link(changes, change, dir, name);
	case S_IFREG:
		return make_file(changes, change, dir, name, &attributes);
	default:
		return -EINVAL;
	}
}

static bool is_changed(const struct changes *changes, const char *path)
{
	const struct change key = {.path = (char *)path};

	return changes->count > 0 && bsearch(&key, changes->items, changes->count,
					     sizeof(*changes->items), compare_changes);
}

/* What is installed and was not touched may still belong to somebody else. */
static int fix_attributes(struct changes *changes, const struct attributes_item *item)
{
	struct edit *edit = changes->excerpt->edit;
	struct edit_attributes attributes;
	const char *difference = NULL;
	struct vfs_cap_data xattr;
	struct edit_stat st;
	int r;

	/* Made just now. */
	if (is_changed(changes, item->path))
		return 0;
	r = find(changes, item->path, &st);
	/* All that is wanted is there but the links that a stopped add-on does without. */
	if (r == -ENOENT && stopped_is_without(item->object))
		return 0;
	if (r == 0)
		r = attributes_of(&changes->attributes, item->object, &xattr, &attributes);
	if (r == 0)
		r = attributes_compare(edit, &st, &attributes, &difference);
	if (r < 0 || !difference)
		return r;
	r = edit_set_attributes(edit, st.ino, &attributes);
	return r < 0 || strv_has(changes->mended, item->id) ? r
							    : strv_add(changes->mended, item->id);
}

static int want(struct changes *changes, const struct change *change)
{
	return edit_want_blocks(changes->excerpt->edit, change->ino, 0, (size_t)change->size);
}

/* Through the same blocks that the kernel will find. */
static int read_back(struct changes *changes, const struct change *change)
{
	struct digest_state state;
	struct digest digest;
	int r = 0;

	digest_begin(&state);
	for (uint64_t at = 0; r == 0 && at < change->size; at += PIECE_SIZE) {
		size_t n = piece_at(change->size, at);

		r = edit_read_blocks(changes->excerpt->edit, change->ino, at, changes->piece, n);
		if (r == 0)
			digest_add(&state, changes->piece, n);
	}
	digest_end(&state, &digest);
	return r == 0 && !digest_is_equal(&digest, &change->digest) ? -EIO : r;
}

static int check_large(struct changes *changes, const struct change *change)
{
	bool is_known = false;
	int r = content_judge(changes->content, change->file, &change->digest, &is_known);

	if (r < 0 || is_known)
		return r;
	r = want(changes, change);
	if (r < 0)
		return r;
	edit_fetch_blocks(changes->excerpt->edit);
	return read_back(changes, change);
}

/* Whether the path leads to the file that was made, and what is not known to be in it is. */
static int check_file(struct changes *changes, const struct change *change)
{
	struct edit_stat st;
	int r = find(changes, change->path, &st);

	if (r == 0 && (st.ino != change->ino || st.size != change->size))
		r = -EIO;
	if (r < 0)
		return r;
	return change->file ? check_large(changes, change) : read_back(changes, change);
}

static int check_content(struct changes *changes)
{
	int r = 0;

	/* The disk is asked for all of them, and then they are looked at. */
	for (size_t i = 0; r == 0 && i < changes->count; i++) {
		if (S_ISREG(changes->items[i].mode) && !changes->items[i].file)
			r = want(changes, &changes->items[i]);
	}
	edit_fetch_blocks(changes->excerpt->edit);
	/* Which takes it some time, as large ones take the other thread: nobody needs the copy any
	 * more. */
	excerpt_remove(changes->excerpt);
	for (size_t i = 0; r == 0 && i < changes->count; i++) {
		if (S_ISREG(changes->items[i].mode) && !changes->items[i].file)
			r = check_file(changes, &changes->items[i]);
	}
	if (r == 0)
		r = edit_prepare(changes->excerpt->edit);
	for (size_t i = 0; r == 0 && i < changes->count; i++) {
		if (changes->items[i].file)
			r = check_file(changes, &changes->items[i]);
	}
	return r;
}

static int carry_out(struct changes *changes, const struct strv *ids)
{
	int r;

	changes->piece = edit_new_room(PIECE_SIZE);
	r = changes->piece ? remove_old(changes) : -ENOMEM;
	for (size_t i = 0; r == 0 && i < changes->count; i++)
		r = make(changes, &changes->items[i]);
	for (size_t i = 0; r == 0 && i < changes->attributes.count; i++) {
		const struct attributes_item *item = &changes->attributes.items[i];

		if (item->is_current && !item->object->shared && strv_has(ids, item->id))
			r = fix_attributes(changes, item);
	}
	if (r == 0 && content_has_left(changes->content))
		r = -EINVAL;
	if (r == 0)
		r = edit_settle(changes->excerpt->edit);
	return r < 0 ? r : check_content(changes);
}

int replay(struct excerpt *excerpt, struct content *content, const struct strv *ids,
	   struct strv *mended, struct problem *reterr_problem)
{
	CLEANUP(changes_done)
	struct changes changes = {.excerpt = excerpt,
				  .attributes = ATTRIBUTES_INIT,
				  .mended = mended,
				  .content = content};
	int r = attributes_load(excerpt->path, &changes.attributes);

	if (r == 0)
		r = find_changes(&changes);
	if (r == 0)
		r = check_room(&changes, reterr_problem);
	if (r == 0)
		r = carry_out(&changes, ids);
	return r == -ENOSPC ? replay_refuse_full(excerpt->edit, reterr_problem) : r;
}
