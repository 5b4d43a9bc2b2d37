/* SPDX-License-Identifier: Apache-2.0 */

#include "netprobe/cgroup_root.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void the_hierarchy_is_found_wherever_it_is_mounted(void **state)
{
	char hybrid[] = "40 30 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
	char unified[] = "26 21 0:23 / /sys/fs/cgroup rw shared:4 master:1 - cgroup2 none rw\n";

	(void)state;
	assert_string_equal(cgroup_root_parse(hybrid), "/sys/fs/cgroup/unified");
	assert_string_equal(cgroup_root_parse(unified), "/sys/fs/cgroup");
}

static void other_hierarchies_and_parts_of_it_are_not_taken(void **state)
{
	static const char *const lines[] = {
		"31 30 0:28 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n",
		"40 30 0:37 /system.slice /mnt rw,relatime - cgroup2 cgroup2 rw\n",
		"40 30 0:37 / /mnt/-\\040cgroup2 rw,relatime - tmpfs cgroup2 rw\n",
		"",
		" - cgroup2 ",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		char line[128];

		(void)snprintf(line, sizeof(line), "%s", lines[i]);
		assert_null(cgroup_root_parse(line));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hierarchy_is_found_wherever_it_is_mounted),
		cmocka_unit_test(other_hierarchies_and_parts_of_it_are_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
