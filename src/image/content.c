/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Three positions move through a file: up to the first it is written, up to the second the disk has
 * it and was asked for it again, up to the third it was read back and given to the hasher. Between
 * them lies what the disk needs to do its part. All files and system calls are the first thread's.
 */

#include "image/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/memory.h"
#include "bundle/hasher.h"
#include "ext4/edit_file.h"

#define PIECE_SIZE (256UL << 10) /* moved at once */
#define LEAD_SIZE  (1UL << 20)   /* between the positions */

struct content_file {
	struct digest_state state; /* the hasher's */
	ext2_ino_t ino;
	uint64_t size;
	int copy_fd; /* what stands for it in the copy: open, so that its inode is nobody else's */
	uint64_t copy_ino;
	bool is_sunk;  /* it came by the sink, and has no name yet */
	uint64_t last; /* the hasher's last job that is about it */
	int result;
	errcode_t error; /* what libext2fs said of that */
	struct content_file *next;
};

struct content {
	struct edit *edit;
	struct hasher *hasher;
	struct hasher_turns turns;
	struct content_file *files;
	struct content_file *file; /* the one whose content comes */
	uint64_t written;
	uint64_t fetched;
	uint64_t read;
	size_t gathered; /* of the next piece */
	uint8_t (*back)[PIECE_SIZE];
	uint8_t *piece;
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
	return size > 2 * LEAD_SIZE;
}

/* What is never used is never paid for. */
static int prepare(struct content *content)
{
	if (content->hasher)
		return 0;
	if (!content->back)
		content->back = memory_new_large(HASHER_BUFFERS * sizeof(*content->back));
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
	content->written = content->fetched = content->read = 0;
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

static size_t piece_at(const struct content_file *file, uint64_t offset)
{
	return (size_t)MIN((uint64_t)PIECE_SIZE, file->size - offset);
}

static int fetch_piece(struct content *content)
{
	size_t n = piece_at(content->file, content->fetched);
	int r = edit_want_blocks(content->edit, content->file->ino, content->fetched, n);

	if (r == 0)
		r = edit_fetch_blocks(content->edit);
	content->fetched += n;
	return r;
}

static int read_piece(struct content *content)
{
	struct content_file *file = content->file;
	uint8_t *back = content->back[hasher_turn(content->hasher, &content->turns)];
	size_t n = piece_at(file, content->read);
	int r = edit_read_blocks(content->edit, file->ino, content->read, back, n);

	if (r == 0)
		hasher_post(content->hasher, &file->state, back, n);
	content->read += n;
	return r;
}

static int write_piece(struct content *content)
{
	int r = edit_write_blocks(content->edit, content->file->ino, content->written,
				  content->piece, content->gathered);

	content->written += content->gathered;
	content->gathered = 0;
	if (r == 0 && content->written - content->fetched > LEAD_SIZE)
		r = fetch_piece(content);
	if (r == 0 && content->fetched - content->read > LEAD_SIZE)
		r = read_piece(content);
	return r;
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
	while (file->result == 0 && content->fetched < file->size)
		note(content, fetch_piece(content));
	while (file->result == 0 && content->read < file->size)
		note(content, read_piece(content));
	file->last = hasher_last(content->hasher);
	content->file = NULL;
}

int content_judge(struct content *content, const struct content_file *file,
		  const struct digest *wanted)
{
	struct digest_state state;
	struct digest digest;

	hasher_wait(content->hasher, file->last);
	if (file->result < 0) {
		content->edit->error = file->error;
		return file->result;
	}
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

static struct content_file *find(const struct content *content, uint64_t copy_ino)
{
	struct content_file *file = content->files;

	while (file && (!file->is_sunk || file->copy_fd < 0 || file->copy_ino != copy_ino))
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
