/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <netprobe.pb-c.h>
#include <stddef.h>
#include <stdint.h>

/* What people read. No text of a host's process or network can move their terminal's cursor. */

#define TEXT_END_SIZE          64U
#define TEXT_PROCESS_SIZE      96U
#define TEXT_COUNT_SIZE        16U
#define TEXT_CONTAINER_COLUMNS 12U
#define TEXT_CONTAINER_SIZE    (4 * TEXT_CONTAINER_COLUMNS + 1)

/* "192.0.2.1:80", "[2001:db8::1]:443"; "*:53" for any address. */
void text_end(const char *ip, uint32_t port, char text[TEXT_END_SIZE]);
/* "curl[1234]"; "?" where the owner is not known. */
void text_process(const Netprobe__FlowAttributionEvent *flow, char text[TEXT_PROCESS_SIZE]);
/* The begin of a container's id as a column of a table; "-": none. */
void text_container(const char *id, char text[TEXT_CONTAINER_SIZE]);
/* As much of *from* as fits, whole characters, nothing that cannot be printed. */
void text_short(const char *from, char *text, size_t size);
/* How many bytes of *text* are not wider than *columns* of a terminal, whole characters with what
 * belongs to them; *ret_columns* is how wide they are. */
size_t text_fit(const char *text, size_t columns, size_t *ret_columns);
/* *text* as wide as *width* columns: cut, or with blanks behind it. */
void text_column(const char *text, size_t width, char *to, size_t size);
/* How many blanks *text* needs behind it to be that wide; it may be wider. */
int text_blanks(const char *text, size_t width);
/* "999", "1.2K", "3.4M": at most six characters. */
void text_count(uint64_t value, char text[TEXT_COUNT_SIZE]);
