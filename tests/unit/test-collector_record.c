/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <bpf/netprobe.h>

#include "netprobe/collector_private.h"
#include "netprobe/container_cache.h"

#define COOKIE 7

/* Who the last event said it was. */
static uint32_t told;

static void on_event(void *context, enum flow_event kind, const struct flow *flow)
{
	(void)context;
	(void)kind;
	told = flow->owner.tgid;
}

static int make_collector(void **state)
{
	struct collector *collector = calloc(1, sizeof(*collector));

	assert_non_null(collector);
	collector->flows = flow_table_new(8);
	collector->containers = container_cache_new(-EBADF);
	collector->processes = process_table_new(collector->containers);
	assert_true(collector->flows && collector->containers && collector->processes);
	collector->cgroup_fd = -EBADF;
	collector->seed_fd = -EBADF;
	collector->timer_fd = -EBADF;
	collector->diag_fd = -EBADF;
	collector->epoll_fd = -EBADF;
	collector->tier = COLLECTOR_FULL;
	collector->event = on_event;
	told = 0;
	*state = collector;
	return 0;
}

static int free_collector(void **state)
{
	(void)collector_free(*state);
	return 0;
}

/* Of a process that is none of this machine's. */
static struct probe_record make_record(uint32_t kind, uint8_t protocol, uint32_t tgid,
				       uint32_t version)
{
	return (struct probe_record){
		.kind = kind,
		.cookie = COOKIE,
		.time_ns = 1000,
		.tuple = {.family = AF_INET,
			  .protocol = protocol,
			  .local_port = 1000,
			  .remote_port = 80},
		.owner = {.tgid = tgid,                 .start_ns = tgid,       .version = version},
	};
}

static void play(struct collector *collector, const struct probe_record *record)
{
	collector_record(collector, record);
}

static void of_owners_that_were_written_in_another_order_the_later_one_stays(void **state)
{
	struct probe_record begin = make_record(PROBE_CONNECT, IPPROTO_TCP, 1U << 30, 2);
	struct probe_record later = make_record(PROBE_OWNER, IPPROTO_TCP, (1U << 30) + 1, 6);
	struct probe_record earlier = make_record(PROBE_OWNER, IPPROTO_TCP, 1U << 30, 4);
	struct probe_record last = make_record(PROBE_OWNER, IPPROTO_TCP, 1U << 30, 8);

	play(*state, &begin);
	assert_int_equal(told, 1U << 30);
	play(*state, &later);
	assert_int_equal(told, (1U << 30) + 1);
	play(*state, &earlier);
	assert_int_equal(told, (1U << 30) + 1);
	play(*state, &last);
	assert_int_equal(told, 1U << 30);
}

static void a_number_of_versions_that_begins_anew_is_no_earlier_one(void **state)
{
	struct probe_record begin = make_record(PROBE_CONNECT, IPPROTO_TCP, 1U << 30, 0xfffffffeU);
	struct probe_record later = make_record(PROBE_OWNER, IPPROTO_TCP, (1U << 30) + 1, 2);

	play(*state, &begin);
	play(*state, &later);
	assert_int_equal(told, (1U << 30) + 1);
}

static void what_nobody_owns_any_more_is_told_once_and_counted_when_it_ends(void **state)
{
	struct collector *collector = *state;
	struct probe_record begin = make_record(PROBE_SEND, IPPROTO_UDP, 1U << 30, 0);
	struct probe_record nobody = make_record(PROBE_SEND, IPPROTO_UDP, 0, 0);
	struct probe_record end = make_record(PROBE_CLOSE, IPPROTO_UDP, 0, 0);

	begin.flags = PROBE_CONNECTED;
	nobody.flags = PROBE_CONNECTED | PROBE_NOBODY;
	play(collector, &begin);
	assert_int_equal(collector->counts.owners_known, 1);
	play(collector, &nobody);
	assert_int_equal(told, 0);
	told = 1;
	play(collector, &nobody);
	assert_int_equal(told, 1);
	/* Known once more is not another one that is known. */
	play(collector, &begin);
	assert_int_equal(told, 1U << 30);
	assert_int_equal(collector->counts.owners_known, 1);
	end.flags = PROBE_CONNECTED | PROBE_NOBODY;
	play(collector, &end);
	assert_int_equal(told, 0);
	assert_int_equal(collector->counts.owners_unknown, 1);
}

static void a_record_without_an_owner_says_nothing_of_it(void **state)
{
	struct probe_record begin = make_record(PROBE_CONNECT, IPPROTO_TCP, 1U << 30, 2);
	struct probe_record without = make_record(PROBE_STATE, IPPROTO_TCP, 0, 0);

	play(*state, &begin);
	play(*state, &without);
	assert_int_equal(told, 1U << 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			of_owners_that_were_written_in_another_order_the_later_one_stays,
			make_collector, free_collector),
		cmocka_unit_test_setup_teardown(
			a_number_of_versions_that_begins_anew_is_no_earlier_one, make_collector,
			free_collector),
		cmocka_unit_test_setup_teardown(
			what_nobody_owns_any_more_is_told_once_and_counted_when_it_ends,
			make_collector, free_collector),
		cmocka_unit_test_setup_teardown(a_record_without_an_owner_says_nothing_of_it,
						make_collector, free_collector),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
