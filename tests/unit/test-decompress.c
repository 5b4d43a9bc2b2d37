/* SPDX-License-Identifier: Apache-2.0 */

#include "bundle/decompress.h"

#include <errno.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/str.h"
#include "bundle/bundle.h"

/* Text that compresses, but not to nothing. */
static void fill(struct buffer *buffer, size_t size)
{
	uint32_t state = 1;

	while (buffer->size < MIN(size, BUNDLE_FRAME_SIZE_UNIT)) {
		char text[16];
		int n;

		state = state * 1664525U + 1013904223U;
		n = snprintf(text, sizeof(text), "%x ", state >> 16);
		assert_int_equal(buffer_add(buffer, text, MIN((size_t)n, size - buffer->size)), 0);
	}
	while (buffer->size < size) {
		char block[4096];
		size_t n = MIN(sizeof(block), size - buffer->size);

		memcpy(block, buffer->data + state % (BUNDLE_FRAME_SIZE_UNIT - sizeof(block)), n);
		state = state * 1664525U + 1013904223U;
		assert_int_equal(buffer_add(buffer, block, n), 0);
	}
}

static void add_zstd(struct buffer *out, const struct buffer *in, int window_log)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	size_t bound = ZSTD_compressBound(in->size);
	cleanup_free char *data = malloc(bound);
	ZSTD_inBuffer source = {in->size > 0 ? in->data : "", in->size, 0};
	ZSTD_outBuffer target = {data, bound, 0};

	assert_non_null(context);
	assert_non_null(data);
	if (window_log > 0) {
		/* Where the size is not known from the start, the frame asks for the whole window.
		 */
		(void)ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
		assert_int_equal(ZSTD_compressStream2(context, &target, &source, ZSTD_e_continue),
				 0);
	}
	assert_int_equal(ZSTD_compressStream2(context, &target, &source, ZSTD_e_end), 0);
	(void)ZSTD_freeCCtx(context);
	assert_int_equal(buffer_add(out, data, target.pos), 0);
}

static void add_gzip(struct buffer *out, const struct buffer *in)
{
	struct isal_zstream *stream = calloc(1, sizeof(*stream));
	size_t bound = in->size + 4096;
	cleanup_free uint8_t *data = malloc(bound);

	assert_non_null(stream);
	assert_non_null(data);
	isal_deflate_stateless_init(stream);
	stream->gzip_flag = IGZIP_GZIP;
	stream->end_of_stream = 1;
	stream->next_in = (uint8_t *)in->data;
	stream->avail_in = (uint32_t)in->size;
	stream->next_out = data;
	stream->avail_out = (uint32_t)bound;
	assert_int_equal(isal_deflate_stateless(stream), COMP_OK);
	assert_int_equal(buffer_add(out, data, stream->total_out), 0);
	free(stream);
}

static int file_of(const struct buffer *bytes)
{
	int fd = memfd_create("bundle", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, bytes->data, bytes->size), 0);
	return fd;
}

static struct hasher *new_hasher(void)
{
	struct hasher *hasher = NULL;

	assert_int_equal(hasher_new(&hasher), 0);
	return hasher;
}

static int read_with(struct hasher *hasher, struct frames **ready, const struct bytes *bytes,
		     struct buffer *out, struct refusal *refusal)
{
	cleanup_decompressor struct decompressor *d = NULL;
	int r = decompress_open(bytes, hasher, ready, &d, refusal);
	bool is_last = false;

	while (r == 0) {
		const void *piece = NULL;
		size_t size = 0;

		r = decompress_read(d, &piece, &size, refusal);
		if (r != 0 || size == 0)
			break;
		assert_false(is_last);
		is_last = size % BUNDLE_FRAME_SIZE_UNIT != 0;
		assert_int_equal(buffer_add(out, piece, size), 0);
	}
	return r;
}

/* From a file and from memory, by threads that are started when there is work and by those that got
 * ready before: the same. */
static int read_all(const struct buffer *file, struct buffer *out, struct refusal *refusal)
{
	cleanup_hasher struct hasher *hasher = new_hasher();
	cleanup_fd int fd = file_of(file);
	const struct bytes memory = {-EBADF, file->data ? (uint8_t *)file->data : (uint8_t *)"",
				     file->size};
	int r = read_with(hasher, NULL, BYTES_OF_FILE(fd), out, refusal);

	for (int i = 1; i < 4; i++) {
		cleanup_frames struct frames *ready = NULL;
		cleanup_buffer struct buffer again = BUFFER_INIT;
		struct refusal refusal_again = REFUSAL_INIT;

		if (i & 1)
			assert_int_equal(frames_prepare(hasher, &ready), 0);
		assert_int_equal(read_with(hasher, &ready, i & 2 ? &memory : BYTES_OF_FILE(fd),
					   &again, &refusal_again),
				 r);
		assert_string_equal(refusal_again.text, refusal->text);
		assert_int_equal(again.size, out->size);
		if (again.size > 0)
			assert_memory_equal(again.data, out->data, again.size);
	}
	return r;
}

static void assert_refused(const struct buffer *file, enum refusal_code code, const char *text)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct refusal refusal = REFUSAL_INIT;

	if (read_all(file, &out, &refusal) != (int)code || !strstr(refusal.text, text))
		fail_msg("%s, '%s': expected %s, '%s'", refusal_to_string(refusal.code),
			 refusal.text, refusal_to_string(code), text);
}

static void add(struct buffer *out, const struct buffer *in, bool gzip)
{
	if (gzip)
		add_gzip(out, in);
	else
		add_zstd(out, in, 0);
}

static void both_formats_give_back_what_was_compressed(void **state)
{
	static const size_t sizes[] = {0,
				       1,
				       DECOMPRESS_PIECE_SIZE,
				       DECOMPRESS_PIECE_SIZE + 1,
				       3 * DECOMPRESS_PIECE_SIZE,
				       3000000};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		cleanup_buffer struct buffer in = BUFFER_INIT;
		cleanup_buffer struct buffer file = BUFFER_INIT;
		cleanup_buffer struct buffer out = BUFFER_INIT;
		struct refusal refusal = REFUSAL_INIT;

		fill(&in, sizes[i / 2]);
		add(&file, &in, i % 2);
		assert_int_equal(read_all(&file, &out, &refusal), 0);
		assert_int_equal(out.size, in.size);
		assert_true(in.size == 0 || memcmp(out.data, in.data, in.size) == 0);
	}
}

static void stream_that_is_cut_off_is_refused_at_every_length(void **state)
{
	(void)state;
	for (int gzip = 0; gzip < 2; gzip++) {
		cleanup_buffer struct buffer in = BUFFER_INIT;
		cleanup_buffer struct buffer file = BUFFER_INIT;

		fill(&in, 600);
		add(&file, &in, gzip);
		for (size_t size = 0; size < file.size; size++) {
			const struct buffer cut = {.data = file.data, .size = size};

			assert_refused(&cut, REFUSAL_MALFORMED_BUNDLE, "");
		}
	}
}

static void bytes_behind_the_stream_are_refused(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++) {
		cleanup_buffer struct buffer in = BUFFER_INIT;
		cleanup_buffer struct buffer file = BUFFER_INIT;

		/* Also where the stream ends with the reader's own piece of input. */
		fill(&in, i / 2 == 0 ? 0 : i / 2 == 1 ? 3000 : 600000);
		add(&file, &in, i % 2);
		for (int more = 1; more <= 20; more++) {
			assert_int_equal(buffer_add(&file, "", 1), 0);
			assert_refused(&file, REFUSAL_TRAILING_DATA, "goes on behind the end");
		}
	}
}

static void second_frame_or_member_is_refused(void **state)
{
	(void)state;
	for (int gzip = 0; gzip < 2; gzip++) {
		cleanup_buffer struct buffer in = BUFFER_INIT;
		cleanup_buffer struct buffer file = BUFFER_INIT;

		fill(&in, 3000);
		add(&file, &in, gzip);
		add(&file, &in, gzip);
		assert_refused(&file, REFUSAL_TRAILING_DATA, gzip ? "gzip member" : "zstd frame");
	}
}

static void skippable_frames_are_refused(void **state)
{
	static const char skippable[] = "\x50\x2a\x4d\x18\x04\0\0\0abcd";
	cleanup_buffer struct buffer in = BUFFER_INIT;
	cleanup_buffer struct buffer before = BUFFER_INIT;
	cleanup_buffer struct buffer behind = BUFFER_INIT;

	(void)state;
	fill(&in, 3000);
	assert_int_equal(buffer_add(&before, skippable, sizeof(skippable) - 1), 0);
	add_zstd(&before, &in, 0);
	assert_refused(&before, REFUSAL_MALFORMED_BUNDLE, "neither zstd nor gzip");
	add_zstd(&behind, &in, 0);
	assert_int_equal(buffer_add(&behind, skippable, sizeof(skippable) - 1), 0);
	assert_refused(&behind, REFUSAL_TRAILING_DATA, "zstd frame");
}

/* A row of frames that hold *size* bytes each, of *in* from its beginning to its end. */
static void add_frames(struct buffer *out, const struct buffer *in, size_t size)
{
	for (size_t at = 0; at < in->size; at += size) {
		const struct buffer part = {.data = in->data + at,
					    .size = MIN(size, in->size - at)};

		add_zstd(out, &part, 0);
	}
}

static void row_of_frames_gives_back_what_was_compressed(void **state)
{
	static const struct {
		size_t frame;
		size_t size;
	} cases[] = {
		{BUNDLE_FRAME_SIZE_MAX,  BUNDLE_FRAME_SIZE_MAX          },
		{BUNDLE_FRAME_SIZE_MAX,  7 * BUNDLE_FRAME_SIZE_MAX + 1  },
		{BUNDLE_FRAME_SIZE_UNIT, 12 * BUNDLE_FRAME_SIZE_UNIT    },
		{BUNDLE_FRAME_SIZE_UNIT, 12 * BUNDLE_FRAME_SIZE_UNIT - 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_buffer struct buffer in = BUFFER_INIT;
		cleanup_buffer struct buffer file = BUFFER_INIT;
		cleanup_buffer struct buffer out = BUFFER_INIT;
		struct refusal refusal = REFUSAL_INIT;

		fill(&in, cases[i].size);
		add_frames(&file, &in, cases[i].frame);
		assert_int_equal(read_all(&file, &out, &refusal), 0);
		assert_int_equal(out.size, in.size);
		assert_memory_equal(out.data, in.data, in.size);
	}
}

static void frame_that_does_not_compress_is_read(void **state)
{
	cleanup_buffer struct buffer in = BUFFER_INIT;
	cleanup_buffer struct buffer file = BUFFER_INIT;
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct refusal refusal = REFUSAL_INIT;
	uint64_t number = 88172645463325252ULL;

	(void)state;
	while (in.size < 3 * BUNDLE_FRAME_SIZE_MAX) {
		uint64_t block[512];

		for (size_t i = 0; i < ARRAY_SIZE(block); i++) {
			number ^= number << 13;
			number ^= number >> 7;
			number ^= number << 17;
			block[i] = number;
		}
		assert_int_equal(buffer_add(&in, block, sizeof(block)), 0);
	}
	add_frames(&file, &in, BUNDLE_FRAME_SIZE_MAX);
	assert_true(file.size > in.size);
	assert_int_equal(read_all(&file, &out, &refusal), 0);
	assert_int_equal(out.size, in.size);
	assert_memory_equal(out.data, in.data, in.size);
}

static void row_ends_with_its_first_short_frame(void **state)
{
	cleanup_buffer struct buffer in = BUFFER_INIT;
	cleanup_buffer struct buffer file = BUFFER_INIT;

	(void)state;
	fill(&in, 5 * BUNDLE_FRAME_SIZE_UNIT);
	add_frames(&file, &in, BUNDLE_FRAME_SIZE_UNIT + 512);
	assert_refused(&file, REFUSAL_TRAILING_DATA, "zstd frame");
}

static void frames_of_unknown_no_or_too_large_size_are_refused_in_a_row(void **state)
{
	static const size_t sizes[] = {0, 3000, BUNDLE_FRAME_SIZE_MAX + BUNDLE_FRAME_SIZE_UNIT};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_buffer struct buffer first = BUFFER_INIT;
		cleanup_buffer struct buffer next = BUFFER_INIT;
		cleanup_buffer struct buffer file = BUFFER_INIT;

		fill(&first, BUNDLE_FRAME_SIZE_UNIT);
		fill(&next, sizes[i]);
		add_zstd(&file, &first, 0);
		add_zstd(&file, &next, sizes[i] == 3000 ? 20 : 0);
		assert_refused(&file, REFUSAL_MALFORMED_BUNDLE, "does not say that it holds");
	}
}

static void any_frame_of_a_row_that_is_broken_or_cut_off_is_refused(void **state)
{
	cleanup_buffer struct buffer in = BUFFER_INIT;
	cleanup_buffer struct buffer file = BUFFER_INIT;
	size_t last = 0;

	(void)state;
	fill(&in, 9 * BUNDLE_FRAME_SIZE_UNIT);
	add_frames(&file, &in, BUNDLE_FRAME_SIZE_UNIT);
	for (size_t at = 0; at < file.size; at += last) {
		char *block = file.data + at + 7;
		char before = *block;

		last = ZSTD_findFrameCompressedSize(file.data + at, file.size - at);
		*block |= 6; /* a type that does not exist */
		assert_refused(&file, REFUSAL_MALFORMED_BUNDLE, "broken");
		*block = before;
	}
	for (size_t size = file.size - 1; size > file.size - last; size -= last / 9) {
		const struct buffer cut = {.data = file.data, .size = size};

		assert_refused(&cut, REFUSAL_MALFORMED_BUNDLE, "cut off");
	}
}

static void window_over_the_limit_is_refused_and_the_limit_itself_read(void **state)
{
	cleanup_buffer struct buffer in = BUFFER_INIT;
	cleanup_buffer struct buffer at_limit = BUFFER_INIT;
	cleanup_buffer struct buffer over = BUFFER_INIT;
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	fill(&in, 3000);
	add_zstd(&at_limit, &in, BUNDLE_WINDOW_LOG_MAX);
	assert_int_equal(read_all(&at_limit, &out, &refusal), 0);
	add_zstd(&over, &in, BUNDLE_WINDOW_LOG_MAX + 1);
	assert_refused(&over, REFUSAL_MALFORMED_BUNDLE, "window larger than 8 MiB");
}

static void flipped_bits_of_a_gzip_member_are_refused(void **state)
{
	cleanup_buffer struct buffer in = BUFFER_INIT;
	cleanup_buffer struct buffer file = BUFFER_INIT;

	(void)state;
	fill(&in, 3000);
	add_gzip(&file, &in);
	file.data[file.size - 1] ^= 1; /* its size */
	assert_refused(&file, REFUSAL_MALFORMED_BUNDLE, "checksum");
	file.data[file.size - 1] ^= 1;
	file.data[file.size - 8] ^= 1; /* its CRC */
	assert_refused(&file, REFUSAL_MALFORMED_BUNDLE, "checksum");
}

static void other_formats_are_refused(void **state)
{
	static const char *const starts[] = {"", "B", "BZh9", "\3757zXZ", "PK\x03\x04", "ustar"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		const struct buffer file = {.data = (char *)starts[i], .size = strlen(starts[i])};

		assert_refused(&file, REFUSAL_MALFORMED_BUNDLE, "neither zstd nor gzip");
	}
}

static void file_position_is_neither_used_nor_moved(void **state)
{
	cleanup_buffer struct buffer in = BUFFER_INIT;
	cleanup_buffer struct buffer file = BUFFER_INIT;
	cleanup_hasher struct hasher *hasher = new_hasher();
	cleanup_decompressor struct decompressor *d = NULL;
	cleanup_fd int fd = -EBADF;
	struct refusal refusal = REFUSAL_INIT;
	const void *piece = NULL;
	size_t size = 0;

	(void)state;
	fill(&in, 3000);
	add_zstd(&file, &in, 0);
	fd = file_of(&file);
	assert_int_equal(lseek(fd, 7, SEEK_SET), 7);
	assert_int_equal(decompress_open(BYTES_OF_FILE(fd), hasher, NULL, &d, &refusal), 0);
	assert_int_equal(decompress_read(d, &piece, &size, &refusal), 0);
	assert_int_equal(size, in.size);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 7);
}

static void unreadable_file_is_an_error_and_no_refusal(void **state)
{
	cleanup_hasher struct hasher *hasher = new_hasher();
	cleanup_decompressor struct decompressor *d = NULL;
	cleanup_fd int fd = open("/", O_RDONLY | O_CLOEXEC);
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	assert_int_equal(decompress_open(BYTES_OF_FILE(fd), hasher, NULL, &d, &refusal), -EISDIR);
	assert_null(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_formats_give_back_what_was_compressed),
		cmocka_unit_test(stream_that_is_cut_off_is_refused_at_every_length),
		cmocka_unit_test(bytes_behind_the_stream_are_refused),
		cmocka_unit_test(second_frame_or_member_is_refused),
		cmocka_unit_test(skippable_frames_are_refused),
		cmocka_unit_test(row_of_frames_gives_back_what_was_compressed),
		cmocka_unit_test(frame_that_does_not_compress_is_read),
		cmocka_unit_test(row_ends_with_its_first_short_frame),
		cmocka_unit_test(frames_of_unknown_no_or_too_large_size_are_refused_in_a_row),
		cmocka_unit_test(any_frame_of_a_row_that_is_broken_or_cut_off_is_refused),
		cmocka_unit_test(window_over_the_limit_is_refused_and_the_limit_itself_read),
		cmocka_unit_test(flipped_bits_of_a_gzip_member_are_refused),
		cmocka_unit_test(other_formats_are_refused),
		cmocka_unit_test(file_position_is_neither_used_nor_moved),
		cmocka_unit_test(unreadable_file_is_an_error_and_no_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
