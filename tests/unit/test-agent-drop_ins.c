/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/drop_ins.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "own_directory.h"

static char top[64];
static const char *directories[] = {"/nonexistent", top, NULL};
static char before[DESIRED_KEY_SIZE];

static int begin(void **state)
{
	(void)state;
	own_directory_make(top);
	return 0;
}

static int end(void **state)
{
	(void)state;
	own_directory_remove(top);
	return 0;
}

static void write_file(const char *directory, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", top, directory);
	(void)mkdir(path, 0755);
	(void)snprintf(path, sizeof(path), "%s/%s/%s", top, directory, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void remove_file(const char *directory, const char *name)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s/%s", top, directory, name);
	assert_int_equal(unlink(path), 0);
}

static void remember(const char *id)
{
	assert_int_equal(drop_ins_digest(directories, id, before), 0);
}

static bool is_as_before(const char *id)
{
	char now[DESIRED_KEY_SIZE];

	assert_int_equal(drop_ins_digest(directories, id, now), 0);
	return strcmp(now, before) == 0;
}

static void none_are_no_digest(void **state)
{
	(void)state;
	remember("probe");
	assert_string_equal(before, "");
	write_file("affix-probe.service.d", "50-affix.conf", "ours");
	write_file("affix-probe.service.d", "zz-affix-policy.conf", "ours");
	write_file("affix-probe.service.d", "README", "no drop-in");
	assert_true(is_as_before("probe"));
}

static void one_that_comes_is_written_or_goes_is_noticed(void **state)
{
	(void)state;
	write_file("affix-probe.service.d", "local.conf", "a");
	remember("probe");
	assert_int_equal(strlen(before), DESIRED_KEY_SIZE - 1);
	assert_true(is_as_before("probe"));
	write_file("affix-probe.service.d", "local.conf", "longer");
	assert_false(is_as_before("probe"));
	remember("probe");
	write_file("affix-probe_job.timer.d", "other.conf", "");
	assert_false(is_as_before("probe"));
	remove_file("affix-probe_job.timer.d", "other.conf");
	assert_true(is_as_before("probe"));
	remove_file("affix-probe.service.d", "local.conf");
	assert_false(is_as_before("probe"));
}

static void what_counts_is_what_systemd_reads_for_the_units(void **state)
{
	static const struct {
		const char *directory;
		bool counts;
	} cases[] = {
		{"service.d",                    true },
		{"timer.d",                      true },
		{"affix-.service.d",             true },
		{"affix-net-.service.d",         true },
		{"affix-net-probe.service.d",    true },
		{"affix-net-probe_job.timer.d",  true },
		{"affix-net-probe.socket.d",     false},
		{"affix-net-probe2.service.d",   false},
		{"affix-net.service.d",          false},
		{"affix-net-probe-x.service.d",  false},
		{"affix-other-.service.d",       false},
		{"affix-net-probe.service",      false},
		{"affix-net-probe_jobservice.d", false},
		{".service.d",                   false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		remember("net-probe");
		write_file(cases[i].directory, "local.conf", "x");
		if (is_as_before("net-probe") == cases[i].counts)
			fail_msg("%s", cases[i].directory);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(none_are_no_digest, begin, end),
		cmocka_unit_test_setup_teardown(one_that_comes_is_written_or_goes_is_noticed, begin,
						end),
		cmocka_unit_test_setup_teardown(what_counts_is_what_systemd_reads_for_the_units,
						begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
