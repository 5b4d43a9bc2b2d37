/* SPDX-License-Identifier: Apache-2.0 */

#include "bundle/ustar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* The bytes are libarchive's: bundles must stay what they are. */
static void numbers_are_octal_with_a_blank_behind(void **state)
{
	struct ustar_header header;

	(void)state;
	ustar_format(&header, "addon.yaml", 426, false);
	assert_memory_equal(header.mode, "000644 ", sizeof(header.mode));
	assert_memory_equal(header.uid, "000000 ", sizeof(header.uid));
	assert_memory_equal(header.gid, "000000 ", sizeof(header.gid));
	assert_memory_equal(header.size, "00000000652 ", sizeof(header.size));
	assert_memory_equal(header.mtime, "00000000000 ", sizeof(header.mtime));
	assert_memory_equal(header.checksum, "011141\0 ", sizeof(header.checksum));
	assert_memory_equal(header.magic, "ustar\00000", sizeof(header.magic));
	assert_memory_equal(header.device_major, "000000 ", sizeof(header.device_major));
	assert_memory_equal(header.device_minor, "000000 ", sizeof(header.device_minor));
}

static void name_may_fill_its_field_and_size_too(void **state)
{
	struct ustar_header header;
	char name[TAR_NAME_MAX + 1] = {0};

	(void)state;
	memset(name, 'n', TAR_NAME_MAX);
	ustar_format(&header, name, 077777777777ULL, true);
	assert_memory_equal(header.name, name, TAR_NAME_MAX);
	assert_memory_equal(header.mode, "000755 ", sizeof(header.mode));
	assert_memory_equal(header.size, "77777777777 ", sizeof(header.size));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_octal_with_a_blank_behind),
		cmocka_unit_test(name_may_fill_its_field_and_size_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
