/* SPDX-License-Identifier: Apache-2.0 */

#include "opamp/gzip.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void what_is_compressed_comes_back(void **state)
{
	static const size_t sizes[] = {0, 1, 1000, 16384, 16385, 300000};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_free uint8_t *data = calloc(1, sizes[i] + 1);
		cleanup_free uint8_t *small = NULL;
		cleanup_free uint8_t *back = NULL;
		size_t small_size = 0;
		size_t size = 0;

		for (size_t k = 0; k < sizes[i]; k++)
			data[k] = (uint8_t)((k * 2654435761UL) >> 13U);
		assert_int_equal(gzip_compress(data, sizes[i], &small, &small_size), 0);
		assert_int_equal(gzip_decompress(small, small_size, sizes[i], &back, &size), 0);
		assert_int_equal(size, sizes[i]);
		assert_memory_equal(back, data, size);
	}
}

static void a_bomb_ends_at_the_bound(void **state)
{
	size_t large = 8UL << 20;
	cleanup_free uint8_t *data = calloc(1, large);
	cleanup_free uint8_t *small = NULL;
	cleanup_free uint8_t *back = NULL;
	size_t small_size = 0;
	size_t size = 0;

	(void)state;
	assert_int_equal(gzip_compress(data, large, &small, &small_size), 0);
	assert_true(small_size < large / 50);
	assert_int_equal(gzip_decompress(small, small_size, 1UL << 20, &back, &size),
			 GZIP_E_TOO_LARGE);
	assert_int_equal(gzip_decompress(small, small_size, large - 1, &back, &size),
			 GZIP_E_TOO_LARGE);
	assert_null(back);
	assert_int_equal(gzip_decompress(small, small_size, large, &back, &size), 0);
}

static void broken_cut_and_trailing_bytes_are_malformed(void **state)
{
	cleanup_free uint8_t *small = NULL;
	cleanup_free uint8_t *back = NULL;
	cleanup_free uint8_t *longer = NULL;
	size_t small_size = 0;
	size_t size = 0;

	(void)state;
	assert_int_equal(gzip_compress("affix affix affix", 17, &small, &small_size), 0);
	for (size_t n = 0; n < small_size; n++)
		assert_int_equal(gzip_decompress(small, n, 100, &back, &size), GZIP_E_MALFORMED);
	longer = malloc(small_size + 1);
	memcpy(longer, small, small_size);
	longer[small_size] = 0;
	assert_int_equal(gzip_decompress(longer, small_size + 1, 100, &back, &size),
			 GZIP_E_MALFORMED);
	small[small_size - 5] ^= 1U; /* the checksum */
	assert_int_equal(gzip_decompress(small, small_size, 100, &back, &size), GZIP_E_MALFORMED);
	assert_int_equal(gzip_decompress("plain text", 10, 100, &back, &size), GZIP_E_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_compressed_comes_back),
		cmocka_unit_test(a_bomb_ends_at_the_bound),
		cmocka_unit_test(broken_cut_and_trailing_bytes_are_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
