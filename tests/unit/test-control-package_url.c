/* SPDX-License-Identifier: Apache-2.0 */

#include "control/package_url.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

#define BASE "https://fleet.example"
#define NOW  1800000000U

static const uint8_t key[PACKAGE_URL_KEY_SIZE] = {1, 2, 3};
static const struct package_url sample = {
	.sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	.host = 17,
	.expires = NOW + 60,
};

/* Splits a fresh URL; *ret_query points into it. */
static char *make(char **ret_path, char **ret_query)
{
	char *url = NULL;

	assert_int_equal(package_url_format(key, BASE, &sample, &url), 0);
	*ret_path = url + strlen(BASE);
	*ret_query = strchr(url, '?') + 1;
	(*ret_query)[-1] = '\0';
	return url;
}

static int read_again(const char *path, const char *query, uint64_t now)
{
	struct package_url url;

	return package_url_parse(key, path, query, now, &url);
}

static void what_was_written_is_read(void **state)
{
	char *path;
	char *query;
	cleanup_free char *url = make(&path, &query);
	struct package_url read;

	(void)state;
	assert_non_null(url);
	assert_int_equal(package_url_parse(key, path, query, NOW, &read), 0);
	assert_string_equal(read.sha256, sample.sha256);
	assert_int_equal(read.host, 17);
	assert_int_equal(read.expires, NOW + 60);
}

static void it_ends_with_its_time(void **state)
{
	char *path;
	char *query;
	cleanup_free char *url = make(&path, &query);

	(void)state;
	assert_non_null(url);
	assert_int_equal(read_again(path, query, NOW + 60), 0);
	assert_int_equal(read_again(path, query, NOW + 61), PACKAGE_URL_E_EXPIRED);
}

static void any_changed_byte_is_noticed(void **state)
{
	char *path;
	char *query;
	cleanup_free char *url = make(&path, &query);

	(void)state;
	assert_non_null(url);
	for (char *at = path + strlen(PACKAGE_URL_PREFIX); *at != '\0'; at++) {
		*at ^= 1;
		assert_int_not_equal(read_again(path, query, NOW), 0);
		*at ^= 1;
	}
	for (char *at = query; *at != '\0'; at++) {
		*at ^= 1;
		assert_int_not_equal(read_again(path, query, NOW), 0);
		*at ^= 1;
	}
	assert_int_equal(read_again(path, query, NOW), 0);
}

static void another_key_signs_another_url(void **state)
{
	static const uint8_t other[PACKAGE_URL_KEY_SIZE] = {9};
	char *path;
	char *query;
	cleanup_free char *url = make(&path, &query);
	struct package_url read;

	(void)state;
	assert_non_null(url);
	assert_int_equal(package_url_parse(other, path, query, NOW, &read),
			 PACKAGE_URL_E_SIGNATURE);
}

static void what_is_no_such_url_is_refused(void **state)
{
	(void)state;
	assert_int_equal(read_again("/v1/other", "host=1", NOW), PACKAGE_URL_E_MALFORMED);
	assert_int_equal(read_again("/v1/artifacts/../x", "host=1", NOW), PACKAGE_URL_E_MALFORMED);
	assert_int_equal(read_again("/v1/artifacts/abc", NULL, NOW), PACKAGE_URL_E_MALFORMED);
	assert_int_equal(read_again(NULL, NULL, NOW), PACKAGE_URL_E_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(it_ends_with_its_time),
		cmocka_unit_test(any_changed_byte_is_noticed),
		cmocka_unit_test(another_key_signs_another_url),
		cmocka_unit_test(what_is_no_such_url_is_refused),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
