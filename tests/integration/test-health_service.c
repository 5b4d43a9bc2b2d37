/* SPDX-License-Identifier: Apache-2.0 */

/* Services under watch by a real systemd: test-manager.py boots a scratch host and runs this in it.
 */

#include "health-fixture.h"

static void steady_service_is_good_after_its_window(void **state)
{
	struct fixture *fixture = *state;

	assert_good(fixture, SANDBOX, "");
	assert_string_equal(fixture->health.reason, "");
	assert_in_range(fixture->took, SECOND, MUCH_LATER);
}

static void resumed_watch_has_its_own_window(void **state)
{
	struct fixture *fixture = *state;
	uint64_t begin = clock_monotonic_usec();

	write_unit(fixture, SERVICE, SANDBOX, "");
	start(fixture, SERVICE);
	fixture->plan.health.window_seconds = 100;
	assert_int_equal(health_watch(fixture->manager, &fixture->plan, &fixture->tree, SECOND / 2,
				      &fixture->health),
			 0);
	assert_int_equal(fixture->health.state, HEALTH_GOOD);
	assert_in_range(clock_monotonic_usec() - begin, SECOND / 2, MUCH_LATER);
}

static void service_that_ends_at_once_is_found_at_once(void **state)
{
	struct fixture *fixture = *state;
	uint64_t least = UINT64_MAX;

	fixture->plan.health.window_seconds = 60;
	for (int i = 0; i < 5; i++) {
		assert_bad(fixture, "exited with status 3", SANDBOX, "--die-after 0 --exit 3");
		least = MIN(least, fixture->took);
	}
	print_message("found after %u ms\n", (unsigned)(least / 1000));
	assert_in_range(least, 0, SECOND / 10);
}

static void service_that_dies_in_its_window_is_found_at_once(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 60;
	assert_bad(fixture, "killed by signal 11/SEGV", SANDBOX, "--die-after 500 --signal 11");
	assert_in_range(fixture->took, SECOND / 2, MUCH_LATER);
}

/* Whether the verdict is right: a busy machine may let it live a little longer than it is told. */
static void dies_after(struct fixture *fixture, int milliseconds)
{
	char arguments[96];
	char trace[64] = "";
	int fd;

	(void)snprintf(arguments, sizeof(arguments), "--write /run/affix/h/trace --die-after %d",
		       milliseconds);
	if (watch(fixture, SANDBOX, arguments) == HEALTH_GOOD) {
		fd = open("/run/affix/h/trace", O_RDONLY | O_CLOEXEC);
		assert_true(read(fd, trace, sizeof(trace) - 1) > 0);
		assert_null(strstr(trace, "die"));
		assert_int_equal(close(fd), 0);
	} else {
		assert_reason(fixture, "exited with status 1");
	}
	assert_int_equal(manager_kill(fixture->manager, SERVICE), 0);
	assert_int_equal(manager_reset_failed(fixture->manager, SERVICE), 0);
	on_host_shell("rm -f /run/affix/h/trace");
}

static void service_that_dies_just_before_the_end_is_bad(void **state)
{
	for (int at = 900; at < 1000; at += 20)
		dies_after(*state, at);
	assert_bad((struct fixture *)*state, "exited with status 1", SANDBOX, "--die-after 700");
}

static void clean_exit_is_bad_too(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "exited with status 0", SANDBOX, "--die-after 200 --exit 0");
}

static void service_that_forks_away_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "exited with status 0", SANDBOX, "--fork-away");
	assert_int_equal(manager_kill(fixture->manager, SERVICE), 0);
	assert_bad(fixture, "without a main process", SANDBOX "RemainAfterExit=yes\n",
		   "--fork-away-after 300");
	assert_int_equal(manager_kill(fixture->manager, SERVICE), 0);
	assert_bad(fixture, "without a main process", SANDBOX "Type=forking\nGuessMainPID=no\n",
		   "--fork-away");
}

static void notify_service_has_its_start_timeout_to_get_ready(void **state)
{
	struct fixture *fixture = *state;

	assert_good(fixture, SANDBOX "Type=notify\n", "--notify-after 700");
	assert_in_range(fixture->took, SECOND + 7 * SECOND / 10, MUCH_LATER);
}

static void notify_service_that_never_gets_ready_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "did not start or stop in time",
		   SANDBOX "Type=notify\nTimeoutStartSec=1\n", "");
	assert_in_range(fixture->took, SECOND, MUCH_LATER);
}

static void notify_service_that_ends_instead_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "", SANDBOX "Type=notify\n", "--die-after 200 --exit 0");
	assert_in_range(fixture->took, SECOND / 5, MUCH_LATER);
}

static void what_systemd_could_not_start_is_named(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "217/USER", "[Service]\nUser=affix-nobody-made\n", "");
	assert_int_equal(manager_reset_failed(fixture->manager, SERVICE), 0);
	assert_bad(fixture, "203/EXEC", "[Service]\nExecStart=/nonexistent\n", NULL);
	assert_int_equal(manager_reset_failed(fixture->manager, SERVICE), 0);
	assert_bad(fixture, "cannot be loaded", "[Service]\nNothing=1\n", NULL);
}

/* Fails the first time only. */
#define FAILS_ONCE                                                                \
	SANDBOX "Restart=on-failure\nRestartSec=0\nExecStopPost=+/usr/bin/touch " \
		"/run/affix/h/seen\n"

static void restart_is_bad_unless_it_is_allowed(void **state)
{
	struct fixture *fixture = *state;

	/* Seen when it ends, or when it was restarted already. */
	assert_bad(fixture, "", FAILS_ONCE, "--need-file /run/affix/h/seen");
	assert_int_equal(manager_kill(fixture->manager, SERVICE), 0);
	on_host_shell("rm -f /run/affix/h/seen");
	fixture->plan.health.max_restarts = 1;
	assert_good(fixture, FAILS_ONCE, "--need-file /run/affix/h/seen");
}

static void restarts_are_counted_through_the_window(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 30;
	fixture->plan.health.max_restarts = 2;
	assert_bad(fixture, "3 times", SANDBOX "Restart=always\nRestartSec=0\n", "--die-after 200");
	assert_in_range(fixture->took, 6 * SECOND / 10, MUCH_LATER);
}

static void socket_may_come_late_and_must_accept(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.ready_socket = fixture->names.socket;
	assert_good(fixture, SANDBOX, "--listen " SOCKET " --listen-after 700");
	assert_in_range(fixture->took, SECOND + 7 * SECOND / 10, MUCH_LATER);
}

static void socket_may_be_seqpacket(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.ready_socket = fixture->names.socket;
	assert_good(fixture, SANDBOX, "--seqpacket --listen " SOCKET);
}

static void absent_socket_is_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.ready_socket = fixture->names.socket;
	assert_bad(fixture, "is not ready: '" SOCKET "' cannot be opened", SANDBOX, "");
	assert_in_range(fixture->took, 10 * SECOND, MUCH_LATER);
}

static void service_that_gets_ready_and_then_hangs_is_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 30;
	fixture->plan.health.ready_socket = fixture->names.socket;
	assert_bad(fixture, "lets connections wait", SANDBOX, "--hang-after 1500 --listen " SOCKET);
	assert_in_range(fixture->took, 3 * SECOND, MUCH_LATER);
}

static void service_that_hangs_just_before_the_end_is_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.ready_socket = fixture->names.socket;
	assert_bad(fixture, "lets connections wait", SANDBOX, "--hang-after 900 --listen " SOCKET);
}

static void service_that_closes_its_socket_is_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 30;
	fixture->plan.health.ready_socket = fixture->names.socket;
	assert_bad(fixture, "is not ready", SANDBOX, "--close-after 1200 --listen " SOCKET);
	assert_in_range(fixture->took, 2 * SECOND, MUCH_LATER);
}

static void death_is_the_reason_when_the_socket_goes_with_it(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 30;
	fixture->plan.health.ready_socket = fixture->names.socket;
	assert_bad(fixture, "exited with status 9", SANDBOX,
		   "--die-after 1000 --exit 9 --listen " SOCKET);
}

static void restarted_service_gets_ready_again(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.max_restarts = 1;
	fixture->plan.health.ready_socket = fixture->names.socket;
	assert_good(fixture, FAILS_ONCE,
		    "--listen " SOCKET " --listen-after 300 --need-file /run/affix/h/seen");
}

static void failed_second_unit_is_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->units[1] = (struct plan_unit){.name = fixture->names.other};
	fixture->plan.n_units = 2;
	write_unit(fixture, OTHER, SANDBOX, "--die-after 0 --exit 4");
	start(fixture, OTHER);
	assert_int_equal(watch(fixture, SANDBOX, ""), HEALTH_BAD);
	assert_string_equal(fixture->health.unit, OTHER);
	assert_reason(fixture, "exited with status 4");
}

static void watch_outlives_a_reexecution_of_systemd(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 3;
	on_host_shell("(sleep 1; systemctl daemon-reexec) >/dev/null 2>&1 &");
	assert_good(fixture, SANDBOX, "");
}

static void look_does_not_wait(void **state)
{
	struct fixture *fixture = *state;
	uint64_t begin;

	write_unit(fixture, SERVICE, SANDBOX "Type=notify\n", "--notify-after 1000");
	start(fixture, SERVICE);
	begin = clock_monotonic_usec();
	assert_int_equal(
		health_look(fixture->manager, &fixture->plan, &fixture->tree, &fixture->health), 0);
	assert_int_equal(fixture->health.state, HEALTH_WAITING);
	assert_in_range(clock_monotonic_usec() - begin, 0, MUCH_LATER);
	assert_int_equal(manager_start(fixture->manager, SERVICE, 10 * SECOND, NULL), 0);
	assert_int_equal(
		health_look(fixture->manager, &fixture->plan, &fixture->tree, &fixture->health), 0);
	assert_int_equal(fixture->health.state, HEALTH_GOOD);
	assert_int_equal(manager_stop(fixture->manager, SERVICE, 10 * SECOND, NULL), 0);
	assert_int_equal(
		health_look(fixture->manager, &fixture->plan, &fixture->tree, &fixture->health), 0);
	assert_int_equal(fixture->health.state, HEALTH_BAD);
	assert_reason(fixture, "does not run");
}

static void look_sees_a_hanging_socket(void **state)
{
	struct fixture *fixture = *state;
	uint64_t begin;

	fixture->plan.health.ready_socket = fixture->names.socket;
	write_unit(fixture, SERVICE, SANDBOX "Type=notify\n",
		   "--notify --hang-after 1000 --listen " SOCKET);
	assert_int_equal(manager_start(fixture->manager, SERVICE, 10 * SECOND, NULL), 0);
	assert_int_equal(
		health_look(fixture->manager, &fixture->plan, &fixture->tree, &fixture->health), 0);
	assert_int_equal(fixture->health.state, HEALTH_GOOD);
	clock_sleep_usec(SECOND + SECOND / 5);
	begin = clock_monotonic_usec();
	assert_int_equal(
		health_look(fixture->manager, &fixture->plan, &fixture->tree, &fixture->health), 0);
	assert_int_equal(fixture->health.state, HEALTH_BAD);
	assert_in_range(clock_monotonic_usec() - begin, SECOND / 2, MUCH_LATER);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		HEALTH_TEST(steady_service_is_good_after_its_window),
		HEALTH_TEST(resumed_watch_has_its_own_window),
		HEALTH_TEST(service_that_ends_at_once_is_found_at_once),
		HEALTH_TEST(service_that_dies_in_its_window_is_found_at_once),
		HEALTH_TEST(service_that_dies_just_before_the_end_is_bad),
		HEALTH_TEST(clean_exit_is_bad_too),
		HEALTH_TEST(service_that_forks_away_is_bad),
		HEALTH_TEST(notify_service_has_its_start_timeout_to_get_ready),
		HEALTH_TEST(notify_service_that_never_gets_ready_is_bad),
		HEALTH_TEST(notify_service_that_ends_instead_is_bad),
		HEALTH_TEST(what_systemd_could_not_start_is_named),
		HEALTH_TEST(restart_is_bad_unless_it_is_allowed),
		HEALTH_TEST(restarts_are_counted_through_the_window),
		HEALTH_TEST(socket_may_come_late_and_must_accept),
		HEALTH_TEST(socket_may_be_seqpacket),
		HEALTH_TEST(absent_socket_is_bad),
		HEALTH_TEST(service_that_gets_ready_and_then_hangs_is_bad),
		HEALTH_TEST(service_that_hangs_just_before_the_end_is_bad),
		HEALTH_TEST(service_that_closes_its_socket_is_bad),
		HEALTH_TEST(death_is_the_reason_when_the_socket_goes_with_it),
		HEALTH_TEST(restarted_service_gets_ready_again),
		HEALTH_TEST(failed_second_unit_is_bad),
		HEALTH_TEST(watch_outlives_a_reexecution_of_systemd),
		HEALTH_TEST(look_does_not_wait),
		HEALTH_TEST(look_sees_a_hanging_socket),
	};

	prepare_host();
	return ON_HOST_RUN(tests, argc, argv);
}
