/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A value against a schema: types, alternatives, references. Both may be hostile, and a schema can
 * ask for exponential work in a few lines (every level says allOf twice of the next), so that the
 * work has a budget and the recursion a depth. Crossing one is told apart from "not valid" inside,
 * since `not` would turn the one into a pass.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "manifest/schema.h"
#include "manifest/schema_check.h"
#include "manifest/schema_value.h"

#define BUDGET_MAX 8000000U
/* An instance nests 64 deep, and a level of it may take a few schemas ($ref, allOf, items). */
#define DEPTH_MAX 512U
#define LIST_MAX  200U

bool schema_run_pay(struct schema_run *run, uint64_t price)
{
	if (price > run->budget) {
		run->budget = 0;
		return false;
	}
	run->budget -= price;
	return true;
}

int schema_run_fail(struct schema_run *run, const struct json_step *step, const char *format, ...)
{
	cleanup_free char *pointer = NULL;
	cleanup_free char *sentence = NULL;
	va_list arguments;
	int r;

	if (run->quiet > 0)
		return SCHEMA_INVALID;
	pointer = json_step_pointer(step);
	if (!pointer)
		return -ENOMEM;
	va_start(arguments, format);
	r = str_vformat(&sentence, format, arguments);
	va_end(arguments);
	if (r < 0)
		return r;
	(void)snprintf(run->reterr, run->size, "%s: %s", pointer, sentence);
	return SCHEMA_INVALID;
}

static unsigned type_of(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return SCHEMA_OBJECT;
	case JSON_ARRAY:
		return SCHEMA_ARRAY;
	case JSON_STRING:
		return SCHEMA_STRING;
	case JSON_INTEGER:
		return SCHEMA_NUMBER | SCHEMA_INTEGER;
	case JSON_REAL:
		return SCHEMA_NUMBER | (schema_value_is_integral(value) ? SCHEMA_INTEGER : 0U);
	case JSON_TRUE:
	case JSON_FALSE:
		return SCHEMA_BOOLEAN;
	case JSON_NULL:
	default:
		return SCHEMA_NULL;
	}
}

static int fail_type(struct schema_run *run, unsigned types, const struct json_step *step)
{
	static const struct {
		unsigned type;
		const char *name;
	} names[] = {
		{SCHEMA_NULL,    "null"          },
                {SCHEMA_BOOLEAN, "true or false" },
		{SCHEMA_OBJECT,  "an object"     },
                {SCHEMA_ARRAY,   "a list"        },
		{SCHEMA_NUMBER,  "a number"      },
                {SCHEMA_INTEGER, "a whole number"},
		{SCHEMA_STRING,  "a string"      },
	};
	cleanup_buffer struct buffer list = BUFFER_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int r = 0;

		if ((types & names[i].type) != 0)
			r = buffer_format(&list, "%s%s", list.size > 0 ? " or " : "",
					  names[i].name);
		if (r < 0)
			return r;
	}
	return schema_run_fail(run, step, "must be %s", list.data);
}

static int fail_value(struct schema_run *run, const json_t *wanted, const char *must,
		      const struct json_step *step)
{
	cleanup_free char *text = NULL;
	cleanup_free char *shown = NULL;

	if (run->quiet > 0)
		return SCHEMA_INVALID;
	text = json_dumps(wanted, JSON_ENCODE_ANY);
	shown = text ? str_escape(text, strlen(text), LIST_MAX) : NULL;
	return shown ? schema_run_fail(run, step, "must be %s%s", must, shown) : -ENOMEM;
}

static int check_values(struct schema_run *run, const struct schema_node *node, const json_t *value,
			const struct json_step *step)
{
	bool found = !node->enumeration;

	for (size_t i = 0; i < json_array_size(node->enumeration) && !found; i++)
		found = schema_value_is_equal(value, json_array_get(node->enumeration, i),
					      &run->budget);
	if (run->budget == 0)
		return SCHEMA_TOO_COMPLEX;
	if (!found)
		return fail_value(run, node->enumeration, "one of ", step);
	if (!node->constant || schema_value_is_equal(value, node->constant, &run->budget))
		return SCHEMA_VALID;
	if (run->budget == 0)
		return SCHEMA_TOO_COMPLEX;
	return fail_value(run, node->constant, "", step);
}

int schema_node_try(struct schema_run *run, const struct schema_node *node, const json_t *value,
		    const struct json_step *step)
{
	int r;

	run->quiet++;
	r = schema_node_check(run, node, value, step);
	run->quiet--;
	return r;
}

static int check_all(struct schema_run *run, const struct schema_node *node, const json_t *value,
		     const struct json_step *step)
{
	for (size_t i = 0; i < node->all_of.count; i++) {
		int r = schema_node_check(run, node->all_of.items[i], value, step);

		if (r != SCHEMA_VALID)
			return r;
	}
	return SCHEMA_VALID;
}

static int check_any(struct schema_run *run, const struct schema_node *node, const json_t *value,
		     const struct json_step *step)
{
	for (size_t i = 0; i < node->any_of.count; i++) {
		int r = schema_node_try(run, node->any_of.items[i], value, step);

		if (r != SCHEMA_INVALID)
			return r;
	}
	/* A single alternative can say itself what is wrong. */
	if (node->any_of.count == 1)
		return schema_node_check(run, node->any_of.items[0], value, step);
	return schema_run_fail(run, step, "is none of what 'anyOf' allows");
}

static int check_one(struct schema_run *run, const struct schema_node *node, const json_t *value,
		     const struct json_step *step)
{
	size_t matches = 0;

	for (size_t i = 0; i < node->one_of.count && matches < 2; i++) {
		int r = schema_node_try(run, node->one_of.items[i], value, step);

		if (r != SCHEMA_VALID && r != SCHEMA_INVALID)
			return r;
		matches += r == SCHEMA_VALID ? 1 : 0;
	}
	if (matches == 1)
		return SCHEMA_VALID;
	return schema_run_fail(run, step,
			       matches == 0 ? "is none of what 'oneOf' allows"
					    : "is more than one of what 'oneOf' allows");
}

static int check_not(struct schema_run *run, const struct schema_node *node, const json_t *value,
		     const struct json_step *step)
{
	int r = schema_node_try(run, node->not_schema, value, step);

	if (r == SCHEMA_VALID)
		return schema_run_fail(run, step, "is what 'not' forbids");
	return r == SCHEMA_INVALID ? SCHEMA_VALID : r;
}

static int check_if(struct schema_run *run, const struct schema_node *node, const json_t *value,
		    const struct json_step *step)
{
	int r = schema_node_try(run, node->if_schema, value, step);
	const struct schema_node *next = r == SCHEMA_VALID ? node->then_schema : node->else_schema;

	if (r != SCHEMA_VALID && r != SCHEMA_INVALID)
		return r;
	return next ? schema_node_check(run, next, value, step) : SCHEMA_VALID;
}

static int check_alternatives(struct schema_run *run, const struct schema_node *node,
			      const json_t *value, const struct json_step *step)
{
	int r = SCHEMA_VALID;

	if (node->target)
		r = schema_node_check(run, node->target, value, step);
	if (r == SCHEMA_VALID && node->all_of.count > 0)
		r = check_all(run, node, value, step);
	if (r == SCHEMA_VALID && node->any_of.count > 0)
		r = check_any(run, node, value, step);
	if (r == SCHEMA_VALID && node->one_of.count > 0)
		r = check_one(run, node, value, step);
	if (r == SCHEMA_VALID && node->not_schema)
		r = check_not(run, node, value, step);
	if (r == SCHEMA_VALID && node->if_schema)
		r = check_if(run, node, value, step);
	return r;
}

static int check_by_type(struct schema_run *run, const struct schema_node *node,
			 const json_t *value, const struct json_step *step)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return schema_object_check(run, node, value, step);
	case JSON_ARRAY:
		return schema_array_check(run, node, value, step);
	case JSON_STRING:
		return schema_string_check(run, node, value, step);
	case JSON_INTEGER:
	case JSON_REAL:
		return schema_number_check(run, node, value, step);
	default:
		return SCHEMA_VALID;
	}
}

static int check(struct schema_run *run, const struct schema_node *node, const json_t *value,
		 const struct json_step *step)
{
	int r;

	if (json_is_true(node->source))
		return SCHEMA_VALID;
	if (json_is_false(node->source))
		return schema_run_fail(run, step, "is not allowed here");
	if (node->types != 0 && (node->types & type_of(value)) == 0)
		return fail_type(run, node->types, step);
	r = check_values(run, node, value, step);
	if (r == SCHEMA_VALID)
		r = check_by_type(run, node, value, step);
	return r == SCHEMA_VALID ? check_alternatives(run, node, value, step) : r;
}

int schema_node_check(struct schema_run *run, const struct schema_node *node, const json_t *value,
		      const struct json_step *step)
{
	int r;

	if (!schema_run_pay(run, 1) || run->depth >= DEPTH_MAX)
		return SCHEMA_TOO_COMPLEX;
	run->depth++;
	r = check(run, node, value, step);
	run->depth--;
	return r;
}

int schema_validate(const struct schema *schema, const json_t *instance, char *reterr, size_t size)
{
	struct schema_run run = {.budget = BUDGET_MAX, .reterr = reterr, .size = size};
	int r;

	r = schema_node_check(&run, schema->root, instance, NULL);
	if (r == SCHEMA_TOO_COMPLEX) {
		(void)snprintf(reterr, size,
			       ": could not be judged: too large or too complex for its schema");
		return 1;
	}
	return r;
}
