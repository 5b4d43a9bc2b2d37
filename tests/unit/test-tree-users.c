/* SPDX-License-Identifier: Apache-2.0 */

#include "plan/tree.h"

#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sample_tree.h"

#define DAY_20000 "1728000000"

static int set_up(void **state)
{
	struct sample_tree *sample = sample_tree_new();

	assert_int_equal(setenv("SOURCE_DATE_EPOCH", DAY_20000, 1), 0);
	sample_mkdir(sample, "etc");
	sample_write(sample, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\na:x:999:1::/:/bin/sh\n",
		     0644);
	sample_write(sample, "etc/group", "root:x:0:\nb:x:998:a\n", 0644);
	sample_write(sample, "etc/shadow", "root:*:19000:0:99999:7:::\n", 0640);
	sample_write(sample, "etc/gshadow", "root:*::\n", 0640);
	*state = sample;
	return 0;
}

static int tear_down(void **state)
{
	sample_tree_free(*state);
	return 0;
}

static void assert_text(const struct sample_tree *sample, const char *path, const char *expected)
{
	cleanup_free char *text = sample_read(sample, path);

	if (!expected)
		assert_null(text);
	else
		assert_string_equal(text ? text : "(none)", expected);
}

static void names_of_a_tree_come_from_its_own_files(void **state)
{
	struct sample_tree *sample = *state;
	uid_t uid = 7;
	gid_t gid = 7;

	assert_int_equal(tree_user(&sample->tree, "a", &uid), 0);
	assert_int_equal(uid, 999);
	assert_int_equal(tree_group(&sample->tree, "b", &gid), 0);
	assert_int_equal(gid, 998);
	/* This machine surely has a user daemon. */
	assert_int_equal(tree_user(&sample->tree, "daemon", &uid), -ESRCH);
	assert_int_equal(tree_group(&sample->tree, "daemon", &gid), -ESRCH);
	assert_int_equal(uid, 999);
}

static void root_is_0_without_any_file(void **state)
{
	struct sample_tree *sample = *state;
	uid_t uid = 7;
	gid_t gid = 7;

	assert_int_equal(tree_remove(sample->tree.rootfd, "etc"), 0);
	assert_int_equal(tree_user(&sample->tree, "root", &uid), 0);
	assert_int_equal(tree_group(&sample->tree, "root", &gid), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(gid, 0);
	assert_int_equal(tree_user(&sample->tree, "a", &uid), -ESRCH);
}

static void running_system_is_asked_through_nss(void **state)
{
	struct tree tree;
	const struct passwd *daemon = getpwnam("daemon");
	uid_t uid = 7;
	gid_t gid = 7;

	(void)state;
	assert_int_equal(tree_open("/", true, &tree), 0);
	assert_non_null(daemon);
	assert_int_equal(tree_user(&tree, "daemon", &uid), 0);
	assert_int_equal(uid, daemon->pw_uid);
	assert_int_equal(tree_group(&tree, "daemon", &gid), 0);
	assert_int_equal(gid, daemon->pw_gid);
	assert_int_equal(tree_user(&tree, "no-such-user-here", &uid), -ESRCH);
	assert_int_equal(tree_group(&tree, "no-such-user-here", &gid), -ESRCH);
	tree_done(&tree);
}

static void passwd_behind_a_link_is_read_inside_the_tree(void **state)
{
	struct sample_tree *sample = *state;
	uid_t uid = 7;

	sample_mkdir(sample, "usr");
	assert_int_equal(
		renameat(sample->tree.rootfd, "etc/passwd", sample->tree.rootfd, "usr/passwd"), 0);
	sample_link(sample, "etc/passwd", "/usr/passwd");
	assert_int_equal(tree_user(&sample->tree, "a", &uid), 0);
	assert_int_equal(uid, 999);
	/* But it is not replaced: the link would be gone. */
	assert_int_equal(sample_add_user(sample, "affix-foo", "x"), -ELOOP);
}

static void user_is_added_to_all_four_files(void **state)
{
	struct sample_tree *sample = *state;
	struct stat st;

	assert_int_equal(sample_add_user(sample, "affix-foo", "affix add-on foo"), 0);
	/* 999 is a user's and 998 a group's. */
	assert_text(sample, "etc/passwd",
		    "root:x:0:0:root:/root:/bin/sh\na:x:999:1::/:/bin/sh\n"
		    "affix-foo:x:997:997:affix add-on foo:/:/usr/sbin/nologin\n");
	assert_text(sample, "etc/group", "root:x:0:\nb:x:998:a\naffix-foo:x:997:\n");
	assert_text(sample, "etc/shadow", "root:*:19000:0:99999:7:::\naffix-foo:!*:20000::::::\n");
	assert_text(sample, "etc/gshadow", "root:*::\naffix-foo:!*::\n");
	assert_int_equal(fstatat(sample->tree.rootfd, "etc/shadow", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void adding_twice_changes_nothing(void **state)
{
	struct sample_tree *sample = *state;
	cleanup_free char *passwd = NULL;
	cleanup_free char *group = NULL;
	struct stat before;
	struct stat after;

	assert_int_equal(sample_add_user(sample, "affix-foo", "x"), 0);
	passwd = sample_read(sample, "etc/passwd");
	group = sample_read(sample, "etc/group");
	assert_int_equal(fstatat(sample->tree.rootfd, "etc/passwd", &before, 0), 0);
	assert_int_equal(sample_add_user(sample, "affix-foo", "y"), 0);
	assert_text(sample, "etc/passwd", passwd);
	assert_text(sample, "etc/group", group);
	assert_int_equal(fstatat(sample->tree.rootfd, "etc/passwd", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

static void interrupted_adding_is_completed_with_the_same_ids(void **state)
{
	struct sample_tree *sample = *state;

	sample_write(sample, "etc/group", "root:x:0:\naffix-foo:x:500:\n", 0644);
	assert_int_equal(sample_add_user(sample, "affix-foo", "x"), 0);
	assert_text(sample, "etc/group", "root:x:0:\naffix-foo:x:500:\n");
	assert_text(sample, "etc/gshadow", "root:*::\naffix-foo:!*::\n");
	assert_text(sample, "etc/passwd",
		    "root:x:0:0:root:/root:/bin/sh\na:x:999:1::/:/bin/sh\n"
		    "affix-foo:x:500:500:x:/:/usr/sbin/nologin\n");
}

static void group_whose_number_is_a_users_leaves_the_user_another(void **state)
{
	struct sample_tree *sample = *state;
	uid_t uid = 0;

	sample_write(sample, "etc/group", "affix-foo:x:999:\n", 0644);
	assert_int_equal(sample_add_user(sample, "affix-foo", "x"), 0);
	assert_int_equal(tree_user(&sample->tree, "affix-foo", &uid), 0);
	assert_int_equal(uid, 998);
}

static void addition_that_is_not_published_leaves_nothing(void **state)
{
	static const char *const names[] = {"etc/.group.affix-new", "etc/.gshadow.affix-new",
					    "etc/.passwd.affix-new", "etc/.shadow.affix-new"};
	struct sample_tree *sample = *state;
	cleanup_free char *passwd = sample_read(sample, "etc/passwd");
	cleanup_free char *group = sample_read(sample, "etc/group");
	cleanup_user_addition struct user_addition *addition = NULL;
	struct stat st;

	assert_int_equal(user_addition_prepare(&sample->tree, "affix-foo", "x", "/", &addition), 0);
	assert_text(sample, "etc/passwd", passwd);
	assert_text(sample, "etc/group", group);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(fstatat(sample->tree.rootfd, names[i], &st, 0), 0);
	addition = user_addition_free(addition);
	assert_text(sample, "etc/passwd", passwd);
	assert_text(sample, "etc/group", group);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(fstatat(sample->tree.rootfd, names[i], &st, 0), -1);
}

static void shadow_files_are_not_made_and_the_others_are(void **state)
{
	struct sample_tree *sample = *state;
	struct stat st;

	assert_int_equal(tree_remove(sample->tree.rootfd, "etc"), 0);
	assert_int_equal(sample_add_user(sample, "affix-foo", "x"), 0);
	assert_text(sample, "etc/passwd", "affix-foo:x:999:999:x:/:/usr/sbin/nologin\n");
	assert_text(sample, "etc/group", "affix-foo:x:999:\n");
	assert_text(sample, "etc/shadow", NULL);
	assert_text(sample, "etc/gshadow", NULL);
	assert_int_equal(fstatat(sample->tree.rootfd, "etc/passwd", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
}

static void full_range_is_an_error_and_changes_nothing(void **state)
{
	struct sample_tree *sample = *state;
	cleanup_free char *text = malloc(64U * 1024U);
	size_t at = 0;

	assert_non_null(text);
	for (unsigned id = 100; id <= 999; id++)
		at += (size_t)snprintf(text + at, 64U * 1024U - at, "g%u:x:%u:\n", id, id);
	sample_write(sample, "etc/group", text, 0644);
	assert_int_equal(sample_add_user(sample, "affix-foo", "x"), -EUSERS);
	assert_text(sample, "etc/group", text);
	assert_text(sample, "etc/gshadow", "root:*::\n");
}

static void text_that_would_break_a_line_is_refused(void **state)
{
	struct sample_tree *sample = *state;
	static const char *const names[] = {"", "a:b", "a b", "a/b", "+a", "-a", "a\nb", "a,b"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(sample_add_user(sample, names[i], "x"), -EINVAL);
	assert_int_equal(sample_add_user(sample, "affix-foo", "a:b"), -EINVAL);
	assert_int_equal(sample_add_user(sample, "affix-foo", "a\nb"), -EINVAL);
}

static void files_that_are_none_are_refused(void **state)
{
	struct sample_tree *sample = *state;
	cleanup_fd int fd = -EBADF;

	fd = openat(sample->tree.rootfd, "etc/group", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 4), 0);
	assert_int_equal(ftruncate(fd, 40), 0);
	assert_int_equal(sample_add_user(sample, "affix-foo", "x"), -EINVAL);
	assert_int_equal(unlinkat(sample->tree.rootfd, "etc/group", 0), 0);
	assert_int_equal(mkfifoat(sample->tree.rootfd, "etc/group", 0600), 0);
	assert_int_equal(sample_add_user(sample, "affix-foo", "x"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(names_of_a_tree_come_from_its_own_files),
		TEST(root_is_0_without_any_file),
		cmocka_unit_test(running_system_is_asked_through_nss),
		TEST(passwd_behind_a_link_is_read_inside_the_tree),
		TEST(user_is_added_to_all_four_files),
		TEST(adding_twice_changes_nothing),
		TEST(interrupted_adding_is_completed_with_the_same_ids),
		TEST(group_whose_number_is_a_users_leaves_the_user_another),
		TEST(addition_that_is_not_published_leaves_nothing),
		TEST(shadow_files_are_not_made_and_the_others_are),
		TEST(full_range_is_an_error_and_changes_nothing),
		TEST(text_that_would_break_a_line_is_refused),
		TEST(files_that_are_none_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
