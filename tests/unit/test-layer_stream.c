/* SPDX-License-Identifier: Apache-2.0 */

#include "ext4/layer_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <pthread.h>
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
#include "crypto/sha256.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static bool has_no_threads;
static unsigned threads;

int __real_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*start)(void *),
			  void *argument);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*start)(void *),
			  void *argument);

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*start)(void *),
			  void *argument)
{
	threads++;
	return has_no_threads ? EAGAIN : __real_pthread_create(ret, attributes, start, argument);
}

/* What compresses to about a third, and is nowhere the same. */
static void fill(struct buffer *buffer, size_t size, uint32_t state)
{
	cleanup_free char *data = malloc(size + 16);

	assert_non_null(data);
	for (size_t at = 0; at < size;) {
		size_t back;

		state = state * 1664525U + 1013904223U;
		back = (state >> 8) % (64 * KIB) + 16;
		if (state >> 30 == 0 && at > back)
			memcpy(data + at, data + at - back, 16);
		else
			(void)snprintf(data + at, 16, "%x and %x", state, state >> 7);
		at += 16;
	}
	assert_int_equal(buffer_add(buffer, data, size), 0);
}

static void add_frame(struct buffer *out, const struct buffer *in, bool is_size_known,
		      bool has_checksum)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	size_t bound = ZSTD_compressBound(in->size);
	cleanup_free char *data = malloc(bound);
	ZSTD_inBuffer source = {in->size > 0 ? in->data : "", in->size, 0};
	ZSTD_outBuffer target = {data, bound, 0};

	assert_non_null(context);
	assert_non_null(data);
	(void)ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, has_checksum);
	(void)ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1);
	if (!is_size_known)
		assert_false(ZSTD_isError(
			ZSTD_compressStream2(context, &target, &source, ZSTD_e_continue)));
	assert_int_equal(ZSTD_compressStream2(context, &target, &source, ZSTD_e_end), 0);
	(void)ZSTD_freeCCtx(context);
	assert_int_equal(buffer_add(out, data, target.pos), 0);
}

/* A frame to be skipped, of *size* bytes in all. */
static void add_skipped(struct buffer *out, size_t size)
{
	uint8_t head[8] = {0x53, 0x2a, 0x4d, 0x18};
	uint32_t within = (uint32_t)(size - sizeof(head));
	cleanup_free char *zeroes = calloc(1, size);

	assert_non_null(zeroes);
	memcpy(head + 4, &within, sizeof(within));
	memcpy(zeroes, head, sizeof(head));
	assert_int_equal(buffer_add(out, zeroes, size), 0);
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
	assert_int_equal(buffer_add(out, data, bound - stream->avail_out), 0);
	free(stream);
}

/* What comes out of a file with this content; its end is where *limit* bytes are, if not before. */
static int read_all(const void *data, size_t size, const char *digest, struct buffer *ret,
		    struct problem *problem)
{
	cleanup_fd int fd = memfd_create("layer", MFD_CLOEXEC);
	cleanup_layer_stream struct layer_stream *stream = NULL;

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, data, size), 0);
	assert_int_equal(layer_stream_open(fd, "l", digest, &stream), 0);
	for (;;) {
		const void *piece;
		size_t n;
		int r = layer_stream_read(stream, &piece, &n, problem);

		if (r != 0)
			return r;
		if (n == 0)
			break;
		assert_int_equal(buffer_add(ret, piece, n), 0);
	}
	/* The end stays the end. */
	{
		const void *piece;
		size_t n = 1;

		assert_int_equal(layer_stream_read(stream, &piece, &n, problem), 0);
		assert_int_equal(n, 0);
	}
	return 0;
}

static void assert_gives(const struct buffer *layer, const struct buffer *content)
{
	char digest[7 + SHA256_TEXT_SIZE] = "sha256:";

	assert_int_equal(sha256_of(layer->data, layer->size, digest + 7), 0);
	for (unsigned way = 0; way < 2; way++) {
		cleanup_buffer struct buffer out = {};
		struct problem problem = PROBLEM_INIT;

		has_no_threads = way & 1;
		assert_int_equal(
			read_all(layer->data, layer->size, way & 1 ? NULL : digest, &out, &problem),
			0);
		has_no_threads = false;
		assert_int_equal(out.size, content->size);
		assert_true(memcmp(out.data, content->data, out.size) == 0);
	}
}

/* With threads and without: the same name, and a sentence that says *why*. */
static void assert_broken(const void *data, size_t size, const char *digest, const char *name,
			  const char *why)
{
	for (unsigned way = 0; way < 2; way++) {
		cleanup_buffer struct buffer out = {};
		struct problem problem = PROBLEM_INIT;

		has_no_threads = way & 1;
		assert_int_equal(read_all(data, size, digest, &out, &problem), PROBLEM_E_REFUSED);
		has_no_threads = false;
		assert_string_equal(problem.name, name);
		assert_non_null(strstr(problem.text, why));
	}
}

static void plain_files_are_passed_on(void **state)
{
	static const size_t sizes[] = {1, 512, 128 * KIB, 128 * KIB + 1, MIB + 77};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_buffer struct buffer content = {};

		fill(&content, sizes[i], 1);
		assert_gives(&content, &content);
	}
}

static void frames_of_all_sizes_follow_each_other(void **state)
{
	static const size_t sizes[] = {
		0, 1, 100, 255 * KIB, 256 * KIB, 256 * KIB + 1, 512 * KIB, MIB, 128 * KIB, 7};

	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		cleanup_buffer struct buffer layer = {};
		cleanup_buffer struct buffer content = {};

		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			cleanup_buffer struct buffer part = {};

			fill(&part, sizes[i], (uint32_t)i);
			add_frame(&layer, &part, way & 1, way & 2);
			if (i % 3 == 0)
				add_skipped(&layer, 8 + i * 1000);
			if (part.size > 0)
				assert_int_equal(buffer_add(&content, part.data, part.size), 0);
		}
		assert_gives(&layer, &content);
	}
}

/* A frame's header at every place around the end of what is read at once. */
static void frames_begin_anywhere_in_a_block(void **state)
{
	cleanup_buffer struct buffer part = {};

	(void)state;
	fill(&part, 300 * KIB, 3);
	for (size_t at = 128 * KIB - 10; at <= 128 * KIB; at++) {
		cleanup_buffer struct buffer layer = {};

		add_skipped(&layer, at);
		add_frame(&layer, &part, true, true);
		assert_gives(&layer, &part);
		layer.data[layer.size - 1] ^= 1;
		assert_broken(layer.data, layer.size, NULL, "bad-layer", "checksum");
	}
}

static void a_checksum_anywhere_in_a_block_is_looked_at(void **state)
{
	cleanup_buffer struct buffer part = {};
	cleanup_buffer struct buffer frame = {};

	(void)state;
	fill(&part, 300 * KIB, 4);
	add_frame(&frame, &part, true, true);
	assert_true(frame.size < 255 * KIB && frame.size > 20);
	for (size_t end = 256 * KIB - 1; end <= 256 * KIB + 5; end++) {
		cleanup_buffer struct buffer layer = {};

		add_skipped(&layer, end - frame.size);
		assert_int_equal(buffer_add(&layer, frame.data, frame.size), 0);
		assert_gives(&layer, &part);
		layer.data[layer.size - 4] ^= 1;
		assert_broken(layer.data, layer.size, NULL, "bad-layer", "checksum");
	}
}

static void checksums_of_long_and_short_frames_are_looked_at(void **state)
{
	static const size_t sizes[] = {10, 256 * KIB, 256 * KIB + 1};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (unsigned way = 0; way < 4; way++) {
			cleanup_buffer struct buffer layer = {};
			cleanup_buffer struct buffer part = {};
			cleanup_buffer struct buffer more = {};
			size_t end;

			fill(&part, sizes[i], 5);
			fill(&more, 300 * KIB, 6);
			add_frame(&layer, &part, way & 1, true);
			end = layer.size;
			/* Others before the end must not hide it. */
			if (way & 2)
				add_frame(&layer, &more, true, true);
			layer.data[end - 1 - way] ^= 0x10;
			assert_broken(layer.data, layer.size, NULL, "bad-layer", "checksum");
		}
	}
}

static void what_is_cut_off_is_refused(void **state)
{
	cleanup_buffer struct buffer part = {};
	cleanup_buffer struct buffer layer = {};
	cleanup_buffer struct buffer packed = {};

	(void)state;
	fill(&part, MIB, 7);
	add_frame(&layer, &part, true, true);
	add_gzip(&packed, &part);
	for (size_t off = 1; off < 10; off += 4) {
		assert_broken(layer.data, layer.size - off, NULL, "bad-layer", "cut off");
		assert_broken(packed.data, packed.size - off, NULL, "bad-layer", "cut off");
	}
	assert_broken(layer.data, 5, NULL, "bad-layer", "cut off");
	assert_broken(layer.data, 128 * KIB, NULL, "bad-layer", "cut off");
	assert_broken(packed.data, 128 * KIB, NULL, "bad-layer", "cut off");
}

static void a_window_above_128_mib_is_refused(void **state)
{
	/* A frame's header: no content size, window 2^28. */
	static const uint8_t head[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, (28 - 10) << 3, 1, 0, 0};

	(void)state;
	assert_broken(head, sizeof(head), NULL, "bad-layer", "memory");
}

static void what_is_behind_a_frame_must_be_one(void **state)
{
	cleanup_buffer struct buffer part = {};
	cleanup_buffer struct buffer layer = {};

	(void)state;
	fill(&part, 300 * KIB, 8);
	add_frame(&layer, &part, true, true);
	assert_int_equal(buffer_add(&layer, "garbage!", 8), 0);
	assert_broken(layer.data, layer.size, NULL, "bad-layer", "is broken");
}

static void members_of_gzip_follow_each_other(void **state)
{
	static const size_t sizes[] = {1, 256 * KIB, 0, MIB, 500};
	cleanup_buffer struct buffer layer = {};
	cleanup_buffer struct buffer content = {};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_buffer struct buffer part = {};

		fill(&part, sizes[i], (uint32_t)i);
		add_gzip(&layer, &part);
		if (part.size > 0)
			assert_int_equal(buffer_add(&content, part.data, part.size), 0);
	}
	assert_gives(&layer, &content);
	layer.data[layer.size - 8] ^= 1;
	assert_broken(layer.data, layer.size, NULL, "bad-layer", "gzip checksum");
}

static void the_digest_is_of_the_whole_file(void **state)
{
	char digest[7 + SHA256_TEXT_SIZE] = "sha256:";
	cleanup_buffer struct buffer part = {};
	cleanup_buffer struct buffer layer = {};

	(void)state;
	fill(&part, MIB, 9);
	add_frame(&layer, &part, true, true);
	assert_int_equal(sha256_of(layer.data, layer.size, digest + 7), 0);
	add_skipped(&layer, 8);
	assert_broken(layer.data, layer.size, digest, "bad-digest", "expected sha256:");
}

static void nobody_has_to_read_to_the_end(void **state)
{
	cleanup_buffer struct buffer part = {};
	cleanup_buffer struct buffer layer = {};
	cleanup_fd int fd = memfd_create("layer", MFD_CLOEXEC);

	(void)state;
	fill(&part, 3 * MIB, 10);
	add_frame(&layer, &part, true, true);
	assert_int_equal(fd_write_full(fd, layer.data, layer.size), 0);
	for (unsigned pieces = 0; pieces < 4; pieces++) {
		cleanup_layer_stream struct layer_stream *stream = NULL;
		struct problem problem = PROBLEM_INIT;

		threads = 0;
		assert_int_equal(layer_stream_open(fd, "l", NULL, &stream), 0);
		for (unsigned i = 0; i < pieces; i++) {
			const void *piece;
			size_t n = 0;

			assert_int_equal(layer_stream_read(stream, &piece, &n, &problem), 0);
			assert_true(n > 0);
		}
	}
	assert_int_equal(threads, 2);
}

static void what_is_plain_can_be_passed_over(void **state)
{
	cleanup_buffer struct buffer content = {};
	cleanup_fd int fd = memfd_create("layer", MFD_CLOEXEC);
	cleanup_layer_stream struct layer_stream *stream = NULL;
	struct problem problem = PROBLEM_INIT;
	const void *piece;
	size_t first = 0;
	size_t n = 0;

	(void)state;
	fill(&content, 2 * MIB, 11);
	assert_int_equal(fd_write_full(fd, content.data, content.size), 0);
	assert_int_equal(layer_stream_open(fd, "l", NULL, &stream), 0);
	assert_int_equal(layer_stream_skip(stream, 100), 0);
	assert_int_equal(layer_stream_read(stream, &piece, &first, &problem), 0);
	assert_int_equal(layer_stream_skip(stream, MIB), MIB);
	assert_int_equal(layer_stream_read(stream, &piece, &n, &problem), 0);
	assert_true(n > 0 && memcmp(piece, content.data + first + MIB, n) == 0);
	assert_int_equal(layer_stream_skip(stream, 1ULL << 50), content.size - first - MIB - n);
	assert_int_equal(layer_stream_read(stream, &piece, &n, &problem), 0);
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_files_are_passed_on),
		cmocka_unit_test(frames_of_all_sizes_follow_each_other),
		cmocka_unit_test(frames_begin_anywhere_in_a_block),
		cmocka_unit_test(a_checksum_anywhere_in_a_block_is_looked_at),
		cmocka_unit_test(checksums_of_long_and_short_frames_are_looked_at),
		cmocka_unit_test(what_is_cut_off_is_refused),
		cmocka_unit_test(a_window_above_128_mib_is_refused),
		cmocka_unit_test(what_is_behind_a_frame_must_be_one),
		cmocka_unit_test(members_of_gzip_follow_each_other),
		cmocka_unit_test(the_digest_is_of_the_whole_file),
		cmocka_unit_test(nobody_has_to_read_to_the_end),
		cmocka_unit_test(what_is_plain_can_be_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
