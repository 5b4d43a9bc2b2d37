/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "plan/tree.h"
#include "sample_tree.h"

#define ROOT_USER  "root:x:0:0:root:/root:/bin/sh\n"
#define ROOT_GROUP "root:x:0:\n"

static int set_up(void **state)
{
	struct sample_tree *sample = sample_tree_new();

	sample_mkdir(sample, "etc");
	*state = sample;
	return 0;
}

static int tear_down(void **state)
{
	sample_tree_free(*state);
	return 0;
}

/* What is said of affix-foo where these are the accounts; NULL: nothing against it. */
static void assert_said(struct sample_tree *sample, const char *passwd, const char *group,
			const char *expected)
{
	struct refusal refusal = REFUSAL_INIT;
	int r;

	sample_write(sample, "etc/passwd", passwd, 0644);
	sample_write(sample, "etc/group", group, 0644);
	r = tree_check_user(&sample->tree, "affix-foo", &refusal);
	assert_int_equal(r, expected ? REFUSAL_SHARED_USER : 0);
	if (expected && !strstr(refusal.text, expected))
		fail_msg("'%s' is not in '%s'", expected, refusal.text);
}

static void account_that_is_not_there_yet_or_alone_is_good(void **state)
{
	struct refusal refusal = REFUSAL_INIT;
	struct sample_tree *sample = *state;

	assert_int_equal(tree_check_user(&sample->tree, "affix-foo", &refusal), 0);
	assert_said(sample, ROOT_USER, ROOT_GROUP, NULL);
	assert_said(sample, ROOT_USER "affix-foo:x:900:901::/:\n", ROOT_GROUP "affix-foo:x:901:\n",
		    NULL);
	assert_said(sample, ROOT_USER "affix-foo:x:900:901::/:\n", ROOT_GROUP, NULL);
	assert_said(sample, ROOT_USER, ROOT_GROUP "affix-foo:x:901:\n", NULL);
	/* A user's number and another's group's are two things. */
	assert_said(sample, ROOT_USER "affix-foo:x:900:901::/:\n",
		    ROOT_GROUP "affix-foo:x:901:\nb:x:900:\n", NULL);
	/* Members of the group were made that on purpose. */
	assert_said(sample, ROOT_USER "b:x:5:5::/:\naffix-foo:x:900:901::/:\n",
		    ROOT_GROUP "affix-foo:x:901:b\nb:x:5:\n", NULL);
}

static void user_that_another_account_is_too_is_refused(void **state)
{
	struct sample_tree *sample = *state;
	const char *group = ROOT_GROUP "affix-foo:x:901:\n";

	assert_said(sample, ROOT_USER "affix-foo:x:900:901::/:\naffix-bar:x:900:5::/:\n", group,
		    "has uid 900, which is also that of 'affix-bar'");
	assert_said(sample, "bob:x:900:5::/:\naffix-foo:x:900:901::/:\n", group, "'bob'");
	assert_said(sample, "affix-foo:x:0:901::/:\n", group,
		    "uid 0, which is also that of 'root'");
}

static void group_that_another_account_has_too_is_refused(void **state)
{
	struct sample_tree *sample = *state;
	const char *user = ROOT_USER "affix-foo:x:900:901::/:\n";

	assert_said(sample, user, "affix-foo:x:901:\nstaff:x:901:\n",
		    "has gid 901, which is also that of 'staff'");
	assert_said(sample, user, "staff:x:901:\naffix-foo:x:902:\n", "'staff'");
	assert_said(sample, ROOT_USER "affix-foo:x:900:901::/:\nbob:x:5:901::/:\n",
		    "affix-foo:x:901:\n", "'bob'");
	assert_said(sample, ROOT_USER, "staff:x:901:\naffix-foo:x:901:\n", "'staff'");
	assert_said(sample, ROOT_USER, "affix-foo:x:0:\n", "'root'");
}

static void running_system_is_asked_through_nss_too(void **state)
{
	struct refusal refusal = REFUSAL_INIT;
	struct tree tree;

	(void)state;
	assert_int_equal(tree_open("/", true, &tree), 0);
	assert_int_equal(tree_check_user(&tree, "no-such-user-here", &refusal), 0);
	tree_done(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(account_that_is_not_there_yet_or_alone_is_good),
		TEST(user_that_another_account_is_too_is_refused),
		TEST(group_that_another_account_has_too_is_refused),
		cmocka_unit_test(running_system_is_asked_through_nss_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
