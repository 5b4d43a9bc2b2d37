/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/refusal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

static void every_name_reads_back_and_is_nobody_elses(void **state)
{
	(void)state;
	for (int i = REFUSAL_NONE + 1; i < REFUSAL_N; i++) {
		const char *name = refusal_to_string((enum refusal_code)i);

		assert_non_null(name);
		assert_int_equal(refusal_from_string(name), i);
		/* Results have room for it. */
		assert_in_range(strlen(name), 1, 39);
	}
}

static void no_refusal_has_no_name(void **state)
{
	(void)state;
	assert_null(refusal_to_string(REFUSAL_NONE));
	assert_null(refusal_to_string(REFUSAL_N));
	assert_int_equal(refusal_from_string("none"), REFUSAL_NONE);
	assert_int_equal(refusal_from_string("bad-signatur"), REFUSAL_NONE);
}

static void refuse_returns_its_code_and_keeps_the_sentence(void **state)
{
	struct refusal refusal = REFUSAL_INIT;
	char long_text[REFUSAL_TEXT_MAX * 2];

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	assert_int_equal(refuse(&refusal, REFUSAL_EXPIRED, "'%s' is over", "it"), REFUSAL_EXPIRED);
	assert_string_equal(refusal.text, "'it' is over");
	assert_int_equal(refuse(NULL, REFUSAL_BUSY, "nobody listens"), REFUSAL_BUSY);
	assert_int_equal(refuse(&refusal, REFUSAL_BUSY, "%s", long_text), REFUSAL_BUSY);
	assert_int_equal(strlen(refusal.text), REFUSAL_TEXT_MAX - 1);
}

static void only_what_time_may_heal_is_transient(void **state)
{
	(void)state;
	assert_true(refusal_is_transient(REFUSAL_BUSY));
	assert_true(refusal_is_transient(REFUSAL_TIMEOUT));
	assert_false(refusal_is_transient(REFUSAL_BAD_SIGNATURE));
	assert_false(refusal_is_transient(REFUSAL_NONE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_name_reads_back_and_is_nobody_elses),
		cmocka_unit_test(no_refusal_has_no_name),
		cmocka_unit_test(refuse_returns_its_code_and_keeps_the_sentence),
		cmocka_unit_test(only_what_time_may_heal_is_transient),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
