/* SPDX-License-Identifier: Apache-2.0 */

#include "bundle/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/file.h"
#include "own_directory.h"

static bool has_no_unnamed_files;
static bool has_full_disk;

int __real_openat64(int dirfd, const char *path, int flags, ...);
int __wrap_openat64(int dirfd, const char *path, int flags, ...);
int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_openat64(int dirfd, const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = va_arg(arguments, mode_t);
	va_end(arguments);
	if (has_no_unnamed_files && (flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return __real_openat64(dirfd, path, flags, mode);
}

int __wrap_fsync(int fd)
{
	if (!has_full_disk)
		return __real_fsync(fd);
	errno = ENOSPC;
	return -1;
}

struct fixture {
	char path[32];
	int dir;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	own_directory_make(f->path);
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dir >= 0);
	has_no_unnamed_files = false;
	has_full_disk = false;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	own_directory_remove(f->path);
	(void)fd_close(f->dir);
	free(f);
	return 0;
}

static bool exists(const struct fixture *f, const char *name)
{
	struct stat status;

	return fstatat(f->dir, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* How many names there are, beside *name* and what others left. */
static unsigned count_temporary(const struct fixture *f)
{
	DIR *dir = opendir(f->path);
	const struct dirent *entry;
	unsigned count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += strstr(entry->d_name, FILE_TEMPORARY_SUFFIX) != NULL;
	assert_int_equal(closedir(dir), 0);
	return count;
}

static void assert_content(const struct fixture *f, const char *name, const char *wanted)
{
	cleanup_free char *text = NULL;
	struct stat status;
	size_t size = 0;

	assert_int_equal(fd_read_file_at(f->dir, name, 100, &text, &size), 0);
	assert_string_equal(text, wanted);
	assert_int_equal(fstatat(f->dir, name, &status, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0644);
}

static void write_output(const struct fixture *f, const char *text)
{
	cleanup_output struct output output = OUTPUT_INIT;
	mode_t before = umask(0077);

	assert_int_equal(output_open(&output, f->dir, "name", 0644), 0);
	(void)umask(before);
	assert_int_equal(fd_write_full(output.fd, text, strlen(text)), 0);
	assert_int_equal(output_publish(&output, "name"), 0);
}

/* With and without O_TMPFILE. */
static void file_gets_its_name_and_takes_over_one_that_is_taken(void **state)
{
	const struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		has_no_unnamed_files = i == 1;
		write_output(f, "one");
		assert_content(f, "name", "one");
		write_output(f, "two");
		assert_content(f, "name", "two");
		assert_int_equal(count_temporary(f), 0);
		assert_int_equal(unlinkat(f->dir, "name", 0), 0);
	}
}

/* A file under a temporary name of "name". */
static int leave(const struct fixture *f, const char *temporary)
{
	int fd = openat(f->dir, temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void what_a_killed_process_left_goes_and_what_a_live_one_has_stays(void **state)
{
	static const char *const others[] = {
		".other.0123456789abcdef" FILE_TEMPORARY_SUFFIX,
		".name.0123456789abcde" FILE_TEMPORARY_SUFFIX,
		".name.0123456789abcdeg" FILE_TEMPORARY_SUFFIX,
		".name.0123456789abcdef.affix-old",
	};
	const struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		(void)fd_close(leave(f, others[i]));
	for (int i = 0; i < 2; i++) {
		cleanup_fd int held = leave(f, ".name.0123456789abcdef" FILE_TEMPORARY_SUFFIX);

		has_no_unnamed_files = i == 1;
		(void)fd_close(leave(f, ".name.00000000000000ff" FILE_TEMPORARY_SUFFIX));
		assert_int_equal(flock(held, LOCK_EX), 0);
		write_output(f, "one");
		write_output(f, "two");
		assert_true(exists(f, ".name.0123456789abcdef" FILE_TEMPORARY_SUFFIX));
		assert_false(exists(f, ".name.00000000000000ff" FILE_TEMPORARY_SUFFIX));
		held = fd_close(held);
		write_output(f, "three");
		assert_false(exists(f, ".name.0123456789abcdef" FILE_TEMPORARY_SUFFIX));
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_true(exists(f, others[i]));
}

/* Two that are made at once do not take each other's. */
static void two_at_once_keep_their_temporary_names(void **state)
{
	cleanup_output struct output first = OUTPUT_INIT;
	const struct fixture *f = *state;

	has_no_unnamed_files = true;
	assert_int_equal(output_open(&first, f->dir, "name", 0644), 0);
	assert_int_equal(fd_write_full(first.fd, "first", 5), 0);
	write_output(f, "second");
	assert_int_equal(output_publish(&first, "name"), 0);
	assert_content(f, "name", "first");
}

static void file_that_is_given_up_leaves_nothing(void **state)
{
	const struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		cleanup_output struct output output = OUTPUT_INIT;

		has_no_unnamed_files = i == 1;
		assert_int_equal(output_open(&output, f->dir, "name", 0644), 0);
		assert_int_equal(count_temporary(f), i);
		output_done(&output);
		assert_int_equal(count_temporary(f), 0);
		assert_false(exists(f, "name"));
	}
}

static void file_that_cannot_be_synced_gets_no_name(void **state)
{
	const struct fixture *f = *state;

	write_output(f, "old");
	for (int i = 0; i < 2; i++) {
		cleanup_output struct output output = OUTPUT_INIT;

		has_no_unnamed_files = i == 1;
		has_full_disk = true;
		assert_int_equal(output_open(&output, f->dir, "name", 0644), 0);
		assert_int_equal(output_publish(&output, "name"), -ENOSPC);
		output_retract(&output);
		output_done(&output);
		assert_content(f, "name", "old");
		assert_int_equal(count_temporary(f), 0);
	}
}

static void what_a_killed_process_left_is_no_obstacle(void **state)
{
	const struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		cleanup_fd int left = openat(f->dir, ".name" FILE_TEMPORARY_SUFFIX,
					     O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		assert_true(left >= 0);
		has_no_unnamed_files = i == 1;
		write_output(f, "old");
		write_output(f, "new");
		assert_content(f, "name", "new");
		assert_int_equal(count_temporary(f), 1);
	}
}

static void files_of_one_name_are_not_taken_for_each_other(void **state)
{
	const struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		cleanup_output struct output one = OUTPUT_INIT;
		cleanup_output struct output two = OUTPUT_INIT;

		has_no_unnamed_files = i == 1;
		assert_int_equal(output_open(&one, f->dir, "name", 0644), 0);
		assert_int_equal(output_open(&two, f->dir, "name", 0644), 0);
		assert_int_equal(fd_write_full(one.fd, "one", 3), 0);
		assert_int_equal(fd_write_full(two.fd, "tw", 2), 0);
		assert_int_equal(output_publish(&one, "name"), 0);
		assert_content(f, "name", "one");
		assert_int_equal(fd_write_full(two.fd, "o", 1), 0);
		assert_int_equal(output_publish(&two, "name"), 0);
		assert_content(f, "name", "two");
	}
}

static void file_that_was_put_in_the_way_is_not_published(void **state)
{
	const struct fixture *f = *state;
	cleanup_output struct output output = OUTPUT_INIT;

	has_no_unnamed_files = true;
	assert_int_equal(output_open(&output, f->dir, "name", 0644), 0);
	assert_int_equal(unlinkat(f->dir, output.temporary, 0), 0);
	(void)fd_close(openat(f->dir, output.temporary, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	assert_int_equal(output_publish(&output, "name"), -ESTALE);
	assert_false(exists(f, "name"));
}

static void file_that_replaced_another_is_not_retracted(void **state)
{
	const struct fixture *f = *state;

	write_output(f, "old");
	for (int i = 0; i < 2; i++) {
		cleanup_output struct output output = OUTPUT_INIT;

		has_no_unnamed_files = i == 1;
		assert_int_equal(output_open(&output, f->dir, "name", 0644), 0);
		assert_int_equal(fd_write_full(output.fd, "new", 3), 0);
		assert_int_equal(output_publish(&output, "name"), 0);
		output_retract(&output);
		assert_content(f, "name", "new");
	}
}

static void published_file_can_be_retracted(void **state)
{
	const struct fixture *f = *state;
	cleanup_output struct output output = OUTPUT_INIT;

	assert_int_equal(output_open(&output, f->dir, "name", 0644), 0);
	assert_int_equal(output_publish(&output, "name"), 0);
	assert_true(exists(f, "name"));
	output_retract(&output);
	assert_false(exists(f, "name"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(file_gets_its_name_and_takes_over_one_that_is_taken),
		TEST(file_that_is_given_up_leaves_nothing),
		TEST(two_at_once_keep_their_temporary_names),
		TEST(what_a_killed_process_left_goes_and_what_a_live_one_has_stays),
		TEST(file_that_cannot_be_synced_gets_no_name),
		TEST(what_a_killed_process_left_is_no_obstacle),
		TEST(files_of_one_name_are_not_taken_for_each_other),
		TEST(file_that_was_put_in_the_way_is_not_published),
		TEST(file_that_replaced_another_is_not_retracted),
		TEST(published_file_can_be_retracted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
