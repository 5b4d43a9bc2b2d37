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
		"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/crio-" ID_64
		".scope",
		"0::/kubepods/besteffort/pod1/" ID_64 "/init.scope",
		"0::/machine.slice/libpod-" ID_64 ".scope/container",
		"0::/libpod_parent/libpod-" ID_64,
		"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID_64
		".scope",
		"0::/system.slice/nerdctl-" ID_64 ".scope",
		"4:cpu:/ecs/0123456789abcdef0123456789abcdef/" ID_64,
	};
	char id[FLOW_CONTAINER_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_true(container_id_parse(paths[i], id));
		assert_string_equal(id, ID_64);
	}
}

static void a_machine_is_known_by_its_name(void **state)
{
	char id[FLOW_CONTAINER_MAX + 1];

	(void)state;
	assert_true(container_id_parse("0::/lxc.payload.web-1/system.slice/cron.service", id));
	assert_string_equal(id, "web-1");
	assert_true(container_id_parse("0::/lxc/db_2", id));
	assert_string_equal(id, "db_2");
	assert_true(container_id_parse("0::/machine.slice/systemd-nspawn@deb.service/payload", id));
	assert_string_equal(id, "deb");
	assert_false(container_id_parse("0::/machine.slice/systemd-nspawn@.service", id));
	assert_false(container_id_parse("0::/lxc.payload." ID_64 "x", id));
	assert_false(container_id_parse("0::/lxc.payload.a b", id));
}

static void what_looks_like_an_id_elsewhere_is_none(void **state)
{
	static const char *const paths[] = {
		"0::/" ID_64,
		"0::/system.slice/backup-" ID_64 ".service",
		"0::/user.slice/user-1000.slice/" ID_64,
		"0::/docker/nested/" ID_64,
		"0::/docker-" ID_64 ".service",
		"0::/x-docker-" ID_64 ".scope",
		"0::/garden/" ID_32,
		"0::/crio-conmon-" ID_64 ".scope",
	};
	char id[FLOW_CONTAINER_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_false(container_id_parse(paths[i], id));
		assert_string_equal(id, "");
	}
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
	assert_true(container_id_parse("/lxc/outer/docker/" ID_64, id));
	assert_string_equal(id, "outer");
	assert_true(container_id_parse("/docker/" ID_64 "/lxc/inner", id));
	assert_string_equal(id, ID_64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_is_found_in_the_paths_that_runtimes_make),
		cmocka_unit_test(a_machine_is_known_by_its_name),
		cmocka_unit_test(what_looks_like_an_id_elsewhere_is_none),
		cmocka_unit_test(runs_of_another_length_are_no_ids),
		cmocka_unit_test(the_first_id_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
