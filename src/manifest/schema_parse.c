/* SPDX-License-Identifier: Apache-2.0 */

/*
 * JSON Schema text -> nodes; schema_keyword.c knows the keywords. References are resolved once all
 * nodes exist: to a node by the identity of the JSON object it was read from, so that a reference
 * into something that is no schema finds nothing.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "manifest/schema.h"
#include "manifest/schema_cycle.h"
#include "manifest/schema_keyword.h"

#define SHOWN_MAX 60U

static void map_done(struct schema_map *map)
{
	for (size_t i = 0; i < map->count; i++)
		(void)schema_pattern_free(map->items[i].pattern);
	free(map->items);
}

static void node_free(struct schema_node *node)
{
	(void)schema_pattern_free(node->pattern);
	map_done(&node->properties);
	map_done(&node->pattern_properties);
	map_done(&node->dependent_schemas);
	free(node->prefix_items.items);
	free(node->all_of.items);
	free(node->any_of.items);
	free(node->one_of.items);
	free(node);
}

struct schema *schema_free(struct schema *schema)
{
	if (!schema)
		return NULL;
	for (size_t i = 0; i < schema->n_nodes; i++)
		node_free(schema->nodes[i]);
	free(schema->nodes);
	map_done(&schema->anchors);
	json_decref(schema->document);
	free(schema);
	return NULL;
}

static struct schema *schema_new(void)
{
	cleanup_schema struct schema *schema = calloc(1, sizeof(*schema));

	if (!schema)
		return NULL;
	schema->nodes = calloc(SCHEMA_NODES_MAX, sizeof(struct schema_node *));
	schema->anchors.items = calloc(SCHEMA_ANCHORS_MAX, sizeof(*schema->anchors.items));
	if (!schema->nodes || !schema->anchors.items)
		return NULL;
	return TAKE_PTR(schema);
}

int schema_problem(struct schema_reader *reader, const struct json_step *step, const char *format,
		   ...)
{
	cleanup_free char *sentence = NULL;
	cleanup_free char *pointer = NULL;
	struct json_place place;
	va_list arguments;
	int r;

	if (++reader->problems > SCHEMA_PROBLEMS_MAX)
		return 0;
	va_start(arguments, format);
	r = str_vformat(&sentence, format, arguments);
	va_end(arguments);
	if (r < 0)
		return r;
	pointer = json_step_pointer(step);
	if (!pointer)
		return -ENOMEM;
	place = json_place_find(reader->text, reader->size, step);
	return diagnostics_add(reader->diagnostics, REFUSAL_BAD_SCHEMA, reader->file, place.line,
			       place.column, "%s%s%s%s", step ? "'" : "the schema", pointer,
			       step ? "' " : " ", sentence);
}

static int read_keywords(struct schema_reader *reader, struct schema_node *node,
			 const struct json_step *step)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)node->source, key, value)
	{
		const struct json_step inner = {.parent = step, .key = key};
		int r = schema_keyword_read(reader, node, value, &inner);

		if (r < 0)
			return r;
	}
	return 0;
}

int schema_node_read(struct schema_reader *reader, const json_t *value,
		     const struct json_step *step, struct schema_node **ret)
{
	struct schema *schema = reader->schema;
	struct schema_node *node;

	if (reader->problems >= SCHEMA_PROBLEMS_MAX)
		return 0;
	if (!json_is_object(value) && !json_is_boolean(value))
		return schema_problem(reader, step, "must be a schema: an object, true or false");
	if (schema->n_nodes >= SCHEMA_NODES_MAX) {
		reader->problems = SCHEMA_PROBLEMS_MAX - 1;
		return schema_problem(reader, step, "is one schema too many; %u are taken",
				      SCHEMA_NODES_MAX);
	}
	node = calloc(1, sizeof(*node));
	if (!node)
		return -ENOMEM;
	node->source = value;
	node->max_length = SIZE_MAX;
	node->max_items = SIZE_MAX;
	node->max_properties = SIZE_MAX;
	node->min_contains = 1;
	node->max_contains = SIZE_MAX;
	node->number = schema->n_nodes;
	schema->nodes[schema->n_nodes++] = node;
	*ret = node;
	return json_is_object(value) ? read_keywords(reader, node, step) : 0;
}

static int compare_sources(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)(*(struct schema_node *const *)a)->source;
	uintptr_t y = (uintptr_t)(*(struct schema_node *const *)b)->source;

	return (x > y) - (x < y);
}

static struct schema_node *find_node(const struct schema *schema, const json_t *source)
{
	const struct schema_node wanted = {.source = source};
	const struct schema_node *key = &wanted;
	struct schema_node **found;

	if (!source)
		return NULL;
	found = bsearch(&key, schema->nodes, schema->n_nodes, sizeof(struct schema_node *),
			compare_sources);
	return found ? *found : NULL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes %XX in place; what is not one stays. */
static void decode_percent(char *s)
{
	char *out = s;

	for (; *s; s++) {
		int high = *s == '%' ? hex_digit(s[1]) : -1;
		int low = high >= 0 ? hex_digit(s[2]) : -1;

		if (low >= 0 && (high | low) != 0) {
			*out++ = (char)(high << 4 | low);
			s += 2;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

/* Undoes ~1 and ~0 of a JSON Pointer in place. */
static void decode_tilde(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (*s == '~' && (s[1] == '0' || s[1] == '1'))
			*out++ = *++s == '0' ? '~' : '/';
		else
			*out++ = *s;
	}
	*out = '\0';
}

static const json_t *array_member(const json_t *array, const char *digits)
{
	size_t length = strlen(digits);

	if (length == 0 || length > 6 || strspn(digits, "0123456789") != length)
		return NULL;
	return json_array_get(array, (size_t)strtoul(digits, NULL, 10));
}

/* The value at a decoded pointer ("/a/b"), which is taken apart. */
static const json_t *follow_pointer(const json_t *value, char *pointer)
{
	char *rest = pointer + 1;

	while (value && rest) {
		char *token = strsep(&rest, "/");

		decode_tilde(token);
		value = json_is_array(value) ? array_member(value, token)
					     : json_object_get(value, token);
	}
	return value;
}

static struct schema_node *find_anchor(const struct schema *schema, const char *name)
{
	for (size_t i = 0; i < schema->anchors.count; i++) {
		if (strcmp(schema->anchors.items[i].key, name) == 0)
			return schema->anchors.items[i].node;
	}
	return NULL;
}

static int find_target(const struct schema *schema, const char *reference, struct schema_node **ret)
{
	cleanup_free char *fragment = NULL;

	*ret = NULL;
	if (reference[0] != '#')
		return 0;
	if (reference[1] == '\0') {
		*ret = schema->root;
		return 0;
	}
	fragment = strdup(reference + 1);
	if (!fragment)
		return -ENOMEM;
	decode_percent(fragment);
	*ret = fragment[0] == '/' ? find_node(schema, follow_pointer(schema->document, fragment))
				  : find_anchor(schema, fragment);
	return 0;
}

static int problem_reference(struct schema_reader *reader, const struct schema_node *node,
			     const struct json_step *step)
{
	const struct json_step inner = {.parent = step, .key = "$ref"};
	cleanup_free char *shown = str_escape(node->reference, strlen(node->reference), SHOWN_MAX);

	if (!shown)
		return -ENOMEM;
	if (node->reference[0] != '#')
		return schema_problem(reader, &inner,
				      "is '%s'; only references into this schema are taken ('#…')",
				      shown);
	if (node->is_endless)
		return schema_problem(reader, &inner,
				      "is '%s', which leads back here without a step into the "
				      "value, for ever; refer to it from below 'properties' or "
				      "'items'",
				      shown);
	return schema_problem(reader, &inner, "is '%s', which names no schema here", shown);
}

/* Looks for the value that *node* was read from, below *value*, to say where the problem is. */
static int search_problem(struct schema_reader *reader, const struct schema_node *node,
			  const json_t *value, const struct json_step *step)
{
	struct json_step inner = {.parent = step};
	const char *key;
	json_t *item;
	int r = 0;

	if (value == node->source)
		return problem_reference(reader, node, step);
	json_object_foreach((json_t *)value, key, item)
	{
		inner.key = key;
		r = search_problem(reader, node, item, &inner);
		if (r < 0)
			return r;
	}
	inner.key = NULL;
	json_array_foreach(value, inner.index, item)
	{
		r = search_problem(reader, node, item, &inner);
		if (r < 0)
			return r;
	}
	return 0;
}

static int refuse_cycles(struct schema_reader *reader)
{
	struct schema *schema = reader->schema;
	int r = schema_cycle_mark(schema);

	for (size_t i = 0; i < schema->n_nodes && r == 0; i++) {
		if (schema->nodes[i]->is_endless && reader->problems < SCHEMA_PROBLEMS_MAX)
			r = search_problem(reader, schema->nodes[i], schema->document, NULL);
	}
	return r;
}

static int resolve(struct schema_reader *reader)
{
	struct schema *schema = reader->schema;

	qsort(schema->nodes, schema->n_nodes, sizeof(struct schema_node *), compare_sources);
	for (size_t i = 0; i < schema->n_nodes; i++) {
		struct schema_node *node = schema->nodes[i];
		int r = 0;

		if (!node->reference || reader->problems >= SCHEMA_PROBLEMS_MAX)
			continue;
		r = find_target(schema, node->reference, &node->target);
		if (r == 0 && !node->target)
			r = search_problem(reader, node, schema->document, NULL);
		if (r < 0)
			return r;
	}
	return reader->problems == 0 ? refuse_cycles(reader) : 0;
}

/* gcc 12's analyzer takes for lost what is kept behind the schema. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int read_document(struct schema_reader *reader)
{
	struct schema *schema = reader->schema;
	struct json_problem problem = {0};
	int r;

	if (reader->size > SCHEMA_SIZE_MAX)
		return schema_problem(reader, NULL, "is larger than 256 KiB");
	r = json_parse_object(reader->text, reader->size, &schema->document, &problem);
	if (r < 0)
		return r;
	if (r > 0) {
		const char *colon = strstr(problem.text, ": ");
		cleanup_free char *shown = NULL;

		colon = colon ? colon + 2 : problem.text;
		shown = str_escape(colon, strlen(colon), JSON_ERROR_MAX);
		if (!shown)
			return -ENOMEM;
		reader->problems++;
		return diagnostics_add(reader->diagnostics, REFUSAL_BAD_SCHEMA, reader->file,
				       problem.line, problem.column, "JSON: %s", shown);
	}
	r = schema_node_read(reader, schema->document, NULL, &schema->root);
	return r < 0 ? r : resolve(reader);
}

#pragma GCC diagnostic pop

int schema_parse(const char *text, size_t size, const char *file, struct schema **ret,
		 struct diagnostics *diagnostics)
{
	cleanup_schema struct schema *schema = schema_new();
	struct schema_reader reader = {.text = text,
				       .size = size,
				       .file = file,
				       .diagnostics = diagnostics,
				       .schema = schema};
	int r;

	if (!schema)
		return -ENOMEM;
	r = read_document(&reader);
	if (r < 0)
		return r;
	if (reader.problems > 0)
		return 1;
	*ret = TAKE_PTR(schema);
	return 0;
}

bool schema_key_is_local(const json_t *schema_object, const char *key)
{
	const json_t *property = json_object_get(json_object_get(schema_object, "properties"), key);

	return json_is_true(json_object_get(property, SCHEMA_LOCAL_KEY));
}
