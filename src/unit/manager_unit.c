/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A unit as PID 1 sees it: the few properties that we look at, out of GetAll() of all interfaces at
 * once, so that state and process are of one moment. Whatever is absent stays as it was: a service
 * has no next elapse, a timer no main process.
 */

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "unit/manager.h"
#include "unit/manager_bus.h"

enum property_type {
	PROPERTY_TEXT,
	PROPERTY_TEXTS,
	PROPERTY_BOOL,
	PROPERTY_PID,
	PROPERTY_U32,
	PROPERTY_INT,
	PROPERTY_U64,
	PROPERTY_ID,
	PROPERTY_JOB,
	PROPERTY_ELAPSE,
};

struct property {
	const char *name;
	enum property_type type;
	size_t offset;
	size_t size;
};

#define FIELD(field) \
	offsetof(struct manager_unit, field), sizeof(((struct manager_unit *)NULL)->field)

static const struct property properties[] = {
  /* Every unit's. */
	{"LoadState",                     PROPERTY_TEXT,   FIELD(load_state)        },
	{"ActiveState",                   PROPERTY_TEXT,   FIELD(active_state)      },
	{"SubState",		      PROPERTY_TEXT,   FIELD(sub_state)         },
	{"FragmentPath",                  PROPERTY_TEXT,   FIELD(fragment_path)     },
	{"DropInPaths",                   PROPERTY_TEXTS,  FIELD(drop_in_paths)     },
	{"NeedDaemonReload",              PROPERTY_BOOL,   FIELD(need_daemon_reload)},
	{"Job",			   PROPERTY_JOB,    FIELD(has_job)           },
	{"ActiveEnterTimestampMonotonic", PROPERTY_U64,    FIELD(active_enter_usec) },
	{"InvocationID",                  PROPERTY_ID,     FIELD(invocation_id)     },
 /* Services'. */
	{"Type",			  PROPERTY_TEXT,   FIELD(exec_type)         },
	{"Result",			PROPERTY_TEXT,   FIELD(result)            },
	{"MainPID",		       PROPERTY_PID,    FIELD(main_pid)          },
	{"NRestarts",                     PROPERTY_U32,    FIELD(restarts)          },
	{"ExecMainCode",                  PROPERTY_INT,    FIELD(exec_main_code)    },
	{"ExecMainStatus",                PROPERTY_INT,    FIELD(exec_main_status)  },
	{"TimeoutStartUSec",              PROPERTY_U64,    FIELD(start_timeout_usec)},
	{"ControlGroup",                  PROPERTY_TEXT,   FIELD(control_group)     },
 /* Timers'. */
	{"Unit",			  PROPERTY_TEXT,   FIELD(triggers)          },
	{"NextElapseUSecRealtime",        PROPERTY_ELAPSE, FIELD(timer_is_finite)   },
	{"NextElapseUSecMonotonic",       PROPERTY_ELAPSE, FIELD(timer_is_finite)   },
	{"LastTriggerUSec",               PROPERTY_U64,    FIELD(last_trigger_usec) },
};

static int read_text(sd_bus_message *message, char *place, size_t size)
{
	const char *text = NULL;
	int r;

	r = sd.bus_message_read(message, "s", &text);
	if (r < 0)
		return r;
	(void)snprintf(place, size, "%s", text);
	return 0;
}

static int read_texts(sd_bus_message *message, struct strv *list)
{
	const char *text = NULL;
	int r;

	r = sd.bus_message_enter_container(message, 'a', "s");
	if (r < 0)
		return r;
	while ((r = sd.bus_message_read(message, "s", &text)) > 0) {
		r = strv_add(list, text);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	return sd.bus_message_exit_container(message);
}

static int read_id(sd_bus_message *message, char *place, size_t size)
{
	const uint8_t *bytes = NULL;
	size_t n = 0;
	int r;

	r = sd.bus_message_read_array(message, 'y', (const void **)&bytes, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && 2 * i + 2 < size; i++)
		(void)snprintf(place + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

static int read_job(sd_bus_message *message, bool *place)
{
	const char *path = NULL;
	uint32_t id = 0;
	int r;

	r = sd.bus_message_read(message, "(uo)", &id, &path);
	if (r < 0)
		return r;
	*place = id != 0;
	return 0;
}

static int read_u64(sd_bus_message *message, uint64_t *place)
{
	return sd.bus_message_read(message, "t", place);
}

static int read_bool(sd_bus_message *message, bool *place)
{
	int value = 0;
	int r;

	r = sd.bus_message_read(message, "b", &value);
	if (r < 0)
		return r;
	*place = value != 0;
	return 0;
}

/* One of the two clocks is enough. */
static int read_elapse(sd_bus_message *message, bool *place)
{
	uint64_t value = 0;
	int r;

	r = read_u64(message, &value);
	if (r < 0)
		return r;
	if (value != 0 && value != UINT64_MAX)
		*place = true;
	return 0;
}

static int read_value(sd_bus_message *message, const struct property *property, void *place)
{
	switch (property->type) {
	case PROPERTY_TEXT:
		return read_text(message, place, property->size);
	case PROPERTY_TEXTS:
		return read_texts(message, place);
	case PROPERTY_BOOL:
		return read_bool(message, place);
	case PROPERTY_PID:
	case PROPERTY_U32:
		return sd.bus_message_read(message, "u", place);
	case PROPERTY_INT:
		return sd.bus_message_read(message, "i", place);
	case PROPERTY_U64:
		return read_u64(message, place);
	case PROPERTY_ID:
		return read_id(message, place, property->size);
	case PROPERTY_JOB:
		return read_job(message, place);
	case PROPERTY_ELAPSE:
		return read_elapse(message, place);
	}
	return -EINVAL;
}

static const struct property *property_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(properties); i++) {
		if (strcmp(properties[i].name, name) == 0)
			return &properties[i];
	}
	return NULL;
}

/* One entry of a{sv}. */
static int read_property(sd_bus_message *message, struct manager_unit *unit)
{
	const struct property *property;
	const char *contents = NULL;
	const char *name = NULL;
	int r;

	r = sd.bus_message_read(message, "s", &name);
	if (r < 0)
		return r;
	property = property_find(name);
	if (!property)
		return sd.bus_message_skip(message, "v");
	r = sd.bus_message_peek_type(message, NULL, &contents);
	if (r < 0)
		return r;
	r = sd.bus_message_enter_container(message, 'v', contents);
	if (r < 0)
		return r;
	r = read_value(message, property, (char *)unit + property->offset);
	if (r < 0)
		return r;
	return sd.bus_message_exit_container(message);
}

static int read_properties(sd_bus_message *message, struct manager_unit *unit)
{
	int r;

	r = sd.bus_message_enter_container(message, 'a', "{sv}");
	if (r < 0)
		return r;
	while ((r = sd.bus_message_enter_container(message, 'e', "sv")) > 0) {
		r = read_property(message, unit);
		if (r < 0)
			return r;
		r = sd.bus_message_exit_container(message);
		if (r < 0)
			return r;
	}
	return r;
}

int manager_get_unit(struct manager *manager, const char *unit, struct manager_unit *ret)
{
	const struct manager_method load = {MANAGER_PATH, MANAGER_OBJECT, "LoadUnit", 0};
	struct manager_method get = {NULL, "org.freedesktop.DBus.Properties", "GetAll", 0};
	cleanup_manager_unit struct manager_unit found = MANAGER_UNIT_INIT;
	cleanup_bus_message sd_bus_message *loaded = NULL;
	cleanup_bus_message sd_bus_message *reply = NULL;
	int r;

	r = manager_call(manager, &load, &loaded, "s", unit);
	if (r < 0)
		return r;
	r = sd.bus_message_read(loaded, "o", &get.path);
	if (r < 0)
		return r;
	r = manager_call(manager, &get, &reply, "s", "");
	if (r < 0)
		return r;
	r = read_properties(reply, &found);
	if (r < 0)
		return r;
	*ret = found;
	found.drop_in_paths = STRV_INIT;
	return 0;
}

void manager_unit_done(struct manager_unit *unit)
{
	strv_done(&unit->drop_in_paths);
}
