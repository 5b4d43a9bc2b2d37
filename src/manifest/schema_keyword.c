/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The keywords of JSON Schema, draft 2020-12: for each what its value must be and where it goes.
 * Whatever is in no table is a problem, because a keyword passed by would be a rule that its author
 * believes in and that nobody holds. unevaluatedItems and unevaluatedProperties are left out on
 * purpose: they need every other keyword to report what it looked at.
 */

#include "manifest/schema_keyword.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "manifest/schema.h"
#include "manifest/schema_value.h"
#include "manifest/word.h"

#define DRAFT     "https://json-schema.org/draft/2020-12/schema"
#define COUNT_MAX 9007199254740992.0 /* 2^53 */

/* One keyword of one schema. */
struct use {
	struct schema_reader *reader;
	struct schema_node *node;
	const json_t *value;
	const struct json_step *step;
	size_t offset; /* in struct schema_node */
};

struct keyword {
	const char *name;
	int (*read)(const struct use *use);
	size_t offset;
};

static void *place_of(const struct use *use)
{
	return (char *)use->node + use->offset;
}

static int read_nothing(const struct use *use)
{
	(void)use;
	return 0;
}

static int read_schema(const struct use *use)
{
	return schema_node_read(use->reader, use->value, use->step, place_of(use));
}

static int read_items(const struct use *use)
{
	if (json_is_array(use->value))
		return schema_problem(use->reader, use->step,
				      "is a list; draft 2020-12 calls that 'prefixItems'");
	return read_schema(use);
}

/* gcc 12's analyzer takes for lost what is kept behind the keyword's place. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int read_schemas(const struct use *use)
{
	size_t n = json_array_size(use->value);
	struct schema_list *list = place_of(use);
	int r = 0;

	if (!json_is_array(use->value) || n == 0)
		return schema_problem(use->reader, use->step, "must be a list of schemas");
	list->items = calloc(n, sizeof(struct schema_node *));
	if (!list->items)
		return -ENOMEM;
	list->count = n;
	for (size_t i = 0; i < n && r == 0; i++) {
		const struct json_step inner = {.parent = use->step, .index = i};

		r = schema_node_read(use->reader, json_array_get(use->value, i), &inner,
				     &list->items[i]);
	}
	return r;
}

#pragma GCC diagnostic pop

static int compare_members(const void *a, const void *b)
{
	return strcmp(((const struct schema_member *)a)->key,
		      ((const struct schema_member *)b)->key);
}

const struct schema_member *schema_map_find(const struct schema_map *map, const char *key)
{
	const struct schema_member wanted = {.key = key};

	if (map->count == 0)
		return NULL;
	return bsearch(&wanted, map->items, map->count, sizeof(wanted), compare_members);
}

/* gcc 12's analyzer takes for lost what is kept behind the keyword's place. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int read_map(const struct use *use)
{
	size_t n = json_object_size(use->value);
	struct schema_map *map = place_of(use);
	const char *key;
	json_t *value;

	if (!json_is_object(use->value))
		return schema_problem(use->reader, use->step,
				      "must be an object whose values are schemas");
	if (n == 0)
		return 0;
	map->items = calloc(n, sizeof(*map->items));
	if (!map->items)
		return -ENOMEM;
	json_object_foreach((json_t *)use->value, key, value)
	{
		const struct json_step inner = {.parent = use->step, .key = key};
		struct schema_member *member = &map->items[map->count++];
		int r;

		member->key = key;
		r = schema_node_read(use->reader, value, &inner, &member->node);
		if (r < 0)
			return r;
	}
	qsort(map->items, map->count, sizeof(*map->items), compare_members);
	return 0;
}

#pragma GCC diagnostic pop

/* $defs: read like properties, reached by $ref only. */
static int read_definitions(const struct use *use)
{
	const char *key;
	json_t *value;

	if (!json_is_object(use->value))
		return schema_problem(use->reader, use->step,
				      "must be an object whose values are schemas");
	json_object_foreach((json_t *)use->value, key, value)
	{
		const struct json_step inner = {.parent = use->step, .key = key};
		struct schema_node *node = NULL;
		int r = schema_node_read(use->reader, value, &inner, &node);

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_regex(const struct use *use, const char *text, const struct json_step *step,
		      struct schema_pattern **place)
{
	char reason[SCHEMA_PATTERN_ERROR_MAX] = "";
	int r;

	if (use->reader->schema->n_patterns >= SCHEMA_PATTERNS_MAX)
		return schema_problem(use->reader, step, "is one pattern too many; %u are taken",
				      SCHEMA_PATTERNS_MAX);
	r = schema_pattern_new(text, place, reason);
	if (r > 0)
		return schema_problem(use->reader, step, "is not a regular expression: %s", reason);
	use->reader->schema->n_patterns++;
	return r;
}

static int read_pattern(const struct use *use)
{
	if (!json_is_string(use->value))
		return schema_problem(use->reader, use->step, "must be a regular expression");
	return read_regex(use, json_string_value(use->value), use->step, place_of(use));
}

static int read_pattern_map(const struct use *use)
{
	struct schema_map *map = place_of(use);
	int r = read_map(use);

	for (size_t i = 0; i < map->count && r == 0; i++) {
		const struct json_step inner = {.parent = use->step, .key = map->items[i].key};

		r = read_regex(use, map->items[i].key, &inner, &map->items[i].pattern);
	}
	return r;
}

static unsigned type_of_name(const json_t *name)
{
	static const struct {
		const char *name;
		unsigned type;
	} types[] = {
		{"array",   SCHEMA_ARRAY  },
                {"boolean", SCHEMA_BOOLEAN},
                {"integer", SCHEMA_INTEGER},
		{"null",    SCHEMA_NULL   },
                {"number",  SCHEMA_NUMBER },
                {"object",  SCHEMA_OBJECT },
		{"string",  SCHEMA_STRING },
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (str_equal(json_string_value(name), types[i].name))
			return types[i].type;
	}
	return 0;
}

static int read_types(const struct use *use)
{
	size_t n = json_array_size(use->value);
	unsigned types = type_of_name(use->value);
	bool is_good = types != 0;

	if (json_is_array(use->value)) {
		is_good = n > 0;
		for (size_t i = 0; i < n; i++) {
			unsigned type = type_of_name(json_array_get(use->value, i));

			is_good = is_good && type != 0 && (types & type) == 0;
			types |= type;
		}
	}
	if (!is_good)
		return schema_problem(use->reader, use->step,
				      "must be one of 'array', 'boolean', 'integer', 'null', "
				      "'number', 'object' and 'string', or a list of them");
	use->node->types = types;
	return 0;
}

static int read_enum(const struct use *use)
{
	if (!json_is_array(use->value) || json_array_size(use->value) == 0)
		return schema_problem(use->reader, use->step, "must be a list of values");
	*(const json_t **)place_of(use) = use->value;
	return 0;
}

static int read_value(const struct use *use)
{
	*(const json_t **)place_of(use) = use->value;
	return 0;
}

static int read_number(const struct use *use)
{
	if (!json_is_number(use->value))
		return schema_problem(use->reader, use->step, "must be a number");
	return read_value(use);
}

static int read_divisor(const struct use *use)
{
	if (!json_is_number(use->value) || json_number_value(use->value) <= 0)
		return schema_problem(use->reader, use->step, "must be a number above 0");
	return read_value(use);
}

static int read_count(const struct use *use)
{
	double count = json_number_value(use->value);

	if (!json_is_number(use->value) || !schema_value_is_integral(use->value) || count < 0 ||
	    count > COUNT_MAX)
		return schema_problem(use->reader, use->step, "must be a whole number, 0 or more");
	*(size_t *)place_of(use) = (size_t)count;
	return 0;
}

static int read_bool(const struct use *use)
{
	if (!json_is_boolean(use->value))
		return schema_problem(use->reader, use->step, "must be true or false");
	*(bool *)place_of(use) = json_is_true(use->value);
	return 0;
}

static bool is_list_of_keys(const json_t *value)
{
	if (!json_is_array(value))
		return false;
	for (size_t i = 0; i < json_array_size(value); i++) {
		if (!json_is_string(json_array_get(value, i)))
			return false;
	}
	return true;
}

/* A list of keys in which none stands twice. */
static int check_keys(const struct use *use, const json_t *keys, const struct json_step *step)
{
	cleanup_json json_t *seen = json_object();
	size_t i;
	json_t *key;

	if (!is_list_of_keys(keys))
		return schema_problem(use->reader, step, "must be a list of property names");
	if (!seen)
		return -ENOMEM;
	json_array_foreach((json_t *)keys, i, key)
	{
		const struct json_step inner = {.parent = step, .index = i};
		const char *name = json_string_value(key);

		if (json_object_get(seen, name))
			return schema_problem(use->reader, &inner,
					      "stands in the list already: name each property "
					      "once");
		if (json_object_set_new(seen, name, json_true()) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int read_keys(const struct use *use)
{
	int r = check_keys(use, use->value, use->step);

	return r < 0 ? r : read_value(use);
}

static int read_keys_map(const struct use *use)
{
	const char *key;
	json_t *value;

	if (!json_is_object(use->value))
		return schema_problem(use->reader, use->step,
				      "must be an object whose values are lists of property names");
	json_object_foreach((json_t *)use->value, key, value)
	{
		const struct json_step inner = {.parent = use->step, .key = key};
		int r = check_keys(use, value, &inner);

		if (r < 0)
			return r;
	}
	return read_value(use);
}

static int read_reference(const struct use *use)
{
	if (!json_is_string(use->value))
		return schema_problem(use->reader, use->step,
				      "must be a reference such as '#/$defs/x'");
	use->node->reference = json_string_value(use->value);
	return 0;
}

static bool is_anchor(const json_t *value)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
	const char *name = json_string_value(value);

	return name && *name != '\0' && strchr(letters, *name) &&
	       name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				 "0123456789-._")] == '\0';
}

static int read_anchor(const struct use *use)
{
	struct schema_map *anchors = &use->reader->schema->anchors;
	const char *name = json_string_value(use->value);

	if (!is_anchor(use->value))
		return schema_problem(use->reader, use->step,
				      "must be a name of letters, digits, '-', '.' and '_'");
	for (size_t i = 0; i < anchors->count; i++) {
		if (strcmp(anchors->items[i].key, name) == 0)
			return schema_problem(use->reader, use->step,
					      "is the name of another anchor already");
	}
	if (anchors->count >= SCHEMA_ANCHORS_MAX)
		return schema_problem(use->reader, use->step,
				      "is one anchor too many; %u are taken", SCHEMA_ANCHORS_MAX);
	anchors->items[anchors->count++] = (struct schema_member){.key = name, .node = use->node};
	return 0;
}

static int read_id(const struct use *use)
{
	if (!json_is_string(use->value))
		return schema_problem(use->reader, use->step, "must be a URI");
	if (use->step->parent)
		return schema_problem(use->reader, use->step,
				      "makes a schema within a schema, which is not supported");
	return 0;
}

static int read_draft(const struct use *use)
{
	const char *draft = json_string_value(use->value);

	if (!str_equal(draft, DRAFT) && !str_equal(draft, DRAFT "#"))
		return schema_problem(use->reader, use->step, "must be '" DRAFT "'");
	return 0;
}

/* The mark has an effect on the outermost properties only; elsewhere its author would be mistaken.
 */
static int read_local(const struct use *use)
{
	const struct json_step *property = use->step->parent;
	const struct json_step *properties = property ? property->parent : NULL;

	if (!json_is_boolean(use->value))
		return schema_problem(use->reader, use->step, "must be true or false");
	if (!properties || properties->parent || !str_equal(properties->key, "properties"))
		return schema_problem(use->reader, use->step,
				      "has no effect here; mark one of the outermost 'properties'");
	return 0;
}

#define AT(member) offsetof(struct schema_node, member)

static const struct keyword keywords[] = {
	{"$anchor",              read_anchor,      0                        },
	{"$comment",             read_nothing,     0                        },
	{"$defs",                read_definitions, 0                        },
	{"$id",		  read_id,          0                        },
	{"$ref",		 read_reference,   0                        },
	{"$schema",              read_draft,       0                        },
	{"additionalProperties", read_schema,      AT(additional_properties)},
	{"allOf",                read_schemas,     AT(all_of)               },
	{"anyOf",                read_schemas,     AT(any_of)               },
	{"const",                read_value,       AT(constant)             },
	{"contains",             read_schema,      AT(contains)             },
	{"contentEncoding",      read_nothing,     0                        },
	{"contentMediaType",     read_nothing,     0                        },
	{"contentSchema",        read_nothing,     0                        },
	{"default",              read_nothing,     0                        },
	{"definitions",          read_definitions, 0                        },
	{"dependentRequired",    read_keys_map,    AT(dependent_required)   },
	{"dependentSchemas",     read_map,         AT(dependent_schemas)    },
	{"deprecated",           read_nothing,     0                        },
	{"description",          read_nothing,     0                        },
	{"else",		 read_schema,      AT(else_schema)          },
	{"enum",		 read_enum,        AT(enumeration)          },
	{"examples",             read_nothing,     0                        },
	{"exclusiveMaximum",     read_number,      AT(exclusive_maximum)    },
	{"exclusiveMinimum",     read_number,      AT(exclusive_minimum)    },
	{"format",               read_nothing,     0                        },
	{"if",		   read_schema,      AT(if_schema)            },
	{"items",                read_items,       AT(items)                },
	{"maxContains",          read_count,       AT(max_contains)         },
	{"maxItems",             read_count,       AT(max_items)            },
	{"maxLength",            read_count,       AT(max_length)           },
	{"maxProperties",        read_count,       AT(max_properties)       },
	{"maximum",              read_number,      AT(maximum)              },
	{"minContains",          read_count,       AT(min_contains)         },
	{"minItems",             read_count,       AT(min_items)            },
	{"minLength",            read_count,       AT(min_length)           },
	{"minProperties",        read_count,       AT(min_properties)       },
	{"minimum",              read_number,      AT(minimum)              },
	{"multipleOf",           read_divisor,     AT(multiple_of)          },
	{"not",		  read_schema,      AT(not_schema)           },
	{"oneOf",                read_schemas,     AT(one_of)               },
	{"pattern",              read_pattern,     AT(pattern)              },
	{"patternProperties",    read_pattern_map, AT(pattern_properties)   },
	{"prefixItems",          read_schemas,     AT(prefix_items)         },
	{"properties",           read_map,         AT(properties)           },
	{"propertyNames",        read_schema,      AT(property_names)       },
	{"readOnly",             read_nothing,     0                        },
	{"required",             read_keys,        AT(required)             },
	{"then",		 read_schema,      AT(then_schema)          },
	{"title",                read_nothing,     0                        },
	{"type",		 read_types,       0                        },
	{"uniqueItems",          read_bool,        AT(unique_items)         },
	{"writeOnly",            read_nothing,     0                        },
	{SCHEMA_LOCAL_KEY,       read_local,       0                        },
};

/* Keywords that an author may well expect, and what to do instead. */
static const struct {
	const char *name;
	const char *advice;
} unsupported[] = {
	{"$dynamicAnchor",        "use '$anchor'"                                },
	{"$dynamicRef",           "use '$ref'"                                   },
	{"$recursiveRef",         "use '$ref'"                                   },
	{"$vocabulary",           "remove it"				    },
	{"additionalItems",       "use 'items' beside 'prefixItems'"             },
	{"dependencies",          "use 'dependentRequired' or 'dependentSchemas'"},
	{"unevaluatedItems",      "use 'items'"                                  },
	{"unevaluatedProperties", "use 'additionalProperties'"                   },
};

static const char *nearest(const char *name)
{
	size_t best = word_distance_max(name) + 1;
	const char *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++) {
		size_t edits = word_distance(name, keywords[i].name);

		if (edits < best) {
			best = edits;
			found = keywords[i].name;
		}
	}
	return found;
}

static int problem_unknown(struct schema_reader *reader, const struct json_step *step)
{
	const char *meant = nearest(step->key);

	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++) {
		if (strcmp(unsupported[i].name, step->key) == 0)
			return schema_problem(reader, step, "is not supported; %s",
					      unsupported[i].advice);
	}
	if (meant)
		return schema_problem(reader, step, "is not a known keyword; did you mean '%s'?",
				      meant);
	return schema_problem(reader, step,
			      "is not a known keyword; remove it, or begin it with 'x-'");
}

static int compare_names(const void *name, const void *keyword)
{
	return strcmp(name, ((const struct keyword *)keyword)->name);
}

int schema_keyword_read(struct schema_reader *reader, struct schema_node *node, const json_t *value,
			const struct json_step *step)
{
	const struct keyword *keyword = bsearch(step->key, keywords, ARRAY_SIZE(keywords),
						sizeof(*keywords), compare_names);

	if (keyword)
		return keyword->read(&(struct use){reader, node, value, step, keyword->offset});
	if (str_starts_with(step->key, "x-"))
		return 0;
	return problem_unknown(reader, step);
}
