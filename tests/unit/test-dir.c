/* SPDX-License-Identifier: Apache-2.0 */

#include "base/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "own_directory.h"

#define FILES 300U /* more than one call of the kernel's brings */

/* What readdir() is with the offsets of large files. */
struct dirent *__real_readdir64(DIR *dir);
struct dirent *__wrap_readdir64(DIR *dir);

/* How many entries come before the disk fails; -1: it does not. */
static int good = -1;

struct dirent *__wrap_readdir64(DIR *dir)
{
	if (good == 0) {
		errno = EIO;
		return NULL;
	}
	good -= good > 0;
	return __real_readdir64(dir);
}

static int begin(void **state)
{
	static char path[OWN_DIRECTORY_SIZE];
	cleanup_fd int fd = -EBADF;
	char name[32];

	own_directory_make(path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), ".file-%u", i);
		(void)fd_close(openat(fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
	good = -1;
	*state = path;
	return 0;
}

static int end(void **state)
{
	good = -1;
	own_directory_remove(*state);
	return 0;
}

static int open_path(void **state)
{
	int fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static unsigned count(DIR *dir)
{
	const struct dirent *entry = NULL;
	unsigned n = 0;

	while (dir_next(dir, &entry) == 0 && entry) {
		assert_true(strncmp(entry->d_name, ".file-", 6) == 0);
		n++;
	}
	return n;
}

static void every_entry_but_the_directory_and_its_parent_comes_once(void **state)
{
	cleanup_dir DIR *dir = NULL;

	assert_int_equal(dir_take(open_path(state), &dir), 0);
	assert_int_equal(count(dir), FILES);
}

static void it_begins_at_the_beginning_whatever_was_read(void **state)
{
	cleanup_fd int fd = open_path(state);

	for (unsigned i = 0; i < 3; i++) {
		cleanup_dir DIR *dir = NULL;

		assert_int_equal(dir_open(fd, &dir), 0);
		assert_int_equal(count(dir), FILES);
	}
	assert_true(fcntl(fd, F_GETFD) >= 0);
}

static void a_disk_that_fails_is_not_the_end_of_the_directory(void **state)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;
	int r = 0;

	assert_int_equal(dir_take(open_path(state), &dir), 0);
	good = 10;
	for (unsigned i = 0; r == 0 && i <= FILES; i++)
		r = dir_next(dir, &entry);
	assert_int_equal(r, -EIO);
}

static void what_is_no_directory_is_refused_and_closed(void **state)
{
	cleanup_fd int parent = open_path(state);
	int fd = openat(parent, ".file-0", O_RDONLY | O_CLOEXEC);
	DIR *dir = NULL;

	assert_true(fd >= 0);
	assert_int_equal(dir_open(fd, &dir), -ENOTDIR);
	assert_int_equal(dir_take(fd, &dir), -ENOTDIR);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_null(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_entry_but_the_directory_and_its_parent_comes_once),
		TEST(it_begins_at_the_beginning_whatever_was_read),
		TEST(a_disk_that_fails_is_not_the_end_of_the_directory),
		TEST(what_is_no_directory_is_refused_and_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
