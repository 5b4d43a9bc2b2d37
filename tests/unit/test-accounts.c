/* SPDX-License-Identifier: Apache-2.0 */

#include "plan/accounts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
			     "# commented:x:7:7::/:/bin/sh\n"
			     "\n"
			     "nocolon\n"
			     "daemon:x:1:2:daemon:/usr/sbin:/usr/sbin/nologin\n"
			     ":x:8:8::/:/bin/sh\n"
			     "big:x:4294967295:5::/:/bin/sh\n"
			     "over:x:4294967296:5::/:/bin/sh\n"
			     "sign:x:-1:5::/:/bin/sh\n"
			     "empty:x::5::/:/bin/sh\n"
			     "short:x:9\n"
			     "huge:x:4294967294:5::/:/bin/sh\n"
			     "+nis:x:10:10::/:/bin/sh\n";

static void id_is_the_third_field_of_the_whole_name(void **state)
{
	uint32_t id = 77;

	(void)state;
	assert_true(accounts_find_id(passwd, "daemon", &id));
	assert_int_equal(id, 1);
	assert_true(accounts_find_id(passwd, "huge", &id));
	assert_int_equal(id, 4294967294U);
	assert_false(accounts_find_id(passwd, "dae", &id));
	assert_false(accounts_find_id(passwd, "daemon:x", &id));
	assert_false(accounts_find_id(passwd, "", &id));
	assert_false(accounts_find_id("", "root", &id));
}

static void what_is_no_id_is_none(void **state)
{
	static const char *const names[] = {"big",     "over",        "sign",      "empty", "short",
					    "nocolon", "# commented", "commented", "+nis",  "nis"};
	uint32_t id = 77;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_false(accounts_find_id(passwd, names[i], &id));
	assert_int_equal(id, 77);
}

static void ids_of_entries_are_taken(void **state)
{
	(void)state;
	assert_true(accounts_has_id(passwd, 0));
	assert_true(accounts_has_id(passwd, 1));
	assert_false(accounts_has_id(passwd, 2));
	assert_false(accounts_has_id(passwd, 7));
	assert_false(accounts_has_id(passwd, 10));
}

static void whoever_else_has_a_number_is_found(void **state)
{
	static const char text[] = "#x:x:5:6::/:\na:x:5:6::/:\nb:x:7:6::/:\na:x:8:9::/:\n";
	char name[8] = "";
	uint32_t gid = 0;

	(void)state;
	assert_true(accounts_find_number(text, "b", ACCOUNTS_GROUP, &gid));
	assert_int_equal(gid, 6);
	assert_true(accounts_find_other(text, "b", ACCOUNTS_ID, 5, name, sizeof(name)));
	assert_string_equal(name, "a");
	assert_true(accounts_find_other(text, "a", ACCOUNTS_GROUP, 6, name, sizeof(name)));
	assert_string_equal(name, "b");
	assert_false(accounts_find_other(text, "a", ACCOUNTS_ID, 5, name, sizeof(name)));
	assert_false(accounts_find_other(text, "a", ACCOUNTS_ID, 6, name, sizeof(name)));
	assert_false(accounts_find_other(text, "a", ACCOUNTS_GROUP, 7, name, sizeof(name)));
}

static void names_stand_in_shadow_files_too(void **state)
{
	(void)state;
	assert_true(accounts_has_name("a:!*::\nroot:*:1::::::", "root"));
	assert_false(accounts_has_name("a:!*::\nroot:*:1::::::", "roo"));
}

static void assert_added(const char *before, const char *after)
{
	cleanup_free char *text = NULL;

	assert_int_equal(accounts_add(before, "new:x:1:", &text), 0);
	assert_string_equal(text, after);
}

static void line_is_added_at_the_end_but_before_nis(void **state)
{
	(void)state;
	assert_added("", "new:x:1:\n");
	assert_added("a:x:2:\n", "a:x:2:\nnew:x:1:\n");
	assert_added("a:x:2:", "a:x:2:\nnew:x:1:\n");
	assert_added("a:x:2:\n+::\n", "a:x:2:\nnew:x:1:\n+::\n");
	assert_added("+::\nb:x:3:", "new:x:1:\n+::\nb:x:3:");
	assert_added("a:x:2:\n-@x\n+", "a:x:2:\nnew:x:1:\n-@x\n+");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(id_is_the_third_field_of_the_whole_name),
		cmocka_unit_test(what_is_no_id_is_none),
		cmocka_unit_test(ids_of_entries_are_taken),
		cmocka_unit_test(whoever_else_has_a_number_is_found),
		cmocka_unit_test(names_stand_in_shadow_files_too),
		cmocka_unit_test(line_is_added_at_the_end_but_before_nis),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
