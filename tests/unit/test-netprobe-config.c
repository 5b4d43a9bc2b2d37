/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "netprobe/config.h"

static struct config *parse(const char *text)
{
	struct config *config = NULL;
	char why[CONFIG_WHY_MAX] = "";

	if (config_parse(text, strlen(text), &config, why) != 0)
		fail_msg("'%s': %s", text, why);
	return config;
}

static void refuse(const char *text, const char *sentence)
{
	struct config *config = NULL;
	char why[CONFIG_WHY_MAX] = "";

	assert_int_equal(config_parse(text, strlen(text), &config, why), CONFIG_E_BAD);
	assert_null(config);
	if (!strstr(why, sentence))
		fail_msg("'%s': '%s' has no '%s'", text, why, sentence);
}

static void an_empty_object_collects_nothing_and_has_every_default(void **state)
{
	cleanup_config struct config *config = parse("{}");

	(void)state;
	assert_false(config->enabled);
	assert_true(config->raw);
	assert_true(config->batch);
	assert_int_equal(config->process_snapshot_interval_s, 0);
	assert_int_equal(config->external_flow_match_window_ms, 120000);
	assert_int_equal(config->tier_max, COLLECTOR_FULL);
	assert_int_equal(config->capture_interfaces.count, 0);
	assert_int_equal(config_flows_max(config), 65536);
}

static void null_is_no_interface_and_a_window_of_0_the_default(void **state)
{
	cleanup_config struct config *config = parse("{\"capture_interfaces\": null, "
						     "\"external_flow_match_window_ms\": 0}");

	(void)state;
	assert_int_equal(config->capture_interfaces.count, 0);
	assert_int_equal(config->external_flow_match_window_ms, 120000);
}

static void the_table_grows_with_interfaces_unless_its_size_is_given(void **state)
{
	cleanup_config struct config *three =
		parse("{\"capture_interfaces\": [\"a\",\"b\",\"c\"]}");
	cleanup_config struct config *given = parse("{\"capture_interfaces\": [\"a\",\"b\",\"c\"], "
						    "\"flow_table_max_entries\": 250000}");

	(void)state;
	assert_int_equal(config_flows_max(three), 196608);
	assert_int_equal(config_flows_max(given), 250000);
}

static void what_is_wrong_is_refused_with_its_key(void **state)
{
	(void)state;
	refuse("{\"enabld\": true}", "'enabld' is no key that netprobe knows");
	refuse("{\"enabled\": \"yes\"}", "enabled: expected true or false");
	refuse("{\"dpi\": {\"port\": 1}}", "dpi: 'port' is no key");
	refuse("{\"dpi\": 1}", "dpi: expected an object");
	refuse("{\"device_bindings\": [{\"ip\": \"192.0.2.1\", \"x\": 1}]}", "'x' is no key");
	refuse("{\"device_bindings\": [{\"ip\": \"192.0.2\"}]}", "'192.0.2' is no IP address");
	refuse("{\"tier_max\": \"none\"}", "tier_max: expected 'full', 'cgroup' or 'diag'");
	refuse("{\"diag_interval_ms\": 99}", "diag_interval_ms: 99 is outside 100 to 60000");
	refuse("{\"flow_table_max_entries\": 1.5}", "flow_table_max_entries: expected a whole");
	refuse("{\"flow_table_max_entries\": 4194305}", "is outside 0 to 4194304");
	refuse("{\"enabled\": true, \"enabled\": true}", "");
	refuse("{", "line 1");
}

static void interfaces_are_names_of_one_each(void **state)
{
	static const char *const wrong[] = {
		"any", "eth*", "", " ", "a b", "a/b", "a:1", "..", "sixteen_bytes_xx"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		cleanup_free char *text = NULL;

		assert_int_equal(str_format(&text, "{\"capture_interfaces\": [\"%s\"]}", wrong[i]),
				 0);
		refuse(text, "capture_interfaces");
	}
}

static void a_client_and_a_file_that_say_the_same_mean_the_same(void **state)
{
	cleanup_config struct config *file =
		parse("{\"enabled\": true, \"collector_ip\": \"192.0.2.9\", \"tier_max\": "
		      "\"diag\", \"capture_interfaces\": [\"eth0\"], "
		      "\"flow_attribution_ipc_batch\": false}");
	cleanup_config struct config *client = NULL;
	Netprobe__VisibilityAgentConfig message = NETPROBE__VISIBILITY_AGENT_CONFIG__INIT;
	char *interfaces[] = {(char *)"eth0"};
	char why[CONFIG_WHY_MAX];
	char first[CONFIG_HASH_SIZE];
	char second[CONFIG_HASH_SIZE];

	(void)state;
	message.enabled = true;
	message.collector_ip = (char *)"192.0.2.9";
	message.tier_max = (char *)"diag";
	message.n_capture_interfaces = 1;
	message.capture_interfaces = interfaces;
	message.batch_case = NETPROBE__VISIBILITY_AGENT_CONFIG__BATCH_FLOW_ATTRIBUTION_IPC_BATCH;
	message.flow_attribution_ipc_batch = false;
	assert_int_equal(config_from_wire(&message, &client, why), 0);
	config_hash(file, first);
	config_hash(client, second);
	assert_string_equal(first, second);
	assert_true(client->raw);
}

static void a_truth_value_that_is_not_given_is_not_false(void **state)
{
	Netprobe__VisibilityAgentConfig message = NETPROBE__VISIBILITY_AGENT_CONFIG__INIT;
	cleanup_config struct config *config = NULL;
	char why[CONFIG_WHY_MAX];

	(void)state;
	assert_int_equal(config_from_wire(&message, &config, why), 0);
	assert_true(config->batch);
	assert_true(config->raw);
	assert_false(config->enabled);
}

static void refuse_change(const char *to, const char *sentence)
{
	cleanup_config struct config *from =
		parse("{\"enabled\": true, \"capture_interfaces\": [\"a\", \"b\"]}");
	cleanup_config struct config *other = parse(to);
	char why[CONFIG_WHY_MAX] = "";

	assert_int_equal(config_check_change(from, other, why), sentence ? CONFIG_E_BAD : 0);
	if (sentence && !strstr(why, sentence))
		fail_msg("'%s' has no '%s'", why, sentence);
}

static void keys_of_a_restart_are_told_apart_from_live_ones(void **state)
{
	(void)state;
	refuse_change(
		"{\"capture_interfaces\": [\"b\", \"a\", \"b\"]}",
		"flow_table_max_entries can only be changed by a restart: 131072 is in force");
	refuse_change("{\"capture_interfaces\": [\"b\", \"a\", \"b\"], "
		      "\"flow_table_max_entries\": 131072, \"collector_ip\": \"::1\", "
		      "\"process_snapshot_interval_s\": 3, \"flow_attribution_ipc_batch\": false}",
		      NULL);
	refuse_change("{\"capture_interfaces\": [\"a\", \"c\"]}",
		      "capture_interfaces can only be changed by a restart");
	refuse_change("{\"capture_interfaces\": [\"a\", \"b\"], \"tier_max\": \"diag\"}",
		      "tier_max can only be changed by a restart: 'full' is in force, 'diag'");
	refuse_change("{\"capture_interfaces\": [\"a\", \"b\"], \"diag_interval_ms\": 200}",
		      "diag_interval_ms can only be changed by a restart");
}

static void a_file_that_is_too_large_is_refused_unread(void **state)
{
	cleanup_free char *text = malloc(CONFIG_SIZE_MAX + 1UL);
	struct config *config = NULL;
	char why[CONFIG_WHY_MAX];

	(void)state;
	assert_non_null(text);
	memset(text, ' ', CONFIG_SIZE_MAX + 1UL);
	assert_int_equal(config_parse(text, CONFIG_SIZE_MAX + 1UL, &config, why), CONFIG_E_BAD);
	assert_string_equal(why, "it is larger than 256 KiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_object_collects_nothing_and_has_every_default),
		cmocka_unit_test(null_is_no_interface_and_a_window_of_0_the_default),
		cmocka_unit_test(the_table_grows_with_interfaces_unless_its_size_is_given),
		cmocka_unit_test(what_is_wrong_is_refused_with_its_key),
		cmocka_unit_test(interfaces_are_names_of_one_each),
		cmocka_unit_test(a_client_and_a_file_that_say_the_same_mean_the_same),
		cmocka_unit_test(a_truth_value_that_is_not_given_is_not_false),
		cmocka_unit_test(keys_of_a_restart_are_told_apart_from_live_ones),
		cmocka_unit_test(a_file_that_is_too_large_is_refused_unread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
