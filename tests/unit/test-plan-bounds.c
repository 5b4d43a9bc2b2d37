/* SPDX-License-Identifier: Apache-2.0 */

#include "plan/plan_bounds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void units_of_an_id_are_no_other_ids(void **state)
{
	static const char *const own[] = {"affix-foo.service", "affix-foo.timer",
					  "affix-foo_part-2.service"};
	static const char *const foreign[] = {
		"foo.service",         "affix-foo-bar.service", "affix-foobar.service",
		"affix-fo.timer",      "affix-foo.socket",      "affix-foo",
		"affix-foo.mount",     "affix-foo_.d",          "affix-foo@.service",
		"affix-foo/x.service", "affix-foo.x.service"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		assert_true(plan_bounds_is_own_unit("foo", own[i]));
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		assert_false(plan_bounds_is_own_unit("foo", foreign[i]));
}

static void directories_are_own_or_shared(void **state)
{
	static const char *const good[] = {"/opt",
					   "/opt/affix",
					   "/opt/affix/foo",
					   "/opt/affix/foo/versions/1.0.0",
					   "/etc/systemd/system/affix-foo.service.d",
					   "/etc/systemd/system/affix-foo_a.timer.d",
					   "/etc/systemd/system/multi-user.target.wants",
					   "/etc/systemd/system/timers.target.requires",
					   "/etc/systemd/system/affix-foo.service.wants",
					   "/etc/systemd/system/affix-foo_a.timer.requires",
					   "/etc/affix/addons"};
	static const char *const bad[] = {"/",
					  "/opt/affix/foo-bar",
					  "/opt/affix/foo/",
					  "/opt/affix/foo/../bar",
					  "/etc/affix/trust.d",
					  "/etc/systemd/system/sshd.service.d",
					  "/etc/systemd/system/affix-foo.service",
					  "/etc/systemd/system/affix-foo.service.d/x",
					  "/etc/systemd/system/affix-foo-bar.service.d",
					  "/etc/systemd/system/sshd.service.wants",
					  "/etc/systemd/system/affix-foo-bar.service.wants",
					  "/etc/systemd/system/affix-foo.service.upholds",
					  "/etc/systemd/system/a.target.wants/b.target.wants",
					  "/var/lib/affix/foo",
					  "/usr"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(plan_bounds_allow_directory("foo", good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(plan_bounds_allow_directory("foo", bad[i]));
}

static void state_is_below_the_four_bases_under_the_id(void **state)
{
	(void)state;
	assert_true(plan_bounds_allow_state("foo", "/var/lib/affix/foo"));
	assert_true(plan_bounds_allow_state("foo", "/var/log/affix/foo/a/b"));
	assert_true(plan_bounds_allow_state("foo", "/var/cache/affix/foo"));
	assert_true(plan_bounds_allow_state("foo", "/run/affix/foo/x.sock"));
	assert_false(plan_bounds_allow_state("foo", "/var/lib/affix"));
	assert_false(plan_bounds_allow_state("foo", "/var/lib/affix/foo/../bar"));
	assert_false(plan_bounds_allow_state("foo", "/var/lib/affix/foobar"));
	assert_false(plan_bounds_allow_state("foo", "/etc/affix/foo"));
}

static bool allows(enum plan_object_type type, const char *path, const char *entry,
		   const char *target)
{
	const struct plan plan = {
		.identity = {.id = "foo", .version = "1.0.0"}
        };
	const struct plan_object object = {
		.type = type,
		.path = (char *)path,
		.entry = (char *)entry,
		.target = (char *)target,
	};

	return plan_bounds_allow_object(&plan, &object);
}

static void bundle_files_stand_in_the_version_directory_under_their_names(void **state)
{
	(void)state;
	assert_true(allows(PLAN_FILE, "/opt/affix/foo/versions/1.0.0/bin", "bin", NULL));
	assert_false(allows(PLAN_FILE, "/opt/affix/foo/versions/1.0.0/bin", "other", NULL));
	assert_false(allows(PLAN_FILE, "/opt/affix/foo/versions/2.0.0/bin", "bin", NULL));
	assert_false(allows(PLAN_FILE, "/opt/affix/foo/versions/1.0.0/a/b", "a/b", NULL));
	assert_false(allows(PLAN_FILE, "/opt/affix/foo/bin", "bin", NULL));
	assert_false(allows(PLAN_FILE, "/etc/systemd/system/affix-foo.service", "affix-foo.service",
			    NULL));
}

static void inline_files_stand_in_etc(void **state)
{
	static const char *const good[] = {
		"/etc/systemd/system/affix-foo.service",
		"/etc/systemd/system/affix-foo_a.timer",
		"/etc/systemd/system/affix-foo.service.d/zz-affix-policy.conf",
		"/etc/sysusers.d/affix-foo.conf",
		"/etc/tmpfiles.d/affix-foo.conf",
		"/etc/affix/addons/foo.json",
	};
	static const char *const bad[] = {
		"/etc/systemd/system/affix-foo-bar.service",
		"/etc/systemd/system/affix-foo.service.d/x",
		"/etc/systemd/system/affix-foo.service.d/a/b.conf",
		"/etc/systemd/system/ssh.service.d/x.conf",
		"/etc/sysusers.d/affix-foo-bar.conf",
		"/etc/sysusers.d/affix-foo.conf.d",
		"/etc/affix/addons/bar.json",
		"/etc/affix/addons.d/foo.json",
		"/etc/affix/updater.yaml",
		"/opt/affix/foo/versions/1.0.0/bin",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(allows(PLAN_FILE, good[i], NULL, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(allows(PLAN_FILE, bad[i], NULL, NULL));
}

static void links_are_current_and_enablement_only(void **state)
{
	static const char enabled[] =
		"/etc/systemd/system/multi-user.target.wants/affix-foo.service";
	static const char own[] =
		"/etc/systemd/system/affix-foo_a.service.requires/affix-foo.service";
	static const char unit[] = "/etc/systemd/system/affix-foo.service";

	(void)state;
	assert_true(allows(PLAN_LINK, "/opt/affix/foo/current", NULL, "versions/1.0.0"));
	assert_false(allows(PLAN_LINK, "/opt/affix/foo/current", NULL, "versions/2.0.0"));
	assert_false(allows(PLAN_LINK, "/opt/affix/foo/other", NULL, "versions/1.0.0"));
	assert_true(allows(PLAN_LINK, enabled, NULL, unit));
	assert_true(allows(PLAN_LINK, own, NULL, unit));
	assert_false(allows(PLAN_LINK, own, NULL, "/etc/systemd/system/ssh.service"));
	assert_false(allows(PLAN_LINK, enabled, NULL, "/etc/systemd/system/ssh.service"));
	assert_false(allows(PLAN_LINK, enabled, NULL, "../affix-foo.service"));
	assert_false(allows(PLAN_LINK, unit, NULL, unit));
	assert_false(
		allows(PLAN_LINK, "/etc/systemd/system/x.service.d/affix-foo.service", NULL, unit));
}

static void shared_directories_are_marked_as_such(void **state)
{
	(void)state;
	assert_false(allows(PLAN_DIRECTORY, "/etc/affix", NULL, NULL));
	assert_true(allows(PLAN_DIRECTORY, "/opt/affix/foo", NULL, NULL));
}

/* Whether a plan of affix itself, of the id "vm", may have it. */
static bool allows_own(const struct plan_object *object)
{
	const struct plan plan = {
		.identity = {.id = "vm", .version = "1.0.0"}
        };

	return plan_bounds_allow_object(&plan, object);
}

static bool allows_own_file(const char *path)
{
	const struct plan_object object = {.type = PLAN_FILE, .path = (char *)path};

	return allows_own(&object);
}

static bool allows_own_link(const char *path, const char *target)
{
	const struct plan_object object = {
		.type = PLAN_LINK, .path = (char *)path, .target = (char *)target};

	return allows_own(&object);
}

static void affixs_own_files_have_its_name(void **state)
{
	static const char *const good[] = {
		"/usr/lib/systemd/system/affix-vm.target",
		"/usr/lib/systemd/system/affix-updater@.service",
		"/usr/lib/tmpfiles.d/affix.conf",
		"/etc/systemd/network/80-affix-vm.network",
		"/etc/modules-load.d/affix-vm.conf",
		"/usr/share/affix/vm/80-affix-vm.network",
		"/usr/share/affix/vm/affix-vm.target",
		"/etc/affix/trust.d/a.pub",
	};
	static const char *const bad[] = {
		"/usr/lib/systemd/system/ssh.service",
		"/usr/lib/systemd/system/affix-vm.target/x.service",
		"/usr/lib/systemd/system/../affix-vm.target",
		"/usr/lib/systemd/system/affix-vm.mount",
		"/usr/bin/affix",
		"/etc/fstab",
		"/etc/modprobe.d/affix-vm.conf",
		"/usr/share/affix/vm/passwd",
		"/etc/passwd",
		"/etc/affix/trust.d/.a.pub",
		"/etc/affix/updater.yaml",
		"/var/lib/affix/x",
	};
	const struct plan_object entry = {.type = PLAN_FILE,
					  .path = (char *)"/usr/lib/tmpfiles.d/affix.conf",
					  .entry = (char *)"affix.conf"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(allows_own_file(good[i]));
		assert_false(allows(PLAN_FILE, good[i], NULL, NULL));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(allows_own_file(bad[i]));
	assert_false(allows_own(&entry));
}

static void affixs_own_links_lead_to_its_programs_and_units(void **state)
{
	static const char guestd[] = "/usr/lib/affix/affix-guestd";
	static const char wants[] = "/etc/systemd/system/multi-user.target.wants/affix-vm.target";

	(void)state;
	assert_true(allows_own_link(guestd, "/opt/affix/vm/current/affix-guestd"));
	assert_true(allows_own_link("/usr/lib/affix/vm/affix-guestd",
				    "/opt/affix/affix/current/affix-guestd"));
	assert_false(allows_own_link(guestd, "/opt/affix/foo/current/affix-guestd"));
	assert_false(allows_own_link(guestd, "/opt/affix/vm/current/../../../../bin/sh"));
	assert_false(allows_own_link("/usr/lib/affix/x", "/opt/affix/vm/current/affix-guestd"));
	assert_true(allows_own_link(wants, "/usr/lib/systemd/system/affix-vm.target"));
	assert_false(allows_own_link(wants, "/usr/lib/systemd/system/ssh.service"));
	assert_false(allows_own_link(wants, "/etc/systemd/system/affix-vm.target"));
	assert_true(allows_own_link("/opt/affix/vm/current", "versions/1.0.0"));
	assert_false(allows_own_link("/opt/affix/foo/current", "versions/1.0.0"));
}

static void seeds_are_files_of_the_machine(void **state)
{
	struct plan_object seed = {.type = PLAN_FILE, .path = (char *)"/etc/fstab", .seed = true};
	const struct plan addon = {
		.identity = {.id = "foo", .version = "1.0.0"}
        };

	(void)state;
	assert_true(allows_own(&seed));
	assert_false(plan_bounds_allow_object(&addon, &seed));
	seed.path = (char *)"/etc/shadow";
	assert_false(allows_own(&seed));
	seed.path = (char *)"/opt/affix/vm/current";
	seed.type = PLAN_LINK;
	seed.target = (char *)"versions/1.0.0";
	assert_false(allows_own(&seed));
	seed.path = (char *)"/etc/fstab";
	seed.type = PLAN_DIRECTORY;
	assert_false(allows_own(&seed));
}

static void affixs_own_directories_are_shared(void **state)
{
	struct plan_object directory = {
		.type = PLAN_DIRECTORY, .path = (char *)"/usr/lib/affix", .shared = true};

	(void)state;
	assert_true(allows_own(&directory));
	assert_true(plan_bounds_allow_directory("vm", "/usr/lib/affix"));
	assert_false(plan_bounds_allow_directory("foo", "/usr/lib/affix"));
	assert_false(plan_bounds_allow_directory("vm", "/opt/affix/foo"));
	directory.shared = false;
	assert_false(allows_own(&directory));
	directory.shared = true;
	directory.path = (char *)"/usr/lib/systemd/system/ssh.service.d";
	assert_false(allows_own(&directory));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(units_of_an_id_are_no_other_ids),
		cmocka_unit_test(directories_are_own_or_shared),
		cmocka_unit_test(state_is_below_the_four_bases_under_the_id),
		cmocka_unit_test(bundle_files_stand_in_the_version_directory_under_their_names),
		cmocka_unit_test(inline_files_stand_in_etc),
		cmocka_unit_test(links_are_current_and_enablement_only),
		cmocka_unit_test(shared_directories_are_marked_as_such),
		cmocka_unit_test(affixs_own_files_have_its_name),
		cmocka_unit_test(affixs_own_links_lead_to_its_programs_and_units),
		cmocka_unit_test(seeds_are_files_of_the_machine),
		cmocka_unit_test(affixs_own_directories_are_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
