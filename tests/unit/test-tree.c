/* SPDX-License-Identifier: Apache-2.0 */

#include "plan/tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sample_tree.h"

static int set_up(void **state)
{
	*state = sample_tree_new();
	return 0;
}

static int tear_down(void **state)
{
	sample_tree_free(*state);
	return 0;
}

/* Whether the directory that is to hold *path* is the one at *expected*. */
static void assert_parent(const struct sample_tree *sample, const char *path, const char *expected,
			  const char *expected_name)
{
	const char *name = NULL;
	cleanup_fd int fd = -EBADF;
	struct stat found;
	struct stat st;

	assert_int_equal(tree_open_parent(&sample->tree, path, &fd, &name), 0);
	assert_string_equal(name, expected_name);
	assert_int_equal(fstat(fd, &found), 0);
	assert_int_equal(fstatat(sample->tree.rootfd, expected, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(found.st_ino, st.st_ino);
	assert_int_equal(found.st_dev, st.st_dev);
}

static int open_parent(const struct sample_tree *sample, const char *path)
{
	const char *name = NULL;
	cleanup_fd int fd = -EBADF;

	return tree_open_parent(&sample->tree, path, &fd, &name);
}

static void parent_is_opened_in_the_tree(void **state)
{
	struct sample_tree *sample = *state;

	sample_mkdir(sample, "opt");
	sample_mkdir(sample, "opt/affix");
	sample_mkdir(sample, "usr");
	assert_parent(sample, "/opt", ".", "opt");
	assert_parent(sample, "/opt/affix", "opt", "affix");
	assert_parent(sample, "/opt/affix/foo", "opt/affix", "foo");
	assert_parent(sample, "/usr/x", "usr", "x");
	assert_int_equal(open_parent(sample, "/opt/other/foo"), -ENOENT);
	assert_int_equal(open_parent(sample, "/var/lib/affix"), -ENOENT);
}

static void base_directories_may_be_links_that_stay_in_the_tree(void **state)
{
	struct sample_tree *sample = *state;

	sample_mkdir(sample, "var");
	sample_mkdir(sample, "var/opt");
	sample_link(sample, "opt", "/var/opt");
	sample_mkdir(sample, "real");
	sample_mkdir(sample, "real/systemd");
	sample_mkdir(sample, "units");
	sample_link(sample, "etc", "../../real");
	sample_link(sample, "real/systemd/system", "/units");
	assert_parent(sample, "/opt/affix", "var/opt", "affix");
	assert_parent(sample, "/etc/systemd/system/a.service", "units", "a.service");
	assert_parent(sample, "/etc/x", "real", "x");
}

static void links_below_base_directories_are_not_followed(void **state)
{
	struct sample_tree *sample = *state;

	sample_mkdir(sample, "opt");
	sample_mkdir(sample, "opt/real");
	sample_link(sample, "opt/affix", "real");
	sample_mkdir(sample, "etc");
	sample_mkdir(sample, "etc/systemd");
	sample_mkdir(sample, "etc/systemd/system");
	sample_link(sample, "etc/systemd/system/a.service.d", "/etc");
	sample_mkdir(sample, "evil");
	sample_link(sample, "usr", "/evil");
	assert_int_equal(open_parent(sample, "/opt/affix/foo"), -ELOOP);
	assert_int_equal(open_parent(sample, "/etc/systemd/system/a.service.d/x"), -ELOOP);
	assert_int_equal(open_parent(sample, "/usr/x"), -ELOOP);
	/* The link itself is a name like any other. */
	assert_parent(sample, "/opt/affix", "opt", "affix");
}

static void paths_that_are_not_normal_are_refused(void **state)
{
	struct sample_tree *sample = *state;

	assert_int_equal(open_parent(sample, "opt/x"), -EINVAL);
	assert_int_equal(open_parent(sample, "/opt/../x"), -EINVAL);
	assert_int_equal(open_parent(sample, "/"), -EINVAL);
	assert_int_equal(open_parent(sample, "/opt/"), -EINVAL);
}

static void file_in_place_of_a_directory_is_an_error(void **state)
{
	struct sample_tree *sample = *state;

	sample_write(sample, "opt", "", 0644);
	assert_int_equal(open_parent(sample, "/opt/affix"), -ENOTDIR);
}

static void tree_must_be_a_directory(void **state)
{
	struct sample_tree *sample = *state;
	struct tree tree = {.rootfd = -EBADF};
	char path[96];

	sample_write(sample, "file", "", 0644);
	(void)snprintf(path, sizeof(path), "%s/file", sample->path);
	assert_int_equal(tree_open(path, false, &tree), -ENOTDIR);
	(void)snprintf(path, sizeof(path), "%s/none", sample->path);
	assert_int_equal(tree_open(path, false, &tree), -ENOENT);
	assert_int_equal(tree.rootfd, -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(parent_is_opened_in_the_tree),
		TEST(base_directories_may_be_links_that_stay_in_the_tree),
		TEST(links_below_base_directories_are_not_followed),
		TEST(paths_that_are_not_normal_are_refused),
		TEST(file_in_place_of_a_directory_is_an_error),
		TEST(tree_must_be_a_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
