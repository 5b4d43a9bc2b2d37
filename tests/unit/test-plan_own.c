/* SPDX-License-Identifier: Apache-2.0 */

#include "plan/plan_own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "plan/plan_objects.h"
#include "sample_plan.h"

/* A plan with one object of each kind. */
static struct plan *make_plan(const char *id, const char *user)
{
	struct bundle_entry entry = {
		.name = (char *)"affix-x", .is_binary = true, .size = 3, .fd = -1};
	struct bundle bundle = {
		.identity = {.version = "1.0.0", .os = "linux", .arch = "amd64", .created = 1},
		.entries = &entry,
		.n_entries = 1,
	};
	struct plan *plan = NULL;

	(void)snprintf(bundle.identity.id, sizeof(bundle.identity.id), "%s", id);
	digest_of("abc", 3, &entry.digest);
	assert_int_equal(plan_begin_own(&bundle, user, &plan), 0);
	assert_int_equal(plan_add_parents(plan, "/usr/lib/affix/affix-x"), 0);
	assert_int_equal(
		plan_add_link(plan, "/usr/lib/affix/affix-x", "/opt/affix/affix/current/affix-x"),
		0);
	assert_int_equal(
		plan_add_text(plan, "/usr/lib/systemd/system/affix-x.service", 0644, "[Unit]\n"),
		0);
	assert_int_equal(plan_add_directory_of(plan, "/var/lib/affix/agent", 0700, user, user), 0);
	assert_int_equal(plan_add_text_seed(plan, "/etc/machine-id", ""), 0);
	assert_int_equal(plan_add_link_seed(plan, "/etc/resolv.conf", "../run/x"), 0);
	return plan;
}

static void what_is_made_reads_back_as_it_was(void **state)
{
	cleanup_plan struct plan *plan = make_plan("affix", PLAN_OWN_USER);
	cleanup_plan struct plan *again = NULL;
	const struct plan_object *object;
	struct digest a;
	struct digest b;

	(void)state;
	assert_int_equal(plan_check_own(plan), 0);
	assert_int_equal(plan_clone(plan, &again), 0);
	assert_int_equal(plan_digest(plan, &a), 0);
	assert_int_equal(plan_digest(again, &b), 0);
	assert_true(digest_is_equal(&a, &b));
	assert_true(plan_is_own(again));
	assert_true(plan_owns_user(again));
	assert_null(plan_primary(again));
	object = plan_find(again, "/opt/affix/affix/versions/1.0.0/affix-x");
	assert_int_equal(object->mode, 0755);
	assert_string_equal(plan_find(again, "/opt/affix/affix/current")->target, "versions/1.0.0");
	object = plan_find(again, "/var/lib/affix/agent");
	assert_int_equal(object->mode, 0700);
	assert_string_equal(object->owner, PLAN_OWN_USER);
	assert_true(plan_find(again, "/etc/machine-id")->seed);
	assert_true(plan_find(again, "/etc/resolv.conf")->seed);
	assert_true(plan_find(again, "/usr/lib/affix")->shared);
}

static void what_runs_as_root_makes_no_user(void **state)
{
	cleanup_plan struct plan *plan = make_plan("vm", "root");

	(void)state;
	assert_false(plan_owns_user(plan));
}

static void directories_are_there_once(void **state)
{
	cleanup_plan struct plan *plan = make_plan("affix", PLAN_OWN_USER);
	size_t n = plan->n_objects;

	(void)state;
	assert_int_equal(plan_add_parents(plan, "/usr/lib/affix/affix-y"), 0);
	assert_int_equal(plan_add_directory_of(plan, "/usr/lib/affix", 0700, "root", "root"), 0);
	assert_int_equal(plan->n_objects, n);
	assert_int_equal(plan_find(plan, "/usr/lib/affix")->mode, 0755);
}

static size_t index_of(const struct plan *plan, const char *path)
{
	return (size_t)(plan_find(plan, path) - plan->objects);
}

static void assert_refused(const struct plan *plan, const char *path, const char *member,
			   const char *value)
{
	cleanup_json json_t *json = plan_to_json(plan);
	struct json_problem problem = {0};
	struct plan *read = NULL;
	char pointer[128];

	(void)snprintf(pointer, sizeof(pointer), "objects/%zu/%s", index_of(plan, path), member);
	sample_set(json, pointer, value);
	assert_int_equal(plan_from_json(json, &read, &problem), 1);
}

static void what_is_forged_is_refused(void **state)
{
	static const char unit[] = "/usr/lib/systemd/system/affix-x.service";
	static const char keys[] =
		"/etc/systemd/system/sshd.service.requires/affix-vm-keys.service";
	cleanup_plan struct plan *plan = make_plan("affix", PLAN_OWN_USER);

	(void)state;
	assert_int_equal(plan_add_link(plan, keys, "/usr/lib/systemd/system/affix-vm-keys.service"),
			 0);
	assert_int_equal(plan_check_own(plan), 0);
	assert_refused(plan, unit, "path", "\"/etc/passwd\"");
	assert_refused(plan, unit, "owner", "\"affix\"");
	assert_refused(plan, unit, "seed", "true");
	assert_refused(plan, "/etc/machine-id", "seed", "false");
	assert_refused(plan, "/etc/machine-id", "seed", NULL);
	assert_refused(plan, "/usr/lib/affix", "seed", "true");
	assert_refused(plan, "/var/lib/affix/agent", "owner", "\"daemon\"");
	assert_refused(plan, "/usr/lib/affix/affix-x", "target", "\"/bin/sh\"");
	assert_refused(plan, keys, "path",
		       "\"/etc/systemd/system/cron.service.requires/affix-vm-x\"");
	assert_refused(plan, keys, "target", "\"/etc/affix-vm-keys.service\"");
}

static void an_add_on_may_have_none_of_it(void **state)
{
	cleanup_plan struct plan *plan = make_plan("affix", PLAN_OWN_USER);
	cleanup_json json_t *json = plan_to_json(plan);
	struct json_problem problem = {0};
	struct plan *read = NULL;

	(void)state;
	sample_set(json, "addon/id", "\"foo\"");
	sample_set(json, "binary", "\"/opt/affix/foo/current/affix-x\"");
	assert_int_equal(plan_from_json(json, &read, &problem), 1);
	/* Nor may affix have what an updater would watch. */
	sample_set(json, "addon/id", "\"affix\"");
	sample_set(json, "binary", "\"/opt/affix/affix/current/affix-x\"");
	assert_int_equal(plan_from_json(json, &read, &problem), 0);
	read = plan_free(read);
	sample_set(json, "units/0",
		   "{\"name\":\"affix-affix.service\",\"type\":\"service\",\"primary\":true}");
	assert_int_equal(plan_from_json(json, &read, &problem), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made_reads_back_as_it_was),
		cmocka_unit_test(what_runs_as_root_makes_no_user),
		cmocka_unit_test(directories_are_there_once),
		cmocka_unit_test(what_is_forged_is_refused),
		cmocka_unit_test(an_add_on_may_have_none_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
