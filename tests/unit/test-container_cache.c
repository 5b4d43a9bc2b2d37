/* SPDX-License-Identifier: Apache-2.0 */

#include "netprobe/container_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"

#define ID "0123456789abcdef0123456789abcdeffedcba9876543210fedcba9876543210"

/* A directory tree as a hierarchy of cgroups is one; returns the inode of the last one made. */
static uint64_t make(int root, const char *path)
{
	struct stat status;

	assert_int_equal(mkdirat(root, path, 0700), 0);
	assert_int_equal(fstatat(root, path, &status, 0), 0);
	return status.st_ino;
}

static void a_cgroup_is_found_by_its_inode_and_has_its_parents_container(void **state)
{
	char name[] = "/tmp/affix-test-container-XXXXXX";
	cleanup_container_cache struct container_cache *cache = NULL;
	cleanup_fd int root = -EBADF;
	uint64_t plain;
	uint64_t inner;

	(void)state;
	assert_non_null(mkdtemp(name));
	root = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	plain = make(root, "system.slice");
	(void)make(root, "system.slice/docker-" ID ".scope");
	inner = make(root, "system.slice/docker-" ID ".scope/init");
	cache = container_cache_new(root);
	assert_string_equal(container_cache_find(cache, inner), ID);
	assert_string_equal(container_cache_find(cache, plain), "");
	assert_string_equal(container_cache_find(cache, UINT64_MAX), "");
	assert_int_equal(tree_remove(root, "system.slice"), 0);
	assert_int_equal(rmdir(name), 0);
	/* It is gone, and known all the same. */
	assert_string_equal(container_cache_find(cache, inner), ID);
}

static void looking_for_what_is_not_there_has_bounds_and_is_counted(void **state)
{
	char name[] = "/tmp/affix-test-container-XXXXXX";
	cleanup_container_cache struct container_cache *cache = NULL;
	cleanup_fd int root = -EBADF;
	uint64_t there;

	(void)state;
	assert_non_null(mkdtemp(name));
	root = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	there = make(root, "docker-" ID ".scope");
	cache = container_cache_new(root);
	for (uint64_t cgroup = 1; cgroup <= 1000; cgroup++)
		assert_string_equal(container_cache_find(cache, UINT64_MAX - cgroup), "");
	assert_in_range(container_cache_missed(cache), 900, 980);
	/* After a while it is looked for again. */
	clock_sleep_usec(200000);
	assert_string_equal(container_cache_find(cache, there), ID);
	assert_int_equal(tree_remove(root, "docker-" ID ".scope"), 0);
	assert_int_equal(rmdir(name), 0);
}

static void what_was_noted_needs_no_hierarchy(void **state)
{
	cleanup_container_cache struct container_cache *cache = container_cache_new(-EBADF);

	(void)state;
	container_cache_add(cache, 7, ID);
	assert_string_equal(container_cache_find(cache, 7), ID);
	assert_string_equal(container_cache_find(cache, 8), "");
	assert_string_equal(container_cache_find(cache, 0), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cgroup_is_found_by_its_inode_and_has_its_parents_container),
		cmocka_unit_test(looking_for_what_is_not_there_has_bounds_and_is_counted),
		cmocka_unit_test(what_was_noted_needs_no_hierarchy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
