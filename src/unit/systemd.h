/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-journal.h>

#include "base/cleanup.h"

/* What is called of libsystemd by whoever talks to PID 1. */
struct systemd {
	__typeof__(sd_bus_call) *bus_call;
	__typeof__(sd_bus_close_unref) *bus_close_unref;
	__typeof__(sd_bus_error_free) *bus_error_free;
	__typeof__(sd_bus_flush_close_unref) *bus_flush_close_unref;
	__typeof__(sd_bus_get_property_string) *bus_get_property_string;
	__typeof__(sd_bus_is_ready) *bus_is_ready;
	__typeof__(sd_bus_match_signal) *bus_match_signal;
	__typeof__(sd_bus_message_append) *bus_message_append;
	__typeof__(sd_bus_message_append_strv) *bus_message_append_strv;
	__typeof__(sd_bus_message_appendv) *bus_message_appendv;
	__typeof__(sd_bus_message_close_container) *bus_message_close_container;
	__typeof__(sd_bus_message_enter_container) *bus_message_enter_container;
	__typeof__(sd_bus_message_exit_container) *bus_message_exit_container;
	__typeof__(sd_bus_message_new_method_call) *bus_message_new_method_call;
	__typeof__(sd_bus_message_open_container) *bus_message_open_container;
	__typeof__(sd_bus_message_peek_type) *bus_message_peek_type;
	__typeof__(sd_bus_message_read) *bus_message_read;
	__typeof__(sd_bus_message_read_array) *bus_message_read_array;
	__typeof__(sd_bus_message_set_auto_start) *bus_message_set_auto_start;
	__typeof__(sd_bus_message_skip) *bus_message_skip;
	__typeof__(sd_bus_message_unref) *bus_message_unref;
	__typeof__(sd_bus_new) *bus_new;
	__typeof__(sd_bus_open_system) *bus_open_system;
	__typeof__(sd_bus_process) *bus_process;
	__typeof__(sd_bus_set_address) *bus_set_address;
	__typeof__(sd_bus_start) *bus_start;
	__typeof__(sd_bus_wait) *bus_wait;
	__typeof__(sd_journal_add_disjunction) *journal_add_disjunction;
	__typeof__(sd_journal_add_match) *journal_add_match;
	__typeof__(sd_journal_close) *journal_close;
	__typeof__(sd_journal_get_data) *journal_get_data;
	__typeof__(sd_journal_get_realtime_usec) *journal_get_realtime_usec;
	__typeof__(sd_journal_open) *journal_open;
	__typeof__(sd_journal_previous) *journal_previous;
	__typeof__(sd_journal_seek_tail) *journal_seek_tail;
	__typeof__(sd_journal_set_data_threshold) *journal_set_data_threshold;
};

/* Of systemd_load(); before, there is nothing in it. */
extern struct systemd sd;

/* Loads libsystemd, once; it stays. 0, or -ELIBACC. */
must_check int systemd_load(void);

/* Whether systemd is PID 1 here, as sd_booted(3) says it; nothing is loaded for that. */
bool systemd_is_booted(void);
