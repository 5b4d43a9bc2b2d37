/* SPDX-License-Identifier: Apache-2.0 */

#include "netprobe/container.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ID_32 "0123456789abcdef0123456789abcdef"
#define ID_64 "0123456789abcdef0123456789abcdeffedcba9876543210fedcba9876543210"

static void an_id_is_found_in_the_paths_that_runtimes_make(void **state)
{
	static const char *const paths[] = {
		"0::/docker/" ID_64,
		"0::/system.slice/docker-" ID_64 ".scope",
		"12:memory:/kubepods/burstable/pod8f0c9d3e-8f2f-4d6e-9a6b-5a0f7c0f9f11/" ID_64,
		"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" ID_64 ".scope/init",
		"0::/machine.slice/libpod-" ID_64 ".scope/container",
	};
	char id[FLOW_CONTAINER_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_true(container_id_parse(paths[i], id));
		assert_string_equal(id, ID_64);
	}
	assert_true(container_id_parse("/garden/" ID_32, id));
	assert_string_equal(id, ID_32);
}

static void runs_of_another_length_are_no_ids(void **state)
{
	static const char *const paths[] = {
		"",
		"0::/",
		"0::/system.slice/ssh.service",
		"0::/docker/0" ID_64,
		"0::/docker/0" ID_32,
		"0::/user.slice/user-1000.slice/session-0123456789abcdef.scope",
	};
	char id[FLOW_CONTAINER_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_false(container_id_parse(paths[i], id));
		assert_string_equal(id, "");
	}
}

static void the_first_id_counts(void **state)
{
	char id[FLOW_CONTAINER_MAX + 1];

	(void)state;
	assert_true(container_id_parse("/" ID_32 "/docker/" ID_64, id));
	assert_string_equal(id, ID_32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_is_found_in_the_paths_that_runtimes_make),
		cmocka_unit_test(runs_of_another_length_are_no_ids),
		cmocka_unit_test(the_first_id_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
