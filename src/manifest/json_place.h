/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/* One step from the outermost value of a JSON text to an inner one; NULL *parent*: the outermost.
 */
struct json_step {
	const struct json_step *parent;
	const char *key; /* or NULL: *index* */
	size_t index;
};

struct json_place {
	unsigned line;   /* from 1 */
	unsigned column; /* from 1, in bytes */
};

/*
 * Where in a text, which jansson has parsed, a value stands: its key if it has one. The outermost
 * value for a NULL *step*, or if there is no such value.
 */
struct json_place json_place_find(const char *text, size_t size, const struct json_step *step);

/* The JSON Pointer of a step, control characters escaped. NULL: no memory. */
char *json_step_pointer(const struct json_step *step);
