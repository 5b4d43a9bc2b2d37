/* SPDX-License-Identifier: Apache-2.0 */

/*
 * jansson with the rules that foreign text is held to: one object, no duplicate keys, nothing
 * behind it, and a depth that the parser's recursion cannot be driven past (jansson itself stops at
 * 2,048).
 */

#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define JSON_DEPTH_MAX 64U
/* What is kept around a foreign object is never this deep itself. */
#define JSON_KEPT_DEPTH_MAX (JSON_DEPTH_MAX + 16U)

static void problem_set(struct json_problem *problem, const char *text, int line, int column)
{
	if (!problem)
		return;
	problem->line = line > 0 ? (unsigned)line : 1;
	problem->column = column > 0 ? (unsigned)column : 1;
	(void)snprintf(problem->text, sizeof(problem->text), "line %u column %u: %s", problem->line,
		       problem->column, text);
}

/* Whether brackets nest deeper than *max*, outside strings; a scan without recursion. */
static bool is_too_deep(const char *text, size_t size, unsigned max)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > max)
				return true;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return false;
}

static int parse(const char *text, size_t size, json_t **ret, struct json_problem *reterr_problem)
{
	json_error_t error = {0};
	cleanup_json json_t *json = NULL;

	json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	if (!json && json_error_code(&error) == json_error_out_of_memory)
		return -ENOMEM;
	if (!json) {
		problem_set(reterr_problem, error.text, error.line, error.column);
		return 1;
	}
	if (!json_is_object(json)) {
		problem_set(reterr_problem, "the outermost value is not an object", 1, 1);
		return 1;
	}
	*ret = TAKE_PTR(json);
	return 0;
}

int json_parse_object(const char *text, size_t size, json_t **ret,
		      struct json_problem *reterr_problem)
{
	if (is_too_deep(text, size, JSON_DEPTH_MAX)) {
		problem_set(reterr_problem, "nested more than 64 deep", 1, 1);
		return 1;
	}
	return parse(text, size, ret, reterr_problem);
}

bool json_can_be_kept(const char *text, size_t size)
{
	return !is_too_deep(text, size, JSON_KEPT_DEPTH_MAX);
}

int json_parse_kept(const char *text, size_t size, json_t **ret,
		    struct json_problem *reterr_problem)
{
	if (!json_can_be_kept(text, size)) {
		problem_set(reterr_problem, "nested more than 80 deep", 1, 1);
		return 1;
	}
	return parse(text, size, ret, reterr_problem);
}

static char *dump_with_newline(const json_t *json, size_t flags)
{
	cleanup_free char *text = json_dumps(json, flags);
	size_t length;
	char *out;

	if (!text)
		return NULL;
	length = strlen(text);
	out = realloc(text, length + 2);
	if (!out)
		return NULL;
	text = NULL;
	memcpy(out + length, "\n", 2);
	return out;
}

char *json_to_canonical(const json_t *json)
{
	return dump_with_newline(json, JSON_COMPACT | JSON_SORT_KEYS);
}

char *json_to_pretty(const json_t *json)
{
	return dump_with_newline(json, JSON_INDENT(2));
}

int json_member_string(const json_t *object, const char *key, const char **ret)
{
	const json_t *value = json_object_get(object, key);

	if (!value)
		return json_is_object(object) ? -ENOENT : -EINVAL;
	if (!json_is_string(value))
		return -EINVAL;
	*ret = json_string_value(value);
	return 0;
}

int json_member_bool(const json_t *object, const char *key, bool *ret)
{
	const json_t *value = json_object_get(object, key);

	if (!value)
		return json_is_object(object) ? -ENOENT : -EINVAL;
	if (!json_is_boolean(value))
		return -EINVAL;
	*ret = json_is_true(value);
	return 0;
}

int json_member_uint(const json_t *object, const char *key, uint64_t max, uint64_t *ret)
{
	const json_t *value = json_object_get(object, key);

	if (!value)
		return json_is_object(object) ? -ENOENT : -EINVAL;
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    (uint64_t)json_integer_value(value) > max)
		return -EINVAL;
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

int json_member_object(const json_t *object, const char *key, json_t **ret)
{
	json_t *value = json_object_get(object, key);

	if (!value)
		return json_is_object(object) ? -ENOENT : -EINVAL;
	if (!json_is_object(value))
		return -EINVAL;
	*ret = value;
	return 0;
}

int json_member_array(const json_t *object, const char *key, json_t **ret)
{
	json_t *value = json_object_get(object, key);

	if (!value)
		return json_is_object(object) ? -ENOENT : -EINVAL;
	if (!json_is_array(value))
		return -EINVAL;
	*ret = value;
	return 0;
}

static bool is_known(const char *key, const char *const *known)
{
	for (; *known; known++) {
		if (strcmp(*known, key) == 0)
			return true;
	}
	return false;
}

const char *json_unknown_key(const json_t *object, const char *const *known)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		if (!is_known(key, known))
			return key;
	}
	return NULL;
}

int json_add(json_t *object, const char *key, json_t *value)
{
	if (!value)
		return -ENOMEM;
	return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

int json_add_string(json_t *object, const char *key, const char *value_or_null)
{
	return json_add(object, key, value_or_null ? json_string(value_or_null) : json_null());
}

int json_add_uint(json_t *object, const char *key, uint64_t value)
{
	if (value > INT64_MAX)
		return -ERANGE;
	return json_add(object, key, json_integer((json_int_t)value));
}

int json_append(json_t *array, json_t *value)
{
	if (!value)
		return -ENOMEM;
	return json_array_append_new(array, value) < 0 ? -ENOMEM : 0;
}

json_t *json_from_strv(const struct strv *list)
{
	cleanup_json json_t *array = json_array();

	for (size_t i = 0; array && i < list->count; i++) {
		if (json_append(array, json_string(list->items[i])) < 0)
			return NULL;
	}
	return TAKE_PTR(array);
}
