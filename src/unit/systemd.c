/* SPDX-License-Identifier: Apache-2.0 */

/*
 * libsystemd, loaded when PID 1 is to be asked and not before: it brings five libraries with it,
 * and most commands have nothing to do with PID 1. Linked, each start of any took 0.7 ms longer
 * (measured).
 */

#include "unit/systemd.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/library.h"

/* What the headers that this was built with belong to. */
#define SYSTEMD_SONAME "libsystemd.so.0"

#define FUNCTION(member) LIBRARY_FUNCTION(systemd, member, "sd_" #member)

static const struct library_function functions[] = {
	FUNCTION(bus_call),
	FUNCTION(bus_close_unref),
	FUNCTION(bus_error_free),
	FUNCTION(bus_flush_close_unref),
	FUNCTION(bus_get_property_string),
	FUNCTION(bus_is_ready),
	FUNCTION(bus_match_signal),
	FUNCTION(bus_message_append),
	FUNCTION(bus_message_append_strv),
	FUNCTION(bus_message_appendv),
	FUNCTION(bus_message_close_container),
	FUNCTION(bus_message_enter_container),
	FUNCTION(bus_message_exit_container),
	FUNCTION(bus_message_new_method_call),
	FUNCTION(bus_message_open_container),
	FUNCTION(bus_message_peek_type),
	FUNCTION(bus_message_read),
	FUNCTION(bus_message_read_array),
	FUNCTION(bus_message_set_auto_start),
	FUNCTION(bus_message_skip),
	FUNCTION(bus_message_unref),
	FUNCTION(bus_new),
	FUNCTION(bus_open_system),
	FUNCTION(bus_process),
	FUNCTION(bus_set_address),
	FUNCTION(bus_start),
	FUNCTION(bus_wait),
	FUNCTION(journal_add_disjunction),
	FUNCTION(journal_add_match),
	FUNCTION(journal_close),
	FUNCTION(journal_get_data),
	FUNCTION(journal_get_realtime_usec),
	FUNCTION(journal_open),
	FUNCTION(journal_previous),
	FUNCTION(journal_seek_tail),
	FUNCTION(journal_set_data_threshold),
};

static_assert(sizeof(functions) / sizeof(*functions) * sizeof(void *) == sizeof(struct systemd),
	      "each function has a name");

struct systemd sd;

static bool is_loaded;

static void load(void)
{
	is_loaded = library_load(SYSTEMD_SONAME, functions, ARRAY_SIZE(functions), &sd, NULL) == 0;
}

int systemd_load(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, load);
	return is_loaded ? 0 : -ELIBACC;
}

bool systemd_is_booted(void)
{
	struct stat st;

	return lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode);
}
