/* SPDX-License-Identifier: Apache-2.0 */

#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/file.h"

static void safe_name_refuses_separators_dots_controls_and_options(void **state)
{
	static const char *const bad[] = {"",    ".",   "..",  "a/b",  "a\\b",
					  "-rf", "a b", "a\n", "\x7f", "a\x80"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(path_is_safe_name(bad[i]));
	assert_true(path_is_safe_name("addon.yaml"));
	assert_true(path_is_safe_name("..."));
}

static void normal_path_is_absolute_and_without_detours(void **state)
{
	static const char *const bad[] = {"",      "a",      "/",       "//a",   "/a/",
					  "/a//b", "/a/./b", "/a/../b", "/a/..", "/a\nb"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(path_is_normal_absolute(bad[i]));
	assert_true(path_is_normal_absolute("/a/b.c"));
}

static void below_compares_whole_components(void **state)
{
	(void)state;
	assert_true(path_is_below("/a/b", "/a"));
	assert_true(path_is_below("/a", "/a"));
	assert_false(path_is_below("/ab", "/a"));
}

static void beneath_refuses_links_and_escapes(void **state)
{
	char template[] = "/tmp/affix-test-XXXXXX";
	cleanup_fd int root = -EBADF;
	cleanup_fd int fd = -EBADF;

	(void)state;
	assert_non_null(mkdtemp(template));
	root = open(template, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	assert_int_equal(file_replace_link(root, "link", "/etc"), 0);
	assert_int_equal(path_open_beneath(root, "link/passwd", O_RDONLY, 0, &fd), -ELOOP);
	assert_int_equal(path_open_beneath(root, "../etc", O_RDONLY, 0, &fd), -EXDEV);
	assert_int_equal(path_open_in_root(root, "link/passwd", O_RDONLY, 0, &fd), -ENOENT);
	fd = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(tree_remove(fd, path_last_name(template)), 0);
	assert_int_equal(access(template, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(safe_name_refuses_separators_dots_controls_and_options),
		cmocka_unit_test(normal_path_is_absolute_and_without_detours),
		cmocka_unit_test(below_compares_whole_components),
		cmocka_unit_test(beneath_refuses_links_and_escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
