/* SPDX-License-Identifier: Apache-2.0 */

#include "oci/challenge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *header, enum oci_challenge_kind kind, const char *realm,
		  const char *service)
{
	struct oci_challenge found;

	oci_challenge_parse(header, &found);
	assert_int_equal(found.kind, kind);
	assert_string_equal(found.realm, realm);
	assert_string_equal(found.service, service);
}

static void a_token_service_is_found(void **state)
{
	struct oci_challenge found;

	(void)state;
	oci_challenge_parse("Bearer realm=\"https://auth.docker.io/token\",service=\"registry\","
			    "scope=\"repository:a/b:pull,push\",error=\"invalid_token\"",
			    &found);
	assert_int_equal(found.kind, OCI_CHALLENGE_BEARER);
	assert_string_equal(found.realm, "https://auth.docker.io/token");
	assert_string_equal(found.service, "registry");
	assert_string_equal(found.scope, "repository:a/b:pull,push");
	check("bearer REALM = \"https://x/\" , Service=y", OCI_CHALLENGE_BEARER, "https://x/", "y");
	check("Bearer realm=\"https://x/\\\"y\"", OCI_CHALLENGE_BEARER, "https://x/\"y", "");
}

static void the_bearer_is_taken_of_several(void **state)
{
	(void)state;
	check("Basic realm=\"a\", Bearer realm=\"https://b/\"", OCI_CHALLENGE_BEARER, "https://b/",
	      "");
	check("Bearer realm=\"https://b/\", Basic realm=\"a\"", OCI_CHALLENGE_BEARER, "https://b/",
	      "");
	check("Negotiate YWJj==, Basic realm=\"a\"", OCI_CHALLENGE_BASIC, "a", "");
	check("Basic", OCI_CHALLENGE_BASIC, "", "");
}

static void what_is_not_understood_is_no_challenge(void **state)
{
	char text[4096];

	(void)state;
	check("", OCI_CHALLENGE_NONE, "", "");
	check("Digest realm=\"a\"", OCI_CHALLENGE_NONE, "", "");
	check("Bearer", OCI_CHALLENGE_NONE, "", "");
	check("Bearer realm=\"https://x", OCI_CHALLENGE_NONE, "", "");
	check("Bearer realm=\"a\\", OCI_CHALLENGE_NONE, "", "");
	check("Bearer realm=\"https://x/\r\nEvil: y\"", OCI_CHALLENGE_NONE, "", "");
	check(",,,= =", OCI_CHALLENGE_NONE, "", "");
	(void)snprintf(text, sizeof(text), "Bearer realm=\"%02000d\"", 1);
	check(text, OCI_CHALLENGE_NONE, "", "");
	(void)snprintf(text, sizeof(text), "Bearer realm=\"https://x/\",service=\"%0300d\"", 1);
	check(text, OCI_CHALLENGE_NONE, "", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_service_is_found),
		cmocka_unit_test(the_bearer_is_taken_of_several),
		cmocka_unit_test(what_is_not_understood_is_no_challenge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
