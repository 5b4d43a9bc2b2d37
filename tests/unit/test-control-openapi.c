/* SPDX-License-Identifier: Apache-2.0 */

/* The description of the REST API against the table of its routes. That answers are as described is
 * seen to by every test that asks for one (control_fixture.h). */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "control/api_call.h"
#include "control_openapi.h"

static void every_route_is_described_with_its_role(void **state)
{
	(void)state;
	for (const struct api_route *route = api_routes; route->method; route++) {
		const json_t *operation = openapi_operation(route->method, route->path);
		const char *role = token_role_to_string(route->role);
		const json_t *body = json_object_get(operation, "requestBody");

		if (!operation)
			fail_msg("%s %s is not described", route->method, route->path);
		if (!str_equal(json_string_value(json_object_get(operation, "x-affix-role")), role))
			fail_msg("%s %s is not for %s", route->method, route->path, role);
		if (route->has_body !=
		    (json_object_get(json_object_get(body, "content"), "application/json") != NULL))
			fail_msg("%s %s: has it a body?", route->method, route->path);
	}
}

static bool is_route(const char *method, const char *path)
{
	for (const struct api_route *route = api_routes; route->method; route++) {
		if (strcasecmp(route->method, method) == 0 && strcmp(route->path, path) == 0)
			return true;
	}
	return false;
}

static void everything_described_is_there(void **state)
{
	const char *method;
	const char *path;
	json_t *methods;
	json_t *operation;
	size_t n = 0;

	(void)state;
	json_object_foreach(json_object_get(openapi_load(), "paths"), path, methods)
	{
		json_object_foreach(methods, method, operation)
		{
			if (!is_route(method, path))
				fail_msg("%s %s is described, but not there", method, path);
			assert_true(strlen(json_string_value(
					    json_object_get(operation, "summary"))) > 3);
			n++;
		}
	}
	assert_true(n > 30);
}

static void check_reference(const json_t *value)
{
	const json_t *schemas =
		json_object_get(json_object_get(openapi_load(), "components"), "schemas");
	const char *name = json_string_value(value);

	assert_true(str_starts_with(name, OPENAPI_REFERENCE));
	if (!json_object_get(schemas, name + strlen(OPENAPI_REFERENCE)))
		fail_msg("%s is not there", name);
}

static void check_references(const json_t *value)
{
	const json_t *member;
	const char *key;
	size_t i;

	json_array_foreach(value, i, member)
	{
		check_references(member);
	}
	json_object_foreach((json_t *)value, key, member)
	{
		if (strcmp(key, "$ref") == 0)
			check_reference(member);
		else
			check_references(member);
	}
}

static void every_reference_leads_somewhere(void **state)
{
	(void)state;
	check_references(openapi_load());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_route_is_described_with_its_role),
		cmocka_unit_test(everything_described_is_there),
		cmocka_unit_test(every_reference_leads_somewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
