/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/netprobe.h>

#define TICK       (1ULL << PROBE_TICK_SHIFT)
#define ONCE_ROUND (TICK << 32) /* 834 days */

static void
a_moment_that_was_noted_as_a_tick_is_known_again_however_long_the_machine_runs(void **state)
{
	static const uint64_t moments[] = {
		TICK,       100 * TICK,        ONCE_ROUND - TICK,
		ONCE_ROUND, ONCE_ROUND + TICK, 5 * ONCE_ROUND + 7 * TICK,
	};
	static const uint64_t later[] = {0, TICK / 2, 20000 * TICK, ONCE_ROUND - 100 * TICK};

	(void)state;
	for (size_t i = 0; i < sizeof(moments) / sizeof(*moments); i++) {
		for (size_t k = 0; k < sizeof(later) / sizeof(*later); k++) {
			uint64_t now = moments[i] + later[k];

			assert_true(probe_ticks_since(probe_tick(moments[i]), now) ==
				    (int64_t)(later[k] / TICK));
			assert_true(probe_tick_time(probe_tick(moments[i]), now) == moments[i]);
		}
	}
}

static void what_a_finer_clock_noted_a_moment_later_is_not_long_ago(void **state)
{
	static const uint64_t moments[] = {TICK, ONCE_ROUND, 3 * ONCE_ROUND + TICK};

	(void)state;
	for (size_t i = 0; i < sizeof(moments) / sizeof(*moments); i++) {
		assert_true(probe_ticks_since(probe_tick(moments[i]), moments[i] - TICK) == -1);
		assert_true(probe_tick_time(probe_tick(moments[i]), moments[i] - TICK) ==
			    moments[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_moment_that_was_noted_as_a_tick_is_known_again_however_long_the_machine_runs),
		cmocka_unit_test(what_a_finer_clock_noted_a_moment_later_is_not_long_ago),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
