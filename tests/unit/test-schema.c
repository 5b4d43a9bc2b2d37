/* SPDX-License-Identifier: Apache-2.0 */

#include "manifest/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"

/* As in schema_isolated.c. */
#if defined(__SANITIZE_ADDRESS__)
#define HAS_FILTER false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_FILTER false
#endif
#endif
#ifndef HAS_FILTER
#define HAS_FILTER true
#endif

static struct schema *parse(const char *text)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	struct schema *schema = NULL;
	int r = schema_parse(text, strlen(text), "config.schema.json", &schema, &problems);

	if (problems.count > 0)
		print_message("%s\n", problems.items[0].message);
	assert_int_equal(r, 0);
	assert_int_equal(problems.count, 0);
	return schema;
}

/* The schema has exactly this one problem. */
static void assert_problem(const char *text, unsigned line, unsigned column, const char *part)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	struct schema *schema = NULL;

	assert_int_equal(schema_parse(text, strlen(text), "x.json", &schema, &problems), 1);
	assert_null(schema);
	assert_int_equal(problems.count, 1);
	assert_int_equal(problems.items[0].code, REFUSAL_BAD_SCHEMA);
	if (!strstr(problems.items[0].message, part))
		fail_msg("'%s' is not in '%s'", part, problems.items[0].message);
	if (problems.items[0].line != line || problems.items[0].column != column)
		fail_msg("%s: at %u:%u and not %u:%u", problems.items[0].message,
			 problems.items[0].line, problems.items[0].column, line, column);
}

/* NULL: valid; else the sentence. */
static void assert_verdict(const char *schema_text, const char *instance_text, const char *sentence)
{
	cleanup_schema struct schema *schema = parse(schema_text);
	cleanup_json json_t *instance =
		json_loads(instance_text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	char reason[256] = "";
	int r;

	assert_non_null(instance);
	r = schema_validate(schema, instance, reason, sizeof(reason));
	if (r != (sentence ? 1 : 0))
		fail_msg("%d '%s' for %.80s", r, reason, schema_text);
	assert_string_equal(reason, sentence ? sentence : "");
}

static void errors_name_the_place_and_what_is_wanted(void **state)
{
	static const char schema[] =
		"{\"type\": \"object\", \"required\": [\"port\"], \"additionalProperties\": false,"
		"\"properties\": {\"port\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 65535},"
		"\"level\": {\"enum\": [\"debug\", \"info\"]},"
		"\"hosts\": {\"type\": \"array\", \"items\": {\"type\": \"string\", \"pattern\": "
		"\"^[a-z]+$\"}, \"uniqueItems\": true}, \"a/b~c\": {\"const\": 1}}}";

	(void)state;
	assert_verdict(schema, "{\"port\": 80, \"level\": \"info\", \"hosts\": [\"a\", \"b\"]}",
		       NULL);
	assert_verdict(schema, "{}", ": must have the property 'port'");
	assert_verdict(schema, "[]", ": must be an object");
	assert_verdict(schema, "{\"port\": \"80\"}", "/port: must be a whole number");
	assert_verdict(schema, "{\"port\": 1.5}", "/port: must be a whole number");
	assert_verdict(schema, "{\"port\": 0}", "/port: must be at least 1");
	assert_verdict(schema, "{\"port\": 65536}", "/port: must be at most 65535");
	assert_verdict(schema, "{\"port\": 1, \"level\": \"loud\"}",
		       "/level: must be one of [\"debug\", \"info\"]");
	assert_verdict(schema, "{\"port\": 1, \"hosts\": [\"a\", \"B\"]}",
		       "/hosts/1: must match the pattern '^[a-z]+$'");
	assert_verdict(schema, "{\"port\": 1, \"hosts\": [\"a\", \"a\"]}",
		       "/hosts: must not have the same item twice");
	assert_verdict(schema, "{\"port\": 1, \"more\\u001b\": 1}",
		       "/more\\x1b: is not allowed here");
	assert_verdict(schema, "{\"port\": 1, \"a/b~c\": 2}", "/a~1b~0c: must be 1");
}

static void every_keyword_can_refuse(void **state)
{
	(void)state;
	assert_verdict("{\"type\": [\"null\", \"boolean\"]}", "1",
		       ": must be null or true or false");
	assert_verdict("{\"exclusiveMinimum\": 1}", "1", ": must be more than 1");
	assert_verdict("{\"exclusiveMaximum\": 1.5}", "1.5", ": must be less than 1.5");
	assert_verdict("{\"multipleOf\": 0.1}", "0.25", ": must be a multiple of 0.1");
	assert_verdict("{\"minLength\": 2}", "\"\xc3\xa4\"", ": must have at least 2 characters");
	assert_verdict("{\"maxLength\": 1}", "\"ab\"", ": must have at most 1 characters");
	assert_verdict("{\"minItems\": 1}", "[]", ": must have at least 1 items");
	assert_verdict("{\"maxItems\": 1}", "[1, 2]", ": must have at most 1 items");
	assert_verdict("{\"prefixItems\": [{\"type\": \"string\"}], \"items\": false}",
		       "[\"a\", 1]", "/1: is not allowed here");
	assert_verdict("{\"contains\": {\"const\": 1}}", "[2]",
		       ": must have at least 1 items as 'contains' says");
	assert_verdict("{\"contains\": {\"const\": 1}, \"maxContains\": 1}", "[1, 1]",
		       ": must have at most 1 items as 'contains' says");
	assert_verdict("{\"minProperties\": 1}", "{}", ": must have at least 1 properties");
	assert_verdict("{\"maxProperties\": 0}", "{\"a\": 1}", ": must have at most 0 properties");
	assert_verdict("{\"patternProperties\": {\"^x\": {\"type\": \"null\"}}}", "{\"xy\": 1}",
		       "/xy: must be null");
	assert_verdict("{\"propertyNames\": {\"maxLength\": 1}}", "{\"ab\": 1}",
		       ": must not have a property named 'ab'");
	assert_verdict("{\"dependentRequired\": {\"a\": [\"b\"]}}", "{\"a\": 1}",
		       ": must have the property 'b' beside 'a'");
	assert_verdict("{\"dependentSchemas\": {\"a\": {\"maxProperties\": 1}}}",
		       "{\"a\": 1, \"b\": 1}", ": must have at most 1 properties");
	assert_verdict("{\"allOf\": [true, {\"minimum\": 2}]}", "1", ": must be at least 2");
	assert_verdict("{\"anyOf\": [{\"minimum\": 2}, false]}", "1",
		       ": is none of what 'anyOf' allows");
	assert_verdict("{\"anyOf\": [{\"minimum\": 2}]}", "1", ": must be at least 2");
	assert_verdict("{\"oneOf\": [{\"minimum\": 2}, false]}", "1",
		       ": is none of what 'oneOf' allows");
	assert_verdict("{\"oneOf\": [true, true]}", "1",
		       ": is more than one of what 'oneOf' allows");
	assert_verdict("{\"not\": {\"minimum\": 1}}", "1", ": is what 'not' forbids");
	assert_verdict("{\"if\": {\"minimum\": 1}, \"then\": {\"maximum\": 2}, \"else\": false}",
		       "3", ": must be at most 2");
	assert_verdict("{\"if\": {\"minimum\": 1}, \"then\": {\"maximum\": 2}, \"else\": false}",
		       "0", ": is not allowed here");
}

static void keywords_of_2020_12_work_together(void **state)
{
	(void)state;
	assert_verdict("{\"contains\": {\"const\": 1}, \"minContains\": 0}", "[2]", NULL);
	assert_verdict("{\"minContains\": 5}", "[2]", NULL);
	assert_verdict(
		"{\"$ref\": \"#/$defs/a\", \"minimum\": 3, \"$defs\": {\"a\": {\"maximum\": 5}}}",
		"2", ": must be at least 3");
	assert_verdict(
		"{\"$ref\": \"#/$defs/a\", \"minimum\": 3, \"$defs\": {\"a\": {\"maximum\": 5}}}",
		"6", ": must be at most 5");
	assert_verdict(
		"{\"$ref\": \"#n\", \"$defs\": {\"a\": {\"$anchor\": \"n\", \"maximum\": 5}}}", "6",
		": must be at most 5");
	assert_verdict("{\"$ref\": \"#/$defs/a%25~1b\", \"$defs\": {\"a%/b\": {\"maximum\": 5}}}",
		       "6", ": must be at most 5");
	assert_verdict("{\"properties\": {\"c\": {\"$ref\": \"#\"}}, \"maxProperties\": 1}",
		       "{\"c\": {\"c\": {\"d\": 1, \"e\": 1}}}",
		       "/c/c: must have at most 1 properties");
	assert_verdict("{\"const\": 1}", "1.0", NULL);
	assert_verdict("{\"uniqueItems\": true}", "[1, true, \"1\", [1], {\"a\": 1}, 1.0]",
		       ": must not have the same item twice");
	assert_verdict("{\"uniqueItems\": true}", "[{\"a\": 1, \"b\": 2}, {\"b\": 2, \"a\": 1.0}]",
		       ": must not have the same item twice");
	assert_verdict("{\"uniqueItems\": true}", "[1, true, false, 0, null, \"\", [], {}, [[]]]",
		       NULL);
	assert_verdict("{\"maximum\": 9223372036854775806}", "9223372036854775807",
		       ": must be at most 9223372036854775806");
	assert_verdict("{\"maximum\": 9007199254740993}", "9007199254740992.0", NULL);
	assert_verdict("{\"minimum\": 9007199254740993}", "9007199254740992.0",
		       ": must be at least 9007199254740993");
	assert_verdict("{\"minimum\": 1.5}", "1", ": must be at least 1.5");
	assert_verdict("{\"maximum\": -1.5}", "-1", ": must be at most -1.5");
	assert_verdict("{\"maximum\": 1e300}", "9223372036854775807", NULL);
	assert_verdict("{\"minimum\": -1e300}", "-9223372036854775807", NULL);
	assert_verdict("{\"minLength\": 2.0}", "\"ab\"", NULL);
}

static void annotations_are_accepted(void **state)
{
	(void)state;
	assert_verdict(
		"{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"$id\": \"a\","
		"\"$comment\": \"c\", \"title\": \"t\", \"description\": \"d\", \"default\": 1,"
		"\"examples\": [1], \"deprecated\": true, \"readOnly\": true, \"writeOnly\": "
		"false, \"format\": \"email\", \"contentEncoding\": \"base64\","
		"\"contentMediaType\": \"a/b\", \"contentSchema\": {}, \"x-any\": {\"z\": 1}}",
		"\"x\"", NULL);
}

static void problems_of_a_schema_have_places(void **state)
{
	(void)state;
	assert_problem("{\"properties\":\n {\"a\": {\"minimun\": 1}}}", 2, 9,
		       "'/properties/a/minimun' is not a known keyword; did you mean 'minimum'?");
	assert_problem("{\"anyOf\": [true,\n{\"frobnicate\": 1}]}", 2, 2,
		       "'/anyOf/1/frobnicate' is not a known keyword; remove it");
	assert_problem("{\"\\u0070roperties\": {\"a\\\"b\": 1}}", 1, 22, "must be a schema");
	assert_problem("{\"type\": \"strin\"}", 1, 2, "must be one of 'array'");
	assert_problem("{\"type\": [\"string\", \"string\"]}", 1, 2, "must be one of 'array'");
	assert_problem("{\"type\": []}", 1, 2, "must be one of 'array'");
	assert_problem("{\"enum\": []}", 1, 2, "a list of values");
	assert_problem("{\"minimum\": \"1\"}", 1, 2, "must be a number");
	assert_problem("{\"exclusiveMinimum\": true}", 1, 2, "must be a number");
	assert_problem("{\"multipleOf\": 0}", 1, 2, "above 0");
	assert_problem("{\"minLength\": -1}", 1, 2, "a whole number");
	assert_problem("{\"maxItems\": 1.5}", 1, 2, "a whole number");
	assert_problem("{\"pattern\": \"(a\"}", 1, 2,
		       "is not a regular expression: missing closing");
	assert_problem("{\"pattern\": 1}", 1, 2, "must be a regular expression");
	assert_problem("{\"pattern\": \"\\\\C\"}", 1, 2, "is not a regular expression");
	assert_problem("{\"patternProperties\": {\"[\": true}}", 1, 24, "not a regular expression");
	assert_problem("{\"items\": [true]}", 1, 2, "'prefixItems'");
	assert_problem("{\"allOf\": []}", 1, 2, "a list of schemas");
	assert_problem("{\"allOf\": {}}", 1, 2, "a list of schemas");
	assert_problem("{\"properties\": []}", 1, 2, "an object whose values are schemas");
	assert_problem("{\"$defs\": 1}", 1, 2, "an object whose values are schemas");
	assert_problem("{\"required\": [1]}", 1, 2, "a list of property names");
	assert_problem("{\"dependentRequired\": {\"a\": \"b\"}}", 1, 24,
		       "a list of property names");
	assert_problem("{\"dependentRequired\": []}", 1, 2, "lists of property names");
	assert_problem("{\"uniqueItems\": 1}", 1, 2, "true or false");
	assert_problem("{\"$ref\": 1}", 1, 2, "must be a reference");
	assert_problem("{\"not\": {\"$ref\": \"#/$defs/none\"}}", 1, 10, "names no schema here");
	assert_problem("{\"$ref\": \"#/required\", \"required\": [\"a\"]}", 1, 2,
		       "names no schema");
	assert_problem("{\"$ref\": \"#nowhere\"}", 1, 2, "names no schema");
	assert_problem("{\"allOf\": [{\"$ref\": \"https://example.org/x.json\"}]}", 1, 13,
		       "only references into this schema");
	assert_problem("{\"$anchor\": \"a b\"}", 1, 2, "must be a name");
	assert_problem("{\"$anchor\": \"a\", \"not\": {\"$anchor\": \"a\"}}", 1, 26,
		       "another anchor");
	assert_problem("{\"not\": {\"$id\": \"a\"}}", 1, 10, "a schema within a schema");
	assert_problem("{\"$id\": 1}", 1, 2, "a URI");
	assert_problem("{\"$schema\": \"http://json-schema.org/draft-07/schema#\"}", 1, 2,
		       "must be 'https://json-schema.org/draft/2020-12/schema'");
	assert_problem("{\"unevaluatedProperties\": false}", 1, 2, "use 'additionalProperties'");
	assert_problem("{\"dependencies\": {}}", 1, 2, "use 'dependentRequired'");
	assert_problem("{\"a\": 1, \"a\": 2}", 1, 12, "JSON: duplicate object key");
	assert_problem("{\n\"a\": }", 2, 6, "JSON: unexpected token");
	assert_problem("[]", 1, 1, "JSON: the outermost value is not an object");
	assert_problem("true", 1, 4, "JSON: ");
}

static void all_problems_are_told_up_to_a_bound(void **state)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct schema *schema = NULL;
	static const char two[] = "{\"bogus\": 1, \"not\": {\"type\": 1}}";

	(void)state;
	assert_int_equal(schema_parse(two, strlen(two), "x", &schema, &problems), 1);
	assert_int_equal(problems.count, 2);
	assert_int_equal(buffer_format(&text, "{\"allOf\": ["), 0);
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(buffer_format(&text, "{\"bogus\": 1},"), 0);
	assert_int_equal(buffer_format(&text, "true]}"), 0);
	assert_int_equal(schema_parse(text.data, text.size, "x", &schema, &problems), 1);
	assert_in_range(problems.count, 100, DIAGNOSTICS_MAX);
}

static void local_keys_are_marked_where_it_has_an_effect(void **state)
{
	static const char text[] = "{\"properties\": {\"a\": {\"x-affix-local\": true}, \"b\": "
				   "{\"x-affix-local\": false}, \"c\": {}, \"d\": true}}";
	cleanup_json json_t *object = json_loads(text, 0, NULL);

	(void)state;
	assert_verdict(text, "{}", NULL);
	assert_non_null(object);
	assert_true(schema_key_is_local(object, "a"));
	assert_false(schema_key_is_local(object, "b"));
	assert_false(schema_key_is_local(object, "c"));
	assert_false(schema_key_is_local(object, "d"));
	assert_false(schema_key_is_local(object, "e"));
	assert_problem("{\"x-affix-local\": true}", 1, 2, "has no effect here");
	assert_problem("{\"not\": {\"properties\": {\"a\": {\"x-affix-local\": true}}}}", 1, 31,
		       "has no effect here");
	assert_problem("{\"properties\": {\"a\": {\"x-affix-local\": 1}}}", 1, 23, "true or false");
}

/* A string of *n* copies between two ends; the caller frees it. */
static char *repeat(const char *head, const char *middle, unsigned n, const char *tail)
{
	struct buffer text = BUFFER_INIT;

	assert_int_equal(buffer_add(&text, head, strlen(head)), 0);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(buffer_add(&text, middle, strlen(middle)), 0);
	assert_int_equal(buffer_add(&text, tail, strlen(tail)), 0);
	return text.data;
}

static void references_that_never_end_are_refused(void **state)
{
	(void)state;
	assert_problem("{\"$ref\": \"#\"}", 1, 2, "is '#', which leads back here");
	assert_problem("{\"not\":\n {\"$ref\": \"#\"}}", 2, 3, "leads back here");
	assert_problem("{\"items\": {\"$ref\": \"#/$defs/a\"}, \"$defs\": {\n"
		       "\"a\": {\"anyOf\": [{}, {\"$ref\": \"#/$defs/b\"}]},\n"
		       "\"b\": {\"dependentSchemas\": {\"x\": {\"$ref\": \"#/$defs/a\"}}}}}",
		       3, 34, "leads back here");
	/* With a step into the value they end where the value does. */
	(void)schema_free(parse("{\"$ref\": \"#/$defs/a\", \"$defs\": {\"a\": {\"items\": "
				"{\"$ref\": \"#/$defs/b\"}}, \"b\": {\"contains\": {\"$ref\": "
				"\"#/$defs/a\"}, \"properties\": {\"x\": {\"$ref\": \"#\"}}}}}"));
}

static void name_that_is_required_twice_is_refused(void **state)
{
	(void)state;
	assert_problem("{\"required\": [\"a\", \"b\",\n \"a\"]}", 2, 2,
		       "'/required/2' stands in the list already");
	assert_problem("{\"dependentRequired\": {\"x\": [],\n \"y\": [\"a\", \"a\"]}}", 2, 13,
		       "stands in the list already");
}

#define COMPLEX ": could not be judged: too large or too complex for its schema"
#define TWICE(a, b) \
	"\"" a "\": {\"allOf\": [{\"$ref\": \"#/$defs/" b "\"}, {\"$ref\": \"#/$defs/" b "\"}]},"

static const char exponential[] = "{\"$ref\": \"#/$defs/a\", \"$defs\": {" TWICE("a", "b")
	TWICE("b", "c") TWICE("c", "d") TWICE("d", "e") TWICE("e", "f") TWICE("f", "g")
		TWICE("g", "h") TWICE("h", "i") TWICE("i", "j") TWICE("j", "k") TWICE("k", "l")
			TWICE("l", "m") TWICE("m", "n") TWICE("n", "o") TWICE("o", "p")
				TWICE("p", "q") TWICE("q", "r") TWICE("r", "s") TWICE("s", "t")
					TWICE("t", "u") TWICE("u", "v")
						TWICE("v", "w") "\"w\": {\"minimum\": 0}}}";

static void work_is_bounded(void **state)
{
	cleanup_free char *letters = repeat("\"", "ab", 60000, "\"");
	uint64_t start = clock_monotonic_usec();

	(void)state;
	assert_verdict(exponential, "1", COMPLEX);
	assert_verdict("{\"pattern\": \"^(a+)+$\"}", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"",
		       COMPLEX);
	assert_verdict("{\"not\": {\"pattern\": \"^(a|b|ab)*[0-9]\"}}", letters, COMPLEX);
	assert_verdict("{\"pattern\": \"[ab]+[0-9]\"}", letters, COMPLEX);
	assert_verdict("{\"pattern\": \"^[ab]+$\"}", letters, NULL);
	assert_true(clock_monotonic_usec() - start < 50 * CLOCK_USEC_PER_SEC);
}

static void sizes_of_schemas_are_bounded(void **state)
{
	cleanup_free char *nodes = repeat("{\"allOf\": [", "true,", 20000, "true]}");
	cleanup_free char *patterns =
		repeat("{\"allOf\": [", "{\"pattern\": \"a\"},", 256, "{\"pattern\": \"b\"}]}");
	cleanup_free char *pattern = repeat("{\"pattern\": \"", "a", 1025, "\"}");
	cleanup_free char *nested = repeat("{\"pattern\": \"", "(", 40, "\"}");
	cleanup_free char *large = repeat("{\"title\": \"", "a", 256 * 1024, "\"}");
	cleanup_free char *deep = repeat("", "{\"not\": ", 70, "true");

	(void)state;
	assert_problem(nodes, 1, 81927, "one schema too many; 16384 are taken");
	assert_problem(patterns, 1, 4365, "one pattern too many; 256 are taken");
	assert_problem(pattern, 1, 2, "longer than 1024 bytes");
	assert_problem(nested, 1, 2, "not a regular expression");
	assert_problem("{\"pattern\": \"((a{1,200}){1,200}){1,200}\"}", 1, 2, "too large");
	assert_problem(large, 1, 1, "larger than 256 KiB");
	assert_problem(deep, 1, 1, "nested more than 64 deep");
}

static void assert_isolated(const char *schema, const char *instance, int wanted,
			    const char *sentence)
{
	char reason[512] = "";

	assert_int_equal(schema_validate_isolated(schema, strlen(schema), instance,
						  strlen(instance), reason, sizeof(reason)),
			 wanted);
	assert_string_equal(reason, sentence);
}

static void isolated_verdicts_are_the_same(void **state)
{
	(void)state;
	assert_isolated("{\"properties\": {\"a\": {\"maximum\": 1.5}}}", "{\"a\": 1.25}", 0, "");
	assert_isolated("{\"properties\": {\"a\": {\"maximum\": 1.5}}}", "{\"a\": 2e3}", 1,
			"/a: must be at most 1.5");
	assert_isolated("{\"properties\": {\"a\": {\"pattern\": \"^\\\\d+$\"}}}", "{\"a\": \"x\"}",
			1, "/a: must match the pattern '^\\d+$'");
	assert_isolated("{\"enum\": [{\"a\": 1}]}", "{\"a\": \"\\u202e\"}", 1,
			": must be one of [{\"a\": 1}]");
	assert_isolated("{}", "{\"a\": 1, \"a\": 2}", 1,
			": is not JSON: line 1 column 12: duplicate object key near '\"a\"'");
	assert_isolated("{}", "[]", 1,
			": is not JSON: line 1 column 1: the outermost value is not an object");
	assert_isolated("{\"bogus\": 1}", "{}", 2,
			"schema:1:2: '/bogus' is not a known keyword; remove it, or begin it with "
			"'x-'");
	assert_isolated(exponential, "{}", 1, COMPLEX);
}

static void isolated_child_lives_within_its_memory(void **state)
{
	cleanup_free char *fits = repeat("{\"a\": [", "{},", 40000, "1]}");
	cleanup_free char *sorted = repeat("{\"a\": [", "[1],", 20000, "[1]]}");
	cleanup_free char *too_large = repeat("{\"a\": [", "{},", 400000, "1]}");

	(void)state;
	assert_isolated("{}", fits, 0, "");
	assert_isolated("{\"properties\": {\"a\": {\"uniqueItems\": true}}}", sorted, 1,
			"/a: must not have the same item twice");
	/* Without its filter (see the file's head) the child may map more memory. */
	if (HAS_FILTER)
		assert_isolated("{}", too_large, 1, COMPLEX);
}

static void judge_waits_to_be_asked(void **state)
{
	cleanup_schema_judge struct schema_judge *unasked = NULL;
	cleanup_schema_judge struct schema_judge *judge = NULL;
	/* More than a socket holds at a time. */
	cleanup_free char *large = repeat("{\"a\": [", "{},", 100000, "1]}");
	const char *schema = "{\"properties\": {\"b\": true}, \"additionalProperties\": false}";
	char reason[512] = "";

	(void)state;
	assert_int_equal(schema_judge_start(&unasked), 0);
	assert_int_equal(schema_judge_start(&judge), 0);
	schema_judge_ask(judge, schema, strlen(schema), large, strlen(large));
	assert_int_equal(schema_judge_hear(judge, reason, sizeof(reason)), 1);
	assert_string_equal(reason, "/a: is not allowed here");
}

/* The only child of this process. */
static pid_t find_child(void)
{
	char path[64];
	char pid[32];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(pid, sizeof(pid), file));
	(void)fclose(file);
	return (pid_t)strtol(pid, NULL, 10);
}

/* Whoever traces a dead process keeps it from its parent until it has looked. */
static _Noreturn void trace_for_ever(pid_t pid, int answer)
{
	char is_traced = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 ? 1 : 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)!write(answer, &is_traced, 1);
	for (;;)
		(void)pause();
}

static void judge_that_does_not_end_is_left_behind(void **state)
{
	cleanup_schema_judge struct schema_judge *judge = NULL;
	uint64_t begin;
	char is_traced = 0;
	pid_t traced;
	pid_t tracer;
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(schema_judge_start(&judge), 0);
	traced = find_child();
	tracer = fork();
	assert_true(tracer >= 0);
	if (tracer == 0)
		trace_for_ever(traced, ends[1]);
	assert_int_equal(read(ends[0], &is_traced, 1), 1);
	begin = clock_monotonic_usec();
	judge = schema_judge_end(judge);
	assert_true(clock_monotonic_usec() - begin < 5 * CLOCK_USEC_PER_SEC);
	assert_int_equal(waitpid(traced, NULL, WNOHANG), is_traced ? 0 : -1);
	assert_int_equal(kill(tracer, SIGKILL), 0);
	assert_int_equal(waitpid(tracer, NULL, 0), tracer);
	if (is_traced)
		assert_int_equal(waitpid(traced, NULL, 0), traced);
	(void)close(ends[0]);
	(void)close(ends[1]);
	/* Not everybody may trace. */
	if (!is_traced)
		skip();
}

/* Under valgrind the child's filter kills valgrind's own system calls. */
static bool is_under_valgrind(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	const char *preload = getenv("LD_PRELOAD");

	return preload && strstr(preload, "vgpreload");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_name_the_place_and_what_is_wanted),
		cmocka_unit_test(every_keyword_can_refuse),
		cmocka_unit_test(keywords_of_2020_12_work_together),
		cmocka_unit_test(annotations_are_accepted),
		cmocka_unit_test(problems_of_a_schema_have_places),
		cmocka_unit_test(all_problems_are_told_up_to_a_bound),
		cmocka_unit_test(local_keys_are_marked_where_it_has_an_effect),
		cmocka_unit_test(references_that_never_end_are_refused),
		cmocka_unit_test(name_that_is_required_twice_is_refused),
		cmocka_unit_test(work_is_bounded),
		cmocka_unit_test(sizes_of_schemas_are_bounded),
	};
	const struct CMUnitTest isolated_tests[] = {
		cmocka_unit_test(isolated_verdicts_are_the_same),
		cmocka_unit_test(isolated_child_lives_within_its_memory),
		cmocka_unit_test(judge_waits_to_be_asked),
		cmocka_unit_test(judge_that_does_not_end_is_left_behind),
	};
	int failed = 0;

	/* First: what these need done before the filter must not have been done by another test. */
	if (!is_under_valgrind())
		failed += cmocka_run_group_tests(isolated_tests, NULL, NULL);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
