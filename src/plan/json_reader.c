/* SPDX-License-Identifier: Apache-2.0 */

/* Reading what we wrote, trusting none of it: the first problem sticks, the rest is skipped. */

#include "plan/json_reader.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* How much of a bad value is shown. */
#define SHOWN_MAX 64U

static void keep_problem(struct json_reader *reader, const char *text)
{
	struct json_problem *problem = reader->problem;

	if (!problem)
		return;
	if (!reader->where)
		(void)snprintf(problem->text, sizeof(problem->text), "%.200s", text);
	else if (reader->number == 0)
		(void)snprintf(problem->text, sizeof(problem->text), "%.48s: %.200s", reader->where,
			       text);
	else
		(void)snprintf(problem->text, sizeof(problem->text), "%.32s %zu: %.190s",
			       reader->where, reader->number, text);
}

void json_reader_fail(struct json_reader *reader, const char *format, ...)
{
	char text[JSON_ERROR_MAX];
	va_list arguments;

	if (reader->result != 0)
		return;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	reader->result = 1;
	keep_problem(reader, text);
}

void json_reader_fail_value(struct json_reader *reader, const char *what, const char *value)
{
	cleanup_free char *shown = str_escape(value, strlen(value), SHOWN_MAX);

	if (!shown)
		json_reader_break(reader, -ENOMEM);
	else
		json_reader_fail(reader, "%s '%s'", what, shown);
}

void json_reader_break(struct json_reader *reader, int error)
{
	assert(error <= 0);
	if (reader->result == 0)
		reader->result = error;
}

void json_reader_keys(struct json_reader *reader, const json_t *object, const char *const *known)
{
	const char *unknown;

	if (reader->result != 0)
		return;
	if (!json_is_object(object)) {
		json_reader_fail(reader, "not an object");
		return;
	}
	unknown = json_unknown_key(object, known);
	if (unknown)
		json_reader_fail_value(reader, "unknown key", unknown);
}

void json_reader_schema(struct json_reader *reader, const json_t *object)
{
	uint64_t schema = json_reader_uint(reader, object, "schema", INT64_MAX);

	if (schema > 1)
		json_reader_fail(reader, "schema %" PRIu64 " was written by a newer affix", schema);
	else if (schema == 0)
		json_reader_fail(reader, "schema 0 does not exist");
}

/* Turns the answer of a json_member_…() into a problem. Whether there is a value. */
static bool has_member(struct json_reader *reader, const char *key, int r, const char *type)
{
	if (r == -ENOENT)
		json_reader_fail(reader, "'%s' is missing", key);
	else if (r < 0)
		json_reader_fail(reader, "'%s' is not %s", key, type);
	return r == 0;
}

const char *json_reader_string(struct json_reader *reader, const json_t *object, const char *key)
{
	const char *value = "";

	if (reader->result == 0)
		(void)has_member(reader, key, json_member_string(object, key, &value), "a string");
	return value;
}

bool json_reader_bool(struct json_reader *reader, const json_t *object, const char *key)
{
	bool value = false;

	if (reader->result == 0)
		(void)has_member(reader, key, json_member_bool(object, key, &value), "a boolean");
	return value;
}

uint64_t json_reader_uint(struct json_reader *reader, const json_t *object, const char *key,
			  uint64_t max)
{
	uint64_t value = 0;

	if (reader->result == 0)
		(void)has_member(reader, key, json_member_uint(object, key, max, &value),
				 "a number in range");
	return value;
}

const json_t *json_reader_object(struct json_reader *reader, const json_t *object, const char *key)
{
	json_t *value = NULL;

	if (reader->result == 0)
		(void)has_member(reader, key, json_member_object(object, key, &value), "an object");
	return value;
}

const json_t *json_reader_array(struct json_reader *reader, const json_t *object, const char *key,
				size_t max)
{
	json_t *value = NULL;

	if (reader->result != 0 ||
	    !has_member(reader, key, json_member_array(object, key, &value), "an array"))
		return NULL;
	if (json_array_size(value) > max) {
		json_reader_fail(reader, "'%s' has %zu items, more than %zu", key,
				 json_array_size(value), max);
		return NULL;
	}
	return value;
}

char *json_reader_copy(struct json_reader *reader, const json_t *object, const char *key)
{
	const char *value = json_reader_string(reader, object, key);
	char *copy;

	if (reader->result != 0)
		return NULL;
	copy = strdup(value);
	if (!copy)
		json_reader_break(reader, -ENOMEM);
	return copy;
}

void json_reader_fill(struct json_reader *reader, const json_t *object, const char *key,
		      char *buffer, size_t size)
{
	const char *value = json_reader_string(reader, object, key);

	if (strlen(value) >= size)
		json_reader_fail(reader, "'%s' is longer than %zu bytes", key, size - 1);
	else
		memcpy(buffer, value, strlen(value) + 1);
}

void json_reader_strings(struct json_reader *reader, const json_t *object, const char *key,
			 size_t max, struct strv *list)
{
	const json_t *array = json_reader_array(reader, object, key, max);

	for (size_t i = 0; reader->result == 0 && i < json_array_size(array); i++) {
		const char *value = json_string_value(json_array_get(array, i));

		if (value)
			json_reader_break(reader, strv_add(list, value));
		else
			json_reader_fail(reader, "'%s' holds something that is not a string", key);
	}
}
