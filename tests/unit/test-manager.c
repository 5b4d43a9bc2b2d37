/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The manager on a system bus of our own, with a process that plays systemd. What it does on the
 * private connection to a real one is tried by test-manager_host.c.
 */

#include "unit/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "own_directory.h"
#include "unit/systemd.h"

#define DBUS_DAEMON "/usr/bin/dbus-daemon"
#define JOB_PATH    "/org/freedesktop/systemd1/job/7"
#define SECOND      CLOCK_USEC_PER_SEC

struct fixture {
	char directory[40];
	char config[64];
	pid_t daemon;
	pid_t systemd;
};

/* No private socket: whatever runs on this machine is not to be touched. */
static int set_other_address(sd_bus *bus, const char *address)
{
	(void)address;
	return sd_bus_set_address(bus, "unix:path=/nonexistent/private");
}

/* A child that ends with us. */
static pid_t start_child(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static pid_t end_child(pid_t pid)
{
	if (pid > 0) {
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
	return 0;
}

/* Jobs wait for ever, but that of one unit, whose end nobody is told of. */
static int answer_start(sd_bus_message *message)
{
	const char *unit = NULL;

	if (sd_bus_message_read(message, "s", &unit) < 0)
		return -EBADMSG;
	return sd_bus_reply_method_return(
		message, "o",
		strcmp(unit, "lost.service") == 0 ? "/org/freedesktop/systemd1/job/8" : JOB_PATH);
}

static int on_call(sd_bus_message *message, void *data, sd_bus_error *ret_error)
{
	const char *member = sd_bus_message_get_member(message);

	(void)data;
	(void)ret_error;
	if (sd_bus_message_is_method_call(message, NULL, NULL) <= 0)
		return 0;
	if (strcmp(member, "StartUnit") == 0)
		return answer_start(message);
	if (strcmp(member, "StopUnit") == 0) {
		(void)sd_bus_reply_method_return(message, "o", JOB_PATH);
		return sd_bus_emit_signal(sd_bus_message_get_bus(message),
					  "/org/freedesktop/systemd1",
					  "org.freedesktop.systemd1.Manager", "JobRemoved", "uoss",
					  7, JOB_PATH, "x.service", "done");
	}
	if (strcmp(member, "Get") == 0 && strcmp(sd_bus_message_get_path(message), JOB_PATH) != 0)
		return sd_bus_reply_method_errorf(message, SD_BUS_ERROR_UNKNOWN_OBJECT, "Gone.");
	if (strcmp(member, "Get") == 0)
		return sd_bus_reply_method_return(message, "v", "s", "waiting");
	if (strcmp(member, "LoadUnit") == 0)
		return sd_bus_reply_method_errorf(message, "org.freedesktop.systemd1.NoSuchUnit",
						  "Unit x.service not found.");
	return sd_bus_reply_method_return(message, "");
}

/* The daemon's socket is there a moment before it listens. */
static int open_bus(sd_bus **ret)
{
	int r = sd_bus_open_system(ret);

	for (int i = 0; r == -ECONNREFUSED && i < 1000; i++) {
		clock_sleep_usec(SECOND / 100);
		r = sd_bus_open_system(ret);
	}
	return r;
}

/* Plays systemd until killed. */
static void play_systemd(int ready_fd)
{
	sd_bus *bus = NULL;

	if (open_bus(&bus) < 0 || sd_bus_add_filter(bus, NULL, on_call, NULL) < 0 ||
	    sd_bus_request_name(bus, "org.freedesktop.systemd1", 0) < 0)
		_exit(1);
	if (write(ready_fd, "x", 1) != 1)
		_exit(1);
	for (;;) {
		if (sd_bus_process(bus, NULL) == 0)
			(void)sd_bus_wait(bus, UINT64_MAX);
	}
}

/* Says that a job has ended, as anybody on the bus may. */
static void play_liar(void)
{
	sd_bus *bus = NULL;

	clock_sleep_usec(SECOND / 10);
	if (sd_bus_open_system(&bus) < 0)
		_exit(1);
	(void)sd_bus_emit_signal(bus, "/org/freedesktop/systemd1",
				 "org.freedesktop.systemd1.Manager", "JobRemoved", "uoss", 7,
				 JOB_PATH, "x.service", "done");
	(void)sd_bus_flush(bus);
	_exit(0);
}

static void start_bus(struct fixture *fixture)
{
	char address[80];
	FILE *file;

	(void)snprintf(address, sizeof(address), "unix:path=%s/bus", fixture->directory);
	(void)snprintf(fixture->config, sizeof(fixture->config), "%s/config", fixture->directory);
	file = fopen(fixture->config, "we");
	assert_non_null(file);
	assert_true(fprintf(file,
			    "<busconfig><type>session</type><listen>%s</listen>"
			    "<policy context='default'><allow send_destination='*'/>"
			    "<allow receive_sender='*'/><allow own='*'/></policy></busconfig>",
			    address) > 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), 0);
	fixture->daemon = start_child();
	if (fixture->daemon == 0) {
		(void)execl(DBUS_DAEMON, "dbus-daemon", "--nofork", "--config-file",
			    fixture->config, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; faccessat(AT_FDCWD, address + strlen("unix:path="), F_OK, 0) < 0; i++) {
		assert_in_range(i, 0, 1000);
		clock_sleep_usec(SECOND / 100);
	}
}

static void start_systemd(struct fixture *fixture)
{
	int ready[2];
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	fixture->systemd = start_child();
	if (fixture->systemd == 0)
		play_systemd(ready[1]);
	(void)fd_close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)fd_close(ready[0]);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	own_directory_make(fixture->directory);
	assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1), 0);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	(void)end_child(fixture->systemd);
	(void)end_child(fixture->daemon);
	own_directory_remove(fixture->directory);
	free(fixture);
	return 0;
}

static void where_there_is_no_bus_there_is_no_systemd(void **state)
{
	struct manager *manager = NULL;

	(void)state;
	assert_int_equal(manager_open(&manager), -ENOENT);
	assert_null(manager);
}

static void bus_without_systemd_is_as_good_as_none(void **state)
{
	struct manager *manager = NULL;

	start_bus(*state);
	assert_int_equal(manager_open(&manager), -ENOENT);
	assert_null(manager);
}

static void system_bus_is_the_second_way(void **state)
{
	cleanup_manager struct manager *manager = NULL;
	struct manager_unit unit = MANAGER_UNIT_INIT;
	char job[32] = "";

	start_bus(*state);
	start_systemd(*state);
	assert_int_equal(manager_open(&manager), 0);
	assert_int_equal(manager_reload(manager, SECOND), 0);
	assert_int_equal(manager_get_unit(manager, "x.service", &unit), -ENOENT);
	assert_string_equal(manager_error(manager), "Unit x.service not found.");
	assert_int_equal(manager_stop(manager, "x.service", SECOND, job), 0);
	assert_string_equal(job, "done");
}

static void only_systemd_is_believed(void **state)
{
	cleanup_manager struct manager *manager = NULL;
	pid_t liar;
	int status = -1;

	start_bus(*state);
	start_systemd(*state);
	assert_int_equal(manager_open(&manager), 0);
	liar = start_child();
	if (liar == 0)
		play_liar();
	assert_int_equal(manager_start(manager, "x.service", SECOND / 2, NULL), -ETIMEDOUT);
	assert_int_equal(waitpid(liar, &status, 0), liar);
	assert_int_equal(status, 0);
}

static void job_whose_end_nobody_tells_is_missed(void **state)
{
	cleanup_manager struct manager *manager = NULL;
	char job[32] = "";

	start_bus(*state);
	start_systemd(*state);
	assert_int_equal(manager_open(&manager), 0);
	assert_int_equal(manager_start(manager, "lost.service", 10 * SECOND, job), 0);
	assert_string_equal(job, "unknown");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(where_there_is_no_bus_there_is_no_systemd),
		TEST(bus_without_systemd_is_as_good_as_none),
		TEST(system_bus_is_the_second_way),
		TEST(only_systemd_is_believed),
		TEST(job_whose_end_nobody_tells_is_missed),
#undef TEST
	};

	if (faccessat(AT_FDCWD, DBUS_DAEMON, X_OK, 0) < 0) {
		(void)fputs("dbus-daemon is not installed\n", stderr);
		return 77;
	}
	if (systemd_load() < 0)
		return EXIT_FAILURE;
	sd.bus_set_address = set_other_address;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
