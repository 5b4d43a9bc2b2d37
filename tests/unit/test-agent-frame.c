/* SPDX-License-Identifier: Apache-2.0 */

#include "agent_world.h"

#include <addon_frame.pb-c.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/addon_ipc.h"
#include "agent/frame_client.h"
#include "agent/frame_config.h"
#include "base/clock.h"
#include "base/fd.h"
#include "opamp/decode.h"
#include "own_directory.h"

/* An add-on that this test is, in a directory of its own. */
struct addon {
	char directory[64];
	char path[96];
	sd_event *event;
	int listener;
	int connection;
	struct frame_client *client;
	json_t *config;
};

static int begin(void **state)
{
	struct addon *addon = calloc(1, sizeof(*addon));
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	own_directory_make(addon->directory);
	(void)snprintf(addon->path, sizeof(addon->path), "%s/ipc.sock", addon->directory);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", addon->path);
	addon->connection = -EBADF;
	addon->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(addon->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(addon->listener, 4), 0);
	assert_true(sd_event_new(&addon->event) >= 0);
	assert_int_equal(frame_client_new(addon->event, addon->path, &addon->client), 0);
	addon->config = json_pack("{s:b,s:[s],s:{s:b}}", "enabled", 1, "capture_interfaces", "eth0",
				  "dpi", "enabled", 1);
	*state = addon;
	return 0;
}

static int end(void **state)
{
	struct addon *addon = *state;

	ignore_result(frame_client_free(addon->client));
	(void)sd_event_unref(addon->event);
	(void)fd_close(addon->listener);
	(void)fd_close(addon->connection);
	json_decref(addon->config);
	own_directory_remove(addon->directory);
	free(addon);
	return 0;
}

static void spin(struct addon *addon)
{
	while (sd_event_run(addon->event, 20000) > 0)
		continue;
}

/* The next frame that the agent sent; the arena owns it. */
static Addon__Frame *receive(struct addon *addon, struct opamp_arena **ret_arena)
{
	ProtobufCMessage *message = NULL;
	char data[4096];
	uint32_t size;
	size_t n = 0;

	assert_int_equal(fd_read_full(addon->connection, &size, sizeof(size), &n), 0);
	assert_int_equal(n, sizeof(size));
	size = ntohl(size);
	assert_true(size <= sizeof(data));
	assert_int_equal(fd_read_full(addon->connection, data, size, &n), 0);
	assert_int_equal(opamp_decode(&addon__frame__descriptor, data, size, ret_arena, &message),
			 0);
	return (Addon__Frame *)message;
}

static void answer(struct addon *addon, const Addon__Frame *frame)
{
	cleanup_free uint8_t *data = NULL;
	size_t size = 0;
	uint32_t length;

	assert_int_equal(opamp_encode(frame, sizeof(length), &data, &size), 0);
	length = htonl((uint32_t)(size - sizeof(length)));
	memcpy(data, &length, sizeof(length));
	assert_int_equal(fd_write_full(addon->connection, data, size), 0);
}

static void tick(struct addon *addon, const char *key)
{
	frame_client_tick(addon->client, addon->config, key);
}

static void accept_it(struct addon *addon)
{
	addon->connection = accept4(addon->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(addon->connection >= 0);
}

/* Receives a ping and answers it. */
static void pong(struct addon *addon)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Addon__Frame *frame = receive(addon, &arena);
	Addon__Frame reply = ADDON__FRAME__INIT;
	Addon__PingAck ack = ADDON__PING_ACK__INIT;

	assert_int_equal(frame->payload_case, ADDON__FRAME__PAYLOAD_PING);
	ack.sent_at_unix_nano = frame->ping->sent_at_unix_nano;
	reply.sequence = frame->sequence;
	reply.payload_case = ADDON__FRAME__PAYLOAD_PING_ACK;
	reply.ping_ack = &ack;
	answer(addon, &reply);
	spin(addon);
}

static uint64_t applied(struct addon *addon)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Addon__Frame *frame = receive(addon, &arena);

	assert_int_equal(frame->payload_case, ADDON__FRAME__PAYLOAD_APPLY_CONFIG);
	assert_true(frame->apply_config->config->enabled);
	assert_true(frame->apply_config->config->dpi->enabled);
	assert_int_equal(frame->apply_config->config->n_capture_interfaces, 1);
	assert_string_equal(frame->apply_config->config->capture_interfaces[0], "eth0");
	return frame->sequence;
}

static void the_configuration_is_applied_on_connect_and_when_it_changes(void **state)
{
	struct addon *addon = *state;

	tick(addon, "one");
	accept_it(addon);
	assert_true(applied(addon) > 0);
	pong(addon);
	tick(addon, "one");
	pong(addon);
	tick(addon, "two");
	(void)applied(addon);
	pong(addon);
	assert_string_equal(frame_client_problem(addon->client), "");
	/* The add-on was restarted. */
	addon->connection = fd_close(addon->connection);
	spin(addon);
	assert_string_not_equal(frame_client_problem(addon->client), "");
	tick(addon, "two");
	accept_it(addon);
	(void)applied(addon);
	pong(addon);
	assert_string_equal(frame_client_problem(addon->client), "");
}

static void a_refused_configuration_is_told(void **state)
{
	struct addon *addon = *state;
	Addon__Frame reply = ADDON__FRAME__INIT;
	Addon__ErrorFrame error = ADDON__ERROR_FRAME__INIT;

	tick(addon, "one");
	accept_it(addon);
	reply.sequence = applied(addon);
	reply.payload_case = ADDON__FRAME__PAYLOAD_ERROR;
	reply.error = &error;
	error.code = (char *)"invalid_config";
	error.message = (char *)"no such interface\n";
	answer(addon, &reply);
	pong(addon);
	assert_non_null(strstr(frame_client_problem(addon->client),
			       "invalid_config: no such interface\\x0a"));
}

static void unanswered_pings_are_a_problem_until_one_is_answered(void **state)
{
	struct addon *addon = *state;

	tick(addon, "one");
	accept_it(addon);
	(void)applied(addon);
	for (unsigned i = 0; i < FRAME_MISSED_MAX; i++) {
		cleanup_opamp_arena struct opamp_arena *ping = NULL;

		assert_string_equal(frame_client_problem(addon->client), "");
		(void)receive(addon, &ping);
		tick(addon, "one");
	}
	assert_string_equal(frame_client_problem(addon->client), "it does not answer pings");
	pong(addon);
	assert_string_equal(frame_client_problem(addon->client), "");
}

static void events_are_counted_by_kind_and_not_looked_into(void **state)
{
	struct addon *addon = *state;
	Addon__Frame event = ADDON__FRAME__INIT;
	cleanup_json json_t *counted = NULL;

	tick(addon, "one");
	accept_it(addon);
	event.payload_case = ADDON__FRAME__PAYLOAD_FLOW_ATTRIBUTION_EVENT;
	event.flow_attribution_event =
		(ProtobufCBinaryData){.len = 3, .data = (uint8_t *)"\xff\xff\xff"};
	for (unsigned i = 0; i < 5; i++)
		answer(addon, &event);
	spin(addon);
	counted = frame_client_events(addon->client);
	assert_int_equal(json_integer_value(json_object_get(counted, "flow_attribution_event")), 5);
	assert_int_equal(json_object_size(counted), 1);
}

static void too_long_and_malformed_frames_end_the_connection(void **state)
{
	struct addon *addon = *state;
	static const uint8_t too_long[] = {0x00, 0x40, 0x00, 0x01};
	static const uint8_t malformed[] = {0, 0, 0, 1, 0xff};

	tick(addon, "one");
	accept_it(addon);
	assert_int_equal(fd_write_full(addon->connection, too_long, sizeof(too_long)), 0);
	spin(addon);
	assert_non_null(strstr(frame_client_problem(addon->client), "netprobe-frame/1"));
	addon->connection = fd_close(addon->connection);
	tick(addon, "one");
	accept_it(addon);
	assert_int_equal(fd_write_full(addon->connection, malformed, sizeof(malformed)), 0);
	spin(addon);
	assert_non_null(strstr(frame_client_problem(addon->client), "netprobe-frame/1"));
}

static void a_socket_in_another_users_directory_is_not_talked_to(void **state)
{
	struct addon *addon = *state;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(addon->directory, 65534, 65534), 0);
	tick(addon, "one");
	assert_string_equal(frame_client_problem(addon->client), "its socket is another user's");
}

static void json_of_the_wrong_shape_is_left_out(void **state)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	cleanup_buffer struct buffer buffer = BUFFER_INIT;
	ProtobufCMessage *message = NULL;
	json_t *json = world_json(
		"{\"enabled\":\"yes\",\"capture_interfaces\":[\"a\",7,\"b\"],\"dpi\":[],\"unknown\":1,\"flow_table_max_entries\":4294967296,\"device_bindings\":[{\"ip\":\"10.0.0.1\",\"fingerprint\":{\"tcp\":true}},3],\"collector_ip\":\"::1\"}");
	Addon__Config *config;

	(void)state;
	assert_int_equal(frame_config_encode(&addon__config__descriptor, json, &buffer), 0);
	assert_int_equal(opamp_decode(&addon__config__descriptor, buffer.data, buffer.size, &arena,
				      &message),
			 0);
	config = (Addon__Config *)message;
	assert_false(config->enabled);
	assert_int_equal(config->n_capture_interfaces, 2);
	assert_null(config->dpi);
	assert_int_equal(config->flow_table_max_entries, 0);
	assert_int_equal(config->n_device_bindings, 1);
	assert_true(config->device_bindings[0]->fingerprint->tcp);
	assert_string_equal(config->collector_ip, "::1");
	json_decref(json);
}

static const char manifest[] =
	"id: probe\nname: Probe\nversion: 1.0.0\nkind: native\ndelivery: pushed-artifact\n"
	"supervision: systemd-service\nlanguage: c\ncapabilities: [probe]\n"
	"requires: {base_agent: '>=0.1.0', platforms: [linux]}\n"
	"exec: {binary: probe}\nconfig_schema: config.schema.json\n";

static void only_addons_whose_manifest_says_so_have_a_socket(void **state)
{
	struct addon *addon = *state;
	cleanup_addon_ipc struct addon_ipc *ipc = NULL;
	struct world world;
	char path[200];
	int fd;

	world_begin(&world);
	world_offer(&world, LIST("probe", "plain"));
	world_host(&world, LIST("probe 1.0.0 p1", "plain 1.0.0 p2"));
	assert_int_equal(desired_make(&world.offer, &world.overrides, &world.desired), 0);
	for (unsigned i = 0; i < 2; i++) {
		const char *id = i == 0 ? "probe" : "plain";

		(void)snprintf(path, sizeof(path), "%s/%s", addon->directory, id);
		assert_int_equal(mkdir(path, 0755), 0);
		(void)snprintf(path, sizeof(path), "%s/%s/current", addon->directory, id);
		assert_int_equal(mkdir(path, 0755), 0);
		(void)snprintf(path, sizeof(path), "%s/%s/current/addon.yaml", addon->directory,
			       id);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		assert_int_equal(fd_write_full(fd, manifest, strlen(manifest)), 0);
		if (i == 0)
			assert_int_equal(fd_write_full(fd, "ipc: netprobe-frame/1\n", 22), 0);
		(void)fd_close(fd);
	}
	assert_int_equal(addon_ipc_new(addon->event, addon->directory, addon->directory, &ipc), 0);
	assert_int_equal(addon_ipc_tick(ipc, &world.host, &world.desired), 0);
	assert_string_equal(addon_ipc_problem(ipc, "probe"), "nobody answers at its socket");
	assert_null(addon_ipc_problem(ipc, "plain"));
	world_host(&world, NOTHING);
	assert_int_equal(addon_ipc_tick(ipc, &world.host, &world.desired), 0);
	assert_null(addon_ipc_problem(ipc, "probe"));
	world_end(&world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

/* Sends frames of a kind that nobody knows for *usec*, as fast as they are taken. */
static void pour(struct addon *addon, uint64_t usec, size_t *sent)
{
	/* Its length, then field 31 and the length of that. */
	const uint8_t frame[1024] = {0, 0, 3, 0xfc, 0xfa, 0x01, 0xf8, 0x07};
	uint64_t end = clock_monotonic_usec() + usec;

	while (clock_monotonic_usec() < end) {
		size_t at = *sent % sizeof(frame);
		ssize_t n = send(addon->connection, frame + at, sizeof(frame) - at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			*sent += (size_t)n;
		else
			ignore_result(sd_event_run(addon->event, 1000));
	}
}

static void an_addon_that_sends_without_end_is_read_from_in_measure(void **state)
{
	struct addon *addon = *state;
	size_t sent = 0;
	size_t first;

	tick(addon, "a");
	accept_it(addon);
	pour(addon, 500 * CLOCK_USEC_PER_MSEC, &sent);
	/* Of two seconds at most, and what the socket holds. */
	assert_in_range(sent, FRAME_SIZE_MAX / 2, 3 * FRAME_SIZE_MAX);
	first = sent;
	pour(addon, 1200 * CLOCK_USEC_PER_MSEC, &sent);
	assert_true(sent > first + FRAME_SIZE_MAX / 2);
	assert_string_equal(frame_client_problem(addon->client), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_addon_that_sends_without_end_is_read_from_in_measure),
		TEST(the_configuration_is_applied_on_connect_and_when_it_changes),
		TEST(a_refused_configuration_is_told),
		TEST(unanswered_pings_are_a_problem_until_one_is_answered),
		TEST(events_are_counted_by_kind_and_not_looked_into),
		TEST(too_long_and_malformed_frames_end_the_connection),
		TEST(a_socket_in_another_users_directory_is_not_talked_to),
		TEST(only_addons_whose_manifest_says_so_have_a_socket),
		cmocka_unit_test(json_of_the_wrong_shape_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
