/* SPDX-License-Identifier: Apache-2.0 */

#include "control/front_certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LONG_PART "a department of such a length that nothing after it is looked at"

/* A certificate of these parts of a name: kind, text, kind, text … NULL. */
static bool name_of(const char *const *parts, char ret[CERTIFICATE_NAME_SIZE])
{
	X509 *certificate = X509_new();
	X509_NAME *subject = X509_get_subject_name(certificate);
	bool is_named;

	for (size_t i = 0; parts[i]; i += 2)
		assert_int_equal(X509_NAME_add_entry_by_txt(subject, parts[i], MBSTRING_UTF8,
							    (const unsigned char *)parts[i + 1], -1,
							    -1, 0),
				 1);
	is_named = certificate_name(certificate, ret);
	X509_free(certificate);
	return is_named;
}

static void a_name_is_found_behind_long_parts(void **state)
{
	char first[CERTIFICATE_NAME_SIZE] = "";
	char second[CERTIFICATE_NAME_SIZE] = "";

	(void)state;
	assert_true(name_of((const char *[]){"C", "CH", "OU", LONG_PART, "CN", "one.example", NULL},
			    first));
	assert_true(name_of((const char *[]){"C", "CH", "OU", LONG_PART, "CN", "two.example", NULL},
			    second));
	assert_string_equal(first, "one.example");
	assert_string_equal(second, "two.example");
}

static void a_name_of_64_characters_is_whole(void **state)
{
	static const char text[] =
		"h23456789012345678901234567890123456789012345678901234567890.org";
	char name[CERTIFICATE_NAME_SIZE] = "";

	(void)state;
	assert_int_equal(strlen(text), 64);
	assert_true(name_of((const char *[]){"CN", text, NULL}, name));
	assert_string_equal(name, text);
}

static void what_looks_like_a_name_in_another_part_is_none(void **state)
{
	char name[CERTIFICATE_NAME_SIZE] = "";

	(void)state;
	assert_true(name_of((const char *[]){"O", "x/CN=two.example", "CN", "one.example", NULL},
			    name));
	assert_string_equal(name, "one.example");
	assert_false(name_of((const char *[]){"O", "x/CN=two.example", NULL}, name));
}

static void two_names_are_nobodys(void **state)
{
	char name[CERTIFICATE_NAME_SIZE] = "";

	(void)state;
	assert_false(name_of(
		(const char *[]){"CN", "one.example", "O", "x", "CN", "two.example", NULL}, name));
}

/* Past what X.520 allows, as a careless authority may sign it. */
static bool raw_name(const char *text, size_t size)
{
	char name[CERTIFICATE_NAME_SIZE] = "";
	X509 *certificate = X509_new();
	X509_NAME *subject = X509_get_subject_name(certificate);
	ASN1_STRING *data;
	bool is_named;

	assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
						    (const unsigned char *)"x", -1, -1, 0),
			 1);
	data = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, 0));
	assert_int_equal(ASN1_STRING_set(data, text, (int)size), 1);
	is_named = certificate_name(certificate, name);
	X509_free(certificate);
	return is_named;
}

static void a_name_with_a_nul_or_of_too_many_bytes_is_nobodys(void **state)
{
	char text[CERTIFICATE_NAME_SIZE];

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_true(raw_name(text, CERTIFICATE_NAME_SIZE - 1));
	assert_false(raw_name(text, CERTIFICATE_NAME_SIZE));
	assert_false(raw_name("one.example\0.evil", 17));
	assert_false(raw_name("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_found_behind_long_parts),
		cmocka_unit_test(a_name_of_64_characters_is_whole),
		cmocka_unit_test(what_looks_like_a_name_in_another_part_is_none),
		cmocka_unit_test(two_names_are_nobodys),
		cmocka_unit_test(a_name_with_a_nul_or_of_too_many_bytes_is_nobodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
