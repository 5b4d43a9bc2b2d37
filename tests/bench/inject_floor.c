/* SPDX-License-Identifier: Apache-2.0 */

/*
 * inject_floor BUNDLE IMAGE: what is left of an injection if it does nothing but what it cannot do
 * without: the bundle's digest, two threads that decompress, the content written to the image, on
 * the disk, and read back from there beside its digest; then some blocks of metadata, and the disk
 * again. No signature, archive, file system, plan or redo file, and no check of anything. The image
 * is of no use afterwards.
 */

#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define FRAMES_MAX 1024U
#define PIECE_SIZE (256UL << 10)
#define PIECES     3UL
/* Reading goes on so far behind the writing, which it would hold up. */
#define BEHIND (4UL << 20)
/* Where the image has room, as it was made for this. */
#define CONTENT_OFFSET  (300L << 20)
#define METADATA_OFFSET (400L << 20)
#define METADATA_BLOCKS 25
#define BLOCK_SIZE      4096UL

struct frame {
	size_t begin;
	size_t size;
	size_t out;
	size_t out_size;
};

/* How far it has come. All of it is guarded by the mutex. */
struct progress {
	size_t taken; /* frames */
	size_t written;
	size_t read;
	size_t digested;
	char is_decoded[FRAMES_MAX];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct progress progress;
static struct frame frames[FRAMES_MAX];
static size_t n_frames;
static unsigned char *bundle, *content, *back;
static size_t size;
static const char *image;

static void give_up(const char *what)
{
	perror(what);
	exit(1);
}

static void set(size_t *place, size_t value)
{
	(void)pthread_mutex_lock(&mutex);
	*place = value;
	(void)pthread_cond_broadcast(&changed);
	(void)pthread_mutex_unlock(&mutex);
}

static void wait_for(const size_t *place, size_t value)
{
	(void)pthread_mutex_lock(&mutex);
	while (*place < value)
		(void)pthread_cond_wait(&changed, &mutex);
	(void)pthread_mutex_unlock(&mutex);
}

static size_t take_frame(void)
{
	size_t i;

	(void)pthread_mutex_lock(&mutex);
	i = progress.taken < n_frames ? progress.taken++ : n_frames;
	(void)pthread_mutex_unlock(&mutex);
	return i;
}

static void *decode(void *unused)
{
	ZSTD_DCtx *zstd = ZSTD_createDCtx();

	for (size_t i = take_frame(); i < n_frames; i = take_frame()) {
		const struct frame *frame = &frames[i];

		if (ZSTD_decompressDCtx(zstd, content + frame->out, frame->out_size,
					bundle + frame->begin, frame->size) != frame->out_size)
			give_up("a frame");
		(void)pthread_mutex_lock(&mutex);
		progress.is_decoded[i] = 1;
		(void)pthread_cond_broadcast(&changed);
		(void)pthread_mutex_unlock(&mutex);
	}
	(void)ZSTD_freeDCtx(zstd);
	return unused;
}

static void wait_for_frame(size_t i)
{
	(void)pthread_mutex_lock(&mutex);
	while (!progress.is_decoded[i])
		(void)pthread_cond_wait(&changed, &mutex);
	(void)pthread_mutex_unlock(&mutex);
}

static size_t whole_pieces(void)
{
	return size / PIECE_SIZE * PIECE_SIZE;
}

static void *read_back(void *unused)
{
	int fd = open(image, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		give_up(image);
	for (size_t at = 0; at < whole_pieces(); at += PIECE_SIZE) {
		size_t wanted = at + PIECE_SIZE + BEHIND;

		wait_for(&progress.written, wanted < size ? wanted : size);
		if (at >= PIECES * PIECE_SIZE)
			wait_for(&progress.digested, at - (PIECES - 1) * PIECE_SIZE);
		if (pread(fd, back + at / PIECE_SIZE % PIECES * PIECE_SIZE, PIECE_SIZE,
			  CONTENT_OFFSET + (off_t)at) != (ssize_t)PIECE_SIZE)
			give_up("to read back");
		set(&progress.read, at + PIECE_SIZE);
	}
	(void)close(fd);
	return unused;
}

static void *digest(void *unused)
{
	unsigned char text[crypto_generichash_BYTES_MAX];
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, NULL, 0, sizeof(text));
	for (size_t at = 0; at < whole_pieces(); at += PIECE_SIZE) {
		wait_for(&progress.read, at + PIECE_SIZE);
		(void)crypto_generichash_update(
			&state, back + at / PIECE_SIZE % PIECES * PIECE_SIZE, PIECE_SIZE);
		set(&progress.digested, at + PIECE_SIZE);
	}
	(void)crypto_generichash_final(&state, text, sizeof(text));
	return unused;
}

/* Reads and digests it, and finds its frames. */
static void read_bundle(const char *path)
{
	unsigned char text[crypto_generichash_BYTES_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t all;

	if (fd < 0 || fstat(fd, &st) < 0)
		give_up(path);
	all = (size_t)st.st_size;
	bundle = malloc(all);
	if (!bundle || pread(fd, bundle, all, 0) != st.st_size)
		give_up(path);
	(void)close(fd);
	(void)crypto_generichash(text, sizeof(text), bundle, all, NULL, 0);
	for (size_t at = 0; at < all && n_frames < FRAMES_MAX;) {
		struct frame *frame = &frames[n_frames];
		unsigned long long out = ZSTD_getFrameContentSize(bundle + at, all - at);

		frame->begin = at;
		frame->size = ZSTD_findFrameCompressedSize(bundle + at, all - at);
		if (ZSTD_isError(frame->size) || out > SIZE_MAX / FRAMES_MAX)
			give_up("a frame");
		at += frame->size;
		frame->out = size;
		frame->out_size = (size_t)out;
		size += frame->out_size;
		/* One that is to be skipped holds nothing. */
		n_frames += out > 0;
	}
}

static void write_at(int fd, const void *data, size_t n, off_t offset)
{
	if (pwrite(fd, data, n, offset) != (ssize_t)n)
		give_up(image);
}

int main(int argc, char **argv)
{
	void *(*const work[])(void *) = {decode, decode, read_back, digest};
	pthread_t threads[4];
	int fd;

	if (argc != 3 || sodium_init() < 0)
		return 2;
	image = argv[2];
	read_bundle(argv[1]);
	content = malloc(size);
	back = aligned_alloc(BLOCK_SIZE, PIECES * PIECE_SIZE);
	fd = open(image, O_RDWR | O_CLOEXEC);
	if (!content || !back || fd < 0)
		give_up(image);
	for (int i = 0; i < 4; i++) {
		if (pthread_create(&threads[i], NULL, work[i], NULL) != 0)
			give_up("a thread");
	}
	for (size_t i = 0; i < n_frames; i++) {
		wait_for_frame(i);
		write_at(fd, content + frames[i].out, frames[i].out_size,
			 CONTENT_OFFSET + (off_t)frames[i].out);
		(void)sync_file_range(fd, CONTENT_OFFSET + (off_t)frames[i].out,
				      (off_t)frames[i].out_size, SYNC_FILE_RANGE_WRITE);
		if (i + 1 < n_frames)
			set(&progress.written, frames[i + 1].out);
	}
	if (fdatasync(fd) < 0)
		give_up(image);
	set(&progress.written, size);
	for (int i = 0; i < 4; i++)
		(void)pthread_join(threads[i], NULL);
	for (int i = 0; i < METADATA_BLOCKS; i++)
		write_at(fd, content, BLOCK_SIZE, METADATA_OFFSET + i * 16 * (off_t)BLOCK_SIZE);
	return fdatasync(fd) < 0;
}
