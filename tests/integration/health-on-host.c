/* SPDX-License-Identifier: Apache-2.0 */

/* Health against a real systemd: test-manager.py boots a scratch host and runs this in it. */

#include "engine/health.h"

#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "on-host.h"

#define HOME    "/opt/affix/h"
#define BINARY  HOME "/current/daemon"
#define SERVICE "affix-h.service"
#define TIMER   "affix-h.timer"
#define OTHER   "affix-h_other.service"
#define SOCKET  "/run/affix/h/ready"
#define UNITS   "/etc/systemd/system/"

#define NET_RAW (1ULL << CAP_NET_RAW)

/* What a sandbox of no capabilities and the add-on's user looks like. */
#define SANDBOX "[Service]\nUser=affix-h\nCapabilityBoundingSet=\n"

struct fixture {
	struct manager *manager;
	struct tree tree;
	struct plan plan;
	struct plan_unit units[2];
	struct health health;
	uint64_t took; /* from the call that starts the unit to the verdict */
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	assert_int_equal(manager_open(&fixture->manager), 0);
	assert_int_equal(tree_open("/", true, &fixture->tree), 0);
	fixture->units[0] =
		(struct plan_unit){.name = (char *)(uintptr_t)SERVICE, .is_primary = true};
	fixture->plan = (struct plan){
		.user = (char *)(uintptr_t) "affix-h",
		.binary = (char *)(uintptr_t)BINARY,
		.health = {.window_seconds = 1},
		.units = fixture->units,
		.n_units = 1,
	};
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	for (size_t i = fixture->plan.n_units; i > 0; i--) {
		assert_int_equal(manager_kill(fixture->manager, fixture->units[i - 1].name), 0);
		assert_int_equal(manager_reset_failed(fixture->manager, fixture->units[i - 1].name),
				 0);
	}
	on_host_shell("rm -rf " UNITS "affix-h* " UNITS "multi-user.target.wants/affix-h* " SOCKET
		      " /run/affix/h/*");
	(void)manager_close(fixture->manager);
	tree_done(&fixture->tree);
	free(fixture);
	return 0;
}

/* *lines* of a unit file, then ExecStart= of the daemon with *arguments*. */
static void write_unit(struct fixture *fixture, const char *name, const char *lines,
		       const char *arguments)
{
	cleanup_free char *path = NULL;
	cleanup_free char *text = NULL;
	cleanup_free char *link = NULL;

	assert_int_equal(str_format(&path, UNITS "%s", name), 0);
	assert_int_equal(str_format(&text, "%s%s%s\n", lines,
				    arguments ? "\nExecStart=" BINARY " " : "",
				    arguments ? arguments : ""),
			 0);
	on_host_write(path, text);
	/* As enabled units are: systemd remembers how they ended. */
	assert_int_equal(str_format(&link, "ln -sf %s " UNITS "multi-user.target.wants/", path), 0);
	on_host_shell(link);
	assert_int_equal(manager_reload(fixture->manager, 30 * SECOND), 0);
}

static void start(struct fixture *fixture, const char *name)
{
	int r = manager_start(fixture->manager, name, SECOND / 10, NULL);

	assert_true(r == 0 || r == -ETIMEDOUT || r == -ENOEXEC);
}

/* Starts the service and watches it. */
static enum health_state watch(struct fixture *fixture, const char *lines, const char *arguments)
{
	uint64_t begin;

	write_unit(fixture, SERVICE, lines, arguments);
	begin = clock_monotonic_usec();
	start(fixture, SERVICE);
	assert_int_equal(
		health_watch(fixture->manager, &fixture->plan, &fixture->tree, 0, &fixture->health),
		0);
	fixture->took = clock_monotonic_usec() - begin;
	return fixture->health.state;
}

#define assert_reason(fixture, part)                                                   \
	do {                                                                           \
		if (!strstr((fixture)->health.reason, part))                           \
			fail_msg("'%s' lacks '%s'", (fixture)->health.reason, (part)); \
	} while (false)

#define assert_good(fixture, ...)                                           \
	do {                                                                \
		if (watch((fixture), __VA_ARGS__) != HEALTH_GOOD)           \
			fail_msg("not good: %s", (fixture)->health.reason); \
	} while (false)

#define assert_bad(fixture, part, ...)                                       \
	do {                                                                 \
		assert_int_equal(watch((fixture), __VA_ARGS__), HEALTH_BAD); \
		assert_reason((fixture), (part));                            \
		assert_string_equal((fixture)->health.unit, SERVICE);        \
	} while (false)

static void steady_service_is_good_after_its_window(void **state)
{
	struct fixture *fixture = *state;

	assert_good(fixture, SANDBOX, "");
	assert_string_equal(fixture->health.reason, "");
	assert_in_range(fixture->took, SECOND, 2 * SECOND);
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
	assert_in_range(clock_monotonic_usec() - begin, SECOND / 2, 2 * SECOND);
}

static void service_that_ends_at_once_is_found_at_once(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 60;
	assert_bad(fixture, "exited with status 3", SANDBOX, "--die-after 0 --exit 3");
	print_message("found after %u ms\n", (unsigned)(fixture->took / 1000));
	assert_in_range(fixture->took, 0, SECOND / 10);
}

static void service_that_dies_in_its_window_is_found_at_once(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 60;
	assert_bad(fixture, "killed by signal 11/SEGV", SANDBOX, "--die-after 500 --signal 11");
	assert_in_range(fixture->took, SECOND / 2, SECOND / 2 + SECOND / 5);
}

static void service_that_dies_just_before_the_end_is_bad(void **state)
{
	struct fixture *fixture = *state;

	/* The window begins when it is seen to be right, a little after its start. */
	for (int at = 900; at < 1000; at += 20) {
		char arguments[64];

		(void)snprintf(arguments, sizeof(arguments), "--die-after %d", at);
		assert_bad(fixture, "exited with status 1", SANDBOX, arguments);
		assert_int_equal(manager_reset_failed(fixture->manager, SERVICE), 0);
	}
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
	assert_in_range(fixture->took, SECOND + 7 * SECOND / 10, 3 * SECOND);
}

static void notify_service_that_never_gets_ready_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "did not start or stop in time",
		   SANDBOX "Type=notify\nTimeoutStartSec=1\n", "");
	assert_in_range(fixture->took, SECOND, 3 * SECOND);
}

static void notify_service_that_ends_instead_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "", SANDBOX "Type=notify\n", "--die-after 200 --exit 0");
	assert_in_range(fixture->took, SECOND / 5, SECOND / 2);
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
	assert_in_range(fixture->took, 6 * SECOND / 10, 2 * SECOND);
}

static void socket_may_come_late_and_must_accept(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.ready_socket = (char *)(uintptr_t)SOCKET;
	assert_good(fixture, SANDBOX, "--listen " SOCKET " --listen-after 700");
	assert_in_range(fixture->took, SECOND + 7 * SECOND / 10, 3 * SECOND);
}

static void socket_may_be_seqpacket(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.ready_socket = (char *)(uintptr_t)SOCKET;
	assert_good(fixture, SANDBOX, "--seqpacket --listen " SOCKET);
}

static void absent_socket_is_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.ready_socket = (char *)(uintptr_t)SOCKET;
	assert_bad(fixture, "is not ready: '" SOCKET "' cannot be opened", SANDBOX, "");
	assert_in_range(fixture->took, 10 * SECOND, 12 * SECOND);
}

static void service_that_gets_ready_and_then_hangs_is_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 30;
	fixture->plan.health.ready_socket = (char *)(uintptr_t)SOCKET;
	assert_bad(fixture, "lets connections wait", SANDBOX, "--hang-after 1500 --listen " SOCKET);
	assert_in_range(fixture->took, 3 * SECOND, 6 * SECOND);
}

static void service_that_hangs_just_before_the_end_is_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.ready_socket = (char *)(uintptr_t)SOCKET;
	assert_bad(fixture, "lets connections wait", SANDBOX, "--hang-after 900 --listen " SOCKET);
}

static void service_that_closes_its_socket_is_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 30;
	fixture->plan.health.ready_socket = (char *)(uintptr_t)SOCKET;
	assert_bad(fixture, "is not ready", SANDBOX, "--close-after 1200 --listen " SOCKET);
	assert_in_range(fixture->took, 2 * SECOND, 5 * SECOND);
}

static void death_is_the_reason_when_the_socket_goes_with_it(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.window_seconds = 30;
	fixture->plan.health.ready_socket = (char *)(uintptr_t)SOCKET;
	assert_bad(fixture, "exited with status 9", SANDBOX,
		   "--die-after 1000 --exit 9 --listen " SOCKET);
}

static void restarted_service_gets_ready_again(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.health.max_restarts = 1;
	fixture->plan.health.ready_socket = (char *)(uintptr_t)SOCKET;
	assert_good(fixture, FAILS_ONCE,
		    "--listen " SOCKET " --listen-after 300 --need-file /run/affix/h/seen");
}

static void other_user_than_granted_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "with uid 0 instead of", "[Service]\nCapabilityBoundingSet=\n", "");
}

static void granted_capabilities_are_good(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.capabilities = NET_RAW;
	assert_good(fixture,
		    "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_NET_RAW\n"
		    "AmbientCapabilities=CAP_NET_RAW\n",
		    "");
}

static void root_with_granted_capabilities_is_good(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.user = (char *)(uintptr_t) "root";
	fixture->plan.capabilities = NET_RAW;
	assert_good(fixture,
		    "[Service]\nUser=root\nCapabilityBoundingSet=CAP_NET_RAW\n"
		    "AmbientCapabilities=CAP_NET_RAW\n",
		    "");
}

static void missing_capabilities_are_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.capabilities = NET_RAW;
	assert_bad(fixture, "ambient capabilities 0x0 where 0x2000",
		   "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_NET_RAW\n", "");
	assert_int_equal(manager_kill(fixture->manager, SERVICE), 0);
	assert_bad(fixture, "bounding capabilities",
		   "[Service]\nUser=affix-h\nAmbientCapabilities=CAP_NET_RAW\n", "");
}

static void capabilities_that_the_host_lacks_are_bad(void **state)
{
	struct fixture *fixture = *state;

	/* CAP_WAKE_ALARM is not in a scratch host's bounding set. */
	fixture->plan.capabilities = 1ULL << CAP_WAKE_ALARM;
	assert_int_equal(watch(fixture,
			       "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_WAKE_ALARM\n"
			       "AmbientCapabilities=CAP_WAKE_ALARM\n",
			       ""),
			 HEALTH_BAD);
}

static void superfluous_capabilities_are_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "bounding capabilities 0x2000 where 0x0",
		   "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_NET_RAW\n", "");
}

static void dropped_capabilities_are_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->plan.capabilities = NET_RAW;
	assert_bad(fixture, "ambient capabilities 0x0",
		   "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_NET_RAW\n"
		   "AmbientCapabilities=CAP_NET_RAW\n",
		   "--drop-capabilities");
}

static void file_capabilities_are_looked_for_as_permitted(void **state)
{
	static const struct vfs_cap_data granted = {
		.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
		.data = {{.permitted = (uint32_t)NET_RAW}},
	};
	static const char unit[] = "[Service]\nUser=affix-h\nCapabilityBoundingSet=CAP_NET_RAW\n";
	struct fixture *fixture = *state;

	fixture->plan.capabilities = NET_RAW;
	fixture->plan.file_capabilities = true;
	assert_bad(fixture, "permitted capabilities 0x0", unit, "");
	assert_int_equal(manager_kill(fixture->manager, SERVICE), 0);
	assert_int_equal(setxattr(BINARY, "security.capability", &granted, XATTR_CAPS_SZ_2, 0), 0);
	assert_int_equal(watch(fixture, unit, ""), HEALTH_GOOD);
	assert_int_equal(removexattr(BINARY, "security.capability"), 0);
}

static void other_program_than_the_plans_is_bad(void **state)
{
	struct fixture *fixture = *state;

	assert_bad(fixture, "runs '/usr/bin/sleep' instead of '" BINARY "'", SANDBOX,
		   "--exec /usr/bin/sleep");
}

static void program_that_was_replaced_is_bad(void **state)
{
	struct fixture *fixture = *state;
	uint64_t begin;

	write_unit(fixture, SERVICE, SANDBOX, "");
	start(fixture, SERVICE);
	clock_sleep_usec(SECOND / 2);
	assert_int_equal(
		health_look(fixture->manager, &fixture->plan, &fixture->tree, &fixture->health), 0);
	assert_int_equal(fixture->health.state, HEALTH_GOOD);
	on_host_shell("cd " HOME "/current; cp -p daemon new; mv new daemon");
	begin = clock_monotonic_usec();
	assert_int_equal(
		health_watch(fixture->manager, &fixture->plan, &fixture->tree, 0, &fixture->health),
		0);
	assert_int_equal(fixture->health.state, HEALTH_BAD);
	assert_reason(fixture, "(deleted)");
	assert_in_range(clock_monotonic_usec() - begin, 0, 7 * SECOND);
}

static void failed_second_unit_is_bad(void **state)
{
	struct fixture *fixture = *state;

	fixture->units[1] = (struct plan_unit){.name = (char *)(uintptr_t)OTHER};
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
	assert_in_range(clock_monotonic_usec() - begin, 0, SECOND / 5);
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

	fixture->plan.health.ready_socket = (char *)(uintptr_t)SOCKET;
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
	assert_in_range(clock_monotonic_usec() - begin, SECOND / 2, SECOND);
}

/* The timer is primary, its service runs the daemon. */
static enum health_state watch_timer(struct fixture *fixture, const char *timer,
				     const char *service, const char *arguments)
{
	uint64_t begin;

	fixture->plan.supervision = MANIFEST_SUPERVISION_SYSTEMD_TIMER;
	fixture->plan.health.run_once = true;
	fixture->units[0] = (struct plan_unit){
		.name = (char *)(uintptr_t)TIMER, .is_timer = true, .is_primary = true};
	fixture->units[1] = (struct plan_unit){.name = (char *)(uintptr_t)SERVICE};
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
	assert_in_range(fixture->took, SECOND + 7 * SECOND / 10, 4 * SECOND);
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
	assert_in_range(fixture->took, 0, SECOND / 5);
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
	assert_in_range(fixture->took, 0, 10 * SECOND);
}

static void run_is_not_repeated_where_the_plan_says_so(void **state)
{
	struct fixture *fixture = *state;

	write_unit(fixture, SERVICE, ONESHOT, "--write /run/affix/h/trace --die-after 0 --exit 1");
	write_unit(fixture, TIMER, HOURLY, NULL);
	fixture->units[0] = (struct plan_unit){
		.name = (char *)(uintptr_t)TIMER, .is_timer = true, .is_primary = true};
	start(fixture, TIMER);
	assert_int_equal(
		health_watch(fixture->manager, &fixture->plan, &fixture->tree, 0, &fixture->health),
		0);
	assert_int_equal(fixture->health.state, HEALTH_GOOD);
	on_host_shell("test ! -e /run/affix/h/trace");
}

static void prepare_host(void)
{
	on_host_shell("systemd-sysusers --inline 'u affix-h -'");
	on_host_shell("mkdir -p " HOME "/versions/1 /run/affix/h; chown affix-h /run/affix/h");
	on_host_shell("ln -s versions/1 " HOME "/current; cp " ON_HOST_DAEMON " " BINARY);
	/* Tests of failure start units more often than systemd likes by default. */
	on_host_shell("mkdir -p /etc/systemd/system.conf.d; printf "
		      "'[Manager]\\nDefaultStartLimitIntervalSec=0\\n' "
		      ">/etc/systemd/system.conf.d/x.conf; systemctl daemon-reload");
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(steady_service_is_good_after_its_window),
		TEST(resumed_watch_has_its_own_window),
		TEST(service_that_ends_at_once_is_found_at_once),
		TEST(service_that_dies_in_its_window_is_found_at_once),
		TEST(service_that_dies_just_before_the_end_is_bad),
		TEST(clean_exit_is_bad_too),
		TEST(service_that_forks_away_is_bad),
		TEST(notify_service_has_its_start_timeout_to_get_ready),
		TEST(notify_service_that_never_gets_ready_is_bad),
		TEST(notify_service_that_ends_instead_is_bad),
		TEST(what_systemd_could_not_start_is_named),
		TEST(restart_is_bad_unless_it_is_allowed),
		TEST(restarts_are_counted_through_the_window),
		TEST(socket_may_come_late_and_must_accept),
		TEST(socket_may_be_seqpacket),
		TEST(absent_socket_is_bad),
		TEST(service_that_gets_ready_and_then_hangs_is_bad),
		TEST(service_that_hangs_just_before_the_end_is_bad),
		TEST(service_that_closes_its_socket_is_bad),
		TEST(death_is_the_reason_when_the_socket_goes_with_it),
		TEST(restarted_service_gets_ready_again),
		TEST(other_user_than_granted_is_bad),
		TEST(granted_capabilities_are_good),
		TEST(root_with_granted_capabilities_is_good),
		TEST(missing_capabilities_are_bad),
		TEST(capabilities_that_the_host_lacks_are_bad),
		TEST(superfluous_capabilities_are_bad),
		TEST(dropped_capabilities_are_bad),
		TEST(file_capabilities_are_looked_for_as_permitted),
		TEST(other_program_than_the_plans_is_bad),
		TEST(program_that_was_replaced_is_bad),
		TEST(failed_second_unit_is_bad),
		TEST(watch_outlives_a_reexecution_of_systemd),
		TEST(look_does_not_wait),
		TEST(look_sees_a_hanging_socket),
		TEST(timer_is_good_once_its_job_succeeded),
		TEST(timer_whose_job_fails_is_bad_at_once),
		TEST(timer_whose_job_takes_too_long_is_bad),
		TEST(timer_whose_job_does_not_run_is_bad),
		TEST(timer_that_never_elapses_is_bad),
		TEST(timer_whose_job_is_the_wrong_user_is_bad),
		TEST(later_run_that_fails_is_bad),
		TEST(run_is_not_repeated_where_the_plan_says_so),
#undef TEST
	};

	on_host_require();
	prepare_host();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
