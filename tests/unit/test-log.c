/* SPDX-License-Identifier: Apache-2.0 */

#include "updater/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include <cmocka.h>

#include "base/str.h"

static struct strv entry;

int __wrap_sd_journal_sendv(const struct iovec *parts, int n);

int __wrap_sd_journal_sendv(const struct iovec *parts, int n)
{
	for (int i = 0; i < n; i++) {
		assert_int_equal(strlen(parts[i].iov_base), parts[i].iov_len);
		assert_int_equal(strv_add(&entry, parts[i].iov_base), 0);
	}
	return 0;
}

static int clear(void **state)
{
	(void)state;
	strv_done(&entry);
	return 0;
}

static void assert_logged(const char *field)
{
	if (!strv_has(&entry, field))
		fail_msg("'%s' is not in the entry", field);
}

static void a_rollback_is_a_warning_with_all_that_is_known(void **state)
{
	struct result result = {.outcome = RESULT_ROLLED_BACK,
				.name = "unhealthy",
				.message = (char *)"it died",
				.request_id = (char *)"r-1",
				.verb = (char *)"install",
				.id = (char *)"probe",
				.version = (char *)"1.2.3"};

	(void)state;
	log_result(&result, 990, false);
	assert_logged("MESSAGE=install of probe 1.2.3: rolled-back: it died");
	assert_logged("MESSAGE_ID=" LOG_MESSAGE_ROLLED_BACK);
	assert_logged("PRIORITY=4");
	assert_logged("AFFIX_ADDON=probe");
	assert_logged("AFFIX_VERSION=1.2.3");
	assert_logged("AFFIX_RESULT=rolled-back");
	assert_logged("AFFIX_NAME=unhealthy");
	assert_logged("AFFIX_REQUEST_ID=r-1");
	assert_logged("AFFIX_SIDE=fleet");
	assert_logged("AFFIX_PEER_UID=990");
}

static void what_is_not_known_has_no_field(void **state)
{
	struct result result = {.outcome = RESULT_REFUSED, .name = "bad-request"};

	(void)state;
	log_result(&result, 0, true);
	assert_logged("MESSAGE=request: refused");
	assert_logged("AFFIX_SIDE=admin");
	for (size_t i = 0; i < entry.count; i++) {
		assert_false(str_starts_with(entry.items[i], "AFFIX_ADDON="));
		assert_false(str_starts_with(entry.items[i], "AFFIX_VERSION="));
	}
}

static void answered_questions_are_for_debugging_and_refused_ones_are_not(void **state)
{
	struct result result = {.outcome = RESULT_DONE, .verb = (char *)"status"};

	(void)state;
	log_result(&result, 0, true);
	assert_logged("PRIORITY=7");
	strv_done(&entry);
	result.outcome = RESULT_REFUSED;
	log_result(&result, 0, true);
	assert_logged("PRIORITY=5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_rollback_is_a_warning_with_all_that_is_known, clear),
		cmocka_unit_test_teardown(what_is_not_known_has_no_field, clear),
		cmocka_unit_test_teardown(
			answered_questions_are_for_debugging_and_refused_ones_are_not, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
