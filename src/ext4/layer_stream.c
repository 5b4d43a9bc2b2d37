/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From a blob to a tar stream. One thread decompresses a few pieces ahead, while the first one
 * reads the tar and writes the image, and another one reads the blob and digests it
 * (layer_input.c); a blob that is not compressed but has a digest to be looked at is read by the
 * first of these helpers. What went wrong is handed over in its place in the row. Where no thread
 * can be had the first one does the work.
 *
 * The two compressions are told apart by their first bytes, not by a media type, which says too
 * little about files that somebody names. A gzip layer may have many members (eStargz), a zstd
 * layer many frames, also frames to be skipped (zstd:chunked).
 */

#include "ext4/layer_stream.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "ext4/layer_input.h"
#include "ext4/layer_zstd.h"

#define PIECE_SIZE (256UL * 1024)
#define PIECES     6U

enum compression {
	COMPRESSION_NONE,
	COMPRESSION_GZIP,
	COMPRESSION_ZSTD
};

/* One piece, or how the row ends. */
struct piece {
	struct layer_zstd_piece content;
	bool is_last;
	int result; /* of what made it */
	struct problem problem;
	uint8_t buffer[PIECE_SIZE];
};

struct layer_stream {
	const char *name;
	const char *digest;
	enum compression compression;
	uint64_t file_size;
	uint64_t produced;
	struct layer_zstd *zstd;
	struct inflate_state gzip;
	bool is_within; /* a member of gzip */
	bool is_begun;
	bool is_read; /* to the end, by the reader */
	struct layer_bytes block;
	struct layer_row row; /* of pieces */
	struct layer_input input;
	struct piece pieces[PIECES];
};

static int broken(const struct layer_stream *s, struct problem *problem, const char *why)
{
	return problem_refuse(problem, "bad-layer",
			      "layer '%s' is broken: %s; fetch it again, or build its image anew",
			      s->name, why);
}

static int begin(struct layer_stream *s)
{
	static const uint8_t zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};
	const uint8_t *head;
	int r = layer_input_next(&s->input, &s->block);

	s->is_begun = true;
	if (r < 0)
		return r;
	head = s->block.data;
	/* Frames to be skipped may come first: 0x184D2A50 to 5F. */
	if (s->block.size >= 4 &&
	    (memcmp(head, zstd_magic, 4) == 0 ||
	     ((head[0] & 0xf0) == 0x50 && memcmp(head + 1, "\x2a\x4d\x18", 3) == 0))) {
		s->compression = COMPRESSION_ZSTD;
		return layer_zstd_open(&s->zstd);
	}
	if (s->block.size >= 2 && head[0] == 0x1f && head[1] == 0x8b)
		s->compression = COMPRESSION_GZIP;
	return 0;
}

static int make_zstd(struct layer_stream *s, struct piece *piece)
{
	const char *why = "";
	bool is_full = false;

	while (!is_full) {
		int r = s->block.at == s->block.size ? layer_input_next(&s->input, &s->block) : 0;

		if (r < 0)
			return r;
		if (s->block.size == 0) {
			piece->is_last = true;
			return layer_zstd_is_between(s->zstd)
				       ? 0
				       : broken(s, &piece->problem, "it is cut off");
		}
		r = layer_zstd_step(s->zstd, &s->block, &piece->content, PIECE_SIZE, &is_full,
				    &why);
		if (r != 0)
			return r < 0 ? r : broken(s, &piece->problem, why);
	}
	return 0;
}

static int step_gzip(struct layer_stream *s, struct piece *piece)
{
	int r;

	if (!s->is_within) {
		isal_inflate_init(&s->gzip);
		s->gzip.crc_flag = ISAL_GZIP;
		s->is_within = true;
	}
	s->gzip.next_in = s->block.data + s->block.at;
	s->gzip.avail_in = (uint32_t)(s->block.size - s->block.at);
	s->gzip.next_out = piece->buffer + piece->content.size;
	s->gzip.avail_out = (uint32_t)(PIECE_SIZE - piece->content.size);
	r = isal_inflate(&s->gzip);
	s->block.at = s->block.size - s->gzip.avail_in;
	piece->content.size = PIECE_SIZE - s->gzip.avail_out;
	if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT)
		return broken(s, &piece->problem,
			      r == ISAL_INCORRECT_CHECKSUM ? "its gzip checksum is wrong"
							   : "its gzip data is invalid");
	if (s->gzip.block_state == ISAL_BLOCK_FINISH)
		s->is_within = false;
	return 0;
}

static int make_gzip(struct layer_stream *s, struct piece *piece)
{
	while (piece->content.size < PIECE_SIZE) {
		size_t before = piece->content.size;
		size_t at = s->block.at;
		int r = 0;

		/* It may have more to give where it has nothing to take. */
		if (at < s->block.size || s->is_within)
			r = step_gzip(s, piece);
		if (r != 0)
			return r;
		if (piece->content.size > before || s->block.at > at)
			continue;
		r = layer_input_next(&s->input, &s->block);
		if (r != 0)
			return r;
		if (s->block.size > 0)
			continue;
		piece->is_last = true;
		return s->is_within ? broken(s, &piece->problem, "it is cut off") : 0;
	}
	return 0;
}

static int pass_on(struct layer_stream *s, struct piece *piece)
{
	size_t n = s->block.size - s->block.at;
	int r = 0;

	/* What told that nothing is compressed. */
	if (n > 0) {
		memcpy(piece->buffer, s->block.data + s->block.at, n);
		s->block.at = s->block.size;
		piece->content.size = n;
		return 0;
	}
	r = layer_input_read(&s->input, piece->buffer, PIECE_SIZE, &piece->content.size);
	piece->is_last = piece->content.size == 0;
	return r;
}

static int check_digest(struct layer_stream *s, struct problem *problem)
{
	char text[SHA256_TEXT_SIZE];

	if (!s->digest)
		return 0;
	sha256_end(&s->input.sha256, text);
	if (strncmp(s->digest, "sha256:", 7) == 0 && strcmp(s->digest + 7, text) == 0)
		return 0;
	return problem_refuse(problem, "bad-digest",
			      "layer '%s' has the digest sha256:%s: expected %s; fetch it again",
			      s->name, text, s->digest);
}

static int fill(struct layer_stream *s, struct piece *piece)
{
	switch (s->compression) {
	case COMPRESSION_ZSTD:
		return make_zstd(s, piece);
	case COMPRESSION_GZIP:
		return make_gzip(s, piece);
	default:
		return pass_on(s, piece);
	}
}

static int make(struct layer_stream *s, struct piece *piece)
{
	int r = s->is_begun ? 0 : begin(s);

	if (r == 0)
		r = fill(s, piece);
	if (r != 0)
		return r;
	s->produced += piece->content.size;
	if (s->produced > LAYER_STREAM_MAX)
		return broken(s, &piece->problem, "more comes out of it than 4 TiB");
	return piece->is_last ? check_digest(s, &piece->problem) : 0;
}

static bool make_piece(void *context, unsigned place)
{
	struct layer_stream *s = context;
	struct piece *piece = &s->pieces[place];

	piece->content = (struct layer_zstd_piece){.data = piece->buffer};
	piece->is_last = false;
	piece->result = make(s, piece);
	return piece->result != 0 || piece->is_last;
}

int layer_stream_open(int fd, const char *name, const char *digest, struct layer_stream **ret)
{
	cleanup_layer_stream struct layer_stream *s = NULL;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	/* Not the buffers: what is never used is never paid for. */
	memset(s, 0, offsetof(struct layer_stream, input.blocks));
	s->name = name;
	s->digest = digest;
	s->file_size = (uint64_t)st.st_size;
	layer_row_init(&s->row, PIECES, make_piece, s);
	r = layer_input_open(&s->input, fd, digest);
	if (r == 0)
		*ret = TAKE_PTR(s);
	return r;
}

struct layer_stream *layer_stream_close(struct layer_stream *s)
{
	if (!s)
		return NULL;
	layer_row_done(&s->row);
	layer_input_close(&s->input);
	(void)layer_zstd_close(s->zstd);
	free(s);
	return NULL;
}

/* Whether compressed or digested: whether a second thread has anything to do. */
static bool is_work(const struct layer_stream *s)
{
	return s->compression != COMPRESSION_NONE || s->digest;
}

/* What was found where the piece was made, and what is left to find. */
static int judge(struct layer_stream *s, const struct piece *piece, struct problem *reterr_problem)
{
	const char *why = "";

	if (piece->result > 0)
		*reterr_problem = piece->problem;
	if (piece->result != 0 || s->compression != COMPRESSION_ZSTD)
		return piece->result;
	if (layer_zstd_check(s->zstd, &piece->content, &why) != 0)
		return broken(s, reterr_problem, why);
	return 0;
}

int layer_stream_read(struct layer_stream *s, const void **ret, size_t *ret_size,
		      struct problem *reterr_problem)
{
	*ret = NULL;
	*ret_size = 0;
	while (!s->is_read && *ret_size == 0) {
		const struct piece *piece;
		int r;

		/* The first piece has told what there is to do. */
		if (s->row.taken == 1 && is_work(s))
			layer_row_start(&s->row);
		piece = &s->pieces[layer_row_take(&s->row)];
		r = judge(s, piece, reterr_problem);
		s->is_read = r != 0 || piece->is_last;
		if (r != 0)
			return r;
		*ret = piece->content.data;
		*ret_size = piece->content.size;
	}
	return 0;
}

uint64_t layer_stream_skip(struct layer_stream *s, uint64_t wanted)
{
	uint64_t n;

	if (!s->is_begun || is_work(s) || s->block.at < s->block.size ||
	    s->input.offset >= s->file_size)
		return 0;
	n = MIN(wanted, s->file_size - s->input.offset);
	s->input.offset += n;
	return n;
}
