/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Places in JSON texts. jansson tells none for values, so the text is walked once more, from the
 * outside in, by a scanner that may trust that it is well-formed. It runs for problems only.
 */

#include "manifest/json_place.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

#define STEPS_MAX 160U
#define SHOWN_MAX 80U

struct scanner {
	const char *at;
	const char *end;
};

static void skip_blanks(struct scanner *scanner)
{
	while (scanner->at < scanner->end && strchr(" \t\r\n", *scanner->at))
		scanner->at++;
}

static void skip_string(struct scanner *scanner)
{
	scanner->at++;
	while (scanner->at < scanner->end && *scanner->at != '"')
		scanner->at += *scanner->at == '\\' ? 2 : 1;
	scanner->at++;
}

static void skip_value(struct scanner *scanner)
{
	unsigned depth = 0;

	while (scanner->at < scanner->end) {
		char c = *scanner->at;

		if (c == '"') {
			skip_string(scanner);
			if (depth == 0)
				return;
			continue;
		}
		if (depth == 0 && strchr(",]} \t\r\n", c))
			return;
		if (c == '{' || c == '[')
			depth++;
		if ((c == '}' || c == ']') && --depth == 0) {
			scanner->at++;
			return;
		}
		scanner->at++;
	}
}

/* Whether the string literal [start, end) is *key*; escapes are jansson's business. */
static bool literal_is(const char *start, const char *end, const char *key)
{
	size_t length = (size_t)(end - start);
	cleanup_json json_t *value = NULL;

	if (!memchr(start, '\\', length))
		return length == strlen(key) + 2 && memcmp(start + 1, key, length - 2) == 0;
	value = json_loadb(start, length, JSON_DECODE_ANY, NULL);
	return json_is_string(value) && strcmp(json_string_value(value), key) == 0;
}

/* From an opening brace to the value of *key*; *ret_key* is where the key stands. */
static bool enter_object(struct scanner *scanner, const char *key, const char **ret_key)
{
	scanner->at++;
	for (;;) {
		const char *start;
		bool found;

		skip_blanks(scanner);
		if (scanner->at >= scanner->end || *scanner->at != '"')
			return false;
		start = scanner->at;
		skip_string(scanner);
		if (scanner->at > scanner->end)
			return false;
		found = literal_is(start, scanner->at, key);
		skip_blanks(scanner);
		scanner->at++;
		skip_blanks(scanner);
		if (found) {
			*ret_key = start;
			return true;
		}
		skip_value(scanner);
		skip_blanks(scanner);
		scanner->at++;
	}
}

/* From an opening bracket to item *index*. */
static bool enter_array(struct scanner *scanner, size_t index)
{
	scanner->at++;
	for (size_t i = 0; scanner->at < scanner->end; i++) {
		skip_blanks(scanner);
		if (i == index)
			return true;
		skip_value(scanner);
		skip_blanks(scanner);
		scanner->at++;
	}
	return false;
}

static const char *find(const char *text, size_t size, const struct json_step *const *way, size_t n)
{
	struct scanner scanner = {text, text + size};
	const char *found;

	skip_blanks(&scanner);
	found = scanner.at;
	while (n > 0 && scanner.at < scanner.end) {
		const struct json_step *step = way[--n];
		char open = *scanner.at;
		const char *key = NULL;

		if (step->key && open == '{' && enter_object(&scanner, step->key, &key))
			found = key;
		else if (!step->key && open == '[' && enter_array(&scanner, step->index))
			found = scanner.at;
		else
			return NULL;
	}
	return found;
}

static size_t collect(const struct json_step *step, const struct json_step **way)
{
	size_t n = 0;

	for (; step && n < STEPS_MAX; step = step->parent)
		way[n++] = step;
	return n;
}

struct json_place json_place_find(const char *text, size_t size, const struct json_step *step)
{
	const struct json_step *way[STEPS_MAX];
	size_t n = collect(step, way);
	const char *found = find(text, size, way, n);
	struct json_place place = {1, 1};

	if (!found || found > text + size)
		found = find(text, size, way, 0);
	for (const char *p = text; p < found; p++) {
		place.column++;
		if (*p == '\n')
			place = (struct json_place){place.line + 1, 1};
	}
	return place;
}

/* A key as a part of a JSON Pointer. */
static int add_key(struct buffer *pointer, const char *key)
{
	cleanup_free char *shown = str_escape(key, strlen(key), SHOWN_MAX);
	int r = shown ? buffer_add(pointer, "/", 1) : -ENOMEM;

	for (const char *p = shown; p && *p && r == 0; p++) {
		if (*p == '~')
			r = buffer_add(pointer, "~0", 2);
		else if (*p == '/')
			r = buffer_add(pointer, "~1", 2);
		else
			r = buffer_add(pointer, p, 1);
	}
	return r;
}

char *json_step_pointer(const struct json_step *step)
{
	const struct json_step *way[STEPS_MAX];
	cleanup_buffer struct buffer pointer = BUFFER_INIT;
	size_t n = collect(step, way);
	int r = buffer_add(&pointer, "", 0);

	while (n > 0 && r == 0) {
		step = way[--n];
		r = step->key ? add_key(&pointer, step->key)
			      : buffer_format(&pointer, "/%zu", step->index);
	}
	return r == 0 ? TAKE_PTR(pointer.data) : NULL;
}
