/* SPDX-License-Identifier: Apache-2.0 */

#include "oci/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "own_directory.h"

#define SIZE 100000U

static char directory[OWN_DIRECTORY_SIZE];
static struct oci_cache cache = OCI_CACHE_INIT;
static uint8_t data[SIZE];
static char digest[OCI_DIGEST_TEXT_SIZE];

/* What another process does between the opening of a file and its lock, once. */
static struct oci_cache_blob *finished_meanwhile;

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);

int __wrap_flock(int fd, int operation)
{
	struct oci_cache_blob *blob = finished_meanwhile;

	finished_meanwhile = NULL;
	if (blob) {
		cleanup_fd int whole = -EBADF;

		assert_int_equal(oci_cache_commit(blob, &whole, NULL), 0);
		oci_cache_blob_done(blob);
	}
	return __real_flock(fd, operation);
}

static int set_up(void **state)
{
	char hex[SHA256_TEXT_SIZE];

	(void)state;
	own_directory_make(directory);
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(sha256_of(data, SIZE, hex), 0);
	(void)snprintf(digest, sizeof(digest), "sha256:%s", hex);
	assert_int_equal(oci_cache_open(directory, &cache, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	oci_cache_close(&cache);
	own_directory_remove(directory);
	return 0;
}

static bool has(const char *where)
{
	cleanup_free char *path = NULL;
	struct stat st;

	assert_int_equal(str_format(&path, "%s/%s/%s", directory, where, digest + 7), 0);
	return stat(path, &st) == 0;
}

static void what_is_whole_is_found(void **state)
{
	cleanup_oci_cache_blob struct oci_cache_blob blob = OCI_CACHE_BLOB_INIT;
	cleanup_free char *text = NULL;
	cleanup_fd int again = -EBADF;
	cleanup_fd int fd = -EBADF;
	size_t size = 0;

	(void)state;
	assert_int_equal(oci_cache_find(&cache, digest, SIZE, &fd), -ENOENT);
	assert_int_equal(oci_cache_begin(&cache, digest, SIZE, &blob), 0);
	assert_int_equal(oci_cache_add(&blob, data, SIZE / 2), 0);
	assert_false(has("blobs/sha256"));
	assert_int_equal(oci_cache_add(&blob, data + SIZE / 2, SIZE / 2), 0);
	assert_int_equal(oci_cache_commit(&blob, &fd, NULL), 0);
	assert_false(has("partial"));
	assert_int_equal(oci_cache_find(&cache, digest, SIZE, &again), 0);
	assert_int_equal(fd_read_all(again, SIZE, &text, &size), 0);
	assert_int_equal(size, SIZE);
	assert_memory_equal(text, data, SIZE);
	assert_int_equal(write(fd, "x", 1), -1);
}

static void what_was_begun_is_gone_on_with(void **state)
{
	cleanup_oci_cache_blob struct oci_cache_blob blob = OCI_CACHE_BLOB_INIT;
	cleanup_fd int fd = -EBADF;

	(void)state;
	assert_int_equal(oci_cache_begin(&cache, digest, SIZE, &blob), 0);
	assert_int_equal(oci_cache_add(&blob, data, 12345), 0);
	oci_cache_blob_done(&blob);
	assert_true(has("partial"));
	assert_int_equal(oci_cache_begin(&cache, digest, SIZE, &blob), 0);
	assert_int_equal(blob.written, 12345);
	assert_int_equal(oci_cache_add(&blob, data + 12345, SIZE - 12345), 0);
	assert_int_equal(oci_cache_commit(&blob, &fd, NULL), 0);
}

static void other_bytes_get_no_name(void **state)
{
	cleanup_oci_cache_blob struct oci_cache_blob blob = OCI_CACHE_BLOB_INIT;
	struct problem problem = PROBLEM_INIT;
	cleanup_fd int fd = -EBADF;

	(void)state;
	assert_int_equal(oci_cache_begin(&cache, digest, SIZE, &blob), 0);
	assert_int_equal(oci_cache_add(&blob, data, SIZE - 1), 0);
	assert_int_equal(oci_cache_add(&blob, "x", 1), 0);
	assert_int_equal(oci_cache_add(&blob, "x", 1), -EMSGSIZE);
	assert_int_equal(oci_cache_commit(&blob, &fd, &problem), OCI_BAD_DIGEST);
	assert_non_null(strstr(problem.text, digest));
	assert_false(has("blobs/sha256"));
	assert_false(has("partial"));
	oci_cache_blob_done(&blob);
	/* Too little is no better. */
	assert_int_equal(oci_cache_begin(&cache, digest, SIZE, &blob), 0);
	assert_int_equal(oci_cache_add(&blob, data, SIZE - 1), 0);
	assert_int_equal(oci_cache_commit(&blob, &fd, &problem), OCI_BAD_DIGEST);
	assert_false(has("blobs/sha256"));
}

static void a_blob_of_another_size_is_none_and_stays(void **state)
{
	cleanup_free char *path = NULL;
	cleanup_fd int again = -EBADF;
	cleanup_fd int fd = -EBADF;

	(void)state;
	assert_int_equal(oci_cache_put(&cache, digest, data, SIZE, NULL), 0);
	assert_int_equal(oci_cache_find(&cache, digest, SIZE + 1, &fd), -ENOENT);
	assert_int_equal(oci_cache_find(&cache, digest, SIZE, &fd), 0);
	/* One that was cut off by somebody is replaced. */
	assert_int_equal(str_format(&path, "%s/blobs/sha256/%s", directory, digest + 7), 0);
	assert_int_equal(truncate(path, 7), 0);
	assert_int_equal(oci_cache_put(&cache, digest, data, SIZE, NULL), 0);
	assert_int_equal(oci_cache_find(&cache, digest, SIZE, &again), 0);
}

static void what_finds_no_room_is_not_begun(void **state)
{
	cleanup_oci_cache_blob struct oci_cache_blob blob = OCI_CACHE_BLOB_INIT;

	(void)state;
	assert_int_equal(oci_cache_begin(&cache, digest, UINT64_MAX / 2, &blob), -ENOSPC);
	assert_false(has("partial"));
}

static void what_is_discarded_leaves_nothing(void **state)
{
	cleanup_oci_cache_blob struct oci_cache_blob blob = OCI_CACHE_BLOB_INIT;

	(void)state;
	assert_int_equal(oci_cache_begin(&cache, digest, SIZE, &blob), 0);
	assert_int_equal(oci_cache_add(&blob, data, 12345), 0);
	oci_cache_discard(&blob);
	assert_false(has("partial"));
}

/* Writes the blob in small pieces; the exit code of the process. */
static int write_slowly(void)
{
	cleanup_oci_cache struct oci_cache own = OCI_CACHE_INIT;
	cleanup_oci_cache_blob struct oci_cache_blob blob = OCI_CACHE_BLOB_INIT;
	cleanup_fd int fd = -EBADF;

	if (oci_cache_open(directory, &own, NULL) != 0 ||
	    oci_cache_begin(&own, digest, SIZE, &blob) != 0)
		return 1;
	while (blob.written < SIZE) {
		if (oci_cache_add(&blob, data + blob.written, MIN(1000U, SIZE - blob.written)) != 0)
			return 2;
	}
	return oci_cache_commit(&blob, &fd, NULL);
}

static void many_processes_may_write_the_same_blob(void **state)
{
	cleanup_fd int fd = -EBADF;
	char hex[SHA256_TEXT_SIZE];
	pid_t children[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		assert_true(children[i] >= 0);
		if (children[i] == 0)
			_exit(write_slowly());
	}
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		int status = -1;

		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(oci_cache_find(&cache, digest, SIZE, &fd), 0);
	assert_int_equal(sha256_of_fd(fd, hex, NULL), 0);
	assert_string_equal(hex, digest + 7);
}

static void a_blob_that_is_finished_meanwhile_is_not_written_to(void **state)
{
	cleanup_oci_cache_blob struct oci_cache_blob other = OCI_CACHE_BLOB_INIT;
	cleanup_oci_cache_blob struct oci_cache_blob blob = OCI_CACHE_BLOB_INIT;
	cleanup_fd int fd = -EBADF;

	(void)state;
	assert_int_equal(oci_cache_begin(&cache, digest, SIZE, &other), 0);
	assert_int_equal(oci_cache_add(&other, data, SIZE), 0);
	finished_meanwhile = &other;
	assert_int_equal(oci_cache_begin(&cache, digest, SIZE, &blob), 0);
	assert_true(has("blobs/sha256"));
	assert_int_equal(blob.written, 0);
	assert_int_equal(oci_cache_add(&blob, data, SIZE), 0);
	assert_int_equal(oci_cache_commit(&blob, &fd, NULL), 0);
}

static void pruning_waits_for_nobody_and_harms_nobody(void **state)
{
	cleanup_oci_cache struct oci_cache other = OCI_CACHE_INIT;
	cleanup_oci_cache_list struct oci_cache_list list = {0};
	struct problem problem = PROBLEM_INIT;
	cleanup_fd int fd = -EBADF;
	char hex[SHA256_TEXT_SIZE];
	uint64_t count = 0;
	uint64_t size = 0;

	(void)state;
	assert_int_equal(oci_cache_put(&cache, digest, data, SIZE, NULL), 0);
	assert_int_equal(oci_cache_open(directory, &other, NULL), 0);
	assert_int_equal(oci_cache_prune(&cache, UINT64_MAX, &count, &size, &problem), OCI_BUSY);
	assert_int_equal(oci_cache_find(&other, digest, SIZE, &fd), 0);
	oci_cache_close(&other);
	assert_int_equal(oci_cache_prune(&cache, 1, &count, &size, &problem), 0);
	assert_int_equal(count, 0);
	assert_int_equal(oci_cache_prune(&cache, UINT64_MAX, &count, &size, &problem), 0);
	assert_int_equal(count, 1);
	assert_int_equal(size, SIZE);
	assert_int_equal(oci_cache_list(&cache, &list), 0);
	assert_int_equal(list.count, 0);
	/* Who has it open goes on reading. */
	assert_int_equal(sha256_of_fd(fd, hex, NULL), 0);
	assert_string_equal(hex, digest + 7);
}

static void links_in_the_way_are_not_followed(void **state)
{
	cleanup_oci_cache_blob struct oci_cache_blob blob = OCI_CACHE_BLOB_INIT;
	cleanup_free char *path = NULL;

	(void)state;
	assert_int_equal(str_format(&path, "%s/partial/%s", directory, digest + 7), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(oci_cache_begin(&cache, digest, SIZE, &blob), -ELOOP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_whole_is_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_begun_is_gone_on_with, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_bytes_get_no_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_blob_of_another_size_is_none_and_stays, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_finds_no_room_is_not_begun, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_discarded_leaves_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(many_processes_may_write_the_same_blob, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_blob_that_is_finished_meanwhile_is_not_written_to,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(pruning_waits_for_nobody_and_harms_nobody, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(links_in_the_way_are_not_followed, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
