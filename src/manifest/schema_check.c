/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The keywords that look at one type of value: numbers, strings, arrays, objects. Each check stops
 * at the first thing wrong, and pays for what it does out of the run's budget.
 */

#include "manifest/schema_check.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "manifest/schema_value.h"

#define SHOWN_MAX 60U
/* Bytes of text that are handled in the time of a step. */
#define BYTES_PER_STEP 16U

static int fail_number(struct schema_run *run, const struct json_step *step, const char *must,
		       const json_t *bound)
{
	cleanup_free char *text = NULL;

	if (run->quiet > 0)
		return SCHEMA_INVALID;
	text = json_dumps(bound, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	return text ? schema_run_fail(run, step, "must be %s %s", must, text) : -ENOMEM;
}

int schema_number_check(struct schema_run *run, const struct schema_node *node, const json_t *value,
			const struct json_step *step)
{
	if (node->minimum && schema_value_compare(value, node->minimum) < 0)
		return fail_number(run, step, "at least", node->minimum);
	if (node->maximum && schema_value_compare(value, node->maximum) > 0)
		return fail_number(run, step, "at most", node->maximum);
	if (node->exclusive_minimum && schema_value_compare(value, node->exclusive_minimum) <= 0)
		return fail_number(run, step, "more than", node->exclusive_minimum);
	if (node->exclusive_maximum && schema_value_compare(value, node->exclusive_maximum) >= 0)
		return fail_number(run, step, "less than", node->exclusive_maximum);
	if (node->multiple_of && !schema_value_is_multiple(value, node->multiple_of))
		return fail_number(run, step, "a multiple of", node->multiple_of);
	return SCHEMA_VALID;
}

/* Code points of well-formed UTF-8. */
static size_t count_characters(const char *text, size_t length)
{
	size_t count = 0;

	for (size_t i = 0; i < length; i++)
		count += ((unsigned char)text[i] & 0xc0U) != 0x80 ? 1 : 0;
	return count;
}

static int search(struct schema_run *run, const struct schema_pattern *pattern, const char *text,
		  size_t length, bool *ret)
{
	int r = schema_pattern_search(pattern, text, length, &run->budget, ret);

	return r > 0 ? SCHEMA_TOO_COMPLEX : r;
}

static int check_pattern(struct schema_run *run, const struct schema_node *node,
			 const json_t *value, const struct json_step *step)
{
	cleanup_free char *shown = NULL;
	const char *pattern;
	bool found = false;
	int r;

	r = search(run, node->pattern, json_string_value(value), json_string_length(value), &found);
	if (r != 0 || found)
		return r;
	pattern = json_string_value(json_object_get(node->source, "pattern"));
	shown = str_escape(pattern, strlen(pattern), SHOWN_MAX);
	return shown ? schema_run_fail(run, step, "must match the pattern '%s'", shown) : -ENOMEM;
}

int schema_string_check(struct schema_run *run, const struct schema_node *node, const json_t *value,
			const struct json_step *step)
{
	size_t length = json_string_length(value);
	size_t count;

	if (node->min_length > 0 || node->max_length < SIZE_MAX) {
		if (!schema_run_pay(run, length / BYTES_PER_STEP))
			return SCHEMA_TOO_COMPLEX;
		count = count_characters(json_string_value(value), length);
		if (count < node->min_length)
			return schema_run_fail(run, step, "must have at least %zu characters",
					       node->min_length);
		if (count > node->max_length)
			return schema_run_fail(run, step, "must have at most %zu characters",
					       node->max_length);
	}
	return node->pattern ? check_pattern(run, node, value, step) : SCHEMA_VALID;
}

static int check_contains(struct schema_run *run, const struct schema_node *node,
			  const json_t *value, const struct json_step *step)
{
	size_t matches = 0;

	for (size_t i = 0; i < json_array_size(value); i++) {
		const struct json_step inner = {.parent = step, .index = i};
		int r = schema_node_try(run, node->contains, json_array_get(value, i), &inner);

		if (r != SCHEMA_VALID && r != SCHEMA_INVALID)
			return r;
		matches += r == SCHEMA_VALID ? 1 : 0;
	}
	if (matches < node->min_contains)
		return schema_run_fail(run, step, "must have at least %zu items as 'contains' says",
				       node->min_contains);
	if (matches > node->max_contains)
		return schema_run_fail(run, step, "must have at most %zu items as 'contains' says",
				       node->max_contains);
	return SCHEMA_VALID;
}

static int check_items(struct schema_run *run, const struct schema_node *node, const json_t *value,
		       const struct json_step *step)
{
	for (size_t i = 0; i < json_array_size(value); i++) {
		const struct json_step inner = {.parent = step, .index = i};
		const struct schema_node *schema =
			i < node->prefix_items.count ? node->prefix_items.items[i] : node->items;
		int r;

		if (!schema)
			break;
		r = schema_node_check(run, schema, json_array_get(value, i), &inner);
		if (r != SCHEMA_VALID)
			return r;
	}
	return SCHEMA_VALID;
}

static int check_unique(struct schema_run *run, const json_t *value, const struct json_step *step)
{
	bool has_equal = false;
	int r = schema_value_has_equal_items(value, &run->budget, &has_equal);

	if (r < 0)
		return r;
	if (has_equal)
		return schema_run_fail(run, step, "must not have the same item twice");
	return run->budget > 0 ? SCHEMA_VALID : SCHEMA_TOO_COMPLEX;
}

int schema_array_check(struct schema_run *run, const struct schema_node *node, const json_t *value,
		       const struct json_step *step)
{
	size_t size = json_array_size(value);
	int r = SCHEMA_VALID;

	if (size < node->min_items)
		return schema_run_fail(run, step, "must have at least %zu items", node->min_items);
	if (size > node->max_items)
		return schema_run_fail(run, step, "must have at most %zu items", node->max_items);
	if (node->prefix_items.count > 0 || node->items)
		r = check_items(run, node, value, step);
	if (r == SCHEMA_VALID && node->contains)
		r = check_contains(run, node, value, step);
	if (r == SCHEMA_VALID && node->unique_items)
		r = check_unique(run, value, step);
	return r;
}

static int fail_required(struct schema_run *run, const char *name, const char *also,
			 const struct json_step *step)
{
	cleanup_free char *shown = str_escape(name, strlen(name), SHOWN_MAX);
	cleanup_free char *beside = also ? str_escape(also, strlen(also), SHOWN_MAX) : NULL;

	if (!shown || (also && !beside))
		return -ENOMEM;
	if (!also)
		return schema_run_fail(run, step, "must have the property '%s'", shown);
	return schema_run_fail(run, step, "must have the property '%s' beside '%s'", shown, beside);
}

/* *also*: the property because of which *keys* are required, or NULL. */
static int check_required(struct schema_run *run, const json_t *keys, const char *also,
			  const json_t *value, const struct json_step *step)
{
	for (size_t i = 0; i < json_array_size(keys); i++) {
		const json_t *key = json_array_get(keys, i);
		const char *name = json_string_value(key);

		if (!schema_run_pay(run, 1 + json_string_length(key) / BYTES_PER_STEP))
			return SCHEMA_TOO_COMPLEX;
		if (!json_object_get(value, name))
			return fail_required(run, name, also, step);
	}
	return SCHEMA_VALID;
}

static int check_dependents(struct schema_run *run, const struct schema_node *node,
			    const json_t *value, const struct json_step *step)
{
	const char *key;
	json_t *keys;
	int r = SCHEMA_VALID;

	json_object_foreach((json_t *)node->dependent_required, key, keys)
	{
		if (!schema_run_pay(run, 1 + strlen(key) / BYTES_PER_STEP))
			return SCHEMA_TOO_COMPLEX;
		if (json_object_get(value, key))
			r = check_required(run, keys, key, value, step);
		if (r != SCHEMA_VALID)
			return r;
	}
	for (size_t i = 0; i < node->dependent_schemas.count; i++) {
		const struct schema_member *member = &node->dependent_schemas.items[i];

		if (!schema_run_pay(run, 1 + strlen(member->key) / BYTES_PER_STEP))
			return SCHEMA_TOO_COMPLEX;
		if (json_object_get(value, member->key))
			r = schema_node_check(run, member->node, value, step);
		if (r != SCHEMA_VALID)
			return r;
	}
	return SCHEMA_VALID;
}

static int check_name(struct schema_run *run, const struct schema_node *node, const char *key,
		      const struct json_step *step)
{
	cleanup_free char *shown = NULL;
	cleanup_json json_t *name = NULL;
	int r;

	if (!node->property_names)
		return SCHEMA_VALID;
	name = json_string(key);
	shown = str_escape(key, strlen(key), SHOWN_MAX);
	if (!name || !shown)
		return -ENOMEM;
	r = schema_node_try(run, node->property_names, name, step);
	if (r == SCHEMA_INVALID)
		return schema_run_fail(run, step->parent, "must not have a property named '%s'",
				       shown);
	return r;
}

/* One property; *step* is its own. */
static int check_member(struct schema_run *run, const struct schema_node *node, const json_t *value,
			const struct json_step *step)
{
	const struct schema_member *named = schema_map_find(&node->properties, step->key);
	size_t length = strlen(step->key);
	bool is_known = named != NULL;
	int r = check_name(run, node, step->key, step);

	if (r == SCHEMA_VALID && !schema_run_pay(run, 1 + length / BYTES_PER_STEP))
		r = SCHEMA_TOO_COMPLEX;
	if (r == SCHEMA_VALID && named)
		r = schema_node_check(run, named->node, value, step);
	for (size_t i = 0; i < node->pattern_properties.count && r == SCHEMA_VALID; i++) {
		const struct schema_member *member = &node->pattern_properties.items[i];
		bool found = false;

		r = search(run, member->pattern, step->key, length, &found);
		is_known = is_known || found;
		if (r == SCHEMA_VALID && found)
			r = schema_node_check(run, member->node, value, step);
	}
	if (r == SCHEMA_VALID && !is_known && node->additional_properties)
		r = schema_node_check(run, node->additional_properties, value, step);
	return r;
}

int schema_object_check(struct schema_run *run, const struct schema_node *node, const json_t *value,
			const struct json_step *step)
{
	size_t size = json_object_size(value);
	const char *key;
	json_t *member;
	int r;

	if (size < node->min_properties)
		return schema_run_fail(run, step, "must have at least %zu properties",
				       node->min_properties);
	if (size > node->max_properties)
		return schema_run_fail(run, step, "must have at most %zu properties",
				       node->max_properties);
	r = check_required(run, node->required, NULL, value, step);
	if (r == SCHEMA_VALID)
		r = check_dependents(run, node, value, step);
	if (r != SCHEMA_VALID ||
	    !(node->properties.count > 0 || node->pattern_properties.count > 0 ||
	      node->additional_properties || node->property_names))
		return r;
	json_object_foreach((json_t *)value, key, member)
	{
		const struct json_step inner = {.parent = step, .key = key};

		r = check_member(run, node, member, &inner);
		if (r != SCHEMA_VALID)
			return r;
	}
	return SCHEMA_VALID;
}
