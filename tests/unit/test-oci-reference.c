/* SPDX-License-Identifier: Apache-2.0 */

#include "oci/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void good_references_fall_into_their_parts(void **state)
{
	static const struct {
		const char *text;
		struct oci_reference wanted;
	} cases[] = {
		{"docker.io/debian",                      {"docker.io", "library/debian", "latest", ""}},
		{"docker.io/a/b:12",                      {"docker.io", "a/b", "12", ""}               },
		{"localhost/x",                           {"localhost", "x", "latest", ""}             },
		{"localhost:5000/a/b/c:v1.2-3_4",         {"localhost:5000", "a/b/c", "v1.2-3_4", ""}  },
		{"127.0.0.1:5000/x:1",                    {"127.0.0.1:5000", "x", "1", ""}             },
		{"[::1]:5000/x:1",                        {"[::1]:5000", "x", "1", ""}                 },
		{"ghcr.io/a.b/c_d/e__f/g--h@sha256:" HEX,
		 {"ghcr.io", "a.b/c_d/e__f/g--h", "", "sha256:" HEX}                                   },
		{"r.example/x:1@sha256:" HEX,             {"r.example", "x", "1", "sha256:" HEX}       },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct oci_reference found;

		assert_int_equal(oci_reference_parse(cases[i].text, &found, NULL), 0);
		assert_string_equal(found.host, cases[i].wanted.host);
		assert_string_equal(found.name, cases[i].wanted.name);
		assert_string_equal(found.tag, cases[i].wanted.tag);
		assert_string_equal(found.digest, cases[i].wanted.digest);
	}
}

static void what_is_no_reference_is_refused_with_a_sentence(void **state)
{
	static const char *const bad[] = {
		"",
		"debian",
		"library/debian:12",
		"/x",
		"a.b/",
		"a.b//x",
		"a.b/X",
		"a.b/x/",
		"a.b/x:",
		"a.b/x:.a",
		"a.b/x:a/b",
		"a.b/x@",
		"a.b/x@sha256:12",
		"a.b/x@sha512:" HEX HEX,
		"a.b/x@sha256:" HEX "0",
		"a.b/../x",
		"a.b/x/../y",
		"a.b/x y",
		"a.b/x___y",
		"a.b/-x",
		"a.b/x.",
		"a..b/x",
		"-a.b/x",
		"a.b:0/x",
		"a.b:70000/x",
		"a.b:/x",
		"a.b:5x/x",
		"u@a.b/x",
		"http://a.b/x",
		"a.b\\c/x",
		"[::1/x",
		"[]:5000/x",
		"[::1]x:5/x",
		"a.b/x?y",
		"a.b/x#y",
		"a.b/x%2f",
		"a.b/\xc3\xa4",
		"\xc3\xa4.b/x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct problem problem = PROBLEM_INIT;
		struct oci_reference found;

		if (oci_reference_parse(bad[i], &found, &problem) != OCI_BAD_REFERENCE)
			fail_msg("'%s' was taken for a reference", bad[i]);
		assert_non_null(strstr(problem.text, "expected"));
	}
}

static void lengths_have_a_border(void **state)
{
	char text[1024];
	char part[256];
	struct oci_reference found;

	(void)state;
	memset(part, 'a', sizeof(part));
	(void)snprintf(text, sizeof(text), "r.io/%.255s:%.128s", part, part);
	assert_int_equal(oci_reference_parse(text, &found, NULL), 0);
	(void)snprintf(text, sizeof(text), "r.io/%.256s", part);
	assert_int_equal(oci_reference_parse(text, &found, NULL), OCI_BAD_REFERENCE);
	(void)snprintf(text, sizeof(text), "r.io/x:%.129s", part);
	assert_int_equal(oci_reference_parse(text, &found, NULL), OCI_BAD_REFERENCE);
	/* Docker's prefix counts. */
	(void)snprintf(text, sizeof(text), "docker.io/%.247s", part);
	assert_int_equal(oci_reference_parse(text, &found, NULL), 0);
	(void)snprintf(text, sizeof(text), "docker.io/%.248s", part);
	assert_int_equal(oci_reference_parse(text, &found, NULL), OCI_BAD_REFERENCE);
}

static void loopback_is_this_machine_and_nobody_who_sounds_like_it(void **state)
{
	(void)state;
	assert_true(oci_host_is_loopback("localhost"));
	assert_true(oci_host_is_loopback("LOCALHOST:5000"));
	assert_true(oci_host_is_loopback("127.0.0.1"));
	assert_true(oci_host_is_loopback("127.1.2.3:5000"));
	assert_true(oci_host_is_loopback("[::1]:5000"));
	assert_false(oci_host_is_loopback("localhost.example"));
	assert_false(oci_host_is_loopback("127.0.0.1.example"));
	assert_false(oci_host_is_loopback("127.example:80"));
	assert_false(oci_host_is_loopback("[::2]"));
	assert_false(oci_host_is_loopback("[::1].example"));
	assert_false(oci_host_is_loopback("registry.example:5000"));
}

static void dockers_registry_has_another_name_on_the_network(void **state)
{
	struct oci_reference found;

	(void)state;
	assert_int_equal(oci_reference_parse("docker.io/debian", &found, NULL), 0);
	assert_string_equal(oci_reference_server(&found), "registry-1.docker.io");
	assert_string_equal(oci_reference_wanted(&found), "latest");
	assert_int_equal(oci_reference_parse("r.io/x:1@sha256:" HEX, &found, NULL), 0);
	assert_string_equal(oci_reference_server(&found), "r.io");
	assert_string_equal(oci_reference_wanted(&found), "sha256:" HEX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_references_fall_into_their_parts),
		cmocka_unit_test(what_is_no_reference_is_refused_with_a_sentence),
		cmocka_unit_test(lengths_have_a_border),
		cmocka_unit_test(loopback_is_this_machine_and_nobody_who_sounds_like_it),
		cmocka_unit_test(dockers_registry_has_another_name_on_the_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
