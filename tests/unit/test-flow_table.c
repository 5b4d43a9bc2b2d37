/* SPDX-License-Identifier: Apache-2.0 */

#include "netprobe/flow_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MANY 5000U

static struct flow_peer peer_number(uint16_t number)
{
	return (struct flow_peer){
		.address = {192, 0, 2, 1},
                  .port = number
        };
}

static void a_flow_is_found_by_its_socket_until_it_is_removed(void **state)
{
	cleanup_flow_table struct flow_table *table = flow_table_new(MANY);

	(void)state;
	for (uint64_t cookie = 1; cookie <= MANY; cookie++)
		assert_non_null(flow_table_add(table, cookie, NULL));
	assert_int_equal(flow_table_size(table), MANY);
	for (uint64_t cookie = 1; cookie <= MANY; cookie += 2)
		flow_table_remove(table, flow_table_find(table, cookie, NULL));
	for (uint64_t cookie = 1; cookie <= MANY; cookie++)
		assert_int_equal(!!flow_table_find(table, cookie, NULL), cookie % 2 == 0);
	assert_int_equal(flow_table_size(table), MANY / 2);
}

static void peers_of_a_socket_are_flows_beside_its_own(void **state)
{
	cleanup_flow_table struct flow_table *table = flow_table_new(10);
	struct flow_peer one = peer_number(1);
	struct flow_peer two = peer_number(2);
	struct flow_entry *own;

	(void)state;
	own = flow_table_add(table, 7, NULL);
	assert_non_null(flow_table_add(table, 7, &one));
	assert_non_null(flow_table_add(table, 7, &two));
	assert_ptr_equal(flow_table_find(table, 7, NULL), own);
	assert_int_equal(flow_table_find(table, 7, &two)->remote_port, 2);
	assert_null(flow_table_find(table, 8, &one));
	/* A remote side that the socket's own flow got later changes nothing. */
	own->remote_port = 1;
	assert_ptr_equal(flow_table_find(table, 7, NULL), own);
}

static void count_seen(void *context, const struct flow_entry *entry)
{
	uint8_t *seen = context;

	seen[entry->cookie]++;
}

static void what_lives_all_the_while_is_scanned_once_also_when_the_table_grows(void **state)
{
	cleanup_flow_table struct flow_table *table = flow_table_new(MANY);
	uint8_t seen[MANY + 1] = {0};
	uint32_t cursor = 0;
	uint64_t added = MANY / 10;
	uint64_t removed = 0;

	(void)state;
	for (uint64_t cookie = 1; cookie <= added; cookie++)
		assert_non_null(flow_table_add(table, cookie, NULL));
	while (flow_table_scan(table, &cursor, count_seen, seen)) {
		for (unsigned i = 0; i < 20 && added < MANY; i++)
			assert_non_null(flow_table_add(table, ++added, NULL));
		if (removed < MANY / 20)
			flow_table_remove(table, flow_table_find(table, ++removed, NULL));
	}
	assert_int_equal(added, MANY);
	for (uint64_t cookie = 1; cookie <= MANY; cookie++) {
		bool lives = cookie > MANY / 20 && cookie <= MANY / 10;

		assert_in_range(seen[cookie], lives ? 1 : 0, 1);
	}
}

struct order {
	uint64_t cookies[MANY];
	size_t count;
};

static void note_order(void *context, const struct flow_entry *entry)
{
	struct order *order = context;

	order->cookies[order->count++] = entry->cookie;
}

static void where_a_flow_is_kept_cannot_be_known_from_its_name(void **state)
{
	static struct order orders[2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		cleanup_flow_table struct flow_table *table = flow_table_new(MANY);
		uint32_t cursor = 0;

		for (uint64_t cookie = 1; cookie <= MANY; cookie++)
			assert_non_null(flow_table_add(table, cookie, NULL));
		while (flow_table_scan(table, &cursor, note_order, &orders[i]))
			continue;
		assert_int_equal(orders[i].count, MANY);
	}
	assert_memory_not_equal(orders[0].cookies, orders[1].cookies, sizeof(orders[0].cookies));
}

static void all_peers_of_a_socket_can_be_taken_one_by_one(void **state)
{
	cleanup_flow_table struct flow_table *table = flow_table_new(MANY);
	uint32_t count = 0;

	(void)state;
	for (uint16_t i = 0; i < 1000; i++) {
		struct flow_peer peer = peer_number(i);

		assert_non_null(flow_table_add(table, 1 + i % 2, &peer));
	}
	for (;;) {
		struct flow_entry *entry = flow_table_find_peer(table, 1);

		if (!entry)
			break;
		flow_table_remove(table, entry);
		count++;
	}
	assert_int_equal(count, 500);
	assert_int_equal(flow_table_size(table), 500);
}

static void a_full_table_takes_nothing_before_one_left(void **state)
{
	cleanup_flow_table struct flow_table *table = flow_table_new(2);

	(void)state;
	assert_non_null(flow_table_add(table, 1, NULL));
	assert_false(flow_table_is_full(table));
	assert_non_null(flow_table_add(table, 2, NULL));
	assert_true(flow_table_is_full(table));
	assert_null(flow_table_add(table, 3, NULL));
	flow_table_remove(table, flow_table_oldest(table));
	assert_non_null(flow_table_add(table, 3, NULL));
	assert_null(flow_table_find(table, 1, NULL));
}

static void the_longest_silent_flow_is_the_oldest(void **state)
{
	cleanup_flow_table struct flow_table *table = flow_table_new(10);
	const uint64_t order[] = {2, 1, 3};
	const struct flow_entry *entry;

	(void)state;
	for (uint64_t cookie = 1; cookie <= 3; cookie++)
		assert_non_null(flow_table_add(table, cookie, NULL));
	flow_table_touch(table, flow_table_find(table, 1, NULL));
	flow_table_touch(table, flow_table_find(table, 3, NULL));
	entry = flow_table_oldest(table);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		assert_non_null(entry);
		assert_int_equal(entry->cookie, order[i]);
		entry = flow_table_next(entry);
	}
	assert_null(entry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flow_is_found_by_its_socket_until_it_is_removed),
		cmocka_unit_test(peers_of_a_socket_are_flows_beside_its_own),
		cmocka_unit_test(
			what_lives_all_the_while_is_scanned_once_also_when_the_table_grows),
		cmocka_unit_test(where_a_flow_is_kept_cannot_be_known_from_its_name),
		cmocka_unit_test(all_peers_of_a_socket_can_be_taken_one_by_one),
		cmocka_unit_test(a_full_table_takes_nothing_before_one_left),
		cmocka_unit_test(the_longest_silent_flow_is_the_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
