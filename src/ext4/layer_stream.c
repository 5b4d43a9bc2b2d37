/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From a blob to a tar stream: read, digested, decompressed. A second thread does that, a few
 * pieces ahead, while the first one reads the tar and writes the image. It touches the file and the
 * pieces and nothing else; what went wrong is handed over in its place in the row. Where no thread
 * can be had the first one does the work.
 *
 * The two compressions are told apart by their first bytes, not by a media type, which says too
 * little about files that somebody names. A gzip layer may have many members (eStargz), a zstd
 * layer many frames, also frames to be skipped (zstd:chunked).
 */

#include "ext4/layer_stream.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/fd.h"
#include "base/thread.h"
#include "crypto/sha256.h"

#define PIECE_SIZE (256UL * 1024)
#define INPUT_SIZE (256UL * 1024)
#define PIECES     8U
#define WINDOW_LOG 27 /* what the command line tool takes too: 128 MiB */

enum compression {
	COMPRESSION_NONE,
	COMPRESSION_GZIP,
	COMPRESSION_ZSTD
};

/* One piece, or how the row ends. */
struct piece {
	const uint8_t *data;
	size_t size;
	int result; /* of what made it */
	struct problem problem;
	uint8_t buffer[PIECE_SIZE];
};

struct layer_stream {
	int fd;
	const char *name;
	const char *digest;
	enum compression compression;
	uint64_t offset; /* of the file, behind *input* */
	uint64_t file_size;
	uint64_t produced;
	struct sha256 sha256;
	ZSTD_DCtx *zstd;
	struct inflate_state gzip;
	bool is_within; /* a member or frame */
	bool is_ended;  /* nothing is made any more */
	bool is_begun;
	bool is_read; /* to the end, by the reader */
	size_t input_at;
	size_t input_size;
	/* Shared, under *mutex*: the row of pieces. */
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	pthread_t thread;
	bool has_thread;
	bool is_cancelled;
	unsigned made;  /* so many pieces, ever */
	unsigned taken; /* and so many of them are the reader's, the last one still in use */
	uint8_t input[INPUT_SIZE];
	struct piece pieces[PIECES];
};

static int fill_input(struct layer_stream *s)
{
	size_t n = 0;
	int r = fd_pread_full(s->fd, s->input, INPUT_SIZE, s->offset, &n);

	if (r < 0)
		return r;
	s->offset += n;
	s->input_at = 0;
	s->input_size = n;
	if (s->digest)
		sha256_add(&s->sha256, s->input, n);
	return 0;
}

static int broken(const struct layer_stream *s, struct problem *problem, const char *why)
{
	return problem_refuse(problem, "bad-layer",
			      "layer '%s' is broken: %s; fetch it again, or build its image anew",
			      s->name, why);
}

static int begin(struct layer_stream *s)
{
	static const uint8_t zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};
	int r;

	s->is_begun = true;
	r = s->digest ? sha256_begin(&s->sha256) : 0;
	if (r == 0)
		r = fill_input(s);
	if (r < 0)
		return r;
	/* Frames to be skipped may come first: 0x184D2A50 to 5F. */
	if (s->input_size >= 4 &&
	    (memcmp(s->input, zstd_magic, 4) == 0 ||
	     ((s->input[0] & 0xf0) == 0x50 && memcmp(s->input + 1, "\x2a\x4d\x18", 3) == 0))) {
		s->compression = COMPRESSION_ZSTD;
		s->zstd = ZSTD_createDCtx();
		if (!s->zstd ||
		    ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, WINDOW_LOG)))
			return -ENOMEM;
	} else if (s->input_size >= 2 && s->input[0] == 0x1f && s->input[1] == 0x8b) {
		s->compression = COMPRESSION_GZIP;
	}
	return 0;
}

static int step_zstd(struct layer_stream *s, struct piece *piece, struct problem *problem)
{
	ZSTD_inBuffer in = {s->input, s->input_size, s->input_at};
	ZSTD_outBuffer out = {piece->buffer, PIECE_SIZE, piece->size};
	size_t n = ZSTD_decompressStream(s->zstd, &out, &in);

	if (ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation)
		return -ENOMEM;
	if (ZSTD_isError(n))
		return broken(s, problem, ZSTD_getErrorName(n));
	s->input_at = in.pos;
	piece->size = out.pos;
	s->is_within = n != 0;
	return 0;
}

static int step_gzip(struct layer_stream *s, struct piece *piece, struct problem *problem)
{
	int r;

	if (!s->is_within) {
		isal_inflate_init(&s->gzip);
		s->gzip.crc_flag = ISAL_GZIP;
		s->is_within = true;
	}
	s->gzip.next_in = s->input + s->input_at;
	s->gzip.avail_in = (uint32_t)(s->input_size - s->input_at);
	s->gzip.next_out = piece->buffer + piece->size;
	s->gzip.avail_out = (uint32_t)(PIECE_SIZE - piece->size);
	r = isal_inflate(&s->gzip);
	s->input_at = s->input_size - s->gzip.avail_in;
	piece->size = PIECE_SIZE - s->gzip.avail_out;
	if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT)
		return broken(s, problem,
			      r == ISAL_INCORRECT_CHECKSUM ? "its gzip checksum is wrong"
							   : "its gzip data is invalid");
	if (s->gzip.block_state == ISAL_BLOCK_FINISH)
		s->is_within = false;
	return 0;
}

static int decompress(struct layer_stream *s, struct piece *piece, struct problem *problem)
{
	piece->data = piece->buffer;
	while (piece->size < PIECE_SIZE) {
		size_t before = piece->size;
		size_t at = s->input_at;
		int r = 0;

		if (s->input_at < s->input_size || s->is_within)
			r = s->compression == COMPRESSION_ZSTD ? step_zstd(s, piece, problem)
							       : step_gzip(s, piece, problem);
		if (r != 0)
			return r;
		if (s->input_at < s->input_size && (piece->size > before || s->input_at > at))
			continue;
		if (piece->size > before)
			continue;
		r = fill_input(s);
		if (r < 0)
			return r;
		if (s->input_size > 0)
			continue;
		return s->is_within ? broken(s, problem, "it is cut off") : 0;
	}
	return 0;
}

static int pass_on(struct layer_stream *s, struct piece *piece)
{
	int r;

	piece->data = piece->buffer;
	piece->size = s->input_size - s->input_at;
	if (piece->size > 0) {
		/* What told that nothing is compressed. */
		memcpy(piece->buffer, s->input + s->input_at, piece->size);
		s->input_at = s->input_size;
		return 0;
	}
	r = fd_pread_full(s->fd, piece->buffer, PIECE_SIZE, s->offset, &piece->size);
	if (r < 0)
		return r;
	s->offset += piece->size;
	if (s->digest)
		sha256_add(&s->sha256, piece->buffer, piece->size);
	return 0;
}

static int check_digest(struct layer_stream *s, struct problem *problem)
{
	char text[SHA256_TEXT_SIZE];

	if (!s->digest)
		return 0;
	sha256_end(&s->sha256, text);
	if (strncmp(s->digest, "sha256:", 7) == 0 && strcmp(s->digest + 7, text) == 0)
		return 0;
	return problem_refuse(problem, "bad-digest",
			      "layer '%s' has the digest sha256:%s: expected %s; fetch it again",
			      s->name, text, s->digest);
}

static int make(struct layer_stream *s, struct piece *piece, struct problem *problem)
{
	int r = 0;

	piece->size = 0;
	if (!s->is_begun)
		r = begin(s);
	if (r == 0)
		r = s->compression == COMPRESSION_NONE ? pass_on(s, piece)
						       : decompress(s, piece, problem);
	if (r != 0)
		return r;
	s->produced += piece->size;
	if (s->produced > LAYER_STREAM_MAX)
		return broken(s, problem, "more comes out of it than 4 TiB");
	return piece->size > 0 ? 0 : check_digest(s, problem);
}

/* Makes the piece whose turn it is. */
static void make_next(struct layer_stream *s)
{
	struct piece *piece = &s->pieces[s->made % PIECES];

	piece->result = make(s, piece, &piece->problem);
	s->is_ended = piece->result != 0 || piece->size == 0;
}

static void *run(void *argument)
{
	struct layer_stream *s = argument;

	(void)pthread_mutex_lock(&s->mutex);
	while (!s->is_cancelled && !s->is_ended) {
		/* The piece that was taken last is still being read. */
		if (s->made - s->taken + 1 >= PIECES) {
			(void)pthread_cond_wait(&s->changed, &s->mutex);
			continue;
		}
		(void)pthread_mutex_unlock(&s->mutex);
		make_next(s);
		(void)pthread_mutex_lock(&s->mutex);
		s->made++;
		(void)pthread_cond_signal(&s->changed);
	}
	(void)pthread_mutex_unlock(&s->mutex);
	return NULL;
}

int layer_stream_open(int fd, const char *name, const char *digest, struct layer_stream **ret)
{
	struct layer_stream *s = malloc(sizeof(*s));
	struct stat st;

	if (!s)
		return -ENOMEM;
	/* Not the buffers: what is never used is never paid for. */
	memset(s, 0, offsetof(struct layer_stream, input));
	if (fstat(fd, &st) < 0) {
		free(s);
		return -errno;
	}
	s->fd = fd;
	s->name = name;
	s->digest = digest;
	s->file_size = (uint64_t)st.st_size;
	(void)pthread_mutex_init(&s->mutex, NULL);
	(void)pthread_cond_init(&s->changed, NULL);
	*ret = s;
	return 0;
}

struct layer_stream *layer_stream_close(struct layer_stream *s)
{
	if (!s)
		return NULL;
	if (s->has_thread) {
		(void)pthread_mutex_lock(&s->mutex);
		s->is_cancelled = true;
		(void)pthread_cond_signal(&s->changed);
		(void)pthread_mutex_unlock(&s->mutex);
		(void)pthread_join(s->thread, NULL);
	}
	(void)pthread_cond_destroy(&s->changed);
	(void)pthread_mutex_destroy(&s->mutex);
	(void)ZSTD_freeDCtx(s->zstd);
	sha256_done(&s->sha256);
	free(s);
	return NULL;
}

/* Whether compressed or digested: whether a second thread has anything to do. */
static bool is_work(const struct layer_stream *s)
{
	return s->compression != COMPRESSION_NONE || s->digest;
}

static struct piece *take(struct layer_stream *s)
{
	struct piece *piece;

	if (!s->has_thread) {
		make_next(s);
		piece = &s->pieces[s->made % PIECES];
		s->made++;
		s->taken++;
		return piece;
	}
	(void)pthread_mutex_lock(&s->mutex);
	while (s->made == s->taken)
		(void)pthread_cond_wait(&s->changed, &s->mutex);
	piece = &s->pieces[s->taken % PIECES];
	s->taken++;
	(void)pthread_cond_signal(&s->changed);
	(void)pthread_mutex_unlock(&s->mutex);
	return piece;
}

int layer_stream_read(struct layer_stream *s, const void **ret, size_t *ret_size,
		      struct problem *reterr_problem)
{
	const struct piece *piece;

	*ret = NULL;
	*ret_size = 0;
	if (s->is_read)
		return 0;
	/* The first piece has told what there is to do. */
	if (!s->has_thread && s->made == 1 && is_work(s))
		s->has_thread = thread_start(&s->thread, NULL, run, s) == 0;
	piece = take(s);
	s->is_read = piece->result != 0 || piece->size == 0;
	if (piece->result > 0)
		*reterr_problem = piece->problem;
	if (piece->result != 0)
		return piece->result;
	*ret = piece->data;
	*ret_size = piece->size;
	return 0;
}

uint64_t layer_stream_skip(struct layer_stream *s, uint64_t wanted)
{
	uint64_t n;

	if (!s->is_begun || is_work(s) || s->offset >= s->file_size)
		return 0;
	n = MIN(wanted, s->file_size - s->offset);
	s->offset += n;
	return n;
}
