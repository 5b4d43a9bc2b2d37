/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The first thread writes pieces, and the hasher has them read from the disk some way behind, which
 * gets them first if they are not there yet, and digests them. What cannot be read past the
 * kernel's memory of it, by a disk or a file system of another kind or because it lies in shreds,
 * is left to whoever needs to know: to be read when all is on the disk, like content that is not
 * large.
 */

#include "image/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "bundle/hasher.h"
#include "ext4/edit_file.h"

#define PIECE_SIZE (256UL << 10) /* moved at once */
#define LARGE_SIZE (2UL << 20)
/* So far behind what is written it is read: who reads from the disk keeps who writes to the same
 * file waiting, as long as the disk takes for it. */
#define LAG_SIZE (4UL << 20)

struct content_file {
	struct digest_state state; /* the hasher's */
	ext2_ino_t ino;
	uint64_t size;
	int copy_fd; /* what stands for it in the copy: open, so that its inode is nobody else's */
	uint64_t copy_ino; /* 0: nothing does */
	bool is_sunk;      /* it came by the sink, and has no name yet */
	uint64_t last;     /* the hasher's last job that is about it */
	int result;
	errcode_t error; /* what libext2fs said of that */
	bool is_unknown; /* not all of it was given to the hasher */
	int back_result; /* the hasher's */
	struct content_file *next;
};

struct content {
	struct edit *edit;
	struct hasher *hasher;
	struct content_file *files;
	struct content_file *file; /* the one whose content comes */
	uint64_t written;
	uint64_t posted; /* to the hasher */
	size_t gathered; /* of the next piece */
	uint8_t *back;   /* the hasher's: HASHER_READS pieces */
	unsigned next_back;
	uint8_t *piece;
	bool lacks_room; /* for what the sink took */
};

int content_new(struct edit *edit, struct content **ret)
{
	struct content *content = calloc(1, sizeof(*content));

	if (!content)
		return -ENOMEM;
	content->edit = edit;
	*ret = content;
	return 0;
}

struct content *content_free(struct content *content)
{
	if (!content)
		return NULL;
	/* It may be reading what is freed then. */
	(void)hasher_free(content->hasher);
	while (content->files) {
		struct content_file *file = content->files;

		content->files = file->next;
		(void)fd_close(file->copy_fd);
		free(file);
	}
	free(content->back);
	free(content->piece);
	free(content);
	return NULL;
}

bool content_is_large(uint64_t size)
{
	return size > LARGE_SIZE;
}

/* What is never used is never paid for. */
static int prepare(struct content *content)
{
	if (content->hasher)
		return 0;
	if (!content->back)
		content->back = edit_new_room(HASHER_READS * PIECE_SIZE);
	if (!content->piece)
		content->piece = edit_new_room(PIECE_SIZE);
	return content->back && content->piece ? hasher_new(&content->hasher) : -ENOMEM;
}

int content_begin(struct content *content, ext2_ino_t ino, uint64_t size,
		  const struct content_file **ret)
{
	struct content_file *file;
	int r = prepare(content);

	if (r < 0)
		return r;
	file = aligned_alloc(_Alignof(struct content_file), sizeof(*file));
	if (!file)
		return -ENOMEM;
	memset(file, 0, sizeof(*file));
	digest_begin(&file->state);
	file->copy_fd = -EBADF;
	file->ino = ino;
	file->size = size;
	file->next = content->files;
	content->files = file;
	content->file = file;
	content->written = content->posted = 0;
	content->gathered = 0;
	*ret = file;
	return 0;
}

static void note(struct content *content, int r)
{
	struct content_file *file = content->file;

	if (file->result == 0 && r < 0) {
		file->result = r;
		file->error = content->edit->error;
	}
}

static uint8_t *next_back(struct content *content)
{
	content->next_back = (content->next_back + 1) % HASHER_READS;
	return content->back + content->next_back * PIECE_SIZE;
}

/* Has the piece that was written read from the disk and digested. Where that cannot be, the content
 * is not known, and whoever asks for it has to read it. */
static int post_piece(struct content *content, uint64_t offset, size_t size)
{
	struct content_file *file = content->file;
	size_t done = 0;

	while (done < size) {
		struct edit_place place = {.fd = -EBADF};
		int r = edit_find_place(content->edit, file->ino, offset + done, size - done,
					&place);

		file->is_unknown = r == -EOPNOTSUPP;
		if (r < 0)
			return file->is_unknown ? 0 : r;
		hasher_post_read(content->hasher, &file->state,
				 &(struct hasher_read){.fd = place.fd,
						       .offset = place.offset,
						       .data = next_back(content),
						       .size = place.size,
						       .digested = MIN(place.size, size - done),
						       .result = &file->back_result});
		done += place.size;
	}
	return 0;
}

/* What was written up to *end*: whole pieces, and at last the rest. */
static int post_until(struct content *content, uint64_t end)
{
	int r = 0;

	while (r == 0 && !content->file->is_unknown && content->posted < end) {
		size_t n = (size_t)MIN(PIECE_SIZE, end - content->posted);

		r = post_piece(content, content->posted, n);
		content->posted += n;
	}
	return r;
}

static int write_piece(struct content *content)
{
	uint64_t offset = content->written;
	size_t size = content->gathered;
	int r = edit_write_blocks(content->edit, content->file->ino, offset, content->piece, size);

	content->written += size;
	content->gathered = 0;
	return r < 0 || offset < LAG_SIZE ? r : post_until(content, offset - LAG_SIZE);
}

void content_add(struct content *content, const void *data, size_t size)
{
	const char *bytes = data;

	while (size > 0 && content->file->result == 0) {
		size_t n = MIN(size, PIECE_SIZE - content->gathered);

		memcpy(content->piece + content->gathered, bytes, n);
		content->gathered += n;
		bytes += n;
		size -= n;
		if (content->gathered == PIECE_SIZE)
			note(content, write_piece(content));
	}
}

void content_end(struct content *content)
{
	struct content_file *file = content->file;

	if (file->result == 0 && content->gathered > 0)
		note(content, write_piece(content));
	if (content->written != file->size)
		note(content, -EIO);
	if (file->result == 0)
		note(content, post_until(content, file->size));
	file->last = hasher_last(content->hasher);
	content->file = NULL;
}

int content_judge(struct content *content, const struct content_file *file,
		  const struct digest *wanted, bool *ret_known)
{
	struct digest_state state;
	struct digest digest;

	hasher_wait(content->hasher, file->last);
	if (file->result < 0) {
		content->edit->error = file->error;
		return file->result;
	}
	*ret_known = !file->is_unknown && file->back_result == 0;
	if (!*ret_known)
		return 0;
	state = file->state;
	digest_end(&state, &digest);
	return digest_is_equal(&digest, wanted) ? 0 : -EIO;
}

/* Blocks for the content, and for what leads to it. */
static bool has_room(const struct edit *edit, uint64_t size)
{
	uint64_t n = size / edit->fs->blocksize + 1;
	uint64_t blocks = 0;
	uint64_t inodes = 0;

	edit_room(edit, &blocks, &inodes);
	return inodes > 0 && n + n / 64 + 16 <= blocks;
}

/* Where there is no room, the copy has it, and who brings it in says what is missing. */
static int sink_begin(void *context, uint64_t size, bool *ret_taken)
{
	struct content *content = context;
	const struct content_file *file = NULL;
	ext2_ino_t ino = 0;
	int r;

	*ret_taken = content_is_large(size) && has_room(content->edit, size);
	if (!*ret_taken)
		return 0;
	r = edit_take_file(content->edit, size, &ino);
	content->lacks_room = r == -ENOSPC;
	if (r == 0)
		r = content_begin(content, ino, size, &file);
	if (r == 0)
		content->file->is_sunk = true;
	return r;
}

static void sink_add(void *context, const void *data, size_t size)
{
	content_add(context, data, size);
}

static int sink_end(void *context, int fd)
{
	struct content *content = context;
	struct content_file *file = content->file;
	struct stat st;

	content_end(content);
	file->copy_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (file->copy_fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	file->copy_ino = st.st_ino;
	return 0;
}

struct bundle_sink content_sink(struct content *content)
{
	return (struct bundle_sink){
		.begin = sink_begin, .add = sink_add, .end = sink_end, .context = content};
}

bool content_lacks_room(const struct content *content)
{
	return content->lacks_room;
}

int content_keep(struct content *content)
{
	int r = 0;

	for (struct content_file *file = content->files; file; file = file->next) {
		struct stat st;

		if (file->copy_fd < 0)
			continue;
		if (fstat(file->copy_fd, &st) < 0)
			r = -errno;
		else if (st.st_nlink == 0)
			file->copy_ino = 0;
		file->copy_fd = fd_close(file->copy_fd);
	}
	return r;
}

static struct content_file *find(const struct content *content, uint64_t copy_ino)
{
	struct content_file *file = content->files;

	while (file && (!file->is_sunk || file->copy_ino != copy_ino))
		file = file->next;
	return file;
}

bool content_find(const struct content *content, uint64_t copy_ino)
{
	return find(content, copy_ino) != NULL;
}

const struct content_file *content_take(struct content *content, uint64_t copy_ino,
					ext2_ino_t *ret_ino)
{
	struct content_file *file = find(content, copy_ino);

	if (!file)
		return NULL;
	file->is_sunk = false;
	*ret_ino = file->ino;
	return file;
}

bool content_has_left(const struct content *content)
{
	const struct content_file *file = content->files;

	while (file && !file->is_sunk)
		file = file->next;
	return file != NULL;
}
