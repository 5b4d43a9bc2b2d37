/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The connection to PID 1. Its private socket comes first: it needs no dbus-daemon, works early at
 * boot, and only root can open it. There we talk to the manager itself: no bus, no names, no
 * Hello, and its signals arrive without being asked for. On the system bus, the way of everybody
 * else, we subscribe and say whose signals we believe.
 *
 * Every wait has an end. PID 1 drops its private connections when it re-executes itself (an update
 * of systemd does that at any time), so calls are made such that they may be repeated.
 */

#include "unit/manager.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "unit/manager_bus.h"

#define PRIVATE_ADDRESS "unix:path=/run/systemd/private"

/* Connecting and authentication. */
#define CONNECT_USEC (10 * CLOCK_USEC_PER_SEC)
/* PID 1 does not listen for a moment while it re-executes itself. */
#define RECONNECT_USEC      (10 * CLOCK_USEC_PER_SEC)
#define RECONNECT_STEP_USEC (50 * CLOCK_USEC_PER_MSEC)

static const struct {
	const char *name;
	int error;
} error_names[] = {
	{"org.freedesktop.systemd1.NoSuchUnit",      ENOENT   },
	{"org.freedesktop.systemd1.LoadFailed",      ENOEXEC  },
	{"org.freedesktop.systemd1.BadUnitSetting",  ENOEXEC  },
	{"org.freedesktop.systemd1.UnitMasked",      ESHUTDOWN},
	{"org.freedesktop.systemd1.NoSuchProcess",   ESRCH    },
	{"org.freedesktop.DBus.Error.UnknownObject", ENXIO    },
};

static void cleanup_bus_error(sd_bus_error *error)
{
	sd.bus_error_free(error);
}

static int on_job_removed(sd_bus_message *message, void *data, sd_bus_error *ret_error)
{
	struct manager *manager = data;
	const char *result = NULL;
	const char *path = NULL;
	const char *unit = NULL;
	uint32_t id;

	(void)ret_error;
	manager->has_changed = true;
	if (sd.bus_message_read(message, "uoss", &id, &path, &unit, &result) < 0 ||
	    strcmp(path, manager->job) != 0)
		return 0;
	manager->job[0] = '\0';
	(void)snprintf(manager->job_result, sizeof(manager->job_result), "%s", result);
	return 0;
}

static int on_properties_changed(sd_bus_message *message, void *data, sd_bus_error *ret_error)
{
	struct manager *manager = data;

	(void)message;
	(void)ret_error;
	manager->has_changed = true;
	return 0;
}

static int wait_until_ready(sd_bus *bus)
{
	uint64_t end = clock_monotonic_usec() + CONNECT_USEC;

	for (;;) {
		uint64_t now = clock_monotonic_usec();
		int r;

		r = sd.bus_process(bus, NULL);
		if (r < 0)
			return r;
		if (sd.bus_is_ready(bus) > 0)
			return 0;
		if (now >= end)
			return -ETIMEDOUT;
		if (r == 0)
			r = sd.bus_wait(bus, end - now);
		if (r < 0 && r != -EINTR)
			return r;
	}
}

static int connect_private(sd_bus **ret)
{
	sd_bus *bus = NULL;
	int r;

	r = sd.bus_new(&bus);
	if (r < 0)
		return r;
	r = sd.bus_set_address(bus, PRIVATE_ADDRESS);
	if (r >= 0)
		r = sd.bus_start(bus);
	if (r >= 0)
		r = wait_until_ready(bus);
	if (r < 0) {
		(void)sd.bus_close_unref(bus);
		return r;
	}
	*ret = bus;
	return 0;
}

static int connect_system(sd_bus **ret)
{
	sd_bus *bus = NULL;
	int r;

	r = sd.bus_open_system(&bus);
	if (r < 0)
		return r;
	r = wait_until_ready(bus);
	if (r < 0) {
		(void)sd.bus_close_unref(bus);
		return r;
	}
	*ret = bus;
	return 0;
}

/* Signals are asked for before anything that causes them. */
static int subscribe(struct manager *manager)
{
	int r;

	r = sd.bus_match_signal(manager->bus, NULL, manager->destination, MANAGER_PATH,
				MANAGER_OBJECT, "JobRemoved", on_job_removed, manager);
	if (r < 0)
		return r;
	r = sd.bus_match_signal(manager->bus, NULL, manager->destination, NULL,
				"org.freedesktop.DBus.Properties", "PropertiesChanged",
				on_properties_changed, manager);
	return r < 0 ? r : 0;
}

/* Also the proof that systemd is there: a system bus may run without it. */
static int call_subscribe(struct manager *manager)
{
	cleanup_bus_message sd_bus_message *message = NULL;
	int r;

	r = sd.bus_message_new_method_call(manager->bus, &message, manager->destination,
					   MANAGER_PATH, MANAGER_OBJECT, "Subscribe");
	if (r < 0)
		return r;
	r = sd.bus_message_set_auto_start(message, false);
	if (r < 0)
		return r;
	r = manager_send(manager, message, 0, NULL);
	return r == -EHOSTUNREACH || r == -ENXIO ? -ENOENT : r;
}

static int connect_any(struct manager *manager)
{
	int first;
	int r;

	manager->destination = NULL;
	first = connect_private(&manager->bus);
	if (first == -ETIMEDOUT)
		return first;
	if (first < 0) {
		manager->destination = MANAGER_NAME;
		r = connect_system(&manager->bus);
		if (r < 0)
			return first;
	}
	r = subscribe(manager);
	if (r < 0)
		return r;
	return call_subscribe(manager);
}

static void disconnect(struct manager *manager)
{
	manager->bus = sd.bus_close_unref(manager->bus);
}

static bool is_lost(int r)
{
	return r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE;
}

static int reconnect(struct manager *manager)
{
	uint64_t end = clock_monotonic_usec() + RECONNECT_USEC;
	int r;

	for (;;) {
		disconnect(manager);
		r = connect_any(manager);
		if (r >= 0)
			return 0;
		if (clock_monotonic_usec() >= end)
			break;
		clock_sleep_usec(RECONNECT_STEP_USEC);
	}
	disconnect(manager);
	return r;
}

int manager_open(struct manager **ret)
{
	cleanup_manager struct manager *manager = NULL;
	int r = systemd_load();

	if (r < 0)
		return r;
	manager = calloc(1, sizeof(*manager));
	if (!manager)
		return -ENOMEM;
	r = connect_any(manager);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(manager);
	return 0;
}

struct manager *manager_close(struct manager *manager)
{
	if (manager) {
		disconnect(manager);
		free(manager);
	}
	return NULL;
}

const char *manager_error(const struct manager *manager)
{
	return manager->error;
}

static int error_to_errno(const sd_bus_error *error, int r)
{
	for (size_t i = 0; error->name && i < ARRAY_SIZE(error_names); i++) {
		if (strcmp(error->name, error_names[i].name) == 0)
			return -error_names[i].error;
	}
	return r;
}

int manager_send(struct manager *manager, sd_bus_message *message, uint64_t timeout_usec,
		 sd_bus_message **ret)
{
	CLEANUP(cleanup_bus_error) sd_bus_error error = SD_BUS_ERROR_NULL;
	int r;

	manager->error[0] = '\0';
	r = sd.bus_call(manager->bus, message, timeout_usec ? timeout_usec : MANAGER_CALL_USEC,
			&error, ret);
	if (r >= 0)
		return 0;
	if (error.message)
		(void)snprintf(manager->error, sizeof(manager->error), "%s", error.message);
	return error_to_errno(&error, r);
}

static int call_once(struct manager *manager, const struct manager_method *method,
		     sd_bus_message **ret, const char *types, va_list arguments)
{
	cleanup_bus_message sd_bus_message *message = NULL;
	int r;

	r = sd.bus_message_new_method_call(manager->bus, &message, manager->destination,
					   method->path, method->interface, method->member);
	if (r < 0)
		return r;
	r = sd.bus_message_appendv(message, types, arguments);
	if (r < 0)
		return r;
	return manager_send(manager, message, method->timeout_usec, ret);
}

int manager_call(struct manager *manager, const struct manager_method *method, sd_bus_message **ret,
		 const char *types, ...)
{
	va_list arguments;
	int r;

	/* A reconnection that failed left none. */
	r = manager->bus ? 0 : -ENOTCONN;
	if (r >= 0) {
		va_start(arguments, types);
		r = call_once(manager, method, ret, types, arguments);
		va_end(arguments);
	}
	if (!is_lost(r))
		return r;
	r = reconnect(manager);
	if (r < 0)
		return r;
	va_start(arguments, types);
	r = call_once(manager, method, ret, types, arguments);
	va_end(arguments);
	return r;
}

int manager_dispatch(struct manager *manager, uint64_t timeout_usec)
{
	bool has_waited = false;
	int r;

	for (;;) {
		r = manager->bus ? sd.bus_process(manager->bus, NULL) : -ENOTCONN;
		if (is_lost(r)) {
			manager->has_changed = true;
			return reconnect(manager);
		}
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (has_waited || manager->has_changed || timeout_usec == 0)
			return 0;
		r = sd.bus_wait(manager->bus, timeout_usec);
		if (r < 0 && r != -EINTR && !is_lost(r))
			return r;
		has_waited = true;
	}
}

int manager_wait(struct manager *manager, uint64_t timeout_usec)
{
	int r;

	r = manager_dispatch(manager, timeout_usec);
	manager->has_changed = false;
	return r;
}

int manager_reload(struct manager *manager, uint64_t timeout_usec)
{
	const struct manager_method method = {MANAGER_PATH, MANAGER_OBJECT, "Reload", timeout_usec};

	return manager_call(manager, &method, NULL, "");
}
