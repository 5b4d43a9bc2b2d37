/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/overrides.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

static void an_override_says_on_off_or_nothing(void **state)
{
	static const char text[] =
		"{\"schema\":1,\"addons\":{\"a\":{\"enabled\":true},\"b\":{\"enabled\":false},\"c\":{\"enabled\":null},\"d\":{}}}";
	cleanup_overrides struct overrides overrides = OVERRIDES_INIT;

	(void)state;
	assert_int_equal(overrides_parse(text, strlen(text), &overrides), 0);
	assert_string_equal(overrides.problem, "");
	assert_int_equal(overrides_enabled(&overrides, "a"), OVERRIDES_ON);
	assert_int_equal(overrides_enabled(&overrides, "b"), OVERRIDES_OFF);
	assert_int_equal(overrides_enabled(&overrides, "c"), OVERRIDES_AS_OFFERED);
	assert_int_equal(overrides_enabled(&overrides, "d"), OVERRIDES_AS_OFFERED);
	assert_int_equal(overrides_enabled(&overrides, "e"), OVERRIDES_AS_OFFERED);
}

static void anything_wrong_makes_the_whole_file_count_for_nothing(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"schema\":2,\"addons\":{}}",
		"{\"schema\":1}",
		"{\"schema\":1,\"addons\":{},\"more\":1}",
		"{\"schema\":1,\"addons\":[]}",
		"{\"schema\":1,\"addons\":{\"Bad Id\":{}}}",
		"{\"schema\":1,\"addons\":{\"a\":{\"enabled\":true},\"b\":7}}",
		"{\"schema\":1,\"addons\":{\"a\":{\"enabled\":\"yes\"}}}",
		"{\"schema\":1,\"addons\":{\"a\":{\"version\":\"1.0.0\"}}}",
		"{\"schema\":1,\"addons\":{\"a\":{\"config\":[]}}}",
		"{\"schema\":1,\"addons\":{\"a\":{\"capabilities\":\"cap_bpf\"}}}",
		"{\"schema\":1,\"addons\":{\"a\":{\"capabilities\":[\"cap_everything\"]}}}",
		"{\"schema\":1,\"addons\":{\"a\":{\"limits\":{\"tasks_max\":-1}}}}",
		"{\"schema\":1,\"addons\":{\"a\":{\"limits\":[]}}}",
		"{\"schema\":1,\"addons\":{\"a\":{}},\"addons\":{}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_overrides struct overrides overrides = OVERRIDES_INIT;

		if (overrides_parse(bad[i], strlen(bad[i]), &overrides) != 1)
			fail_msg("accepted: %s", bad[i]);
		assert_string_not_equal(overrides.problem, "");
		assert_null(overrides.addons);
		assert_int_equal(overrides_enabled(&overrides, "a"), OVERRIDES_AS_OFFERED);
	}
}

static char path[64];

static int make_file(void **state)
{
	static const char text[] = "{\"schema\":1,\"addons\":{\"a\":{\"enabled\":false}}}";
	cleanup_fd int fd = -EBADF;

	(void)state;
	(void)snprintf(path, sizeof(path), "/tmp/affix-overrides.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0 && fd_write_full(fd, text, strlen(text)) == 0);
	assert_int_equal(fchmod(fd, 0644), 0);
	return 0;
}

static int remove_file(void **state)
{
	(void)state;
	(void)unlink(path);
	return 0;
}

static enum overrides_enabled loaded(bool *ret_problem)
{
	cleanup_overrides struct overrides overrides = OVERRIDES_INIT;

	assert_int_equal(overrides_load(path, &overrides), 0);
	*ret_problem = overrides.problem[0] != '\0';
	return overrides_enabled(&overrides, "a");
}

static void only_a_file_of_root_that_nobody_else_may_write_counts(void **state)
{
	bool is_problem = true;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(loaded(&is_problem), OVERRIDES_OFF);
	assert_false(is_problem);
	assert_int_equal(chmod(path, 0664), 0);
	assert_int_equal(loaded(&is_problem), OVERRIDES_AS_OFFERED);
	assert_true(is_problem);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(chown(path, 65534, 0), 0);
	assert_int_equal(loaded(&is_problem), OVERRIDES_AS_OFFERED);
	assert_true(is_problem);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/hostname", path), 0);
	assert_int_equal(loaded(&is_problem), OVERRIDES_AS_OFFERED);
	assert_true(is_problem);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(loaded(&is_problem), OVERRIDES_AS_OFFERED);
	assert_true(is_problem);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(loaded(&is_problem), OVERRIDES_AS_OFFERED);
	assert_false(is_problem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_override_says_on_off_or_nothing),
		cmocka_unit_test(anything_wrong_makes_the_whole_file_count_for_nothing),
		cmocka_unit_test_setup_teardown(
			only_a_file_of_root_that_nobody_else_may_write_counts, make_file,
			remove_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
