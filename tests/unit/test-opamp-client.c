/* SPDX-License-Identifier: Apache-2.0 */

#include "opamp/client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "opamp/server.h"

static const uint8_t uid[OPAMP_UID_SIZE] = "0123456789abcdef";

struct sent {
	struct opamp_arena *arena;
	Opamp__Proto__AgentToServer *message;
};

static void sent_done(struct sent *sent)
{
	sent->arena = opamp_arena_free(sent->arena);
}

static struct sent compose(struct opamp_client *client)
{
	cleanup_free uint8_t *data = NULL;
	struct sent sent = {NULL};
	size_t size = 0;

	assert_int_equal(opamp_client_compose(client, 1, &data, &size), 0);
	assert_int_equal(data[0], 0);
	assert_int_equal(opamp_decode_to_server(data + 1, size - 1, &sent.arena, &sent.message), 0);
	assert_memory_equal(sent.message->instance_uid.data, uid, OPAMP_UID_SIZE);
	assert_int_equal(sent.message->capabilities, 5);
	return sent;
}

static void set_health(struct opamp_client *client, const char *status)
{
	Opamp__Proto__ComponentHealth health = OPAMP__PROTO__COMPONENT_HEALTH__INIT;

	health.status = (char *)status;
	assert_int_equal(opamp_client_set(client, OPAMP_PART_HEALTH, &health), 0);
}

static void only_what_changed_is_sent(void **state)
{
	cleanup_opamp_client struct opamp_client *client = opamp_client_new(uid, 5);
	Opamp__Proto__RemoteConfigStatus config = OPAMP__PROTO__REMOTE_CONFIG_STATUS__INIT;

	(void)state;
	config.status = OPAMP__PROTO__REMOTE_CONFIG_STATUSES__RemoteConfigStatuses_APPLIED;
	set_health(client, "running");
	assert_int_equal(opamp_client_set(client, OPAMP_PART_REMOTE_CONFIG_STATUS, &config), 0);
	assert_true(opamp_client_has_news(client));
	{
		CLEANUP(sent_done) struct sent sent = compose(client);

		assert_int_equal(sent.message->sequence_num, 1);
		assert_string_equal(sent.message->health->status, "running");
		assert_non_null(sent.message->remote_config_status);
		assert_null(sent.message->package_statuses);
	}
	set_health(client, "running");
	assert_false(opamp_client_has_news(client));
	{
		CLEANUP(sent_done) struct sent sent = compose(client);

		assert_int_equal(sent.message->sequence_num, 2);
		assert_null(sent.message->health);
		assert_null(sent.message->remote_config_status);
	}
	set_health(client, "degraded");
	{
		CLEANUP(sent_done) struct sent sent = compose(client);

		assert_string_equal(sent.message->health->status, "degraded");
		assert_null(sent.message->remote_config_status);
	}
}

static void a_part_that_was_empty_is_sent_too(void **state)
{
	cleanup_opamp_client struct opamp_client *client = opamp_client_new(uid, 5);
	Opamp__Proto__PackageStatuses packages = OPAMP__PROTO__PACKAGE_STATUSES__INIT;

	(void)state;
	assert_int_equal(opamp_client_set(client, OPAMP_PART_PACKAGE_STATUSES, &packages), 0);
	CLEANUP(sent_done) struct sent sent = compose(client);
	assert_non_null(sent.message->package_statuses);
}

/* What the server says goes over the wire, too. */
static int handle(struct opamp_client *client, const struct opamp_offer *offer, bool *ret_changed)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__ServerToAgent *message = NULL;
	cleanup_free uint8_t *data = NULL;
	size_t size = 0;

	assert_int_equal(opamp_offer_compose(offer, 0, &data, &size), 0);
	assert_int_equal(opamp_decode_to_agent(data, size, &arena, &message), 0);
	return opamp_client_handle(client, message, ret_changed);
}

static void a_server_that_lost_track_is_told_everything(void **state)
{
	cleanup_opamp_client struct opamp_client *client = opamp_client_new(uid, 5);
	struct opamp_offer offer = {
		.uid = {uid, OPAMP_UID_SIZE},
                  .flags = 1
        };
	bool changed = true;

	(void)state;
	set_health(client, "running");
	{
		CLEANUP(sent_done) struct sent sent = compose(client);

		assert_non_null(sent.message->health);
	}
	assert_int_equal(handle(client, &offer, &changed), 0);
	assert_false(changed);
	{
		CLEANUP(sent_done) struct sent sent = compose(client);

		assert_non_null(sent.message->health);
		assert_int_equal(sent.message->sequence_num, 2);
	}
	opamp_client_restart(client);
	assert_true(opamp_client_has_news(client));
}

static void a_new_uid_is_taken_and_a_message_for_another_is_not(void **state)
{
	cleanup_opamp_client struct opamp_client *client = opamp_client_new(uid, 5);
	static const uint8_t other[OPAMP_UID_SIZE] = "fedcba9876543210";
	struct opamp_offer offer = {
		.uid = {other, OPAMP_UID_SIZE}
        };
	bool changed = true;

	(void)state;
	assert_int_equal(handle(client, &offer, &changed), 1);
	offer.uid = (struct opamp_bytes){uid, OPAMP_UID_SIZE};
	offer.new_uid = (struct opamp_bytes){other, 3};
	assert_int_equal(handle(client, &offer, &changed), 1);
	assert_memory_equal(opamp_client_uid(client), uid, OPAMP_UID_SIZE);
	offer.new_uid = (struct opamp_bytes){other, OPAMP_UID_SIZE};
	assert_int_equal(handle(client, &offer, &changed), 0);
	assert_true(changed);
	assert_memory_equal(opamp_client_uid(client), other, OPAMP_UID_SIZE);
}

static void the_last_message_says_so_and_nothing_else(void **state)
{
	cleanup_opamp_client struct opamp_client *client = opamp_client_new(uid, 5);
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__AgentToServer *message = NULL;
	cleanup_free uint8_t *data = NULL;
	size_t size = 0;

	(void)state;
	set_health(client, "running");
	assert_int_equal(opamp_client_compose_disconnect(client, 0, &data, &size), 0);
	assert_int_equal(opamp_decode_to_server(data, size, &arena, &message), 0);
	assert_non_null(message->agent_disconnect);
	assert_null(message->health);
	assert_int_equal(message->sequence_num, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_changed_is_sent),
		cmocka_unit_test(a_part_that_was_empty_is_sent_too),
		cmocka_unit_test(a_server_that_lost_track_is_told_everything),
		cmocka_unit_test(a_new_uid_is_taken_and_a_message_for_another_is_not),
		cmocka_unit_test(the_last_message_says_so_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
