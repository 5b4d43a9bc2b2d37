/* SPDX-License-Identifier: Apache-2.0 */

#include "bundle/digest_table.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "bundle/bundle.h"

#define FRAMES "\x28\xb5\x2f\xfd as if it were"

/* A file of something and a table of *n* digests behind it. */
static int file_of(size_t n, struct digest digests[BUNDLE_ENTRIES_MAX])
{
	int fd = memfd_create("bundle", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, FRAMES, sizeof(FRAMES)), 0);
	for (size_t i = 0; i < n; i++)
		digest_of(&i, sizeof(i), &digests[i]);
	if (n > 0)
		assert_int_equal(digest_table_write(fd, digests, n), 0);
	return fd;
}

static void assert_no_table(int fd)
{
	cleanup_free struct digest_table *table = NULL;

	assert_int_equal(digest_table_read(BYTES_OF_FILE(fd), &table), 0);
	assert_int_equal(table->n, 0);
	assert_int_equal(table->offset, lseek(fd, 0, SEEK_END));
}

static void table_is_read_as_it_was_written(void **state)
{
	static const size_t numbers[] = {1, 2, BUNDLE_ENTRIES_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct digest digests[BUNDLE_ENTRIES_MAX];
		cleanup_free struct digest_table *table = NULL;
		cleanup_fd int fd = file_of(numbers[i], digests);

		assert_int_equal(digest_table_read(BYTES_OF_FILE(fd), &table), 0);
		assert_int_equal(table->n, numbers[i]);
		assert_int_equal(table->offset, sizeof(FRAMES));
		assert_memory_equal(table->digests, digests, numbers[i] * sizeof(digests[0]));
	}
}

static void file_without_a_table_ends_at_its_end(void **state)
{
	struct digest digests[BUNDLE_ENTRIES_MAX];
	cleanup_fd int nothing = memfd_create("nothing", MFD_CLOEXEC);
	cleanup_fd int frames = file_of(0, digests);

	(void)state;
	assert_no_table(nothing);
	assert_no_table(frames);
}

/* Nor is one with any byte of its frame's head, its tag or its number changed. */
static void table_that_is_cut_off_or_damaged_is_none(void **state)
{
	struct digest digests[BUNDLE_ENTRIES_MAX];
	cleanup_fd int fd = file_of(2, digests);
	off_t size = lseek(fd, 0, SEEK_END);

	(void)state;
	for (off_t at = (off_t)sizeof(FRAMES); at < size; at++) {
		bool is_digest = at >= (off_t)sizeof(FRAMES) + 16 && at < size - 4;
		uint8_t byte = 0;
		uint8_t other;

		assert_int_equal(pread(fd, &byte, 1, at), 1);
		other = byte ^ 1;
		assert_int_equal(pwrite(fd, &other, 1, at), 1);
		if (!is_digest)
			assert_no_table(fd);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	while (size-- > 0) {
		assert_int_equal(ftruncate(fd, size), 0);
		assert_no_table(fd);
	}
}

static void table_of_nothing_or_of_too_much_is_not_written(void **state)
{
	struct digest digests[BUNDLE_ENTRIES_MAX + 1] = {};
	cleanup_fd int fd = memfd_create("bundle", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(digest_table_write(fd, digests, 0), -EINVAL);
	assert_int_equal(digest_table_write(fd, digests, BUNDLE_ENTRIES_MAX + 1), -EINVAL);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
}

static void unreadable_file_is_an_error(void **state)
{
	cleanup_free struct digest_table *table = NULL;
	cleanup_fd int fd = memfd_create("bundle", MFD_CLOEXEC);
	cleanup_fd int write_only = -EBADF;
	char path[64];

	(void)state;
	assert_int_equal(fd_write_full(fd, FRAMES, sizeof(FRAMES)), 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	write_only = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(write_only >= 0);
	assert_int_equal(digest_table_read(BYTES_OF_FILE(write_only), &table), -EBADF);
	assert_int_equal(digest_table_read(BYTES_OF_FILE(-EBADF), &table), -EBADF);
	assert_null(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_read_as_it_was_written),
		cmocka_unit_test(file_without_a_table_ends_at_its_end),
		cmocka_unit_test(table_that_is_cut_off_or_damaged_is_none),
		cmocka_unit_test(table_of_nothing_or_of_too_much_is_not_written),
		cmocka_unit_test(unreadable_file_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
