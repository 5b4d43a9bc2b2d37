/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "netprobe/metrics.h"

static void each_name_has_one_help_and_one_type_before_its_samples(void **state)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_strv struct strv told = STRV_INIT;
	const struct metrics metrics = {.tier = COLLECTOR_DIAG};
	char *rest = NULL;

	(void)state;
	assert_int_equal(metrics_format(&metrics, &text), 0);
	assert_true(str_ends_with(text.data, "\n"));
	for (char *line = strtok_r(text.data, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		bool is_help = str_starts_with(line, "# HELP ");
		char *name = is_help ? line + strlen("# HELP ") : line;

		if (str_starts_with(line, "# TYPE "))
			continue;
		name[strcspn(name, " {")] = '\0';
		assert_true(str_starts_with(name, "netprobe_"));
		assert_int_equal(strv_has(&told, name), !is_help);
		if (is_help)
			assert_int_equal(strv_add(&told, name), 0);
	}
	assert_true(told.count > 15);
}

static void numbers_are_those_that_were_counted(void **state)
{
	static const char *const wanted[] = {
		"\nnetprobe_tier{tier=\"cgroup\"} 1\n",
		"\nnetprobe_tier{tier=\"full\"} 0\n",
		"\nnetprobe_sends_seen{at=\"functions\"} 1\n",
		"\nnetprobe_sends_seen{at=\"tracepoints\"} 0\n",
		"\nnetprobe_owners_forgotten_total 3\n",
		"\nnetprobe_external_flows_total{outcome=\"ambiguous\"} 2\n",
		"\nnetprobe_records_lost_total 18446744073709551615\n",
		"\nnetprobe_external_flows_total{outcome=\"invalid\"} 7\n",
		"stream=\"flow_attribution\",reason=\"queue_full\"} 9\n",
		"\n# TYPE netprobe_flows gauge\nnetprobe_flows 5\n",
	};
	cleanup_buffer struct buffer text = BUFFER_INIT;
	const struct metrics metrics = {
		.tier = COLLECTOR_CGROUP,
		.sends = COLLECTOR_SENDS_AT_FUNCTIONS,
		.flows = 5,
		.collector = {.lost = UINT64_MAX, .owners_forgotten = 3},
		.server = {.events_dropped = 9                 },
		.external_ambiguous = 2,
		.external_invalid = 7
        };

	(void)state;
	assert_int_equal(metrics_format(&metrics, &text), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (!strstr(text.data, wanted[i]))
			fail_msg("no '%s'", wanted[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_name_has_one_help_and_one_type_before_its_samples),
		cmocka_unit_test(numbers_are_those_that_were_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
