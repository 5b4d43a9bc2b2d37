/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/str.h"

static void an_address_is_taken_apart(void **state)
{
	static const struct {
		const char *text;
		bool is_tls;
		const char *host;
		const char *port;
		const char *authority;
		const char *target;
	} cases[] = {
		{"https://fleet",         true,  "fleet",     "443",  "fleet",      "/"    },
		{"HTTP://fleet:4320/a?b", false, "fleet",     "4320", "fleet:4320", "/a?b" },
		{"https://fleet?b/c",     true,  "fleet",     "443",  "fleet",      "/?b/c"},
		{"http://[::1]:80/",      false, "[::1]",     "80",   "[::1]:80",   "/"    },
		{"http://127.1/x",        false, "127.0.0.1", "80",   "127.0.0.1",  "/x"   },
		{"http://fleet:80@evil/", false, NULL,        NULL,   NULL,         NULL   },
		{"https://fleet/a#b",     true,  "fleet",     "443",  "fleet",      "/a"   },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_address struct address address = ADDRESS_INIT;

		assert_int_equal(address_parse(cases[i].text, &address), cases[i].host ? 0 : 1);
		if (!cases[i].host)
			continue;
		assert_int_equal(address.is_tls, cases[i].is_tls);
		assert_string_equal(address.host, cases[i].host);
		assert_string_equal(address.port, cases[i].port);
		assert_string_equal(address.authority, cases[i].authority);
		assert_string_equal(address.header, cases[i].authority);
		assert_string_equal(address.target, cases[i].target);
	}
}

static void what_leads_nowhere_is_no_address(void **state)
{
	static const char *const bad[] = {
		"",
		"fleet",
		"https://",
		"wss://fleet",
		"ftp://fleet",
		"file:///etc/passwd",
		"https://fleet:0/",
		"https://fleet:65536/",
		"https://fleet:80x/",
		"https://[::1/",
		"https://a b/",
		"https://@fleet/",
		"https://:password@fleet/",
		"https://user@fleet/",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_address struct address address = ADDRESS_INIT;

		if (address_parse(bad[i], &address) != 1)
			fail_msg("%s", bad[i]);
	}
}

static void a_reference_is_resolved_where_it_was_found(void **state)
{
	static const char *const cases[][3] = {
		{"https://fleet:4320/v1/opamp", "/a/b",                    "https://fleet:4320/a/b"   },
		{"https://fleet",               "/a",                      "https://fleet/a"          },
		{"http://fleet?x",              "/a",                      "http://fleet/a"           },
		{"https://fleet/v1",            "https://cdn/a",           "https://cdn/a"            },
		{"https://fleet/v1/a",          "b",                       "https://fleet/v1/b"       },
		{"https://fleet/v1/a",          "//cdn/b",                 "https://cdn/b"            },
		{"https://fleet/v1/a",          "https://",                NULL                       },
		{"http://[fe80::1%25v0]:1/a",   "/b",                      "http://[fe80::1%25v0]:1/b"},
		{"http://[fe80::1%25v0]:1/a",   "https://[fe80::1]/b",     "https://[fe80::1%25v0]/b" },
		{"http://[fe80::1%25v0]:1/a",   "http://[fe80::1%25v1]/b", "http://[fe80::1%25v1]/b"  },
		{"http://[fe80::1%25v0]:1/a",   "http://[fe80::2]/b",      "http://[fe80::2]/b"       },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *url = NULL;

		assert_int_equal(address_resolve(cases[i][0], cases[i][1], &url), 0);
		if (!cases[i][2])
			assert_null(url);
		else
			assert_string_equal(url, cases[i][2]);
	}
}

/* Nobody but this host knows a zone by that name. */
static void a_zone_is_of_the_address_and_not_of_the_host_header(void **state)
{
	static const char *const cases[] = {"http://[fe80::1%25v0]:4320/x",
					    "http://[fe80::1%v0]:4320/x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_address struct address address = ADDRESS_INIT;

		assert_int_equal(address_parse(cases[i], &address), 0);
		assert_string_equal(address.host, "[fe80::1%25v0]");
		assert_string_equal(address.authority, "[fe80::1%25v0]:4320");
		assert_string_equal(address.header, "[fe80::1]:4320");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_taken_apart),
		cmocka_unit_test(what_leads_nowhere_is_no_address),
		cmocka_unit_test(a_zone_is_of_the_address_and_not_of_the_host_header),
		cmocka_unit_test(a_reference_is_resolved_where_it_was_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
