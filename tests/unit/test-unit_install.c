/* SPDX-License-Identifier: Apache-2.0 */

#include "unit/unit_install.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

/* The links of a unit `affix-x.service` with *text* below [Install], joined by ' '. */
static char *links_of(const char *text)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_unit_file struct unit_file *unit = NULL;
	cleanup_buffer struct buffer whole = BUFFER_INIT;
	cleanup_buffer struct buffer joined = BUFFER_INIT;
	cleanup_strv struct strv links = STRV_INIT;

	assert_int_equal(buffer_format(&whole, "[Unit]\nWantedBy=no.target\n[Install]\n%s", text),
			 0);
	assert_int_equal(unit_file_parse(whole.data, whole.size, "u", &unit, &diagnostics), 0);
	assert_int_equal(unit_install_links(unit, "affix-x.service", &links), 0);
	assert_int_equal(buffer_format(&joined, "%s", ""), 0);
	for (size_t i = 0; i < links.count; i++)
		assert_int_equal(buffer_format(&joined, "%s%s", i ? " " : "", links.items[i]), 0);
	return TAKE_PTR(joined.data);
}

static void assert_links(const char *text, const char *expected)
{
	cleanup_free char *links = links_of(text);

	assert_string_equal(links, expected);
}

static void wanted_by_gives_one_link_per_target_sorted(void **state)
{
	(void)state;
	assert_links("WantedBy=b.target\ta.target\nWantedBy=b.target  c.target\n",
		     "/etc/systemd/system/a.target.wants/affix-x.service "
		     "/etc/systemd/system/b.target.wants/affix-x.service "
		     "/etc/systemd/system/c.target.wants/affix-x.service");
}

static void required_by_has_its_own_directory(void **state)
{
	(void)state;
	assert_links("WantedBy=b.target\nRequiredBy=a.service\n",
		     "/etc/systemd/system/a.service.requires/affix-x.service "
		     "/etc/systemd/system/b.target.wants/affix-x.service");
}

static void empty_assignment_drops_earlier_targets_of_its_kind(void **state)
{
	(void)state;
	assert_links("WantedBy=a.target\nRequiredBy=r.service\nWantedBy=\nWantedBy=b.target\n",
		     "/etc/systemd/system/b.target.wants/affix-x.service "
		     "/etc/systemd/system/r.service.requires/affix-x.service");
	assert_links("WantedBy=a.target\nWantedBy=\n", "");
}

static void unit_without_install_has_no_links(void **state)
{
	(void)state;
	assert_links("", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wanted_by_gives_one_link_per_target_sorted),
		cmocka_unit_test(required_by_has_its_own_directory),
		cmocka_unit_test(empty_assignment_drops_earlier_targets_of_its_kind),
		cmocka_unit_test(unit_without_install_has_no_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
