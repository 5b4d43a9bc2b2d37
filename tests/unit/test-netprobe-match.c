/* SPDX-License-Identifier: Apache-2.0 */

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "netprobe/match.h"

#define SECOND 1000000000LL
#define NOW    (1800000000 * SECOND)
#define WINDOW ((uint64_t)SECOND)

static uint8_t first_ip[16] = {192, 0, 2, 1};
static uint8_t second_ip[16] = {198, 51, 100, 2};

static struct flow make_flow(uint64_t cookie)
{
	struct flow flow = {.cookie = cookie,
			    .family = AF_INET,
			    .protocol = IPPROTO_TCP,
			    .local_port = 40000,
			    .remote_port = 443,
			    .started_ns = NOW - 10 * SECOND,
			    .last_ns = NOW};

	memcpy(flow.local, first_ip, 16);
	memcpy(flow.remote, second_ip, 16);
	return flow;
}

static Netprobe__ExternalFlowRecord make_record(void)
{
	Netprobe__ExternalFlowRecord record = NETPROBE__EXTERNAL_FLOW_RECORD__INIT;

	record.source_ip = (ProtobufCBinaryData){4, first_ip};
	record.destination_ip = (ProtobufCBinaryData){4, second_ip};
	record.source_port = 40000;
	record.destination_port = 443;
	record.ip_protocol = IPPROTO_TCP;
	record.time_flow_start_ns = NOW - 5 * SECOND;
	record.time_flow_end_ns = NOW - 4 * SECOND;
	return record;
}

static int find(struct match *match, const Netprobe__ExternalFlowRecord *record, uint64_t *cookie)
{
	const struct flow *flow = NULL;
	int r = match_find(match, record, WINDOW, NOW, &flow);

	if (flow && cookie)
		*cookie = flow->cookie;
	return r;
}

static void either_direction_is_the_same_flow(void **state)
{
	cleanup_match struct match *match = match_new();
	const struct flow flow = make_flow(1);
	Netprobe__ExternalFlowRecord record = make_record();

	(void)state;
	match_start(match);
	match_add(match, &flow, WINDOW, flow.ended_ns);
	assert_int_equal(find(match, &record, NULL), 0);
	record.source_ip = (ProtobufCBinaryData){4, second_ip};
	record.destination_ip = (ProtobufCBinaryData){4, first_ip};
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
	record.source_port = 443;
	record.destination_port = 40000;
	assert_int_equal(find(match, &record, NULL), 0);
	record.ip_protocol = IPPROTO_UDP;
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
}

static void living_flows_are_kept_from_the_start_on_and_ended_ones_always(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(1);
	Netprobe__ExternalFlowRecord record = make_record();

	(void)state;
	match_add(match, &flow, WINDOW, flow.ended_ns);
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
	flow.ended_ns = NOW;
	match_add(match, &flow, WINDOW, flow.ended_ns);
	assert_int_equal(find(match, &record, NULL), 0);
	match_clear(match);
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
}

static void beyond_the_window_there_is_no_match(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(1);
	Netprobe__ExternalFlowRecord record = make_record();

	(void)state;
	flow.ended_ns = NOW - 8 * SECOND;
	match_add(match, &flow, WINDOW, flow.ended_ns);
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
	record.time_flow_start_ns = (uint64_t)flow.ended_ns + WINDOW;
	assert_int_equal(find(match, &record, NULL), 0);
	record.time_flow_start_ns++;
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
	record.time_flow_end_ns = (uint64_t)flow.started_ns - WINDOW;
	record.time_flow_start_ns = 0;
	assert_int_equal(find(match, &record, NULL), 0);
	record.time_flow_end_ns--;
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
}

static void of_two_lives_of_one_pair_the_nearest_is_meant(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow old = make_flow(1);
	struct flow young = make_flow(2);
	Netprobe__ExternalFlowRecord record = make_record();
	uint64_t cookie = 0;

	(void)state;
	old.ended_ns = NOW - 6 * SECOND;
	young.started_ns = NOW - 5 * SECOND;
	young.ended_ns = NOW;
	match_add(match, &old, WINDOW * 60, old.ended_ns);
	match_add(match, &young, WINDOW * 60, young.ended_ns);
	assert_int_equal(find(match, &record, &cookie), 0);
	assert_int_equal(cookie, 2);
	record.time_flow_start_ns = NOW - 7 * SECOND;
	record.time_flow_end_ns = NOW - 6 * SECOND - 1;
	assert_int_equal(find(match, &record, &cookie), 0);
	assert_int_equal(cookie, 1);
}

static void a_living_flow_that_changes_is_one_and_moves_to_the_ended(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(1);
	Netprobe__ExternalFlowRecord record = make_record();

	(void)state;
	match_start(match);
	for (unsigned i = 0; i < 5; i++)
		match_add(match, &flow, WINDOW, flow.ended_ns);
	flow.ended_ns = NOW;
	match_add(match, &flow, WINDOW, flow.ended_ns);
	assert_int_equal(find(match, &record, NULL), 0);
	/* Another flow's end pushes it out of the window: nothing of it is left. */
	flow = make_flow(2);
	flow.local_port = 1;
	flow.ended_ns = NOW + 5 * SECOND;
	match_add(match, &flow, WINDOW, flow.ended_ns);
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
}

static void a_flow_whose_own_address_becomes_known_is_found_by_it_and_is_one(void **state)
{
	static uint8_t any[16];
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(1);
	Netprobe__ExternalFlowRecord record = make_record();

	(void)state;
	match_start(match);
	flow.protocol = IPPROTO_UDP;
	record.ip_protocol = IPPROTO_UDP;
	memcpy(flow.local, any, 16);
	match_add(match, &flow, WINDOW, NOW);
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
	memcpy(flow.local, first_ip, 16);
	match_add(match, &flow, WINDOW, NOW);
	assert_int_equal(find(match, &record, NULL), 0);
	record.source_ip.data = any;
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
}

static void few_ended_flows_are_kept_until_somebody_asks(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(0);
	Netprobe__ExternalFlowRecord record = make_record();

	(void)state;
	flow.ended_ns = NOW;
	for (unsigned i = 0; i < MATCH_ENDED_UNASKED + 10; i++) {
		flow.local_port = (uint16_t)(i + 1);
		match_add(match, &flow, WINDOW, flow.ended_ns);
	}
	record.source_port = 10;
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
	record.source_port = 11;
	assert_int_equal(find(match, &record, NULL), 0);
}

static void an_owner_is_found_with_all_its_texts(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(1);
	Netprobe__ExternalFlowRecord record = make_record();
	const struct flow *found = NULL;

	(void)state;
	flow.ended_ns = NOW;
	flow.end = FLOW_END_RESET;
	flow.owner = (struct flow_owner){.pid = 2, .tgid = 1, .uid = 3, .arguments = 4};
	memcpy(flow.owner.comm, "curl", 5);
	memset(flow.owner.cmdline, 'a', FLOW_CMDLINE_MAX - 1);
	memset(flow.owner.container_id, 'b', FLOW_CONTAINER_MAX);
	match_add(match, &flow, WINDOW, flow.ended_ns);
	assert_int_equal(match_find(match, &record, WINDOW, NOW, &found), 0);
	assert_string_equal(found->owner.comm, "curl");
	assert_string_equal(found->owner.cmdline, flow.owner.cmdline);
	assert_string_equal(found->owner.container_id, flow.owner.container_id);
	assert_int_equal(found->owner.arguments, 4);
	assert_int_equal(found->owner.uid, 3);
	assert_int_equal(found->end, FLOW_END_RESET);
	assert_int_equal(found->remote_port, 443);
}

static void the_oldest_of_too_many_ended_flows_are_forgotten(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(0);
	Netprobe__ExternalFlowRecord record = make_record();
	uint64_t cookie = 0;

	(void)state;
	match_start(match);
	flow.ended_ns = NOW;
	for (unsigned i = 0; i < MATCH_ENDED_MAX + 10; i++) {
		flow.cookie = i;
		flow.local_port = (uint16_t)(i + 1);
		match_add(match, &flow, WINDOW, flow.ended_ns);
	}
	record.source_port = 10;
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
	record.source_port = 11;
	assert_int_equal(find(match, &record, &cookie), 0);
	assert_int_equal(cookie, 10);
	record.source_port = MATCH_ENDED_MAX + 10;
	assert_int_equal(find(match, &record, NULL), 0);
}

/* ICMP has no ports: whoever pings the same host makes flows between the same two ends. */
static void of_very_many_between_the_same_ends_the_youngest_are_looked_at(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(0);
	Netprobe__ExternalFlowRecord record = make_record();
	uint64_t cookie = 0;

	(void)state;
	match_start(match);
	for (unsigned i = 0; i < 2 * MATCH_ENDED_MAX; i++) {
		flow.cookie = i;
		flow.started_ns = NOW + i * 10 * SECOND;
		flow.ended_ns = 0;
		match_add(match, &flow, WINDOW, NOW);
		flow.ended_ns = flow.started_ns + SECOND;
		match_add(match, &flow, WINDOW, NOW);
	}
	record.time_flow_start_ns = (uint64_t)flow.started_ns;
	record.time_flow_end_ns = (uint64_t)flow.started_ns;
	assert_int_equal(find(match, &record, &cookie), 0);
	assert_int_equal(cookie, 2 * MATCH_ENDED_MAX - 1);
	record.time_flow_start_ns -= 1023ULL * 10 * SECOND;
	record.time_flow_end_ns = record.time_flow_start_ns;
	assert_int_equal(find(match, &record, &cookie), 0);
	assert_int_equal(cookie, 2 * MATCH_ENDED_MAX - 1024);
	record.time_flow_start_ns -= 10ULL * SECOND;
	record.time_flow_end_ns = record.time_flow_start_ns;
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
}

static void a_living_flow_is_found_by_its_socket_among_many_between_the_same_ends(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(0);
	Netprobe__ExternalFlowRecord record = make_record();
	uint64_t cookie = 0;

	(void)state;
	match_start(match);
	for (unsigned i = 0; i < 1000; i++) {
		flow.cookie = i;
		match_add(match, &flow, WINDOW, NOW);
	}
	/* One ends, before all that the record is about. */
	flow.cookie = 500;
	flow.ended_ns = NOW - 9 * SECOND;
	match_add(match, &flow, WINDOW * 60, NOW);
	record.time_flow_start_ns = NOW - SECOND;
	record.time_flow_end_ns = NOW;
	assert_int_equal(find(match, &record, &cookie), 0);
	assert_int_equal(cookie, 999);
	/* The others end long after it, and are forgotten; of none two are left. */
	for (unsigned i = 0; i < 1000; i++) {
		flow.cookie = i;
		flow.ended_ns = NOW;
		if (i != 500)
			match_add(match, &flow, WINDOW, NOW + i * SECOND);
	}
	flow = make_flow(1000);
	flow.local_port = 1;
	flow.ended_ns = NOW;
	match_add(match, &flow, WINDOW, NOW + 2000 * SECOND);
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
}

/* A datagram socket goes on to have a flow with a peer when it is connected to it. */
static void of_two_living_flows_of_one_socket_and_the_same_ends_the_younger_is_meant(void **state)
{
	for (int turn = 0; turn < 2; turn++) {
		cleanup_match struct match *match = match_new();
		struct flow flows[] = {make_flow(1), make_flow(1)};
		Netprobe__ExternalFlowRecord record = make_record();
		const struct flow *found = NULL;

		(void)state;
		flows[0].owner.tgid = 10;
		flows[1].owner.tgid = 11;
		flows[1].started_ns += SECOND;
		match_start(match);
		match_add(match, &flows[turn], WINDOW, NOW);
		match_add(match, &flows[1 - turn], WINDOW, NOW);
		assert_int_equal(match_find(match, &record, WINDOW, NOW, &found), 0);
		assert_int_equal(found->owner.tgid, 11);
		/* Before the younger one began. */
		record.time_flow_start_ns = (uint64_t)flows[0].started_ns;
		record.time_flow_end_ns = record.time_flow_start_ns + 1;
		assert_int_equal(match_find(match, &record, WINDOW, NOW, &found), 0);
		assert_int_equal(found->owner.tgid, 10);
		/* The end of one is not that of the other. */
		flows[1].ended_ns = NOW - 8 * SECOND;
		match_add(match, &flows[1], WINDOW, NOW);
		record = make_record();
		assert_int_equal(match_find(match, &record, WINDOW, NOW, &found), 0);
		assert_int_equal(found->owner.tgid, 10);
	}
}

static void the_same_ends_in_two_networks_are_nobodys_unless_the_record_says_which(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flows[] = {make_flow(1), make_flow(2)};
	Netprobe__ExternalFlowRecord record = make_record();
	uint64_t cookie = 0;

	(void)state;
	match_start(match);
	for (unsigned i = 0; i < 2; i++) {
		flows[i].netns = 100 + i;
		flows[i].owner.tgid = 10;
		match_add(match, &flows[i], WINDOW, NOW);
	}
	/* One process is in both. */
	assert_int_equal(find(match, &record, NULL), 0);
	flows[1].owner.started_ns = 5;
	match_add(match, &flows[1], WINDOW, NOW);
	assert_int_equal(find(match, &record, NULL), MATCH_E_AMBIGUOUS);
	for (unsigned i = 0; i < 2; i++) {
		record.network_namespace = 100 + i;
		assert_int_equal(find(match, &record, &cookie), 0);
		assert_int_equal(cookie, 1 + i);
	}
	record.network_namespace = 102;
	assert_int_equal(find(match, &record, NULL), MATCH_E_NONE);
	/* One that is nearer is none of two. */
	record = make_record();
	flows[1].ended_ns = NOW - 6 * SECOND;
	match_add(match, &flows[1], WINDOW * 60, NOW);
	assert_int_equal(find(match, &record, &cookie), 0);
	assert_int_equal(cookie, 1);
}

static void sockets_of_several_processes_with_one_port_and_peer_are_nobodys(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flows[] = {make_flow(1), make_flow(2)};
	Netprobe__ExternalFlowRecord record = make_record();

	(void)state;
	match_start(match);
	for (unsigned i = 0; i < 2; i++) {
		flows[i].protocol = IPPROTO_UDP;
		flows[i].started_ns += i;
		flows[i].owner.tgid = 10 + i;
		match_add(match, &flows[i], WINDOW, NOW);
	}
	record.ip_protocol = IPPROTO_UDP;
	assert_int_equal(find(match, &record, NULL), MATCH_E_AMBIGUOUS);
}

/* As over loopback, or between two containers: each has its end. */
static void both_ends_of_one_flow_are_not_two(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(1);
	struct flow other = make_flow(2);
	Netprobe__ExternalFlowRecord record = make_record();
	uint64_t cookie = 0;

	(void)state;
	flow.owner.tgid = 10;
	other.owner.tgid = 11;
	other.started_ns++;
	memcpy(other.local, flow.remote, 16);
	memcpy(other.remote, flow.local, 16);
	other.local_port = flow.remote_port;
	other.remote_port = flow.local_port;
	match_start(match);
	match_add(match, &flow, WINDOW, NOW);
	match_add(match, &other, WINDOW, NOW);
	assert_int_equal(find(match, &record, &cookie), 0);
	assert_int_equal(cookie, 2);
}

static void what_no_flow_can_be_found_by_is_invalid(void **state)
{
	cleanup_match struct match *match = match_new();
	Netprobe__ExternalFlowRecord empty = NETPROBE__EXTERNAL_FLOW_RECORD__INIT;
	Netprobe__ExternalFlowRecord record = make_record();

	(void)state;
	assert_int_equal(find(match, &empty, NULL), MATCH_E_INVALID);
	record.source_ip.len = 5;
	assert_int_equal(find(match, &record, NULL), MATCH_E_INVALID);
	record.source_ip.len = 16;
	assert_int_equal(find(match, &record, NULL), MATCH_E_INVALID);
	record = make_record();
	record.source_port = 0;
	assert_int_equal(find(match, &record, NULL), MATCH_E_INVALID);
	record.source_port = 65536;
	assert_int_equal(find(match, &record, NULL), MATCH_E_INVALID);
	record = make_record();
	record.ip_protocol = 47;
	assert_int_equal(find(match, &record, NULL), MATCH_E_INVALID);
}

static void icmp_has_no_ports_whatever_the_record_says(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(1);
	Netprobe__ExternalFlowRecord record = make_record();

	(void)state;
	flow.protocol = IPPROTO_ICMP;
	flow.local_port = 0;
	flow.remote_port = 0;
	flow.ended_ns = NOW;
	match_add(match, &flow, WINDOW, flow.ended_ns);
	record.ip_protocol = 0;
	record.transport_protocol = (char *)"ICMP";
	record.destination_port = 2048;
	assert_int_equal(find(match, &record, NULL), 0);
}

static void mapped_addresses_are_ipv4(void **state)
{
	cleanup_match struct match *match = match_new();
	struct flow flow = make_flow(1);
	Netprobe__ExternalFlowRecord record = make_record();
	uint8_t source[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 1};

	(void)state;
	flow.ended_ns = NOW;
	match_add(match, &flow, WINDOW, flow.ended_ns);
	record.source_ip = (ProtobufCBinaryData){16, source};
	assert_int_equal(find(match, &record, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(either_direction_is_the_same_flow),
		cmocka_unit_test(living_flows_are_kept_from_the_start_on_and_ended_ones_always),
		cmocka_unit_test(beyond_the_window_there_is_no_match),
		cmocka_unit_test(of_two_lives_of_one_pair_the_nearest_is_meant),
		cmocka_unit_test(a_living_flow_that_changes_is_one_and_moves_to_the_ended),
		cmocka_unit_test(a_flow_whose_own_address_becomes_known_is_found_by_it_and_is_one),
		cmocka_unit_test(few_ended_flows_are_kept_until_somebody_asks),
		cmocka_unit_test(an_owner_is_found_with_all_its_texts),
		cmocka_unit_test(the_oldest_of_too_many_ended_flows_are_forgotten),
		cmocka_unit_test(of_very_many_between_the_same_ends_the_youngest_are_looked_at),
		cmocka_unit_test(
			a_living_flow_is_found_by_its_socket_among_many_between_the_same_ends),
		cmocka_unit_test(
			of_two_living_flows_of_one_socket_and_the_same_ends_the_younger_is_meant),
		cmocka_unit_test(
			the_same_ends_in_two_networks_are_nobodys_unless_the_record_says_which),
		cmocka_unit_test(sockets_of_several_processes_with_one_port_and_peer_are_nobodys),
		cmocka_unit_test(both_ends_of_one_flow_are_not_two),
		cmocka_unit_test(what_no_flow_can_be_found_by_is_invalid),
		cmocka_unit_test(icmp_has_no_ports_whatever_the_record_says),
		cmocka_unit_test(mapped_addresses_are_ipv4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
