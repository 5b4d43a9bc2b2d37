/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "manifest/schema_pattern.h"

/*
 * A schema as it is evaluated. Everything belongs to struct schema: nodes hold borrowed pointers
 * into its document and to each other; `$ref` makes cycles.
 */

#define SCHEMA_NODES_MAX    16384U
#define SCHEMA_PATTERNS_MAX 256U
#define SCHEMA_ANCHORS_MAX  256U
#define SCHEMA_PROBLEMS_MAX 100U

/* Types as a set of bits. A number without a fraction is both a number and an integer. */
enum schema_type {
	SCHEMA_NULL = 1 << 0,
	SCHEMA_BOOLEAN = 1 << 1,
	SCHEMA_OBJECT = 1 << 2,
	SCHEMA_ARRAY = 1 << 3,
	SCHEMA_NUMBER = 1 << 4,
	SCHEMA_INTEGER = 1 << 5,
	SCHEMA_STRING = 1 << 6,
};

/* Of the walk that looks for cycles. */
enum schema_visit {
	SCHEMA_VISIT_NONE,
	SCHEMA_VISIT_OPEN,
	SCHEMA_VISIT_DONE,
};

struct schema_list {
	struct schema_node **items;
	size_t count;
};

/* A property's schema, by name or by pattern. */
struct schema_member {
	const char *key;
	struct schema_pattern *pattern; /* of patternProperties; owned by the map */
	struct schema_node *node;
};

struct schema_map {
	struct schema_member *items; /* sorted by key */
	size_t count;
};

/* NULL and defaults where a keyword is absent. */
struct schema_node {
	const json_t *source;  /* an object, true or false */
	const char *reference; /* the text of $ref */
	struct schema_node *target;
	bool is_endless; /* the reference leads back here, and nowhere into the value */
	enum schema_visit visit;
	size_t number;  /* in the order of the text */
	unsigned types; /* 0: any */
	const json_t *enumeration;
	const json_t *constant;
	const json_t *minimum;
	const json_t *maximum;
	const json_t *exclusive_minimum;
	const json_t *exclusive_maximum;
	const json_t *multiple_of;
	size_t min_length;
	size_t max_length;
	struct schema_pattern *pattern;
	struct schema_list prefix_items;
	struct schema_node *items;
	struct schema_node *contains;
	size_t min_contains;
	size_t max_contains;
	size_t min_items;
	size_t max_items;
	bool unique_items;
	struct schema_map properties;
	struct schema_map pattern_properties;
	struct schema_node *additional_properties;
	struct schema_node *property_names;
	const json_t *required;
	const json_t *dependent_required;
	struct schema_map dependent_schemas;
	size_t min_properties;
	size_t max_properties;
	struct schema_list all_of;
	struct schema_list any_of;
	struct schema_list one_of;
	struct schema_node *not_schema;
	struct schema_node *if_schema;
	struct schema_node *then_schema;
	struct schema_node *else_schema;
};

struct schema {
	json_t *document;
	struct schema_node *root;
	struct schema_node **nodes; /* room for SCHEMA_NODES_MAX; sorted by source once parsed */
	size_t n_nodes;
	size_t n_patterns;
	struct schema_map anchors; /* room for SCHEMA_ANCHORS_MAX; in the order of the text */
};

/* The member of *map* with that key, or NULL. */
const struct schema_member *schema_map_find(const struct schema_map *map, const char *key);
