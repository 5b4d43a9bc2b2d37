/* SPDX-License-Identifier: Apache-2.0 */

#include "control/front_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

typedef void (*look)(const Link__AgentReport *report);

static int look_at(void *userdata, const Link__Frame *frame)
{
	assert_int_equal(frame->body_case, LINK__FRAME__BODY_AGENT_REPORT);
	(*(look *)userdata)(frame->agent_report);
	return 1;
}

/* Sends the message as a report, and has the other end looked at. */
static void assert_sends(const Opamp__Proto__AgentToServer *message, look looker)
{
	const struct report report = {.connection = 42, .is_after_gap = true, .message = message};
	struct link *from = NULL;
	struct link *to = NULL;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(link_new(fds[0], &from), 0);
	assert_int_equal(link_new(fds[1], &to), 0);
	assert_int_equal(report_send(from, &report), 0);
	assert_int_equal(link_flush(from), 0);
	assert_int_equal(link_receive(to, look_at, &looker), 1);
	(void)link_free(from);
	(void)link_free(to);
}

static void look_at_nothing(const Link__AgentReport *report)
{
	assert_int_equal(report->connection, 42);
	assert_true(report->is_after_gap);
	assert_int_equal(report->sequence_num, 7);
	assert_null(report->description);
	assert_null(report->health);
	assert_null(report->package_statuses);
	assert_null(report->effective_config);
	assert_null(report->custom_message);
	assert_false(report->is_disconnect);
}

static void what_is_absent_stays_absent(void **state)
{
	Opamp__Proto__AgentToServer message = OPAMP__PROTO__AGENT_TO_SERVER__INIT;

	(void)state;
	message.sequence_num = 7;
	assert_true(report_is_heartbeat(&message));
	assert_sends(&message, look_at_nothing);
}

static void look_at_description(const Link__AgentReport *report)
{
	assert_non_null(report->description);
	assert_int_equal(report->description->n_identifying, 0);
	assert_int_equal(report->description->n_non_identifying, 4);
	assert_string_equal(report->description->non_identifying[0]->value, "prod");
	assert_string_equal(report->description->non_identifying[1]->value, "true");
	assert_string_equal(report->description->non_identifying[2]->value, "-5");
	assert_string_equal(report->description->non_identifying[3]->value, "");
}

static void values_of_attributes_become_text(void **state)
{
	Opamp__Proto__AgentToServer message = OPAMP__PROTO__AGENT_TO_SERVER__INIT;
	Opamp__Proto__AgentDescription description = OPAMP__PROTO__AGENT_DESCRIPTION__INIT;
	Opamp__Proto__AnyValue values[3];
	Opamp__Proto__KeyValue pairs[4];
	Opamp__Proto__KeyValue *list[4];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		opamp__proto__key_value__init(&pairs[i]);
		pairs[i].key = (char *)"key";
		list[i] = &pairs[i];
	}
	for (size_t i = 0; i < 3; i++) {
		opamp__proto__any_value__init(&values[i]);
		pairs[i].value = &values[i];
	}
	values[0].value_case = OPAMP__PROTO__ANY_VALUE__VALUE_STRING_VALUE;
	values[0].string_value = (char *)"prod";
	values[1].value_case = OPAMP__PROTO__ANY_VALUE__VALUE_BOOL_VALUE;
	values[1].bool_value = true;
	values[2].value_case = OPAMP__PROTO__ANY_VALUE__VALUE_INT_VALUE;
	values[2].int_value = -5;
	description.non_identifying_attributes = list;
	description.n_non_identifying_attributes = 4;
	message.agent_description = &description;
	assert_false(report_is_heartbeat(&message));
	assert_sends(&message, look_at_description);
}

static void look_at_health(const Link__AgentReport *report)
{
	static const char *const paths[] = {"", "demo", "demo/worker", "other"};

	assert_non_null(report->health);
	assert_int_equal(report->health->n_entries, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(report->health->entries[i]->path, paths[i]);
	assert_true(report->health->entries[0]->healthy);
	assert_string_equal(report->health->entries[2]->last_error, "boom");
}

/* A tree of four: root, demo, demo's worker, other. */
struct tree {
	Opamp__Proto__ComponentHealth nodes[4];
	Opamp__Proto__ComponentHealth__ComponentHealthMapEntry entries[3];
	Opamp__Proto__ComponentHealth__ComponentHealthMapEntry *lists[3];
};

static void grow_tree(struct tree *tree, const char *first)
{
	static const char *const keys[] = {"demo", "other", "worker"};
	static const size_t children[] = {1, 3, 2};

	for (size_t i = 0; i < 4; i++)
		opamp__proto__component_health__init(&tree->nodes[i]);
	for (size_t i = 0; i < 3; i++) {
		opamp__proto__component_health__component_health_map_entry__init(&tree->entries[i]);
		tree->entries[i].key = (char *)(i == 0 ? first : keys[i]);
		tree->entries[i].value = &tree->nodes[children[i]];
		tree->lists[i] = &tree->entries[i];
	}
	tree->nodes[0].component_health_map = tree->lists;
	tree->nodes[0].n_component_health_map = 2;
	tree->nodes[1].component_health_map = tree->lists + 2;
	tree->nodes[1].n_component_health_map = 1;
	tree->nodes[0].healthy = true;
	tree->nodes[2].last_error = (char *)"boom";
}

static void the_health_tree_becomes_a_list_of_paths_parents_first(void **state)
{
	Opamp__Proto__AgentToServer message = OPAMP__PROTO__AGENT_TO_SERVER__INIT;
	struct tree tree;

	(void)state;
	grow_tree(&tree, "demo");
	message.health = &tree.nodes[0];
	assert_sends(&message, look_at_health);
}

static void a_key_that_its_children_would_multiply_is_refused(void **state)
{
	Opamp__Proto__AgentToServer message = OPAMP__PROTO__AGENT_TO_SERVER__INIT;
	const struct report report = {.message = &message};
	char *key = calloc(1, 1000001);
	struct link *link = NULL;
	struct tree tree;
	int fds[2];

	(void)state;
	assert_non_null(key);
	memset(key, 'k', 1000000);
	grow_tree(&tree, key);
	message.health = &tree.nodes[0];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(link_new(fds[0], &link), 0);
	assert_int_equal(report_send(link, &report), 1);
	assert_int_equal(link_queued(link), 0);
	(void)link_free(link);
	(void)close(fds[1]);
	free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_absent_stays_absent),
		cmocka_unit_test(values_of_attributes_become_text),
		cmocka_unit_test(the_health_tree_becomes_a_list_of_paths_parents_first),
		cmocka_unit_test(a_key_that_its_children_would_multiply_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
