/* SPDX-License-Identifier: Apache-2.0 */

#include "bundle/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

#define START   "affix:1 id=node-exporter version=1.8.2 os=linux arch=amd64"
#define CREATED " created=2026-01-31T12:00:00Z"
#define GOOD    START CREATED

static void comment_is_read_and_written_back_the_same(void **state)
{
	static const char *const comments[] = {
		GOOD,
		GOOD " epoch=3",
		GOOD " expires=2027-01-01T00:00:00Z",
		GOOD " expires=2027-01-01T00:00:00Z epoch=9007199254740991",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(comments); i++) {
		struct identity identity;
		cleanup_free char *again = NULL;

		assert_int_equal(identity_parse(comments[i], &identity), 0);
		assert_string_equal(identity.id, "node-exporter");
		assert_string_equal(identity.version, "1.8.2");
		assert_int_equal(identity.created, 1769860800);
		assert_int_equal(identity_format(&identity, &again), 0);
		assert_string_equal(again, comments[i]);
	}
}

static void keys_may_stand_in_any_order(void **state)
{
	struct identity identity;

	(void)state;
	assert_int_equal(identity_parse("affix:1 epoch=1 created=2026-01-31T12:00:00Z arch=arm64 "
					"os=linux version=1.0.0-rc.1+b id=x",
					&identity),
			 0);
	assert_string_equal(identity.arch, "arm64");
	assert_int_equal(identity.epoch, 1);
}

static void comment_that_says_less_more_or_something_else_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"timestamp:1\tfile:f\thashed",
		"affix:1",
		"affix:2 id=x version=1.0.0 os=linux arch=amd64" CREATED,
		"affix:10 id=x version=1.0.0 os=linux arch=amd64" CREATED,
		"Affix:1 id=x version=1.0.0 os=linux arch=amd64" CREATED,
		START,
		"affix:1 version=1.0.0 os=linux arch=amd64" CREATED,
		"affix:1 id=x os=linux arch=amd64" CREATED,
		"affix:1 id=x version=1.0.0 arch=amd64" CREATED,
		"affix:1 id=x version=1.0.0 os=linux" CREATED,
		GOOD " id=other",
		GOOD " epoch=1 epoch=1",
		GOOD " colour=red",
		GOOD " epoch",
		GOOD " ",
		GOOD "  epoch=1",
		GOOD "\tepoch=1",
		" " GOOD,
	};
	struct identity identity;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(identity_parse(bad[i], &identity), 1);
}

static void bad_value_is_refused(void **state)
{
	static const char *const bad[] = {
		"affix:1 id=../etc version=1.0.0 os=linux arch=amd64" CREATED,
		"affix:1 id= version=1.0.0 os=linux arch=amd64" CREATED,
		"affix:1 id=updater version=1.0.0 os=linux arch=amd64" CREATED,
		"affix:1 id=abcdefghijklmnopqrstuvwxyz version=1.0.0 os=linux arch=amd64" CREATED,
		"affix:1 id=x version=1.0 os=linux arch=amd64" CREATED,
		"affix:1 id=x version=../../x os=linux arch=amd64" CREATED,
		"affix:1 id=x version=1.0.0 os=plan9 arch=amd64" CREATED,
		"affix:1 id=x version=1.0.0 os=linux arch=" CREATED,
		"affix:1 id=x version=1.0.0 os=linux arch=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" CREATED,
		START " created=2026-01-31",
		START " created=1970-01-01T00:00:00",
		GOOD " expires=1970-01-01T00:00:00Z",
		GOOD " expires=never",
		GOOD " epoch=01",
		GOOD " epoch=-1",
		GOOD " epoch=1x",
		GOOD " epoch=9007199254740992",
		GOOD " epoch=99999999999999999999999999999999999999",
	};
	struct identity identity;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(identity_parse(bad[i], &identity), 1);
}

static void longest_comment_is_within_what_a_signature_holds(void **state)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct identity identity;
	char long_word[2048];

	(void)state;
	memset(long_word, '1', sizeof(long_word) - 1);
	long_word[sizeof(long_word) - 1] = '\0';
	assert_int_equal(buffer_format(&text, GOOD " %s=1", long_word), 0);
	assert_int_equal(identity_parse(text.data, &identity), 1);
	text.size = 0;
	assert_int_equal(buffer_format(&text,
				       "affix:1 id=x version=1.0.%.60s os=linux arch=amd64" CREATED,
				       long_word),
			 0);
	assert_int_equal(identity_parse(text.data, &identity), 1);
	text.size = 0;
	assert_int_equal(
		buffer_format(&text,
			      "affix:1 id=x version=1.0.0-a%.57s os=linux arch=amd64" CREATED,
			      long_word),
		0);
	assert_int_equal(identity_parse(text.data, &identity), 0);
}

static void file_name_says_what_is_in_it(void **state)
{
	struct identity identity;
	cleanup_free char *name = NULL;

	(void)state;
	assert_int_equal(identity_parse(GOOD, &identity), 0);
	assert_int_equal(identity_file_name(&identity, &name), 0);
	assert_string_equal(name, "node-exporter-1.8.2-linux-amd64.tar.zst");
}

static void order_is_epoch_then_version_then_time(void **state)
{
	static const struct identity order[] = {
		{.version = "9.0.0",       .created = 9, .epoch = 0},
		{.version = "1.0.0-rc.1",  .created = 5, .epoch = 1},
		{.version = "1.0.0",       .created = 3, .epoch = 1},
		{.version = "1.0.0+build", .created = 4, .epoch = 1},
		{.version = "1.2.0",       .created = 1, .epoch = 1},
		{.version = "1.10.0",      .created = 1, .epoch = 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(order); j++) {
			int r = identity_compare(&order[i], &order[j]);

			assert_int_equal((r > 0) - (r < 0), (i > j) - (i < j));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comment_is_read_and_written_back_the_same),
		cmocka_unit_test(keys_may_stand_in_any_order),
		cmocka_unit_test(comment_that_says_less_more_or_something_else_is_refused),
		cmocka_unit_test(bad_value_is_refused),
		cmocka_unit_test(longest_comment_is_within_what_a_signature_holds),
		cmocka_unit_test(file_name_says_what_is_in_it),
		cmocka_unit_test(order_is_epoch_then_version_then_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
