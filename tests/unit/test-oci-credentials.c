/* SPDX-License-Identifier: Apache-2.0 */

#include "oci/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

/* ann:secret */
#define AUTH "YW5uOnNlY3JldA=="

static char path[] = "/tmp/affix-config-XXXXXX";

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(path, sizeof(path), "%s", "/tmp/affix-config-XXXXXX");
	(void)fd_close(mkstemp(path));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(path);
}

static int load(const char *text, const char *host, struct oci_credentials *ret)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
	return oci_credentials_load(path, host, ret, NULL);
}

static void a_registry_is_found_by_any_of_its_spellings(void **state)
{
	static const struct {
		const char *text;
		const char *host;
	} cases[] = {
		{"{\"auths\":{\"r.io\":{\"auth\":\"" AUTH "\"}}}",                        "r.io"     },
		{"{\"auths\":{\"https://r.io\":{\"auth\":\"" AUTH "\"}}}",                "r.io"     },
		{"{\"auths\":{\"https://r.io/v1/\":{\"auth\":\"" AUTH "\"}}}",            "r.io"     },
		{"{\"auths\":{\"r.io:5000\":{\"auth\":\"" AUTH "\"}}}",                   "r.io:5000"},
		{"{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"" AUTH "\"}}}",
		 "docker.io"									 },
		{"{\"auths\":{\"r.io\":{\"username\":\"ann\",\"password\":\"secret\"}}}", "r.io"     },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		cleanup_oci_credentials struct oci_credentials found = OCI_CREDENTIALS_INIT;

		assert_int_equal(load(cases[i].text, cases[i].host, &found), 0);
		assert_string_equal(found.basic, AUTH);
	}
}

static void another_registrys_are_not_given_away(void **state)
{
	cleanup_oci_credentials struct oci_credentials found = OCI_CREDENTIALS_INIT;

	(void)state;
	assert_int_equal(
		load("{\"auths\":{\"r.io\":{\"auth\":\"" AUTH "\"}}}", "r.io:5000", &found), 0);
	assert_null(found.basic);
	assert_null(found.helper);
}

static void helpers_and_tokens_are_kept_apart(void **state)
{
	cleanup_oci_credentials struct oci_credentials helper = OCI_CREDENTIALS_INIT;
	cleanup_oci_credentials struct oci_credentials store = OCI_CREDENTIALS_INIT;
	cleanup_oci_credentials struct oci_credentials token = OCI_CREDENTIALS_INIT;

	(void)state;
	assert_int_equal(load("{\"credHelpers\":{\"r.io\":\"gcloud\"}}", "r.io", &helper), 0);
	assert_string_equal(helper.helper, "gcloud");
	assert_int_equal(
		load("{\"auths\":{\"r.io\":{}},\"credsStore\":\"desktop\"}", "r.io", &store), 0);
	assert_string_equal(store.helper, "desktop");
	assert_int_equal(load("{\"auths\":{\"r.io\":{\"identitytoken\":\"t\"}}}", "r.io", &token),
			 0);
	assert_string_equal(token.identity_token, "t");
}

static void what_cannot_be_used_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{\"auths\":",
		"{\"auths\":{\"r.io\":{\"auth\":\"***\"}}}",
		"{\"auths\":{\"r.io\":{\"auth\":\"YW5u\"}}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cleanup_oci_credentials struct oci_credentials found = OCI_CREDENTIALS_INIT;

		assert_int_equal(load(bad[i], "r.io", &found), OCI_BAD_CREDENTIALS);
	}
}

static void no_file_is_no_credentials_unless_it_was_named(void **state)
{
	cleanup_oci_credentials struct oci_credentials found = OCI_CREDENTIALS_INIT;

	(void)state;
	assert_int_equal(oci_credentials_load("/nowhere", "r.io", &found, NULL),
			 OCI_BAD_CREDENTIALS);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	assert_int_equal(setenv("DOCKER_CONFIG", "/nowhere", 1), 0);
	assert_int_equal(oci_credentials_load(NULL, "r.io", &found, NULL), 0);
	assert_null(found.basic);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_registry_is_found_by_any_of_its_spellings),
		cmocka_unit_test(another_registrys_are_not_given_away),
		cmocka_unit_test(helpers_and_tokens_are_kept_apart),
		cmocka_unit_test(what_cannot_be_used_is_refused),
		cmocka_unit_test(no_file_is_no_credentials_unless_it_was_named),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
