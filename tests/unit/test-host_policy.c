/* SPDX-License-Identifier: Apache-2.0 */

#include "manifest/host_policy.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"

static struct host_policy *parse(const char *text)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	struct host_policy *policy = NULL;

	assert_int_equal(host_policy_parse(text, strlen(text), "updater.yaml", &policy, &problems),
			 0);
	assert_int_equal(problems.count, 0);
	return policy;
}

static void assert_problem(const char *text, unsigned line, unsigned column, const char *part)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	struct host_policy *policy = NULL;

	assert_int_equal(host_policy_parse(text, strlen(text), "updater.yaml", &policy, &problems),
			 1);
	assert_null(policy);
	assert_int_equal(problems.count, 1);
	assert_int_equal(problems.items[0].code, REFUSAL_BAD_HOST_POLICY);
	assert_int_equal(problems.items[0].line, line);
	assert_int_equal(problems.items[0].column, column);
	if (!strstr(problems.items[0].message, part))
		fail_msg("'%s' is not in '%s'", part, problems.items[0].message);
}

static void built_in_policy_allows_six_capabilities_and_no_foreign_user(void **state)
{
	static const char *const six[] = {"cap_net_raw", "cap_net_admin", "cap_net_bind_service",
					  "cap_bpf",     "cap_perfmon",   "cap_dac_read_search"};
	cleanup_host_policy struct host_policy *policy = NULL;

	(void)state;
	assert_int_equal(host_policy_default(&policy), 0);
	assert_int_equal(policy->capabilities.count, ARRAY_SIZE(six));
	for (size_t i = 0; i < ARRAY_SIZE(six); i++)
		assert_true(strv_has(&policy->capabilities, six[i]));
	assert_true(strv_has(&policy->targets, "multi-user.target"));
	assert_true(strv_has(&policy->read_only_paths, "/etc/ssl/certs"));
	assert_int_equal(policy->protected_ids.count, 0);
	assert_int_equal(policy->keep_versions, 2);
	assert_false(policy->results_carry_logs);
	assert_true(host_policy_allows_user(policy, "demo", "affix-demo"));
	assert_false(host_policy_allows_user(policy, "demo", "affix-demo2"));
	assert_false(host_policy_allows_user(policy, "demo", "affix-"));
	assert_false(host_policy_allows_user(policy, "demo", "root"));
}

static void a_key_replaces_its_default_and_no_other(void **state)
{
	cleanup_host_policy struct host_policy *policy =
		parse("capabilities: [NET_RAW]\nprotected: [edr]\nkeep_versions: 5\n"
		      "results_carry_logs: true\nread_only_paths: [/srv]\nx-note: 1\n");

	(void)state;
	assert_int_equal(policy->capabilities.count, 1);
	assert_string_equal(policy->capabilities.items[0], "cap_net_raw");
	assert_true(strv_has(&policy->protected_ids, "edr"));
	assert_int_equal(policy->keep_versions, 5);
	assert_true(policy->results_carry_logs);
	assert_int_equal(policy->read_only_paths.count, 1);
	assert_true(strv_has(&policy->targets, "timers.target"));
}

static void an_empty_list_allows_nothing(void **state)
{
	cleanup_host_policy struct host_policy *policy = parse("capabilities: []\n");

	(void)state;
	assert_int_equal(policy->capabilities.count, 0);
}

static void users_are_allowed_to_one_add_on_each(void **state)
{
	cleanup_host_policy struct host_policy *policy =
		parse("users:\n  edr: root\n  logs: [adm, syslog]\n");

	(void)state;
	assert_true(host_policy_allows_user(policy, "edr", "root"));
	assert_true(host_policy_allows_user(policy, "logs", "adm"));
	assert_true(host_policy_allows_user(policy, "logs", "syslog"));
	assert_false(host_policy_allows_user(policy, "logs", "root"));
	assert_false(host_policy_allows_user(policy, "demo", "root"));
}

static void mistakes_are_told_with_their_place(void **state)
{
	(void)state;
	assert_problem("capabilites: [bpf]\n", 1, 1, "did you mean 'capabilities'?");
	assert_problem("capabilities: [all]\n", 1, 16, "a Linux capability");
	assert_problem("capabilities: all\n", 1, 15, "must be a list");
	assert_problem("protected: [Agent]\n", 1, 13, "the id of an add-on");
	assert_problem("users: [root]\n", 1, 8, "must be a mapping");
	assert_problem("users: {edr: 0}\n", 1, 14, "must be text");
	assert_problem("users: {edr: 'a b'}\n", 1, 14, "a user name");
	assert_problem("users: {edr: []}\n", 1, 14, "empty list");
	assert_problem("users: {updater: root}\n", 1, 9, "not the id of an add-on");
	assert_problem("users: {a: b, a: c}\n", 1, 15, "given twice");
	assert_problem("targets: [ssh.service]\n", 1, 11, "the name of a target");
	assert_problem("read_only_paths: [/etc/../root]\n", 1, 19, "an absolute path");
	assert_problem("keep_versions: 0\n", 1, 16, "from 1 to 100");
	assert_problem("results_carry_logs: 1\n", 1, 21, "true or false");
	assert_problem("", 1, 1, "empty");
}

/* A scratch root with /etc/affix/updater.yaml in it. */
struct tree {
	char path[32];
	int root;
	int directory;
};

static int make_tree(void **state)
{
	static struct tree tree;

	tree = (struct tree){.path = "/tmp/affix-test-XXXXXX", .root = -EBADF, .directory = -EBADF};
	assert_non_null(mkdtemp(tree.path));
	tree.root = open(tree.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(tree.root >= 0);
	assert_int_equal(mkdirat(tree.root, "etc", 0755), 0);
	assert_int_equal(mkdirat(tree.root, "etc/affix", 0755), 0);
	tree.directory = openat(tree.root, "etc/affix", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(tree.directory >= 0);
	*state = &tree;
	return 0;
}

static int remove_tree(void **state)
{
	struct tree *tree = *state;
	cleanup_fd int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);

	tree->root = fd_close(tree->root);
	tree->directory = fd_close(tree->directory);
	return tree_remove(tmp, path_last_name(tree->path));
}

static void put(const struct tree *tree, const char *text, mode_t mode, uid_t uid)
{
	const struct file_attributes attributes = {.mode = mode, .uid = uid, .gid = getegid()};

	assert_int_equal(
		file_replace(tree->directory, "updater.yaml", text, strlen(text), &attributes), 0);
}

static void assert_refused(const struct tree *tree, const char *part)
{
	cleanup_host_policy struct host_policy *policy = NULL;
	struct refusal refusal = REFUSAL_INIT;

	assert_int_equal(host_policy_load(tree->root, &policy, &refusal), REFUSAL_BAD_HOST_POLICY);
	assert_null(policy);
	assert_int_equal(refusal.code, REFUSAL_BAD_HOST_POLICY);
	if (!strstr(refusal.text, part))
		fail_msg("'%s' is not in '%s'", part, refusal.text);
}

static void an_absent_file_is_the_built_in_policy(void **state)
{
	const struct tree *tree = *state;
	cleanup_host_policy struct host_policy *policy = NULL;

	assert_int_equal(host_policy_load(tree->root, &policy, NULL), 0);
	assert_int_equal(policy->capabilities.count, 6);
}

static void a_file_of_root_is_read(void **state)
{
	const struct tree *tree = *state;
	cleanup_host_policy struct host_policy *policy = NULL;

	put(tree, "keep_versions: 7\n", 0600, geteuid());
	assert_int_equal(host_policy_load(tree->root, &policy, NULL), 0);
	assert_int_equal(policy->keep_versions, 7);
}

static void a_file_that_others_may_write_is_refused(void **state)
{
	const struct tree *tree = *state;

	put(tree, "keep_versions: 7\n", 0664, geteuid());
	assert_refused(tree, "can be written by others");
	put(tree, "keep_versions: 7\n", 0602, geteuid());
	assert_refused(tree, "can be written by others");
	if (geteuid() == 0) {
		put(tree, "keep_versions: 7\n", 0600, 1);
		assert_refused(tree, "belongs to uid 1");
	}
}

static void a_file_that_is_none_is_refused(void **state)
{
	const struct tree *tree = *state;

	assert_int_equal(mkfifoat(tree->root, "etc/affix/updater.yaml", 0600), 0);
	assert_refused(tree, "not a regular file");
	assert_int_equal(unlinkat(tree->root, "etc/affix/updater.yaml", 0), 0);
	assert_int_equal(mkdirat(tree->root, "etc/affix/updater.yaml", 0700), 0);
	assert_refused(tree, "not a regular file");
}

static void a_broken_or_large_file_is_refused_and_not_the_default(void **state)
{
	const struct tree *tree = *state;
	cleanup_free char *large = calloc(1, HOST_POLICY_SIZE_MAX + 2);

	put(tree, "protected: [a, b\n", 0600, geteuid());
	assert_refused(tree, "/etc/affix/updater.yaml:2:1: YAML");
	put(tree, "a: 1\nb: 1\n", 0600, geteuid());
	assert_refused(tree, "/etc/affix/updater.yaml:1:1: 'a' is not a known key");
	put(tree, "a: 1\nb: 1\n", 0600, geteuid());
	assert_refused(tree, "1 more");
	assert_non_null(large);
	memset(large, '#', HOST_POLICY_SIZE_MAX + 1);
	put(tree, large, 0600, geteuid());
	assert_refused(tree, "larger than 64 KiB");
}

static void a_link_is_followed_inside_the_root_only(void **state)
{
	const struct tree *tree = *state;
	cleanup_host_policy struct host_policy *policy = NULL;

	assert_int_equal(symlinkat("/etc/passwd", tree->root, "etc/affix/updater.yaml"), 0);
	assert_int_equal(host_policy_load(tree->root, &policy, NULL), 0);
	assert_int_equal(policy->keep_versions, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(built_in_policy_allows_six_capabilities_and_no_foreign_user),
		cmocka_unit_test(a_key_replaces_its_default_and_no_other),
		cmocka_unit_test(an_empty_list_allows_nothing),
		cmocka_unit_test(users_are_allowed_to_one_add_on_each),
		cmocka_unit_test(mistakes_are_told_with_their_place),
		cmocka_unit_test_setup_teardown(an_absent_file_is_the_built_in_policy, make_tree,
						remove_tree),
		cmocka_unit_test_setup_teardown(a_file_of_root_is_read, make_tree, remove_tree),
		cmocka_unit_test_setup_teardown(a_file_that_others_may_write_is_refused, make_tree,
						remove_tree),
		cmocka_unit_test_setup_teardown(a_file_that_is_none_is_refused, make_tree,
						remove_tree),
		cmocka_unit_test_setup_teardown(
			a_broken_or_large_file_is_refused_and_not_the_default, make_tree,
			remove_tree),
		cmocka_unit_test_setup_teardown(a_link_is_followed_inside_the_root_only, make_tree,
						remove_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
