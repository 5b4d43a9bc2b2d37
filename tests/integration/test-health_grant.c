/* SPDX-License-Identifier: Apache-2.0 */

/* What services are in the kernel against what was granted, under a real systemd: see
 * test-manager.py. */

#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "health-fixture.h"

#define NET_RAW (1ULL << CAP_NET_RAW)

static void other_user_than_granted_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "with uid 0 instead of", "[Service]\nCapabilityBoundingSet=\n", "");
}

static void granted_capabilities_are_good(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.capabilities = NET_RAW;
	assert_good(fixture,
		    "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_NET_RAW\n"
		    "AmbientCapabilities=CAP_NET_RAW\n",
		    "");
}

static void root_with_granted_capabilities_is_good(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.user = fixture->names.root;
	fixture->plan.capabilities = NET_RAW;
	assert_good(fixture,
		    "[Service]\nUser=root\nCapabilityBoundingSet=CAP_NET_RAW\n"
		    "AmbientCapabilities=CAP_NET_RAW\n",
		    "");
}

static void missing_capabilities_are_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.capabilities = NET_RAW;
	assert_bad(fixture, "ambient capabilities 0x0 where 0x2000",
		   "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_NET_RAW\n", "");
	assert_int_equal(manager_kill(fixture->manager, SERVICE), 0);
	assert_bad(fixture, "bounding capabilities",
		   "[Service]\nUser=affix-h\nAmbientCapabilities=CAP_NET_RAW\n", "");
}

static void capabilities_that_the_host_lacks_are_bad(void **state)
{
	struct fixture *fixture = *state;

	/* CAP_WAKE_ALARM is not in a scratch host's bounding set. */
	fixture->plan.capabilities = 1ULL << CAP_WAKE_ALARM;
	assert_int_equal(watch(fixture,
			       "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_WAKE_ALARM\n"
			       "AmbientCapabilities=CAP_WAKE_ALARM\n",
			       ""),
			 HEALTH_BAD);
}

static void superfluous_capabilities_are_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "bounding capabilities 0x2000 where 0x0",
		   "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_NET_RAW\n", "");
}

static void dropped_capabilities_are_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.capabilities = NET_RAW;
	assert_bad(fixture, "ambient capabilities 0x0",
		   "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_NET_RAW\n"
		   "AmbientCapabilities=CAP_NET_RAW\n",
		   "--drop-capabilities");
}

static void file_capabilities_are_looked_for_as_permitted(void **state)
{
	static const struct vfs_cap_data granted = {
		.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
		.data = {{.permitted = (uint32_t)NET_RAW}},
	};
	static const char unit[] = "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_NET_RAW\n";
	struct fixture *fixture = *state;

	fixture->plan.capabilities = NET_RAW;
	fixture->plan.file_capabilities = true;
	assert_bad(fixture, "permitted capabilities 0x0", unit, "");
	assert_int_equal(manager_kill(fixture->manager, SERVICE), 0);
	assert_int_equal(setxattr(BINARY, "security.capability", &granted, XATTR_CAPS_SZ_2, 0), 0);
	assert_int_equal(watch(fixture, unit, ""), HEALTH_GOOD);
	assert_int_equal(removexattr(BINARY, "security.capability"), 0);
}

static void other_program_than_the_plans_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "runs '/usr/bin/sleep' instead of '" BINARY "'", SANDBOX,
		   "--exec /usr/bin/sleep");
}

static void program_that_was_replaced_is_bad(void **state)
{
	struct fixture *fixture = *state;
	uint64_t begin;

	write_unit(fixture, SERVICE, SANDBOX, "");
	start(fixture, SERVICE);
	clock_sleep_usec(SECOND / 2);
	assert_int_equal(
		health_look(fixture->manager, &fixture->plan, &fixture->tree, &fixture->health), 0);
	assert_int_equal(fixture->health.state, HEALTH_GOOD);
	on_host_shell("cd " HOME "/current; cp -p daemon new; mv new daemon");
	begin = clock_monotonic_usec();
	assert_int_equal(
		health_watch(fixture->manager, &fixture->plan, &fixture->tree, 0, &fixture->health),
		0);
	assert_int_equal(fixture->health.state, HEALTH_BAD);
	assert_reason(fixture, "(deleted)");
	assert_in_range(clock_monotonic_usec() - begin, 0, MUCH_LATER);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		HEALTH_TEST(other_user_than_granted_is_bad),
		HEALTH_TEST(granted_capabilities_are_good),
		HEALTH_TEST(root_with_granted_capabilities_is_good),
		HEALTH_TEST(missing_capabilities_are_bad),
		HEALTH_TEST(capabilities_that_the_host_lacks_are_bad),
		HEALTH_TEST(superfluous_capabilities_are_bad),
		HEALTH_TEST(dropped_capabilities_are_bad),
		HEALTH_TEST(file_capabilities_are_looked_for_as_permitted),
		HEALTH_TEST(other_program_than_the_plans_is_bad),
		HEALTH_TEST(program_that_was_replaced_is_bad),
	};

	prepare_host();
	return ON_HOST_RUN(tests, argc, argv);
}
