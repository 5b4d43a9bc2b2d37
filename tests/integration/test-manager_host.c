/* SPDX-License-Identifier: Apache-2.0 */

/* The manager against a real systemd: test-manager.py boots a scratch host and runs this in it. */

#include "unit/manager.h"

#include <signal.h>

#include "on-host.h"

#define UNIT "affix-m.service"

/* Writes a unit whose [Service] section is *lines* with %s for the daemon, and reloads. */
static void write_unit(struct manager *manager, const char *name, const char *format, ...)
	format_check(3, 4);

static void write_unit(struct manager *manager, const char *name, const char *format, ...)
{
	cleanup_free char *path = NULL;
	cleanup_free char *text = NULL;
	va_list arguments;

	va_start(arguments, format);
	assert_true(vasprintf(&text, format, arguments) > 0);
	va_end(arguments);
	assert_int_equal(str_format(&path, "/etc/systemd/system/%s", name), 0);
	on_host_write(path, text);
	assert_int_equal(manager_reload(manager, 30 * SECOND), 0);
}

static int setup(void **state)
{
	struct manager *manager = NULL;

	assert_int_equal(manager_open(&manager), 0);
	*state = manager;
	return 0;
}

static int teardown(void **state)
{
	struct manager *manager = *state;

	assert_int_equal(manager_kill(manager, UNIT), 0);
	assert_int_equal(manager_reset_failed(manager, UNIT), 0);
	on_host_shell("rm -rf /etc/systemd/system/affix-m.* /etc/systemd/system/affix-m.service.d");
	assert_int_equal(manager_reload(manager, 30 * SECOND), 0);
	(void)manager_close(manager);
	return 0;
}

static void started_unit_is_described_as_it_runs(void **state)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;
	char job[32] = "";

	on_host_shell("mkdir -p /etc/systemd/system/affix-m.service.d");
	on_host_write("/etc/systemd/system/affix-m.service.d/50-x.conf", "[Unit]\nDescription=x\n");
	write_unit(manager, UNIT, "[Service]\nTimeoutStartSec=42\nExecStart=%s\n", ON_HOST_DAEMON);
	assert_int_equal(manager_start(manager, UNIT, 10 * SECOND, job), 0);
	assert_string_equal(job, "done");
	assert_int_equal(manager_get_unit(manager, UNIT, &unit), 0);
	assert_string_equal(unit.load_state, "loaded");
	assert_string_equal(unit.active_state, "active");
	assert_string_equal(unit.sub_state, "running");
	assert_string_equal(unit.result, "success");
	assert_string_equal(unit.fragment_path, "/etc/systemd/system/" UNIT);
	assert_string_equal(unit.exec_type, "simple");
	assert_int_equal(unit.drop_in_paths.count, 1);
	assert_string_equal(unit.drop_in_paths.items[0],
			    "/etc/systemd/system/affix-m.service.d/50-x.conf");
	assert_false(unit.need_daemon_reload);
	assert_false(unit.has_job);
	assert_int_equal(kill(unit.main_pid, 0), 0);
	assert_int_equal(unit.restarts, 0);
	assert_int_equal(unit.exec_main_code, 0);
	assert_int_equal(unit.start_timeout_usec, 42 * SECOND);
	assert_in_range(unit.active_enter_usec, clock_monotonic_usec() - 10 * SECOND,
			clock_monotonic_usec());
	assert_int_equal(strlen(unit.invocation_id), 32);
	assert_non_null(strstr(unit.control_group, UNIT));
}

static void stopped_unit_is_inactive_and_says_how_it_ended(void **state)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;
	char job[32] = "";

	write_unit(manager, UNIT, "[Service]\nExecStart=%s\n", ON_HOST_DAEMON);
	assert_int_equal(manager_start(manager, UNIT, 10 * SECOND, NULL), 0);
	assert_int_equal(manager_stop(manager, UNIT, 10 * SECOND, job), 0);
	assert_string_equal(job, "done");
	assert_int_equal(manager_get_unit(manager, UNIT, &unit), 0);
	assert_string_equal(unit.active_state, "inactive");
	assert_int_equal(unit.main_pid, 0);
}

static void changed_file_needs_a_reload(void **state)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;

	write_unit(manager, UNIT, "[Service]\nExecStart=%s\n", ON_HOST_DAEMON);
	assert_int_equal(manager_start(manager, UNIT, 10 * SECOND, NULL), 0);
	on_host_shell("touch -d '1 hour' /etc/systemd/system/" UNIT);
	assert_int_equal(manager_get_unit(manager, UNIT, &unit), 0);
	assert_true(unit.need_daemon_reload);
}

static void absent_unit_cannot_be_started_but_stopped(void **state)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;
	char job[32] = "";

	assert_int_equal(manager_start(manager, "affix-m-none.service", 10 * SECOND, NULL),
			 -ENOENT);
	assert_non_null(strstr(manager_error(manager), "affix-m-none.service"));
	assert_int_equal(manager_stop(manager, "affix-m-none.service", 10 * SECOND, job), 0);
	assert_string_equal(job, "done");
	assert_int_equal(manager_kill(manager, "affix-m-none.service"), 0);
	assert_int_equal(manager_reset_failed(manager, "affix-m-none.service"), 0);
	assert_int_equal(manager_get_unit(manager, "affix-m-none.service", &unit), 0);
	assert_string_equal(unit.load_state, "not-found");
}

static void failed_start_is_the_jobs_result_not_an_error(void **state)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;
	char job[32] = "";

	write_unit(manager, UNIT, "[Service]\nType=notify\nExecStart=%s --die-after 50 --exit 7\n",
		   ON_HOST_DAEMON);
	assert_int_equal(manager_start(manager, UNIT, 10 * SECOND, job), 0);
	assert_string_equal(job, "failed");
	assert_int_equal(manager_get_unit(manager, UNIT, &unit), 0);
	assert_string_equal(unit.active_state, "failed");
	assert_string_equal(unit.result, "exit-code");
	assert_int_equal(unit.exec_main_code, CLD_EXITED);
	assert_int_equal(unit.exec_main_status, 7);
}

static void start_that_takes_too_long_goes_on(void **state)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;
	uint64_t start;

	write_unit(manager, UNIT, "[Service]\nType=notify\nExecStart=%s --notify-after 1500\n",
		   ON_HOST_DAEMON);
	start = clock_monotonic_usec();
	assert_int_equal(manager_start(manager, UNIT, SECOND / 2, NULL), -ETIMEDOUT);
	assert_in_range(clock_monotonic_usec() - start, SECOND / 2, MUCH_LATER);
	assert_int_equal(manager_get_unit(manager, UNIT, &unit), 0);
	assert_string_equal(unit.active_state, "activating");
	assert_true(unit.has_job);
	assert_int_equal(manager_start(manager, UNIT, 10 * SECOND, NULL), 0);
}

static void killed_unit_neither_lingers_nor_restarts(void **state)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;

	write_unit(manager, UNIT,
		   "[Service]\nType=notify\nRestart=always\nRestartSec=0\n"
		   "TimeoutStopSec=infinity\nExecStart=%s --ignore-term --notify\n",
		   ON_HOST_DAEMON);
	assert_int_equal(manager_start(manager, UNIT, 10 * SECOND, NULL), 0);
	assert_int_equal(manager_stop(manager, UNIT, SECOND / 2, NULL), -ETIMEDOUT);
	assert_int_equal(manager_kill(manager, UNIT), 0);
	clock_sleep_usec(SECOND / 2);
	assert_int_equal(manager_get_unit(manager, UNIT, &unit), 0);
	assert_int_equal(unit.main_pid, 0);
	assert_true(str_equal(unit.active_state, "failed") ||
		    str_equal(unit.active_state, "inactive"));
}

static void what_follows_the_end_of_a_killed_unit_is_killed_too(void **state)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;

	write_unit(manager, UNIT,
		   "[Service]\nTimeoutStopSec=infinity\nExecStart=%s --ignore-term\n"
		   "ExecStopPost=/bin/sleep 600\nExecStopPost=/bin/sleep 601\n",
		   ON_HOST_DAEMON);
	assert_int_equal(manager_start(manager, UNIT, 10 * SECOND, NULL), 0);
	assert_int_equal(manager_stop(manager, UNIT, SECOND / 2, NULL), -ETIMEDOUT);
	assert_int_equal(manager_kill(manager, UNIT), 0);
	assert_int_equal(manager_get_unit(manager, UNIT, &unit), 0);
	assert_string_equal(unit.active_state, "failed");
}

static void hanging_start_is_killed(void **state)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;

	write_unit(
		manager, UNIT,
		"[Service]\nType=notify\nRestart=always\nRestartSec=0\nTimeoutStartSec=infinity\n"
		"ExecStart=%s --ignore-term\n",
		ON_HOST_DAEMON);
	assert_int_equal(manager_start(manager, UNIT, SECOND / 2, NULL), -ETIMEDOUT);
	assert_int_equal(manager_kill(manager, UNIT), 0);
	clock_sleep_usec(SECOND / 2);
	assert_int_equal(manager_get_unit(manager, UNIT, &unit), 0);
	assert_int_equal(unit.main_pid, 0);
	assert_false(unit.has_job);
}

static void change_of_a_unit_ends_the_wait(void **state)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;
	uint64_t start;

	write_unit(manager, UNIT, "[Service]\nExecStart=%s --die-after 500\n", ON_HOST_DAEMON);
	assert_int_equal(manager_start(manager, UNIT, 10 * SECOND, NULL), 0);
	start = clock_monotonic_usec();
	do {
		assert_int_equal(manager_wait(manager, 10 * SECOND), 0);
		manager_unit_done(&unit);
		assert_int_equal(manager_get_unit(manager, UNIT, &unit), 0);
	} while (!str_equal(unit.active_state, "failed"));
	assert_in_range(clock_monotonic_usec() - start, SECOND / 10, MUCH_LATER);
}

static void quiet_wait_ends_in_time(void **state)
{
	struct manager *manager = *state;
	uint64_t start;

	/* What came before may end the first waits at once. */
	for (int i = 0; i < 10; i++)
		assert_int_equal(manager_wait(manager, SECOND / 10), 0);
	start = clock_monotonic_usec();
	assert_int_equal(manager_wait(manager, SECOND / 5), 0);
	assert_in_range(clock_monotonic_usec() - start, SECOND / 10, MUCH_LATER);
}

static void timer_with_a_next_elapse_is_finite(void **state)
{
	cleanup_manager_unit struct manager_unit never = MANAGER_UNIT_INIT;
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;

	write_unit(manager, UNIT, "[Service]\nType=oneshot\nExecStart=/bin/true\n");
	write_unit(manager, "affix-m.timer", "[Timer]\nOnCalendar=hourly\n");
	assert_int_equal(manager_start(manager, "affix-m.timer", 10 * SECOND, NULL), 0);
	assert_int_equal(manager_get_unit(manager, "affix-m.timer", &unit), 0);
	assert_string_equal(unit.active_state, "active");
	assert_string_equal(unit.triggers, UNIT);
	assert_true(unit.timer_is_finite);
	assert_int_equal(unit.last_trigger_usec, 0);
	assert_int_equal(manager_stop(manager, "affix-m.timer", 10 * SECOND, NULL), 0);

	write_unit(manager, "affix-m.timer", "[Timer]\nOnCalendar=2001-01-01\n");
	assert_int_equal(manager_start(manager, "affix-m.timer", 10 * SECOND, NULL), 0);
	assert_int_equal(manager_get_unit(manager, "affix-m.timer", &never), 0);
	assert_false(never.timer_is_finite);
	assert_int_equal(manager_stop(manager, "affix-m.timer", 10 * SECOND, NULL), 0);
}

static void run_tells_the_exit_status(void **state)
{
	static const struct {
		const char *argv[4];
		int status;
	} cases[] = {
		{{"/bin/true"},                               0            },
		{{"/bin/sh", "-c", "exit 3"},                 3            },
		{{"/bin/sh", "-c", "kill -KILL $$$$"},        128 + SIGKILL},
		{{"/bin/sh", "-c", "test \"$$0\" = /bin/sh"}, 0            },
		{{"/nonexistent"},                            203          },
	};
	struct manager *manager = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status = -1;

		assert_int_equal(
			manager_run(manager, "affix: a test", cases[i].argv, 10 * SECOND, &status),
			0);
		assert_int_equal(status, cases[i].status);
	}
	on_host_shell("test -z \"$(systemctl list-units --all --no-legend 'affix-run-*')\"");
}

static void run_that_takes_too_long_is_killed(void **state)
{
	static const char *const argv[] = {"/bin/sleep", "1000", NULL};
	struct manager *manager = *state;
	int status = -1;

	assert_int_equal(manager_run(manager, "affix: a test", argv, SECOND, &status), -ETIMEDOUT);
	assert_int_equal(status, -1);
	on_host_shell("test -z \"$(systemctl list-units --all --no-legend 'affix-run-*')\"");
}

static void arguments_of_a_run_are_taken_literally(void **state)
{
	static const char *const argv[] = {"/bin/sh",
					   "-c",
					   "test \"$1\" = '%n $HOME ${HOME} \"x\" ;'",
					   "sh",
					   "%n $HOME ${HOME} \"x\" ;",
					   NULL};
	struct manager *manager = *state;
	int status = -1;

	assert_int_equal(manager_run(manager, "affix: a test", argv, 10 * SECOND, &status), 0);
	assert_int_equal(status, 0);
}

static void log_tail_has_the_last_lines_in_order(void **state)
{
	cleanup_strv struct strv lines = STRV_INIT;
	cleanup_strv struct strv tail = STRV_INIT;
	struct manager *manager = *state;
	uint64_t since = clock_realtime_sec() * SECOND;
	bool has_end = false;
	int next = 0;

	write_unit(manager, UNIT,
		   "[Service]\nType=oneshot\nSyslogIdentifier=m\n"
		   "ExecStart=%s --log \"a\\tb\\033[1mc\" --log-lines 30 --die-after 0 --exit 5\n",
		   ON_HOST_DAEMON);
	assert_int_equal(manager_start(manager, UNIT, 10 * SECOND, NULL), 0);
	assert_int_equal(manager_log_tail(UNIT, since, 50, &lines), 0);
	for (size_t i = 0; i < lines.count; i++) {
		char expected[64];

		/* PID 1 adds how it ended, before or behind what the service said. */
		(void)snprintf(expected, sizeof(expected), "m: %d a\\x09b\\x1b[1mc", next);
		next += str_equal(lines.items[i], expected);
		has_end |= str_starts_with(lines.items[i], "systemd: ") &&
			   strstr(lines.items[i], "status=5") != NULL;
	}
	assert_int_equal(next, 30);
	assert_true(has_end);
	assert_int_equal(manager_log_tail(UNIT, since, 12, &tail), 0);
	assert_int_equal(tail.count, 12);
	for (size_t i = 0; i < tail.count; i++)
		assert_string_equal(tail.items[i], lines.items[lines.count - 12 + i]);
}

static void log_tail_starts_at_the_given_time(void **state)
{
	cleanup_strv struct strv lines = STRV_INIT;
	struct manager *manager = *state;

	(void)manager;
	assert_int_equal(manager_log_tail("affix-m.service", UINT64_MAX, 50, &lines), 0);
	assert_int_equal(lines.count, 0);
	assert_int_equal(manager_log_tail("affix-nobody.service", 0, 50, &lines), 0);
	assert_int_equal(lines.count, 0);
}

static void long_log_lines_are_cut(void **state)
{
	cleanup_strv struct strv lines = STRV_INIT;
	struct manager *manager = *state;
	size_t longest = 0;
	size_t cut = 0;

	write_unit(manager, UNIT,
		   "[Service]\nType=oneshot\nSyslogIdentifier=m\n"
		   "ExecStart=/bin/sh -c 'head -c 4000 /dev/zero | tr \"\\\\0\" \"\\\\001\"; echo; "
		   "head -c 4000 /dev/zero | tr \"\\\\0\" x; echo'\n");
	assert_int_equal(manager_start(manager, UNIT, 10 * SECOND, NULL), 0);
	assert_int_equal(manager_log_tail(UNIT, 0, 8, &lines), 0);
	for (size_t i = 0; i < lines.count; i++) {
		longest = MAX(longest, strlen(lines.items[i]));
		cut += str_starts_with(lines.items[i], "m: ") &&
		       str_ends_with(lines.items[i], "...");
	}
	assert_int_equal(cut, 2);
	assert_in_range(longest, MANAGER_LOG_LINE_MAX - 100, MANAGER_LOG_LINE_MAX);
}

static void systemd_may_reexecute_itself_meanwhile(void **state)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	struct manager *manager = *state;
	char job[32] = "";

	write_unit(manager, UNIT, "[Service]\nType=notify\nExecStart=%s --notify-after 2000\n",
		   ON_HOST_DAEMON);
	on_host_shell("(sleep 0.5; systemctl daemon-reexec) >/dev/null 2>&1 &");
	assert_int_equal(manager_start(manager, UNIT, 20 * SECOND, job), 0);
	assert_true(str_equal(job, "done") || str_equal(job, "unknown"));
	assert_int_equal(manager_get_unit(manager, UNIT, &unit), 0);
	assert_string_equal(unit.active_state, "active");
	on_host_shell("systemctl daemon-reexec");
	manager_unit_done(&unit);
	assert_int_equal(manager_get_unit(manager, UNIT, &unit), 0);
	assert_string_equal(unit.active_state, "active");
}

/* The script has stopped PID 1. */
static int expect_no_answer(void)
{
	uint64_t start = clock_monotonic_usec();
	cleanup_manager struct manager *manager = NULL;
	int r;

	r = manager_open(&manager);
	if (r == -ETIMEDOUT && clock_monotonic_usec() - start < 20 * SECOND)
		return 0;
	(void)fprintf(stderr, "manager_open: %d\n", r);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(started_unit_is_described_as_it_runs),
		TEST(stopped_unit_is_inactive_and_says_how_it_ended),
		TEST(changed_file_needs_a_reload),
		TEST(absent_unit_cannot_be_started_but_stopped),
		TEST(failed_start_is_the_jobs_result_not_an_error),
		TEST(start_that_takes_too_long_goes_on),
		TEST(killed_unit_neither_lingers_nor_restarts),
		TEST(what_follows_the_end_of_a_killed_unit_is_killed_too),
		TEST(hanging_start_is_killed),
		TEST(change_of_a_unit_ends_the_wait),
		TEST(quiet_wait_ends_in_time),
		TEST(timer_with_a_next_elapse_is_finite),
		TEST(run_tells_the_exit_status),
		TEST(run_that_takes_too_long_is_killed),
		TEST(arguments_of_a_run_are_taken_literally),
		TEST(log_tail_has_the_last_lines_in_order),
		TEST(log_tail_starts_at_the_given_time),
		TEST(long_log_lines_are_cut),
		TEST(systemd_may_reexecute_itself_meanwhile),
#undef TEST
	};

	on_host_require();
	if (argc > 1 && strcmp(argv[1], "--stopped") == 0)
		return expect_no_answer();
	return ON_HOST_RUN(tests, argc, argv);
}
