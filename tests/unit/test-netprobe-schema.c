/* SPDX-License-Identifier: Apache-2.0 */

/* What addons/netprobe/config.schema.json lets through the daemon takes, and the other way round.
 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/json.h"
#include "manifest/schema.h"
#include "netprobe/config.h"

static char *schema_text(size_t *ret_size)
{
	const char *source = getenv("AFFIX_SOURCE");
	cleanup_free char *path = NULL;
	cleanup_fd int fd = -EBADF;
	char *text = NULL;

	if (!source)
		fail_msg("AFFIX_SOURCE does not say where the source is");
	assert_int_equal(str_format(&path, "%s/addons/netprobe/config.schema.json", source), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fd_read_all(fd, SCHEMA_SIZE_MAX, &text, ret_size), 0);
	return text;
}

static void check(const struct schema *schema, const char *text, bool is_good)
{
	cleanup_json json_t *json = json_loads(text, 0, NULL);
	cleanup_config struct config *config = NULL;
	char why[CONFIG_WHY_MAX] = "";
	char problem[256] = "";
	int r = config_parse(text, strlen(text), &config, why);

	assert_non_null(json);
	if ((r == 0) != is_good)
		fail_msg("the daemon: '%s': %s", text, why);
	r = schema_validate(schema, json, problem, sizeof(problem));
	if ((r == 0) != is_good)
		fail_msg("the schema: '%s': %s", text, problem);
}

static struct schema *load(void)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	struct schema *schema = NULL;
	size_t size = 0;
	cleanup_free char *text = schema_text(&size);

	assert_int_equal(schema_parse(text, size, "config.schema.json", &schema, &problems), 0);
	return schema;
}

static void both_take_and_refuse_the_same(void **state)
{
	static const char *const good[] = {
		"{}",
		"{\"enabled\": true}",
		"{\"flow_table_max_entries\": 4194304}",
		"{\"tier_max\": \"cgroup\"}",
		"{\"diag_interval_ms\": 0}",
		"{\"diag_interval_ms\": 100}",
		"{\"capture_interfaces\": null}",
		"{\"capture_interfaces\": [\"eth0\", \"wg-0.1\", \"a@b\"]}",
		"{\"collector_ip\": \"\"}",
		"{\"collector_ip\": \"2001:db8::1\"}",
		"{\"external_flow_match_window_ms\": 0}",
		"{\"process_snapshot_interval_s\": 86400}",
		"{\"dpi\": {\"enabled\": true, \"protocols\": [\"dns\"]}}",
		"{\"device_bindings\": [{\"ip\": \"192.0.2.1\", \"dpi\": {}, \"profile_id\": \"x\"}]}",
		"{\"device_bindings\": [{\"ip\": \"192.0.2.1\", \"fingerprint\": {\"tcp\": true}}]}",
	};
	static const char *const bad[] = {
		"{\"enabld\": true}",
		"{\"enabled\": \"true\"}",
		"{\"enabled\": null}",
		"{\"flow_table_max_entries\": -1}",
		"{\"flow_table_max_entries\": 4194305}",
		"{\"tier_max\": \"none\"}",
		"{\"tier_max\": null}",
		"{\"diag_interval_ms\": 99}",
		"{\"diag_interval_ms\": 60001}",
		"{\"capture_interfaces\": [\"any\"]}",
		"{\"capture_interfaces\": [\"eth*\"]}",
		"{\"capture_interfaces\": [\"\"]}",
		"{\"capture_interfaces\": [\"a b\"]}",
		"{\"capture_interfaces\": [\"a/b\"]}",
		"{\"capture_interfaces\": [\"sixteen_bytes_xx\"]}",
		"{\"capture_interfaces\": \"eth0\"}",
		"{\"collector_ip\": \"here\"}",
		"{\"external_flow_match_window_ms\": 86400001}",
		"{\"process_snapshot_interval_s\": 86401}",
		"{\"default_sample_interval_ms\": 4294967296}",
		"{\"dpi\": true}",
		"{\"dpi\": {\"ports\": []}}",
		"{\"device_bindings\": [{}]}",
		"{\"device_bindings\": [{\"ip\": \"host\"}]}",
		"{\"device_bindings\": [{\"ip\": \"::1\", \"fingerprint\": {\"ssh\": true}}]}",
	};
	cleanup_schema struct schema *schema = load();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		check(schema, good[i], true);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(schema, bad[i], false);
}

/* The default of a key, given, changes nothing: both say the same by it. */
static void every_default_is_what_the_daemon_does_without_the_key(void **state)
{
	size_t size = 0;
	cleanup_free char *text = schema_text(&size);
	cleanup_json json_t *schema = json_loads(text, 0, NULL);
	cleanup_config struct config *empty = NULL;
	char why[CONFIG_WHY_MAX];
	char wanted[CONFIG_HASH_SIZE];
	const char *key;
	json_t *property;
	unsigned count = 0;

	(void)state;
	assert_int_equal(config_parse("{}", 2, &empty, why), 0);
	config_hash(empty, wanted);
	json_object_foreach(json_object_get(schema, "properties"), key, property)
	{
		json_t *value = json_object_get(property, "default");
		cleanup_json json_t *config = json_pack("{s:O?}", key, value);
		cleanup_free char *given = json_dumps(config, 0);
		cleanup_config struct config *parsed = NULL;
		char hash[CONFIG_HASH_SIZE];

		if (!value)
			continue;
		if (config_parse(given, strlen(given), &parsed, why) != 0)
			fail_msg("%s: %s", given, why);
		config_hash(parsed, hash);
		assert_string_equal(hash, wanted);
		count++;
	}
	assert_true(count >= 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_take_and_refuse_the_same),
		cmocka_unit_test(every_default_is_what_the_daemon_does_without_the_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
