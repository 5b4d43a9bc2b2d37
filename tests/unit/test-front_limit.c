/* SPDX-License-Identifier: Apache-2.0 */

#include "control/front_limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage storage = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		v4->sin_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		v6->sin6_family = AF_INET6;
	assert_true(storage.ss_family != 0);
	return storage;
}

static int take(struct limits *limits, const char *text, struct limit_address **ret)
{
	const struct sockaddr_storage peer = address(text);

	return limit_take(limits, &peer, ret);
}

static void an_address_gets_no_more_than_its_share_and_others_keep_theirs(void **state)
{
	struct limits limits = {.connections_max = 2, .unproven_max = 2};
	struct limit_address *held[2] = {NULL, NULL};
	struct limit_address *other = NULL;
	struct limit_address *none = NULL;

	(void)state;
	assert_int_equal(take(&limits, "192.0.2.1", &held[0]), 0);
	assert_int_equal(take(&limits, "192.0.2.1", &held[1]), 0);
	assert_int_equal(take(&limits, "192.0.2.1", &none), 1);
	assert_null(none);
	assert_int_equal(take(&limits, "192.0.2.2", &other), 0);
	limit_release(&limits, held[0], false);
	assert_int_equal(take(&limits, "192.0.2.1", &held[0]), 0);
	limit_release(&limits, held[0], false);
	limit_release(&limits, held[1], false);
	limit_release(&limits, other, false);
	assert_null(limits.tree);
}

static void who_has_proven_itself_makes_room_for_strangers(void **state)
{
	struct limits limits = {.connections_max = 3, .unproven_max = 1};
	struct limit_address *first = NULL;
	struct limit_address *second = NULL;
	struct limit_address *none = NULL;

	(void)state;
	assert_int_equal(take(&limits, "192.0.2.1", &first), 0);
	assert_int_equal(take(&limits, "192.0.2.1", &none), 1);
	limit_prove(first);
	assert_int_equal(take(&limits, "192.0.2.1", &second), 0);
	assert_int_equal(take(&limits, "192.0.2.1", &none), 1);
	limit_release(&limits, first, true);
	assert_int_equal(take(&limits, "192.0.2.1", &none), 1);
	limit_release(&limits, second, false);
	assert_null(limits.tree);
}

static void ipv6_counts_by_network_and_mapped_ipv4_by_address(void **state)
{
	struct limits limits = {.connections_max = 1, .unproven_max = 1};
	struct limit_address *held[4] = {NULL, NULL, NULL, NULL};
	struct limit_address *none = NULL;

	(void)state;
	assert_int_equal(take(&limits, "2001:db8:0:1::1", &held[0]), 0);
	assert_int_equal(take(&limits, "2001:db8:0:1:ffff::2", &none), 1);
	assert_int_equal(take(&limits, "2001:db8:0:2::1", &held[1]), 0);
	assert_int_equal(take(&limits, "::ffff:192.0.2.1", &held[2]), 0);
	assert_int_equal(take(&limits, "192.0.2.1", &none), 1);
	assert_int_equal(take(&limits, "::ffff:192.0.2.2", &held[3]), 0);
	for (size_t i = 0; i < 4; i++)
		limit_release(&limits, held[i], false);
	assert_null(limits.tree);
}

static void a_bucket_gives_its_burst_and_then_its_rate(void **state)
{
	struct limit_bucket bucket = {0};
	unsigned given = 0;

	(void)state;
	while (limit_bucket_take(&bucket, 1000, 10, 50))
		given++;
	assert_int_equal(given, 50);
	assert_false(limit_bucket_take(&bucket, 1099, 10, 50));
	assert_true(limit_bucket_take(&bucket, 1100, 10, 50));
	assert_false(limit_bucket_take(&bucket, 1100, 10, 50));
	/* Rest gives back no more than the burst. */
	given = 0;
	while (limit_bucket_take(&bucket, 1000000, 10, 50))
		given++;
	assert_int_equal(given, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_gets_no_more_than_its_share_and_others_keep_theirs),
		cmocka_unit_test(who_has_proven_itself_makes_room_for_strangers),
		cmocka_unit_test(ipv6_counts_by_network_and_mapped_ipv4_by_address),
		cmocka_unit_test(a_bucket_gives_its_burst_and_then_its_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
