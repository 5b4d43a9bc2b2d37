/* SPDX-License-Identifier: Apache-2.0 */

/* Timers under watch by a real systemd: test-manager.py boots a scratch host and runs this in it.
 */

#include "health-fixture.h"

/* The timer is primary, its service runs the daemon. */
static enum health_state watch_timer(struct fixture *fixture, const char *timer,
				     const char *service, const char *arguments)
{
	uint64_t begin;

	fixture->plan.supervision = MANIFEST_SUPERVISION_SYSTEMD_TIMER;
	fixture->plan.health.run_once = true;
	fixture->units[0] = (struct plan_unit){
		.name = fixture->names.timer, .is_timer = true, .is_primary = true};
	fixture->units[1] = (struct plan_unit){.name = fixture->names.service};
	fixture->plan.n_units = 2;
	write_unit(fixture, SERVICE, service, arguments);
	write_unit(fixture, TIMER, timer, NULL);
	begin = clock_monotonic_usec();
	start(fixture, TIMER);
	assert_int_equal(
		health_watch(fixture->manager, &fixture->plan, &fixture->tree, 0, &fixture->health),
		0);
	fixture->took = clock_monotonic_usec() - begin;
	return fixture->health.state;
}

#define HOURLY  "[Timer]\nOnCalendar=hourly\n"
#define ONESHOT SANDBOX "Type=oneshot\n"

static void timer_is_good_once_its_job_succeeded(void **state)
{
	struct fixture *fixture = *state;

	if (watch_timer(fixture, HOURLY, ONESHOT,
			"--write /run/affix/h/trace --die-after 700 --exit 0") != HEALTH_GOOD)
		fail_msg("%s", fixture->health.reason);
	assert_in_range(fixture->took, SECOND + 7 * SECOND / 10, MUCH_LATER);
	on_host_shell("test $(grep -c start /run/affix/h/trace) = 1");
}

static void timer_whose_job_fails_is_bad_at_once(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 60;
	assert_int_equal(watch_timer(fixture, HOURLY, ONESHOT, "--die-after 0 --exit 6"),
			 HEALTH_BAD);
	assert_string_equal(fixture->health.unit, SERVICE);
	assert_reason(fixture, "exited with status 6");
	assert_in_range(fixture->took, 0, MUCH_LATER);
}

static void timer_whose_job_takes_too_long_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(watch_timer(fixture, HOURLY, ONESHOT "TimeoutStartSec=1\n", ""),
			 HEALTH_BAD);
	assert_reason(fixture, "in time");
}

static void timer_whose_job_does_not_run_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(watch_timer(fixture, HOURLY,
				     "[Unit]\nConditionPathExists=/nonexistent\n" ONESHOT,
				     "--die-after 0 --exit 0"),
			 HEALTH_BAD);
	assert_reason(fixture, "did not run");
}

static void timer_that_never_elapses_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(watch_timer(fixture, "[Timer]\nOnCalendar=2001-01-01\n", ONESHOT,
				     "--die-after 0 --exit 0"),
			 HEALTH_BAD);
	assert_string_equal(fixture->health.unit, TIMER);
	assert_reason(fixture, "never elapse");
}

static void timer_whose_job_is_the_wrong_user_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(watch_timer(fixture, HOURLY,
				     "[Service]\nCapabilityBoundingSet=\nType=oneshot\n",
				     "--die-after 1000 --exit 0"),
			 HEALTH_BAD);
	assert_reason(fixture, "uid 0 instead of");
}

static void later_run_that_fails_is_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 30;
	on_host_shell("touch /run/affix/h/once");
	assert_int_equal(watch_timer(fixture,
				     "[Timer]\nOnActiveSec=1h\nOnUnitInactiveSec=500ms\n"
				     "AccuracySec=1ms\n",
				     ONESHOT "ExecStopPost=+/usr/bin/rm -f /run/affix/h/once\n",
				     "--need-file /run/affix/h/once --exec /usr/bin/true"),
			 HEALTH_BAD);
	assert_reason(fixture, "failed");
	assert_in_range(fixture->took, 0, MUCH_LATER);
}

static void run_is_not_repeated_where_the_plan_says_so(void **state)
{
	struct fixture *fixture = *state;

	write_unit(fixture, SERVICE, ONESHOT, "--write /run/affix/h/trace --die-after 0 --exit 1");
	write_unit(fixture, TIMER, HOURLY, NULL);
	fixture->units[0] = (struct plan_unit){
		.name = fixture->names.timer, .is_timer = true, .is_primary = true};
	start(fixture, TIMER);
	assert_int_equal(
		health_watch(fixture->manager, &fixture->plan, &fixture->tree, 0, &fixture->health),
		0);
	assert_int_equal(fixture->health.state, HEALTH_GOOD);
	on_host_shell("test ! -e /run/affix/h/trace");
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		HEALTH_TEST(timer_is_good_once_its_job_succeeded),
		HEALTH_TEST(timer_whose_job_fails_is_bad_at_once),
		HEALTH_TEST(timer_whose_job_takes_too_long_is_bad),
		HEALTH_TEST(timer_whose_job_does_not_run_is_bad),
		HEALTH_TEST(timer_that_never_elapses_is_bad),
		HEALTH_TEST(timer_whose_job_is_the_wrong_user_is_bad),
		HEALTH_TEST(later_run_that_fails_is_bad),
		HEALTH_TEST(run_is_not_repeated_where_the_plan_says_so),
	};

	prepare_host();
	return ON_HOST_RUN(tests, argc, argv);
}
