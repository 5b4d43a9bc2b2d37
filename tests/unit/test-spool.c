/* SPDX-License-Identifier: Apache-2.0 */

#include "bundle/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

/* The file system as the test wants it; NULL: as it is. With 64-bit offsets the call is
 * fstatvfs64(). */
static const struct statvfs *room;
static size_t write_limit = SIZE_MAX;
static int write_error;

int __real_fstatvfs64(int fd, struct statvfs *ret);
int __wrap_fstatvfs64(int fd, struct statvfs *ret);
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);

int __wrap_fstatvfs64(int fd, struct statvfs *ret)
{
	if (!room)
		return __real_fstatvfs64(fd, ret);
	*ret = *room;
	return 0;
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	if (fd <= STDERR_FILENO)
		return __real_write(fd, data, size);
	if (write_limit == 0) {
		errno = write_error;
		return -1;
	}
	size = MIN(size, write_limit);
	write_limit -= size;
	return __real_write(fd, data, size);
}

static int reset(void **state)
{
	(void)state;
	room = NULL;
	write_limit = SIZE_MAX;
	return 0;
}

static int open_spool(struct spool *spool, const char *dir, uint64_t expected,
		      struct refusal *refusal)
{
	cleanup_fd int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return spool_open(spool, fd, expected, 0, refusal);
}

static void file_without_a_name_takes_all_that_is_added(void **state)
{
	static const char chunk[3U << 20] = "begin";
	cleanup_spool struct spool spool = SPOOL_INIT;
	struct refusal refusal = REFUSAL_INIT;
	char start[6] = {0};

	(void)state;
	assert_int_equal(open_spool(&spool, "/tmp", 12U << 20, &refusal), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(spool_add(&spool, chunk, sizeof(chunk), &refusal), 0);
	assert_int_equal(spool.size, 12U << 20);
	assert_int_equal(spool.flushed, 12U << 20);
	assert_int_equal(lseek(spool.fd, 0, SEEK_END), 12U << 20);
	assert_int_equal(pread(spool.fd, start, 5, 3U << 20), 5);
	assert_string_equal(start, "begin");
}

static void what_is_left_of_a_whole_file_is_hurried_to_disk_where_it_is_worth_a_call(void **state)
{
	static const char chunk[5U << 20] = "begin";
	static const size_t rests[] = {1U << 20, 5};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rests); i++) {
		cleanup_spool struct spool spool = SPOOL_INIT;
		struct refusal refusal = REFUSAL_INIT;
		cleanup_fd int fd = -EBADF;

		assert_int_equal(open_spool(&spool, "/tmp", 0, &refusal), 0);
		assert_int_equal(spool_add(&spool, chunk, sizeof(chunk), &refusal), 0);
		assert_int_equal(spool_add(&spool, chunk, rests[i], &refusal), 0);
		assert_int_equal(spool.flushed, sizeof(chunk));
		fd = spool_take(&spool);
		assert_true(fd >= 0 && spool.fd < 0);
		assert_int_equal(spool.flushed, sizeof(chunk) + (i == 0 ? rests[i] : 0));
	}
}

static void file_that_never_gets_a_name_is_not_hurried_to_disk(void **state)
{
	static const char chunk[3U << 20] = "begin";
	cleanup_fd int fd = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_spool struct spool spool = SPOOL_INIT;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(spool_open(&spool, fd, 12U << 20, O_EXCL, &refusal), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(spool_add(&spool, chunk, sizeof(chunk), &refusal), 0);
	assert_int_equal(spool.size, 12U << 20);
	assert_int_equal(spool.flushed, 0);
}

static void missing_space_is_refused_with_both_figures(void **state)
{
	const struct statvfs full = {
		.f_frsize = 4096, .f_blocks = 100, .f_bavail = 5, .f_files = 9, .f_favail = 9};
	cleanup_spool struct spool spool = SPOOL_INIT;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	room = &full;
	assert_int_equal(open_spool(&spool, "/tmp", 20481, &refusal), REFUSAL_NO_SPACE);
	assert_non_null(strstr(refusal.text, "21 KiB are needed and 20 KiB are free"));
	assert_int_equal(spool.fd, -EBADF);
	assert_int_equal(open_spool(&spool, "/tmp", 20480, &refusal), 0);
}

static bool takes_room(const char *dir, uint64_t expected)
{
	cleanup_fd int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_spool struct spool spool = SPOOL_INIT;
	struct refusal refusal = REFUSAL_INIT;
	struct stat st;

	assert_int_equal(spool_open(&spool, fd, expected, O_EXCL, &refusal), 0);
	assert_int_equal(fstat(spool.fd, &st), 0);
	return st.st_blocks > 0;
}

/* On a file system of 8 MiB: both would fit, one after the other. */
static int open_two_at_once(const char *dir)
{
	cleanup_spool struct spool first = SPOOL_INIT;
	cleanup_spool struct spool second = SPOOL_INIT;
	struct refusal refusal = REFUSAL_INIT;
	cleanup_fd int fd = -EBADF;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, "size=8m") < 0)
		return 1;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (spool_open(&first, fd, 5U << 20, O_EXCL, &refusal) != 0)
		return 2;
	if (spool_open(&second, fd, 5U << 20, O_EXCL, &refusal) != REFUSAL_NO_SPACE)
		return 3;
	spool_done(&first);
	spool_done(&second);
	if (spool_open(&second, fd, 5U << 20, O_EXCL, &refusal) != 0)
		return 4;
	spool_done(&second);
	return takes_room(dir, 4U << 20) || !takes_room(dir, (4U << 20) + 1) ? 5 : 0;
}

static void large_copies_that_are_made_at_the_same_time_share_the_room(void **state)
{
	char dir[] = "/tmp/affix-spool-XXXXXX";
	int status = 0;
	pid_t child;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(open_two_at_once(dir));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(status, 0);
}

static void missing_inodes_are_refused(void **state)
{
	const struct statvfs full = {
		.f_frsize = 4096, .f_blocks = 100, .f_bavail = 50, .f_files = 9, .f_favail = 0};
	const struct statvfs none = {.f_frsize = 4096, .f_blocks = 100, .f_bavail = 50};
	cleanup_spool struct spool spool = SPOOL_INIT;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	room = &full;
	assert_int_equal(open_spool(&spool, "/tmp", 1, &refusal), REFUSAL_NO_INODES);
	/* btrfs counts none. */
	room = &none;
	assert_int_equal(open_spool(&spool, "/tmp", 1, &refusal), 0);
}

static void disk_that_fills_up_is_refused_and_other_errors_are_not(void **state)
{
	cleanup_spool struct spool spool = SPOOL_INIT;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	assert_int_equal(open_spool(&spool, "/tmp", 5, &refusal), 0);
	write_limit = 3;
	write_error = ENOSPC;
	assert_int_equal(spool_add(&spool, "12345", 5, &refusal), REFUSAL_NO_SPACE);
	write_error = EDQUOT;
	assert_int_equal(spool_add(&spool, "12345", 5, &refusal), REFUSAL_NO_SPACE);
	write_error = EIO;
	assert_int_equal(spool_add(&spool, "12345", 5, &refusal), -EIO);
}

static void file_system_without_unnamed_files_is_refused(void **state)
{
	cleanup_spool struct spool spool = SPOOL_INIT;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	assert_int_equal(open_spool(&spool, "/sys", 0, &refusal), REFUSAL_UNSUPPORTED_FILESYSTEM);
	assert_non_null(strstr(refusal.text, "O_TMPFILE"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(file_without_a_name_takes_all_that_is_added, reset),
		cmocka_unit_test_setup(
			what_is_left_of_a_whole_file_is_hurried_to_disk_where_it_is_worth_a_call,
			reset),
		cmocka_unit_test_setup(file_that_never_gets_a_name_is_not_hurried_to_disk, reset),
		cmocka_unit_test_setup(missing_space_is_refused_with_both_figures, reset),
		cmocka_unit_test_setup(large_copies_that_are_made_at_the_same_time_share_the_room,
				       reset),
		cmocka_unit_test_setup(missing_inodes_are_refused, reset),
		cmocka_unit_test_setup(disk_that_fills_up_is_refused_and_other_errors_are_not,
				       reset),
		cmocka_unit_test_setup(file_system_without_unnamed_files_is_refused, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
