/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Jobs: what PID 1 does for us that takes time. A job has ended when PID 1 says so (JobRemoved), or
 * when its object is gone: the signal is the quick way, the object the sure one.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "unit/manager.h"
#include "unit/manager_bus.h"

/* How often the object of a job is looked for, should its signal be lost. */
#define JOB_POLL_USEC (200 * CLOCK_USEC_PER_MSEC)
/* What SIGKILL was sent to is gone by then, or it hangs in the kernel. */
#define KILL_USEC       (10 * CLOCK_USEC_PER_SEC)
#define KILL_AGAIN_USEC (CLOCK_USEC_PER_SEC / 2)
/* Transient services that were told to stop have so long before they are killed. */
#define RUN_STOP_USEC (5 * CLOCK_USEC_PER_SEC)

#define RUN_NAME_SIZE 64U

static int job_is_gone(struct manager *manager, bool *ret)
{
	const struct manager_method method = {manager->job, "org.freedesktop.DBus.Properties",
					      "Get", 0};
	int r;

	r = manager_call(manager, &method, NULL, "ss", MANAGER_JOB, "State");
	if (r < 0 && r != -ENXIO)
		return r;
	*ret = r == -ENXIO;
	return 0;
}

/* The job's signal, or *step_usec*, whichever comes first. */
static int wait_signal(struct manager *manager, uint64_t step_usec)
{
	uint64_t end = clock_monotonic_usec() + step_usec;

	for (;;) {
		uint64_t now = clock_monotonic_usec();
		int r;

		/* Changes of units are manager_wait()'s business, and it will be told. */
		manager->has_changed = false;
		r = manager_dispatch(manager, now < end ? end - now : 0);
		manager->has_changed = true;
		if (r < 0 || !manager->job[0] || now >= end)
			return r;
	}
}

int manager_wait_job(struct manager *manager, uint64_t timeout_usec)
{
	uint64_t start = clock_monotonic_usec();
	bool is_gone = false;

	while (manager->job[0]) {
		uint64_t passed = clock_monotonic_usec() - start;
		uint64_t left = passed < timeout_usec ? timeout_usec - passed : 0;
		int r;

		r = wait_signal(manager, MIN(left, (uint64_t)JOB_POLL_USEC));
		if (r < 0)
			return r;
		if (!manager->job[0])
			break;
		/* Had its signal not been lost, it would have been here with that answer. */
		if (is_gone) {
			manager->job[0] = '\0';
			break;
		}
		r = job_is_gone(manager, &is_gone);
		if (r < 0)
			return r;
		if (left == 0 && !is_gone)
			return -ETIMEDOUT;
	}
	return 0;
}

/* Keeps the job's path, so that manager_wait_job() knows its signal. */
static int expect_job(struct manager *manager, sd_bus_message *reply)
{
	const char *path = NULL;
	int r;

	r = sd.bus_message_read(reply, "o", &path);
	if (r < 0)
		return r;
	if (strlen(path) >= sizeof(manager->job))
		return -EBADMSG;
	(void)snprintf(manager->job, sizeof(manager->job), "%s", path);
	(void)snprintf(manager->job_result, sizeof(manager->job_result), "unknown");
	return 0;
}

static int queue_job(struct manager *manager, const char *member, const char *unit)
{
	const struct manager_method method = {MANAGER_PATH, MANAGER_OBJECT, member, 0};
	cleanup_bus_message sd_bus_message *reply = NULL;
	int r;

	r = manager_call(manager, &method, &reply, "ss", unit, "replace");
	if (r < 0)
		return r;
	return expect_job(manager, reply);
}

static int run_job(struct manager *manager, const char *member, const char *unit,
		   uint64_t timeout_usec, char ret_job[32])
{
	int r;

	r = queue_job(manager, member, unit);
	if (r < 0)
		return r;
	r = manager_wait_job(manager, timeout_usec);
	if (r < 0)
		return r;
	if (ret_job)
		(void)memcpy(ret_job, manager->job_result, sizeof(manager->job_result));
	return 0;
}

int manager_start(struct manager *manager, const char *unit, uint64_t timeout_usec,
		  char ret_job[32])
{
	return run_job(manager, "StartUnit", unit, timeout_usec, ret_job);
}

int manager_stop(struct manager *manager, const char *unit, uint64_t timeout_usec, char ret_job[32])
{
	int r;

	r = run_job(manager, "StopUnit", unit, timeout_usec, ret_job);
	if (r != -ENOENT)
		return r;
	if (ret_job)
		(void)snprintf(ret_job, 32, "done");
	return 0;
}

int manager_reset_failed(struct manager *manager, const char *unit)
{
	const struct manager_method method = {MANAGER_PATH, MANAGER_OBJECT, "ResetFailedUnit", 0};
	int r;

	r = manager_call(manager, &method, NULL, "s", unit);
	return r == -ENOENT ? 0 : r;
}

int manager_kill(struct manager *manager, const char *unit)
{
	const struct manager_method kill_method = {MANAGER_PATH, MANAGER_OBJECT, "KillUnit", 0};
	uint64_t end = clock_monotonic_usec() + KILL_USEC;
	int r;

	/* The stop comes first: a unit that is told to stop is not restarted when it dies. */
	r = queue_job(manager, "StopUnit", unit);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	/* Again and again: what follows a service's end (ExecStopPost=) is to be killed as well. */
	do {
		r = manager_call(manager, &kill_method, NULL, "ssi", unit, "all", (int32_t)SIGKILL);
		/* Nothing was left, or it is a unit that has no processes. */
		if (r < 0 && r != -ESRCH && r != -ENOENT && r != -EOPNOTSUPP)
			return r;
		r = manager_wait_job(manager, KILL_AGAIN_USEC);
	} while (r == -ETIMEDOUT && clock_monotonic_usec() < end);
	return r;
}

static int append_run_properties(sd_bus_message *message, const char *description,
				 uint64_t timeout_usec)
{
	int r;

	r = sd.bus_message_append(message, "(sv)(sv)(sv)", "Description", "s", description, "Type",
				  "s", "oneshot", "RemainAfterExit", "b", 1);
	if (r < 0)
		return r;
	return sd.bus_message_append(message, "(sv)(sv)", "TimeoutStartUSec", "t", timeout_usec,
				     "TimeoutStopUSec", "t", (uint64_t)RUN_STOP_USEC);
}

static int append_exec(sd_bus_message *message, const char *const *argv)
{
	int r;

	r = sd.bus_message_open_container(message, 'r', "sv");
	if (r < 0)
		return r;
	r = sd.bus_message_append(message, "s", "ExecStart");
	if (r < 0)
		return r;
	r = sd.bus_message_open_container(message, 'v', "a(sasb)");
	if (r < 0)
		return r;
	r = sd.bus_message_open_container(message, 'a', "(sasb)");
	if (r < 0)
		return r;
	r = sd.bus_message_open_container(message, 'r', "sasb");
	if (r < 0)
		return r;
	r = sd.bus_message_append(message, "s", argv[0]);
	if (r < 0)
		return r;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): they are read only, which is not said */
	r = sd.bus_message_append_strv(message, (char **)(uintptr_t)argv);
	if (r < 0)
		return r;
	r = sd.bus_message_append(message, "b", 0);
	/* The struct, the array, the variant, the property. */
	for (int i = 0; i < 4 && r >= 0; i++)
		r = sd.bus_message_close_container(message);
	return r;
}

/* StartTransientUnit(name, mode, properties, auxiliary units). */
static int queue_run(struct manager *manager, const char *name, const char *description,
		     const char *const *argv, uint64_t timeout_usec)
{
	cleanup_bus_message sd_bus_message *message = NULL;
	cleanup_bus_message sd_bus_message *reply = NULL;
	int r;

	r = sd.bus_message_new_method_call(manager->bus, &message, manager->destination,
					   MANAGER_PATH, MANAGER_OBJECT, "StartTransientUnit");
	if (r < 0)
		return r;
	r = sd.bus_message_append(message, "ss", name, "fail");
	if (r < 0)
		return r;
	r = sd.bus_message_open_container(message, 'a', "(sv)");
	if (r < 0)
		return r;
	r = append_run_properties(message, description, timeout_usec);
	if (r < 0)
		return r;
	r = append_exec(message, argv);
	if (r < 0)
		return r;
	r = sd.bus_message_close_container(message);
	if (r < 0)
		return r;
	r = sd.bus_message_append(message, "a(sa(sv))", 0);
	if (r < 0)
		return r;
	r = manager_send(manager, message, 0, &reply);
	if (r < 0)
		return r;
	return expect_job(manager, reply);
}

static int read_exit_status(struct manager *manager, const char *name, int *ret_status)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	int r;

	r = manager_get_unit(manager, name, &unit);
	if (r < 0)
		return r;
	if (strcmp(unit.result, "timeout") == 0)
		return -ETIMEDOUT;
	switch (unit.exec_main_code) {
	case CLD_EXITED:
		*ret_status = unit.exec_main_status;
		return 0;
	case CLD_KILLED:
	case CLD_DUMPED:
		*ret_status = 128 + unit.exec_main_status;
		return 0;
	default:
		/* It never ran: what it depends on failed, or the system goes down. */
		return -ECANCELED;
	}
}

int manager_run(struct manager *manager, const char *description, const char *const *argv,
		uint64_t timeout_usec, int *ret_status)
{
	char name[RUN_NAME_SIZE];
	uint64_t random = 0;
	int status = 0;
	int ended;
	int r;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	(void)snprintf(name, sizeof(name), "affix-run-%016" PRIx64 ".service", random);
	/* What came before may have found the connection broken: this cannot be said twice. */
	r = manager_dispatch(manager, 0);
	if (r < 0)
		return r;
	r = queue_run(manager, name, description, argv, timeout_usec);
	if (r < 0)
		return r;
	/* PID 1 ends it in time; we are only there for when it does not. */
	r = manager_wait_job(manager, timeout_usec + RUN_STOP_USEC + KILL_USEC);
	if (r >= 0)
		r = read_exit_status(manager, name, &status);
	/* It stays, active or failed, until we have seen how it ended. */
	ended = manager_kill(manager, name);
	if (ended >= 0)
		ended = manager_reset_failed(manager, name);
	if (r < 0)
		return r;
	if (ended < 0)
		return ended;
	*ret_status = status;
	return 0;
}
