/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

static enum refusal_code parse_code(const char *text)
{
	cleanup_request struct request request = REQUEST_INIT;
	struct refusal refusal = REFUSAL_INIT;
	int r = request_parse(text, strlen(text), &request, &refusal);

	assert_true(r >= 0);
	assert_int_equal((enum refusal_code)r, refusal.code);
	return refusal.code;
}

static void assert_refused_naming(const char *text, const char *key)
{
	cleanup_request struct request request = REQUEST_INIT;
	struct refusal refusal = REFUSAL_INIT;

	assert_int_equal(request_parse(text, strlen(text), &request, &refusal),
			 REFUSAL_BAD_REQUEST);
	if (!strstr(refusal.text, key))
		fail_msg("'%s' does not name '%s' for %s", refusal.text, key, text);
}

static enum refusal_code fleet_code(const char *text)
{
	cleanup_request struct request request = REQUEST_INIT;
	struct refusal refusal = REFUSAL_INIT;

	assert_int_equal(request_parse(text, strlen(text), &request, &refusal), 0);
	return (enum refusal_code)request_check_fleet(&request, &refusal);
}

#define HEAD "{\"schema\":1,\"verb\":"

static void a_full_install_header_is_read_and_written_back(void **state)
{
	static const char text[] =
		HEAD "\"install\",\"request_id\":\"r-1\",\"allow_downgrade\":true,"
		     "\"capabilities\":[\"net_raw\"],\"limits\":{\"tasks_max\":7},"
		     "\"fds\":[\"config\",\"signature\",\"bundle\"]}";
	cleanup_request struct request request = REQUEST_INIT;
	cleanup_request struct request again = REQUEST_INIT;
	cleanup_free char *formatted = NULL;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	assert_int_equal(request_parse(text, strlen(text), &request, &refusal), 0);
	assert_int_equal(request.verb, REQUEST_INSTALL);
	assert_string_equal(request.request_id, "r-1");
	assert_true(request.allow_downgrade);
	assert_true(request.has_capabilities);
	assert_int_equal(json_array_size(request.capabilities), 1);
	assert_int_equal(json_integer_value(json_object_get(request.limits, "tasks_max")), 7);
	assert_int_equal(request.n_fds, 3);
	assert_int_equal(request.fds[0], REQUEST_FD_CONFIG);
	assert_int_equal(request.fds[2], REQUEST_FD_BUNDLE);
	assert_int_equal(request_format(&request, &formatted), 0);
	assert_int_equal(request_parse(formatted, strlen(formatted), &again, &refusal), 0);
	assert_int_equal(again.fds[0], REQUEST_FD_CONFIG);
	assert_true(json_equal(again.limits, request.limits));
}

static void every_verb_has_a_name_that_reads_back(void **state)
{
	(void)state;
	for (int i = 0; i < REQUEST_VERB_N; i++)
		assert_non_null(request_verb_to_string((enum request_verb)i));
	assert_null(request_verb_to_string(REQUEST_VERB_N));
	assert_null(request_fd_to_string(REQUEST_FD_N));
}

static void an_unknown_verb_has_its_own_name(void **state)
{
	(void)state;
	assert_int_equal(parse_code(HEAD "\"exec\"}"), REFUSAL_UNKNOWN_VERB);
	assert_int_equal(parse_code(HEAD "\"Install\"}"), REFUSAL_UNKNOWN_VERB);
	assert_int_equal(parse_code(HEAD "\"exec\",\"command\":\"sh\"}"), REFUSAL_UNKNOWN_VERB);
}

static void what_is_wrong_is_named_by_its_key(void **state)
{
	static const struct {
		const char *text;
		const char *key;
	} cases[] = {
		{"{\"verb\":\"status\"}",                                      "'schema'"      },
		{"{\"schema\":2,\"verb\":\"status\"}",                         "'schema'"      },
		{"{\"schema\":\"1\",\"verb\":\"status\"}",                     "'schema'"      },
		{HEAD "7}",						    "'verb'"        },
		{HEAD "\"status\",\"path\":\"/etc\"}",                         "'path'"        },
		{HEAD "\"status\",\"\\u001b[2J\":1}",                          "'\\x1b[2J'"    },
		{HEAD "\"status\",\"verb\":\"prune\"}",                        "duplicate"     },
		{HEAD "\"status\"} x",					 "JSON"          },
		{HEAD "\"status\",\"request_id\":\"\"}",                       "'request_id'"  },
		{HEAD "\"status\",\"request_id\":\"a b\"}",                    "'request_id'"  },
		{HEAD "\"status\",\"id\":7}",                                  "'id'"          },
		{HEAD "\"status\",\"id\":\"A\"}",                              "'id'"          },
		{HEAD "\"status\",\"id\":\"1a\"}",                             "'id'"          },
		{HEAD "\"status\",\"id\":\"a--b\"}",                           "'id'"          },
		{HEAD "\"status\",\"id\":\"a-\"}",                             "'id'"          },
		{HEAD "\"status\",\"id\":\"../a\"}",                           "'id'"          },
		{HEAD "\"status\",\"id\":\"abcdefghijklmnopqrstuvwxyz\"}",     "'id'"          },
		{HEAD "\"rollback\",\"id\":\"a\",\"version\":\"../1\"}",       "'version'"     },
		{HEAD "\"rollback\"}",					 "'id'"          },
		{HEAD "\"hold\",\"id\":\"a\",\"reason\":\"a\\nb\"}",           "'reason'"      },
		{HEAD "\"hold\",\"id\":\"a\",\"release\":true,\"stop\":true}", "'stop'"        },
		{HEAD "\"uninstall\",\"id\":\"a\",\"purge\":1}",               "'purge'"       },
		{HEAD "\"status\",\"purge\":true}",                            "'purge'"       },
		{HEAD "\"prune\"}",					    "'id'"          },
		{HEAD "\"install\",\"fds\":[\"bundle\"]}",                     "'signature'"   },
		{HEAD "\"install\",\"fds\":[\"bundle\",\"bundle\"]}",          "'fds'"         },
		{HEAD "\"install\",\"fds\":[\"kernel\"]}",                     "'fds'"         },
		{HEAD "\"install\",\"fds\":[3]}",                              "'fds'"         },
		{HEAD "\"status\",\"fds\":[\"config\"]}",                      "'config'"      },
		{HEAD "\"repair\",\"id\":\"a\",\"fds\":[\"bundle\"]}",         "'signature'"   },
		{HEAD "\"configure\",\"id\":\"a\"}",                           "'config'"      },
		{HEAD "\"status\",\"limits\":{\"tasks_max\":-1}}",             "'limits'"      },
		{HEAD "\"status\",\"limits\":{\"tasks_max\":1.5}}",            "'limits'"      },
		{HEAD "\"status\",\"limits\":{\"nice\":1}}",                   "'limits'"      },
		{HEAD "\"status\",\"capabilities\":[\"bpf\",\"bpf\"]}",        "'capabilities'"},
		{HEAD "\"status\",\"capabilities\":[\"CAP BPF\"]}",            "'capabilities'"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused_naming(cases[i].text, cases[i].key);
}

static void a_header_over_the_limit_is_refused_unread(void **state)
{
	static char text[REQUEST_HEADER_MAX + 1];
	struct request request = REQUEST_INIT;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	memset(text, ' ', sizeof(text));
	memcpy(text, HEAD "\"status\"}", sizeof(HEAD "\"status\"}") - 1);
	assert_int_equal(request_parse(text, REQUEST_HEADER_MAX, &request, &refusal), 0);
	request_done(&request);
	assert_int_equal(request_parse(text, sizeof(text), &request, &refusal),
			 REFUSAL_BAD_REQUEST);
}

static void the_fleet_may_ask_for_what_is_listed(void **state)
{
	static const char *const allowed[] = {
		HEAD "\"install\",\"fds\":[\"bundle\",\"signature\",\"config\"]}",
		HEAD
		"\"install\",\"limits\":{\"memory_max_bytes\":1},\"fds\":[\"bundle\",\"signature\"]}",
		HEAD "\"configure\",\"id\":\"a\",\"fds\":[\"config\"]}",
		HEAD "\"uninstall\",\"id\":\"a\"}",
		HEAD "\"uninstall\",\"id\":\"a\",\"purge\":false}",
		HEAD "\"rollback\",\"id\":\"a\"}",
		HEAD "\"status\"}",
		HEAD "\"drift\"}",
		HEAD "\"repair\",\"id\":\"a\"}",
		HEAD "\"plan\",\"fds\":[\"bundle\",\"signature\"]}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		assert_int_equal(fleet_code(allowed[i]), 0);
}

static void the_fleet_may_not_ask_for_what_is_the_administrators(void **state)
{
	static const char *const denied[] = {
		HEAD "\"install\",\"allow_downgrade\":true,\"fds\":[\"bundle\",\"signature\"]}",
		HEAD "\"rollback\",\"id\":\"a\",\"version\":\"1.0.0\"}",
		HEAD "\"uninstall\",\"id\":\"a\",\"purge\":true}",
		HEAD "\"prune\",\"id\":\"a\"}",
		HEAD "\"hold\",\"id\":\"a\"}",
		HEAD "\"hold\",\"id\":\"a\",\"release\":true}",
		HEAD "\"clear-quarantine\",\"id\":\"a\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(denied); i++)
		assert_int_equal(fleet_code(denied[i]), REFUSAL_FORBIDDEN);
}

static void a_verb_that_nobody_listed_is_denied(void **state)
{
	const struct request request = {.verb = REQUEST_VERB_N};
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	assert_int_equal(request_check_fleet(&request, &refusal), REFUSAL_FORBIDDEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_install_header_is_read_and_written_back),
		cmocka_unit_test(every_verb_has_a_name_that_reads_back),
		cmocka_unit_test(an_unknown_verb_has_its_own_name),
		cmocka_unit_test(what_is_wrong_is_named_by_its_key),
		cmocka_unit_test(a_header_over_the_limit_is_refused_unread),
		cmocka_unit_test(the_fleet_may_ask_for_what_is_listed),
		cmocka_unit_test(the_fleet_may_not_ask_for_what_is_the_administrators),
		cmocka_unit_test(a_verb_that_nobody_listed_is_denied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
