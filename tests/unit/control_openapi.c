/* SPDX-License-Identifier: Apache-2.0 */

/* Reads the description of the REST API and holds answers against it. */

#include "control_openapi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/str.h"
#include "manifest/schema.h"

static json_t *openapi_document;

const json_t *openapi_load(void)
{
	const char *source = getenv("AFFIX_SOURCE");
	json_error_t error;
	char path[512];

	if (openapi_document)
		return openapi_document;
	if (!source)
		fail_msg("AFFIX_SOURCE does not say where the source is");
	(void)snprintf(path, sizeof(path), "%s/docs/openapi.json", source);
	openapi_document = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!openapi_document)
		fail_msg("%s:%d: %s", path, error.line, error.text);
	return openapi_document;
}

static bool openapi_path_matches(const char *pattern, const char *path)
{
	while (*pattern != '\0' && *path != '\0') {
		if (*pattern == '{') {
			pattern += strcspn(pattern, "/");
			path += strcspn(path, "/");
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return *pattern == '\0' && *path == '\0';
}

const json_t *openapi_operation(const char *method, const char *path)
{
	const char *pattern;
	const json_t *methods;
	char name[16] = "";

	for (size_t i = 0; i < sizeof(name) - 1 && method[i] != '\0'; i++)
		name[i] = (char)(method[i] | 0x20);
	json_object_foreach(json_object_get(openapi_load(), "paths"), pattern, methods)
	{
		if (openapi_path_matches(pattern, path))
			return json_object_get(methods, name);
	}
	return NULL;
}

/* A schema of the document as one of its own. */
static char *openapi_schema_text(const json_t *schema)
{
	const json_t *schemas =
		json_object_get(json_object_get(openapi_load(), "components"), "schemas");
	cleanup_json json_t *whole = json_copy((json_t *)schema);
	char *text;
	char *at;

	assert_int_equal(json_object_set(whole, "$defs", (json_t *)schemas), 0);
	text = json_dumps(whole, 0);
	assert_non_null(text);
	while ((at = strstr(text, OPENAPI_REFERENCE)) != NULL) {
		/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): what follows is moved up */
		memcpy(at, "#/$defs/", 8);
		memmove(at + 8, at + strlen(OPENAPI_REFERENCE),
			strlen(at + strlen(OPENAPI_REFERENCE)) + 1);
	}
	return text;
}

void openapi_check(const char *method, const char *path, unsigned status, const json_t *body)
{
	const json_t *operation = openapi_operation(method, path);
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_schema struct schema *schema = NULL;
	cleanup_free char *text = NULL;
	const json_t *response;
	const json_t *content;
	char number[8];
	char problem[512];

	if (!operation) {
		assert_true(status == 404 || status == 405);
		return;
	}
	(void)snprintf(number, sizeof(number), "%u", status);
	response = json_object_get(json_object_get(operation, "responses"),
				   status < 400 ? number : "default");
	if (!response)
		fail_msg("%s %s: %u is not described", method, path, status);
	content = json_object_get(json_object_get(response, "content"), "application/json");
	if (!content)
		return;
	text = openapi_schema_text(json_object_get(content, "schema"));
	if (schema_parse(text, strlen(text), "openapi.json", &schema, &diagnostics) != 0)
		fail_msg("openapi.json: %s", diagnostics.items[0].message);
	if (schema_validate(schema, body, problem, sizeof(problem)) != 0) {
		cleanup_free char *shown = json_dumps(body, JSON_ENCODE_ANY);

		fail_msg("%s %s: %s in %s", method, path, problem, shown);
	}
}
