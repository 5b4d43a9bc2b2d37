/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a fleet says, for people. Every value may come from a host or a bundle: nothing is printed
 * unescaped. Columns are as wide as what stands in them, the last one as it comes.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/fleet.h"

#define COLUMNS_MAX 12U
#define SHOWN_MAX   200U

/* Bytes of *text* that begin a character. */
static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0U) != 0x80U;
	return n;
}

static const json_t *find(const json_t *object, const char *key)
{
	const char *dot = strchr(key, '.');
	char parent[32];

	if (!dot)
		return json_object_get(object, key);
	(void)snprintf(parent, sizeof(parent), "%.*s", (int)(dot - key), key);
	return find(json_object_get(object, parent), dot + 1);
}

static int add_value(struct buffer *buffer, const json_t *value);

static int add_list(struct buffer *buffer, const json_t *list)
{
	const json_t *item;
	size_t i;
	int r = 0;

	json_array_foreach(list, i, item)
	{
		if (r == 0 && i > 0)
			r = buffer_add(buffer, ",", 1);
		if (r == 0)
			r = add_value(buffer, item);
	}
	return r;
}

static int add_members(struct buffer *buffer, const json_t *object)
{
	const char *key;
	const json_t *value;
	bool is_first = true;
	int r = 0;

	json_object_foreach((json_t *)object, key, value)
	{
		if (r == 0)
			r = buffer_format(buffer, "%s%s=", is_first ? "" : ",", key);
		if (r == 0)
			r = add_value(buffer, value);
		is_first = false;
	}
	return r;
}

static int add_value(struct buffer *buffer, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		return buffer_add(buffer, json_string_value(value), json_string_length(value));
	case JSON_INTEGER:
		return buffer_format(buffer, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	case JSON_REAL:
		return buffer_format(buffer, "%g", json_real_value(value));
	case JSON_TRUE:
		return buffer_add(buffer, "yes", 3);
	case JSON_FALSE:
		return buffer_add(buffer, "no", 2);
	case JSON_ARRAY:
		return add_list(buffer, value);
	case JSON_OBJECT:
		return add_members(buffer, value);
	default:
		return 0;
	}
}

char *fleet_value_text(const json_t *object, const char *key)
{
	cleanup_buffer struct buffer buffer = BUFFER_INIT;
	const json_t *value = find(object, key);

	if (value && add_value(&buffer, value) < 0)
		return NULL;
	return buffer.size == 0 ? strdup("-") : str_escape(buffer.data, buffer.size, SHOWN_MAX);
}

static void print_cell(const char *text, size_t width, bool is_last)
{
	size_t shown = width_of(text);

	(void)fputs(text, stdout);
	if (is_last)
		(void)putchar('\n');
	else
		(void)printf("%*s", (int)(MAX(width, shown) - shown + 2), "");
}

void fleet_print_table(const json_t *items, const struct fleet_column *columns, const char *nothing)
{
	size_t widths[COLUMNS_MAX] = {0};
	const json_t *item;
	size_t n = 0;
	size_t i;

	if (json_array_size(items) == 0) {
		(void)puts(nothing);
		return;
	}
	for (; n < COLUMNS_MAX && columns[n].title; n++)
		widths[n] = width_of(columns[n].title);
	json_array_foreach(items, i, item)
	{
		for (size_t c = 0; c < n; c++) {
			cleanup_free char *text = fleet_value_text(item, columns[c].key);

			widths[c] = MAX(widths[c], text ? width_of(text) : 1);
		}
	}
	for (size_t c = 0; c < n; c++)
		print_cell(columns[c].title, widths[c], c + 1 == n);
	json_array_foreach(items, i, item)
	{
		for (size_t c = 0; c < n; c++) {
			cleanup_free char *text = fleet_value_text(item, columns[c].key);

			print_cell(text ? text : "?", widths[c], c + 1 == n);
		}
	}
}

void fleet_print_object(const json_t *object, const struct fleet_column *columns)
{
	size_t width = 0;

	for (const struct fleet_column *column = columns; column->title; column++)
		width = MAX(width, strlen(column->title));
	for (const struct fleet_column *column = columns; column->title; column++) {
		cleanup_free char *text = fleet_value_text(object, column->key);

		if (!text || strcmp(text, "-") != 0)
			(void)printf("%-*s  %s\n", (int)width, column->title, text ? text : "?");
	}
}
