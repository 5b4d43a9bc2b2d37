/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The JSON Schema Test Suite (Debian: json-schema-test-suite) against our validator. Debian 12 has
 * its files up to draft 7, so their schemas are rewritten into the keywords of draft 2020-12 first.
 * Groups that we do not support are listed in the file that the first argument names, as
 * `FILE: GROUP`; one that is listed and passes is a failure too.
 */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "manifest/schema.h"

#define SUITE     "/usr/share/json-schema-test-suite/tests/draft7"
#define LINE_SIZE 512

static unsigned passed;
static unsigned failed;
static unsigned unsupported;
static struct strv exceptions;

static json_t *convert(const json_t *schema);

static bool is_in(const char *key, const char *const *keys)
{
	for (; *keys; keys++) {
		if (strcmp(*keys, key) == 0)
			return true;
	}
	return false;
}

static json_t *convert_map(const json_t *map)
{
	json_t *out = json_object();
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)map, key, value)(void)
		json_object_set_new(out, key, convert(value));
	return out;
}

static json_t *convert_list(const json_t *list)
{
	json_t *out = json_array();

	for (size_t i = 0; i < json_array_size(list); i++)
		(void)json_array_append_new(out, convert(json_array_get(list, i)));
	return out;
}

/* `dependencies` held what two keywords hold now. */
static void convert_dependencies(json_t *out, const json_t *dependencies)
{
	json_t *required = json_object();
	json_t *schemas = json_object();
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)dependencies, key, value)
	{
		if (json_is_array(value))
			(void)json_object_set(required, key, value);
		else
			(void)json_object_set_new(schemas, key, convert(value));
	}
	(void)json_object_set_new(out, "dependentRequired", required);
	(void)json_object_set_new(out, "dependentSchemas", schemas);
}

/* A list of `items` is called `prefixItems` now, and what follows it `items`. */
static void convert_items(json_t *out, const json_t *items, const json_t *additional)
{
	if (!json_is_array(items)) {
		(void)json_object_set_new(out, "items", convert(items));
		return;
	}
	if (json_array_size(items) > 0)
		(void)json_object_set_new(out, "prefixItems", convert_list(items));
	if (additional)
		(void)json_object_set_new(out, "items", convert(additional));
}

static json_t *convert_reference(const json_t *reference)
{
	static const char old[] = "#/items/";
	const char *text = json_string_value(reference);

	if (!text || !str_starts_with(text, old))
		return json_deep_copy(reference);
	return json_sprintf("#/prefixItems/%s", text + strlen(old));
}

static void convert_member(json_t *out, const json_t *schema, const char *key, json_t *value)
{
	static const char *const maps[] = {"properties", "patternProperties", "definitions",
					   "$defs",      "dependentSchemas",  NULL};
	static const char *const lists[] = {"allOf", "anyOf", "oneOf", NULL};
	static const char *const schemas[] = {"additionalProperties",
					      "contains",
					      "propertyNames",
					      "not",
					      "if",
					      "then",
					      "else",
					      NULL};

	if (is_in(key, maps))
		(void)json_object_set_new(out, key, convert_map(value));
	else if (is_in(key, lists))
		(void)json_object_set_new(out, key, convert_list(value));
	else if (is_in(key, schemas))
		(void)json_object_set_new(out, key, convert(value));
	else if (strcmp(key, "$ref") == 0)
		(void)json_object_set_new(out, key, convert_reference(value));
	else if (strcmp(key, "dependencies") == 0)
		convert_dependencies(out, value);
	else if (strcmp(key, "items") == 0)
		convert_items(out, value, json_object_get(schema, "additionalItems"));
	else if (!is_in(key, (const char *const[]){"additionalItems", "$schema", NULL}))
		(void)json_object_set(out, key, value);
}

/* A schema of draft 7 in the words of draft 2020-12. */
static json_t *convert(const json_t *schema)
{
	const json_t *reference = json_object_get(schema, "$ref");
	json_t *out;
	const char *key;
	json_t *value;

	if (!json_is_object(schema))
		return json_deep_copy(schema);
	out = json_object();
	json_object_foreach((json_t *)schema, key, value)
	{
		/* Beside $ref everything was ignored. */
		if (!json_is_string(reference) || key[0] == '$' || strcmp(key, "definitions") == 0)
			convert_member(out, schema, key, value);
	}
	return out;
}

/* The outermost value must be an object for us. */
static json_t *wrap(json_t *schema)
{
	return json_is_boolean(schema) ? json_pack("{s[o]}", "allOf", schema) : schema;
}

static struct schema *compile(const json_t *schema)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	cleanup_json json_t *converted = wrap(convert(schema));
	cleanup_free char *text = json_dumps(converted, 0);
	struct schema *compiled = NULL;

	if (!text || schema_parse(text, strlen(text), "schema", &compiled, &problems) != 0)
		return NULL;
	return compiled;
}

static bool run_group(const json_t *group)
{
	cleanup_schema struct schema *schema = compile(json_object_get(group, "schema"));
	const json_t *tests = json_object_get(group, "tests");
	bool all = schema != NULL;

	for (size_t i = 0; schema && i < json_array_size(tests); i++) {
		const json_t *test = json_array_get(tests, i);
		char reason[256] = "";
		int r = schema_validate(schema, json_object_get(test, "data"), reason,
					sizeof(reason));

		if (r >= 0 && (r == 0) == json_is_true(json_object_get(test, "valid")))
			continue;
		(void)printf("  %s: %s: %d %s\n",
			     json_string_value(json_object_get(group, "description")),
			     json_string_value(json_object_get(test, "description")), r, reason);
		all = false;
	}
	return all;
}

static void run_file(const char *name)
{
	char path[LINE_SIZE];
	cleanup_json json_t *groups = NULL;
	json_error_t error;

	(void)snprintf(path, sizeof(path), SUITE "/%s", name);
	groups = json_load_file(path, JSON_ALLOW_NUL, &error);
	if (!groups) {
		(void)printf("%s: %s\n", path, error.text);
		failed++;
		return;
	}
	for (size_t i = 0; i < json_array_size(groups); i++) {
		const json_t *group = json_array_get(groups, i);
		unsigned count = (unsigned)json_array_size(json_object_get(group, "tests"));
		char title[LINE_SIZE];
		bool is_listed;

		(void)snprintf(title, sizeof(title), "%s: %s", name,
			       json_string_value(json_object_get(group, "description")));
		is_listed = strv_has(&exceptions, title);
		if (run_group(group) != is_listed) {
			*(is_listed ? &unsupported : &passed) += count;
			continue;
		}
		(void)printf("%s: %s\n", is_listed ? "listed, but passes" : "FAILED", title);
		failed += count;
	}
}

static int load_exceptions(const char *path)
{
	FILE *file = fopen(path, "re");
	char line[LINE_SIZE];

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '#' && line[0] != '\0' && strv_add(&exceptions, line) < 0)
			abort();
	}
	return fclose(file) == 0 ? 0 : -errno;
}

int main(int argc, char **argv)
{
	struct dirent **names = NULL;
	int n = scandir(SUITE, &names, NULL, alphasort);

	if (n < 0) {
		(void)printf("json-schema-test-suite is not installed\n");
		return 77;
	}
	if (argc != 2 || load_exceptions(argv[1]) < 0)
		return 2;
	for (int i = 0; i < n; i++) {
		if (str_ends_with(names[i]->d_name, ".json"))
			run_file(names[i]->d_name);
		free(names[i]);
	}
	free(names);
	(void)printf("%u passed, %u failed, %u unsupported\n", passed, failed, unsupported);
	strv_done(&exceptions);
	return failed == 0 ? 0 : 1;
}
