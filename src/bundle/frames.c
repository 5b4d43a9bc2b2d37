/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A bundle as `affix build` writes it: a row of small zstd frames. None needs another to be
 * decompressed, so a second thread takes some of them; and each goes to its place in one step,
 * without the window that a stream of any length is copied through. Stock zstd sees one stream.
 *
 * Slots are filled, and given out, in the order of the frames. Files are the first thread's: it
 * reads ahead, and decompresses itself what the other one has not begun while it waits for a frame.
 */

#include "bundle/frames.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/memory.h"
#include "base/thread.h"
#include "bundle/bundle.h"

/* More of them take memory, and leave the processor's cache before they are used. */
#define N_SLOTS 4U
/* ZSTD_compressBound() of the greatest frame, as a constant: what it takes uncompressed. */
#define COMPRESSED_SIZE_MAX (BUNDLE_FRAME_SIZE_MAX + BUNDLE_FRAME_SIZE_MAX / 256)
#define FIRST_GUESS         (BUNDLE_FRAME_SIZE_MAX / 4)
#define CONTENTS_SIZE       (N_SLOTS * BUNDLE_FRAME_SIZE_MAX)

static_assert(BUNDLE_FRAME_SIZE_MAX % BUNDLE_FRAME_SIZE_UNIT == 0,
	      "the greatest frame is no last one");

struct slot {
	uint8_t *room;             /* for COMPRESSED_SIZE_MAX bytes; NULL until it is needed */
	const uint8_t *compressed; /* there, or where all of the bundle is */
	size_t compressed_size;
	uint8_t *content; /* room for BUNDLE_FRAME_SIZE_MAX */
	size_t size;      /* as the frame says */
	size_t result;    /* of ZSTD_decompressDCtx() */
	bool is_done;
	uint64_t last; /* the hasher's last job that can be about it */
};

struct frames {
	struct bytes bytes;
	struct hasher *hasher;
	uint64_t offset; /* of the file, behind the last frame that was read */
	uint64_t end;    /* of the frames */
	bool is_at_end;
	size_t guess; /* of a frame's compressed size */
	ZSTD_DCtx *zstd;
	ZSTD_DCtx *threads_zstd;
	uint8_t *contents;          /* the slots' */
	struct slot slots[N_SLOTS]; /* frame N is in slot N % N_SLOTS */
	uint64_t n_read;
	uint64_t n_given;
	pthread_t thread; /* takes no memory, lest a process that is forked find the heap locked */
	bool has_thread;
	bool is_early;         /* made before there is something to read */
	pthread_mutex_t mutex; /* for what follows, and the results in the slots */
	pthread_cond_t ready;  /* or stopping */
	pthread_cond_t done;
	uint64_t n_ready;
	uint64_t n_begun;
	bool is_stopping;
};

bool frames_is_first(const void *head, size_t size)
{
	unsigned long long content = ZSTD_getFrameContentSize(head, size);

	return content > 0 && content <= BUNDLE_FRAME_SIZE_MAX;
}

static void decompress_slot(ZSTD_DCtx *zstd, struct slot *slot)
{
	slot->result = ZSTD_decompressDCtx(zstd, slot->content, slot->size, slot->compressed,
					   slot->compressed_size);
}

/* With the mutex, which is let go meanwhile: the next frame that nobody has begun. */
static void take_one(struct frames *frames, ZSTD_DCtx *zstd)
{
	struct slot *slot = &frames->slots[frames->n_begun++ % N_SLOTS];

	(void)pthread_mutex_unlock(&frames->mutex);
	decompress_slot(zstd, slot);
	(void)pthread_mutex_lock(&frames->mutex);
	slot->is_done = true;
	(void)pthread_cond_signal(&frames->done);
}

/* The kernel makes pages there one after the other as they are used, which takes a third of the
 * time of decompressing to them. Here it makes many at once, whoever uses them meanwhile; an old
 * one does not. */
static void populate(const struct frames *frames)
{
	(void)madvise(frames->contents, CONTENTS_SIZE, MADV_POPULATE_WRITE);
}

static void *work(void *argument)
{
	struct frames *frames = argument;

	if (frames->is_early)
		populate(frames);
	(void)pthread_mutex_lock(&frames->mutex);
	for (;;) {
		while (frames->n_begun == frames->n_ready && !frames->is_stopping)
			(void)pthread_cond_wait(&frames->ready, &frames->mutex);
		if (frames->is_stopping)
			break;
		take_one(frames, frames->threads_zstd);
	}
	(void)pthread_mutex_unlock(&frames->mutex);
	return NULL;
}

/* A child has no use for them, and to share pages with one is to copy each that is written to. */
static int prepare_slots(struct frames *frames)
{
	frames->contents = memory_new_large(CONTENTS_SIZE);
	if (!frames->contents)
		return -ENOMEM;
	(void)madvise(frames->contents, CONTENTS_SIZE, MADV_DONTFORK);
	for (size_t i = 0; i < N_SLOTS; i++)
		frames->slots[i].content = frames->contents + i * BUNDLE_FRAME_SIZE_MAX;
	return 0;
}

static int frames_new(struct hasher *hasher, struct frames **ret)
{
	cleanup_frames struct frames *frames = calloc(1, sizeof(*frames));
	int r;

	if (!frames)
		return -ENOMEM;
	frames->hasher = hasher;
	frames->guess = FIRST_GUESS;
	frames->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	frames->ready = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	frames->done = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	frames->zstd = ZSTD_createDCtx();
	if (!frames->zstd)
		return -ENOMEM;
	r = prepare_slots(frames);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(frames);
	return 0;
}

/* Without it the first thread does the work alone. */
static void start_thread(struct frames *frames)
{
	if (!frames->threads_zstd)
		frames->threads_zstd = ZSTD_createDCtx();
	if (frames->threads_zstd && !frames->has_thread)
		frames->has_thread = thread_start(&frames->thread, NULL, work, frames) == 0;
}

int frames_prepare(struct hasher *hasher, struct frames **ret)
{
	int r = frames_new(hasher, ret);

	if (r < 0)
		return r;
	(*ret)->is_early = true;
	start_thread(*ret);
	return 0;
}

int frames_open(const struct bytes *bytes, uint64_t end, struct hasher *hasher, struct frames **ret)
{
	int r = *ret ? 0 : frames_new(hasher, ret);

	if (r < 0)
		return r;
	(*ret)->bytes = *bytes;
	(*ret)->end = end;
	return 0;
}

struct frames *frames_close(struct frames *frames)
{
	if (!frames)
		return NULL;
	if (frames->has_thread)
		thread_end(frames->thread, &frames->mutex, &frames->ready, &frames->is_stopping);
	/* It may be reading our buffers. */
	hasher_wait(frames->hasher, hasher_last(frames->hasher));
	(void)pthread_cond_destroy(&frames->done);
	(void)pthread_cond_destroy(&frames->ready);
	(void)pthread_mutex_destroy(&frames->mutex);
	for (size_t i = 0; i < N_SLOTS; i++)
		free(frames->slots[i].room);
	/* Else a later child would miss pages of its heap. */
	if (frames->contents)
		(void)madvise(frames->contents, CONTENTS_SIZE, MADV_DOFORK);
	free(frames->contents);
	(void)ZSTD_freeDCtx(frames->threads_zstd);
	(void)ZSTD_freeDCtx(frames->zstd);
	free(frames);
	return NULL;
}

static int refuse_trailing(struct refusal *reterr_refusal)
{
	return refuse(
		reterr_refusal, REFUSAL_TRAILING_DATA,
		"the bundle's file goes on behind the end of its compressed stream: expected "
		"nothing behind the first zstd frame that does not hold a multiple of %lu KiB",
		BUNDLE_FRAME_SIZE_UNIT / 1024);
}

static int refuse_broken(size_t error, struct refusal *reterr_refusal)
{
	return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
		      "the bundle's zstd stream is broken: %s", ZSTD_getErrorName(error));
}

/* What the head of a frame says of it. */
static int check_head(struct slot *slot, size_t n, struct refusal *reterr_refusal)
{
	static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};
	unsigned long long content;

	if (n < sizeof(magic) || memcmp(slot->compressed, magic, sizeof(magic)) != 0)
		return refuse_trailing(reterr_refusal);
	if (ZSTD_getDictID_fromFrame(slot->compressed, n) != 0)
		return refuse_broken((size_t)-ZSTD_error_dictionary_wrong, reterr_refusal);
	content = ZSTD_getFrameContentSize(slot->compressed, n);
	if (content == ZSTD_CONTENTSIZE_ERROR || content == ZSTD_CONTENTSIZE_UNKNOWN ||
	    content == 0 || content > BUNDLE_FRAME_SIZE_MAX)
		return refuse(
			reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
			"the bundle has a zstd frame that does not say that it holds 1 to %lu "
			"bytes, as its first one does: make it with 'affix build'",
			BUNDLE_FRAME_SIZE_MAX);
	slot->size = (size_t)content;
	return 0;
}

/* The frame's own size, given the *n* bytes from its beginning; 0: it goes on behind them. */
static int measure(const struct slot *slot, size_t n, size_t *ret, struct refusal *reterr_refusal)
{
	size_t size = ZSTD_findFrameCompressedSize(slot->compressed, n);

	if (ZSTD_isError(size) && ZSTD_getErrorCode(size) != ZSTD_error_srcSize_wrong)
		return refuse_broken(size, reterr_refusal);
	*ret = ZSTD_isError(size) ? 0 : size;
	return 0;
}

static int refuse_cut_off(struct refusal *reterr_refusal)
{
	return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
		      "the bundle is cut off: its compressed stream does not end where the file "
		      "does");
}

static int refuse_too_long(struct refusal *reterr_refusal)
{
	return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
		      "the bundle has a zstd frame longer than what it holds");
}

/* Finds the frame that begins at the offset in memory. */
static int find_frame(struct frames *frames, struct slot *slot, size_t *ret_size,
		      struct refusal *reterr_refusal)
{
	const uint64_t end = MIN(frames->end, frames->bytes.size);
	const uint64_t left = end - MIN(end, frames->offset);
	size_t n = (size_t)MIN(left, (uint64_t)COMPRESSED_SIZE_MAX);
	int r;

	slot->compressed = frames->bytes.memory + frames->offset;
	if (n == 0)
		return 0;
	r = check_head(slot, n, reterr_refusal);
	if (r == 0)
		r = measure(slot, n, ret_size, reterr_refusal);
	if (r != 0 || *ret_size > 0)
		return r;
	return n == left ? refuse_cut_off(reterr_refusal) : refuse_too_long(reterr_refusal);
}

/* gcc 12's analyzer takes for lost what is kept behind the slot. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static bool make_room(struct slot *slot)
{
	if (!slot->room)
		slot->room = malloc(COMPRESSED_SIZE_MAX);
	return slot->room;
}

#pragma GCC diagnostic pop

/* Reads the frame that begins at the offset of the file. */
static int load_frame(struct frames *frames, struct slot *slot, size_t *ret_size,
		      struct refusal *reterr_refusal)
{
	const uint64_t left = frames->end - MIN(frames->end, frames->offset);
	size_t wanted = frames->guess;
	size_t n = 0;

	if (!make_room(slot))
		return -ENOMEM;
	slot->compressed = slot->room;
	while (*ret_size == 0) {
		size_t more = 0;
		int r = bytes_read(&frames->bytes, slot->room + n,
				   (size_t)MIN((uint64_t)wanted, left) - n, frames->offset + n,
				   &more);

		if (r < 0)
			return r;
		n += more;
		if (n == 0)
			return 0;
		r = check_head(slot, n, reterr_refusal);
		if (r == 0)
			r = measure(slot, n, ret_size, reterr_refusal);
		if (r != 0)
			return r;
		if (*ret_size == 0 && n < wanted)
			return refuse_cut_off(reterr_refusal);
		if (*ret_size == 0 && wanted == COMPRESSED_SIZE_MAX)
			return refuse_too_long(reterr_refusal);
		wanted = MIN(2 * wanted, COMPRESSED_SIZE_MAX);
	}
	return 0;
}

/* The next frame, to its slot. At the end there is none. */
static int read_frame(struct frames *frames, struct slot *slot, struct refusal *reterr_refusal)
{
	size_t size = 0;
	int r = frames->bytes.memory ? find_frame(frames, slot, &size, reterr_refusal)
				     : load_frame(frames, slot, &size, reterr_refusal);

	if (r != 0)
		return r;
	frames->is_at_end = size == 0;
	slot->compressed_size = size;
	frames->offset += size;
	frames->guess = MIN(size + size / 8, COMPRESSED_SIZE_MAX);
	if (frames->offset > BUNDLE_SIZE_MAX)
		return refuse(reterr_refusal, REFUSAL_BUNDLE_TOO_LARGE,
			      "the bundle file is larger than the %llu bytes it may have",
			      BUNDLE_SIZE_MAX);
	return 0;
}

/* Reads ahead into every slot but the one that was given out last: the hasher may have that one. */
static int read_ahead(struct frames *frames, struct refusal *reterr_refusal)
{
	while (!frames->is_at_end && frames->n_read - frames->n_given < N_SLOTS - 1) {
		struct slot *slot = &frames->slots[frames->n_read % N_SLOTS];
		int r;

		hasher_wait(frames->hasher, slot->last);
		slot->is_done = false;
		r = read_frame(frames, slot, reterr_refusal);
		if (r != 0)
			return r;
		if (frames->is_at_end)
			break;
		frames->n_read++;
		(void)pthread_mutex_lock(&frames->mutex);
		frames->n_ready = frames->n_read;
		(void)pthread_cond_signal(&frames->ready);
		(void)pthread_mutex_unlock(&frames->mutex);
		/* Not for a single frame. */
		if (frames->n_read == 2)
			start_thread(frames);
	}
	return 0;
}

static void await_slot(struct frames *frames, const struct slot *slot)
{
	(void)pthread_mutex_lock(&frames->mutex);
	while (!slot->is_done) {
		/* Whatever nobody has begun, also a later one: no thread waits while there is work.
		 */
		if (frames->n_begun < frames->n_ready)
			take_one(frames, frames->zstd);
		else
			(void)pthread_cond_wait(&frames->done, &frames->mutex);
	}
	(void)pthread_mutex_unlock(&frames->mutex);
}

int frames_read(struct frames *frames, const void **ret, size_t *ret_size,
		struct refusal *reterr_refusal)
{
	struct slot *slot;
	bool is_last;
	int r;

	if (frames->n_given > 0)
		frames->slots[(frames->n_given - 1) % N_SLOTS].last = hasher_last(frames->hasher);
	r = read_ahead(frames, reterr_refusal);
	if (r != 0)
		return r;
	*ret = "";
	*ret_size = 0;
	if (frames->n_given == frames->n_read)
		return 0;
	slot = &frames->slots[frames->n_given % N_SLOTS];
	await_slot(frames, slot);
	frames->n_given++;
	is_last = frames->is_at_end && frames->n_given == frames->n_read;
	if (ZSTD_isError(slot->result))
		return refuse_broken(slot->result, reterr_refusal);
	if (slot->result != slot->size)
		return refuse_broken((size_t)-ZSTD_error_corruption_detected, reterr_refusal);
	if (!is_last && slot->size % BUNDLE_FRAME_SIZE_UNIT != 0)
		return refuse_trailing(reterr_refusal);
	*ret = slot->content;
	*ret_size = slot->size;
	return 0;
}
