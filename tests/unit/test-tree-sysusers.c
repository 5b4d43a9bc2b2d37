/* SPDX-License-Identifier: Apache-2.0 */

/* user_addition_prepare() beside the real systemd-sysusers, on the same files. */

#include "plan/tree.h"

#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "sample_tree.h"

#define SYSUSERS  "/usr/bin/systemd-sysusers"
#define DAY_20000 "1728000000"

static const char *const names[] = {"passwd", "group", "shadow", "gshadow"};

/* What the four files hold before. */
struct situation {
	const char *texts[ARRAY_SIZE(names)];
};

static const struct situation situations[] = {
	{{"root:x:0:0:root:/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n"
	  "systemd-network:x:998:998:systemd Network Management:/:/usr/sbin/nologin\n",
	  "root:x:0:\nsystemd-journal:x:999:\nsystemd-network:x:998:\n",
	  "root:*:19000:0:99999:7:::\n_apt:*:19000:0:99999:7:::\nsystemd-network:!*:19000::::::\n",
	  "root:*::\nsystemd-journal:!*::\nsystemd-network:!*::\n"}},
	/* A user has the highest number that is no group's. */
	{{"root:x:0:0:root:/root:/bin/bash\nsolo:x:999:0::/:/bin/sh\n",
	  "root:x:0:\nonly:x:998:solo\n", "root:*:19000:0:99999:7:::\nsolo:*:19000::::::\n",
	  "root:*::\nonly:!*::\n"}},
	/* The group is there already, with a number that is free as a user's, and one that is not.
	 */
	{{"root:x:0:0:root:/root:/bin/bash\n", "root:x:0:\naffix-foo:x:300:\n",
	  "root:*:19000:0:99999:7:::\n", "root:*::\naffix-foo:!*::\n"}},
	{{"root:x:0:0:root:/root:/bin/bash\nsolo:x:300:0::/:/bin/sh\n",
	  "root:x:0:\naffix-foo:x:300:\n", "root:*:19000:0:99999:7:::\nsolo:*:19000::::::\n",
	  "root:*::\naffix-foo:!*::\n"}},
	/* The user is there already, without the group. */
	{{"root:x:0:0:root:/root:/bin/bash\naffix-foo:x:400:0::/:/bin/sh\n", "root:x:0:\n",
	  "root:*:19000:0:99999:7:::\naffix-foo:!*:20000::::::\n", "root:*::\n"}},
	/* NIS entries stay at the end. */
	{{"root:x:0:0:root:/root:/bin/bash\n+::::::\n", "root:x:0:\n+:::\n",
	  "root:*:19000:0:99999:7:::\n+::::::::\n", "root:*::\n"}},
};

static struct sample_tree *make_tree(const struct situation *situation)
{
	struct sample_tree *sample = sample_tree_new();

	sample_mkdir(sample, "etc");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[32];

		(void)snprintf(path, sizeof(path), "etc/%s", names[i]);
		sample_write(sample, path, situation->texts[i], i < 2 ? 0644 : 0640);
	}
	return sample;
}

static void run_sysusers(const struct sample_tree *sample)
{
	char root[96];
	char config[96];
	char *const argv[] = {(char *)"systemd-sysusers", root, config, NULL};
	char *const envp[] = {(char *)"SOURCE_DATE_EPOCH=" DAY_20000,
			      (char *)"SYSTEMD_LOG_LEVEL=err", NULL};
	pid_t pid = -1;
	int status = -1;

	sample_write(sample, "foo.conf", "u affix-foo - \"affix add-on foo\" - -\n", 0644);
	(void)snprintf(root, sizeof(root), "--root=%s", sample->path);
	(void)snprintf(config, sizeof(config), "%s/foo.conf", sample->path);
	assert_int_equal(posix_spawn(&pid, SYSUSERS, NULL, NULL, argv, envp), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void files_are_those_of_systemd_sysusers(void **state)
{
	(void)state;
	assert_int_equal(setenv("SOURCE_DATE_EPOCH", DAY_20000, 1), 0);
	for (size_t s = 0; s < ARRAY_SIZE(situations); s++) {
		struct sample_tree *theirs = make_tree(&situations[s]);
		struct sample_tree *ours = make_tree(&situations[s]);

		run_sysusers(theirs);
		assert_int_equal(sample_add_user(ours, "affix-foo", "affix add-on foo"), 0);
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			cleanup_free char *expected = NULL;
			cleanup_free char *text = NULL;
			char path[32];

			(void)snprintf(path, sizeof(path), "etc/%s", names[i]);
			expected = sample_read(theirs, path);
			text = sample_read(ours, path);
			if (!expected || !text || strcmp(expected, text) != 0)
				fail_msg("situation %zu, %s: '%s', expected '%s'", s, path,
					 text ? text : "", expected ? expected : "");
		}
		sample_tree_free(theirs);
		sample_tree_free(ours);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_those_of_systemd_sysusers),
	};
	struct stat st;

	if (stat(SYSUSERS, &st) < 0) {
		(void)fprintf(stderr, SYSUSERS " is not here, nothing to compare with\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
