/* SPDX-License-Identifier: Apache-2.0 */

#include "manifest/manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A manifest with only what is required; tests change lines of it. */
#define ID          "id: demo\n"
#define NAME        "name: Demo\n"
#define VERSION     "version: 1.2.3\n"
#define KIND        "kind: native\n"
#define DELIVERY    "delivery: pushed-artifact\n"
#define SUPERVISION "supervision: systemd-service\n"
#define FEATURES    "capabilities: [demo]\n"
#define REQUIRES    "requires: {base_agent: '>=1.0.0', platforms: [linux]}\n"
#define EXEC        "exec: {binary: demo}\n"
#define SCHEMA      "config_schema: config.schema.json\n"
#define HEAD        ID NAME VERSION KIND DELIVERY
#define SMALLEST    HEAD SUPERVISION FEATURES REQUIRES EXEC SCHEMA

static struct manifest *parse(const char *text)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	struct manifest *manifest = NULL;
	int r = manifest_parse(text, strlen(text), "addon.yaml", &manifest, &problems);

	for (size_t i = 0; i < problems.count; i++)
		print_message("%u:%u: %s\n", problems.items[i].line, problems.items[i].column,
			      problems.items[i].message);
	assert_int_equal(r, 0);
	assert_int_equal(problems.count, 0);
	assert_non_null(manifest);
	return manifest;
}

static struct diagnostics problems_of(const char *text, size_t size)
{
	struct diagnostics problems = DIAGNOSTICS_INIT;
	struct manifest *manifest = NULL;

	assert_int_equal(manifest_parse(text, size, "addon.yaml", &manifest, &problems), 1);
	assert_null(manifest);
	assert_true(problems.count > 0);
	for (size_t i = 0; i < problems.count; i++)
		assert_int_equal(problems.items[i].code, REFUSAL_BAD_MANIFEST);
	return problems;
}

static bool has(const struct diagnostics *problems, unsigned line, unsigned column,
		const char *part)
{
	for (size_t i = 0; i < problems->count; i++) {
		const struct diagnostic *item = &problems->items[i];

		if (item->line == line && item->column == column && strstr(item->message, part))
			return true;
	}
	for (size_t i = 0; i < problems->count; i++)
		print_message("%u:%u: %s\n", problems->items[i].line, problems->items[i].column,
			      problems->items[i].message);
	return false;
}

/* The text has exactly this one problem. */
static void assert_problem(const char *text, unsigned line, unsigned column, const char *part)
{
	cleanup_diagnostics struct diagnostics problems = problems_of(text, strlen(text));

	if (!has(&problems, line, column, part))
		fail_msg("no '%s' at %u:%u", part, line, column);
	if (problems.count != 1)
		fail_msg("%zu problems: %s, %s", problems.count, problems.items[0].message,
			 problems.items[1].message);
}

static void smallest_manifest_gets_its_defaults(void **state)
{
	cleanup_manifest struct manifest *manifest = parse(SMALLEST);

	(void)state;
	assert_string_equal(manifest->id, "demo");
	assert_string_equal(manifest->run_as, "affix-demo");
	assert_string_equal(manifest->config_schema, "config.schema.json");
	assert_null(manifest->description);
	assert_null(manifest->ipc);
	assert_int_equal(manifest->health.window_seconds, 10);
	assert_int_equal(manifest->health.max_restarts, 0);
	assert_true(manifest->health.run_once);
	assert_null(manifest->health.ready_socket);
	assert_int_equal(manifest->limits.memory_max_bytes, 0);
	assert_false(manifest->file_capabilities);
}

static void every_value_is_read(void **state)
{
	cleanup_manifest struct manifest *manifest = parse(
		HEAD "supervision: systemd-timer\n"
		     "description: |\n  one\n  two\n"
		     "capabilities: [b, a]\n"
		     "requires:\n"
		     "  base_agent: '>=1.0.0'\n"
		     "  platforms: [linux, darwin]\n"
		     "  os_capabilities: [NET_RAW, Cap_Bpf, cap_perfmon]\n"
		     "  run_as: root\n"
		     "  agent_capabilities: [relay]\n"
		     "exec: {binary: x, install_path: /usr/bin/x, args: [-a, -a], "
		     "file_capabilities: true}\n"
		     "resources: {cpu_max_percent: 50, memory_high_bytes: 1, memory_max_bytes: 2, "
		     "tasks_max: 3, slice: a.slice}\n"
		     "state_dirs: [/var/lib/affix/demo, /var/log/affix/demo/x]\n"
		     "health: {window_seconds: 900, max_restarts: 2, run_once: false, "
		     "ready_socket: /run/affix/demo/s}\n"
		     "ipc: demo/1\n" SCHEMA);

	(void)state;
	assert_int_equal(manifest->delivery, MANIFEST_DELIVERY_PUSHED_ARTIFACT);
	assert_int_equal(manifest->supervision, MANIFEST_SUPERVISION_SYSTEMD_TIMER);
	assert_string_equal(manifest->description, "one\ntwo\n");
	assert_int_equal(manifest->capabilities.count, 2);
	assert_string_equal(manifest->capabilities.items[0], "b");
	assert_int_equal(manifest->os_capabilities.count, 3);
	assert_string_equal(manifest->os_capabilities.items[0], "cap_net_raw");
	assert_string_equal(manifest->os_capabilities.items[1], "cap_bpf");
	assert_int_equal(manifest_capability_mask(&manifest->os_capabilities),
			 1ULL << 13 | 1ULL << 39 | 1ULL << 38);
	assert_string_equal(manifest->run_as, "root");
	assert_string_equal(manifest->agent_capabilities.items[0], "relay");
	assert_true(manifest->file_capabilities);
	assert_int_equal(manifest->exec_args.count, 2);
	assert_string_equal(manifest->exec_install_path, "/usr/bin/x");
	assert_int_equal(manifest->limits.cpu_max_percent, 50);
	assert_int_equal(manifest->limits.memory_high_bytes, 1);
	assert_int_equal(manifest->limits.memory_max_bytes, 2);
	assert_int_equal(manifest->limits.tasks_max, 3);
	assert_string_equal(manifest->slice, "a.slice");
	assert_string_equal(manifest->state_dirs.items[1], "/var/log/affix/demo/x");
	assert_int_equal(manifest->health.window_seconds, 900);
	assert_int_equal(manifest->health.max_restarts, 2);
	assert_false(manifest->health.run_once);
	assert_string_equal(manifest->health.ready_socket, "/run/affix/demo/s");
	assert_string_equal(manifest->ipc, "demo/1");
}

/* delivery case 101 */
static void fields_for_other_agents_are_understood(void **state)
{
	cleanup_manifest struct manifest *manifest =
		parse(SMALLEST "language: go\n"
			       "plugin: {protocol: grpc, app_protocol_version: 1}\n"
			       "artifacts:\n"
			       "- {os: linux, arch: arm64, object_key: k, sha256: "
			       "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef}\n"
			       "producer_schedules:\n"
			       "- {schedule_id: s, label: l, action_id: a.b, command_type: "
			       "addon.run_command, default_cadence_seconds: 60, other: [1]}\n"
			       "signal_schemas:\n"
			       "- {id: s, version: '1', signal_type: log, payload_kind: otel_log, "
			       "payload_schema: a/b.json, display_contract: c.json, "
			       "display_contract_id: d, display_contract_version: 2}\n");

	(void)state;
	assert_string_equal(manifest->name, "Demo");
}

/* delivery case 102 */
static void all_problems_are_told_at_once_with_their_places(void **state)
{
	static const char text[] =
		ID NAME VERSION KIND "delivery: carrier-pigeon\n" SUPERVISION FEATURES REQUIRES
				     "exec:\n  binary: demo\n  file_capabilities: maybe\n";
	cleanup_diagnostics struct diagnostics problems = problems_of(text, strlen(text));

	(void)state;
	assert_int_equal(problems.count, 3);
	assert_true(
		has(&problems, 5, 11, "'delivery' is 'carrier-pigeon', expected 'compiled-in'"));
	assert_true(has(&problems, 1, 1, "'config_schema' is missing"));
	assert_true(has(&problems, 11, 22, "'exec.file_capabilities' must be true or false"));
}

/* delivery case 103 */
static void each_wrong_field_is_a_problem_of_its_own(void **state)
{
	(void)state;
	assert_problem(NAME VERSION KIND DELIVERY SUPERVISION FEATURES REQUIRES EXEC SCHEMA, 1, 1,
		       "'id' is missing");
	assert_problem(SMALLEST "surprise: 1\n", 11, 1, "'surprise' is not a known key");
	assert_problem(HEAD "supervision: cron-daemon\n" FEATURES REQUIRES EXEC SCHEMA, 6, 14,
		       "'supervision' is 'cron-daemon'");
	assert_problem(HEAD SUPERVISION "capabilities: []\n" REQUIRES EXEC SCHEMA, 7, 15,
		       "'capabilities' is an empty list");
	assert_problem(SMALLEST "exec2: 1\n", 11, 1, "did you mean 'exec'?");
	assert_problem(HEAD SUPERVISION FEATURES REQUIRES SCHEMA
		       "exec: {binary: x, install_path: usr/x}\n",
		       10, 33, "'exec.install_path' is 'usr/x'");
	assert_problem(HEAD SUPERVISION FEATURES EXEC SCHEMA
		       "requires: {base_agent: '>=1.0.0', platforms: [solaris]}\n",
		       10, 47, "'requires.platforms[0]' is 'solaris'");
	assert_problem(
		ID NAME
		"version: not-semver\n" KIND DELIVERY SUPERVISION FEATURES REQUIRES EXEC SCHEMA,
		3, 10, "'version' is 'not-semver'");
	assert_problem(SMALLEST "resources: {cpu_max_percent: 0}\n", 11, 30, "from 1 to");
	assert_problem(SMALLEST "resources: {memory_max_bytes: 0}\n", 11, 31, "from 1 to");
	assert_problem(SMALLEST "resources: {nice: 1}\n", 11, 13, "'resources.nice'");
}

#define SIGNAL                                                                \
	"id: s, version: 1, payload_kind: otel_log, display_contract_id: d, " \
	"display_contract_version: 1, "

/* delivery case 103 */
static void signal_schemas_are_held_to_their_shape(void **state)
{
	(void)state;
	assert_problem(SMALLEST "signal_schemas:\n- {" SIGNAL
				"signal_type: log, payload_schema: a.json}\n",
		       12, 3, "'signal_schemas[0].display_contract' is missing");
	assert_problem(SMALLEST "signal_schemas:\n"
				"- {signal_type: metric, " SIGNAL
				"payload_schema: a.json, display_contract: b.json}\n",
		       12, 17, "'signal_schemas[0].signal_type' is 'metric'");
	assert_problem(SMALLEST "signal_schemas:\n"
				"- {payload_schema: ../x.json, " SIGNAL
				"signal_type: log, display_contract: b.json}\n",
		       12, 20, "'signal_schemas[0].payload_schema' is '../x.json'");
	assert_problem(SMALLEST "signal_schemas: {}\n", 11, 17, "must be a list");
	assert_problem(SMALLEST "signal_schemas: [x]\n", 11, 18, "must be a mapping");
}

static void types_are_not_guessed(void **state)
{
	(void)state;
	assert_problem(ID
		       "name: 5\n" VERSION KIND DELIVERY SUPERVISION FEATURES REQUIRES EXEC SCHEMA,
		       2, 7, "'name' must be text (write it in quotes), but is a whole number");
	assert_problem(ID "name:\n" VERSION KIND DELIVERY SUPERVISION FEATURES REQUIRES EXEC SCHEMA,
		       2, 1, "'name' must be text, but is empty");
	assert_problem(ID NAME
		       "version: 1.0\n" KIND DELIVERY SUPERVISION FEATURES REQUIRES EXEC SCHEMA,
		       3, 10, "but is a number");
	assert_problem(SMALLEST "health: {window_seconds: '10'}\n", 11, 26, "a whole number");
	assert_problem(SMALLEST "health: {window_seconds: 0x10}\n", 11, 26, "a whole number");
	assert_problem(SMALLEST "health: {window_seconds: 1.0}\n", 11, 26, "a whole number");
	assert_problem(SMALLEST "health: {window_seconds: -1}\n", 11, 26, "from 1 to 900");
	assert_problem(SMALLEST "health: {window_seconds: 901}\n", 11, 26, "from 1 to 900");
	assert_problem(SMALLEST "health: {window_seconds: 99999999999999999999}\n", 11, 26,
		       "from 1 to 900");
	assert_problem(SMALLEST "health: {max_restarts: [1]}\n", 11, 24, "but is a list");
	assert_problem(SMALLEST "health: yes\n", 11, 9, "must be a mapping, but is text");
	assert_problem(SMALLEST "state_dirs: x\n", 11, 13, "must be a list");
	assert_problem(SMALLEST "plugin: {protocol: grpc, app_protocol_version: true}\n", 11, 48,
		       "but is true or false");
	assert_problem("- id\n", 1, 1, "must be a mapping, but is a list");
	assert_problem("", 1, 1, "empty");
	assert_problem("# nothing\n", 1, 1, "empty");
}

static void text_holds_no_control_bytes(void **state)
{
	(void)state;
	assert_problem(
		ID
		"name: \"a\\eb\"\n" VERSION KIND DELIVERY SUPERVISION FEATURES REQUIRES EXEC SCHEMA,
		2, 7, "'name' is 'a\\x1bb', expected text");
	assert_problem(
		ID
		"name: \"a\\nb\"\n" VERSION KIND DELIVERY SUPERVISION FEATURES REQUIRES EXEC SCHEMA,
		2, 7, "single line");
	assert_problem(SMALLEST "description: \"\\x9b31m\"\n", 11, 14, "control bytes");
	assert_problem(SMALLEST "resources: {slice: \"a\\n.slice\"}\n", 11, 20, "slice");
}

static void id_is_words_and_not_reserved(void **state)
{
	static const char *const good[] = {"a",
					   "netprobe",
					   "node-exporter",
					   "a1-b2-c3",
					   "agents",
					   "updaterly",
					   "abcdefghijklmnopqrstuvwxy"};
	static const char *const bad[] = {"",
					  "1a",
					  "A",
					  "a_b",
					  "a--b",
					  "-a",
					  "a-",
					  "a b",
					  "a.b",
					  "../../etc",
					  "a/b",
					  "a\n",
					  "agent",
					  "updater",
					  "admin",
					  "guestd",
					  "control",
					  "updater-recover",
					  "vm",
					  "vm-ssh-keys",
					  "addons",
					  "affix",
					  "versions",
					  "current",
					  "trust",
					  "local",
					  "images",
					  "registry",
					  "abcdefghijklmnopqrstuvwxyz"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(manifest_id_is_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(manifest_id_is_valid(bad[i]));
	assert_problem(
		"id: Demo\n" NAME VERSION KIND DELIVERY SUPERVISION FEATURES REQUIRES EXEC SCHEMA,
		1, 5, "'id' is 'Demo', expected lower-case words");
}

static void capabilities_are_linux_capabilities_in_any_spelling(void **state)
{
	(void)state;
	assert_int_equal(manifest_capability_from_string("cap_chown"), 0);
	assert_int_equal(manifest_capability_from_string("cap_checkpoint_restore"), 40);
	assert_int_equal(manifest_capability_from_string("CAP_BPF"), -EINVAL);
	assert_problem(HEAD SUPERVISION FEATURES EXEC SCHEMA
		       "requires: {base_agent: '1.0.0', platforms: [linux], os_capabilities: "
		       "[cap_everything]}\n",
		       10, 71,
		       "'requires.os_capabilities[0]' is 'cap_everything', expected a Linux");
	assert_problem(
		HEAD SUPERVISION FEATURES EXEC SCHEMA
		"requires: {base_agent: '1.0.0', platforms: [linux], os_capabilities: [all]}\n",
		10, 71, "expected a Linux capability");
	assert_problem(HEAD SUPERVISION FEATURES EXEC SCHEMA
		       "requires: {base_agent: '1.0.0', platforms: [linux], os_capabilities: "
		       "['cap_net_raw+eip,cap_sys_ptrace']}\n",
		       10, 71, "expected a Linux capability");
	assert_problem(HEAD SUPERVISION FEATURES EXEC SCHEMA
		       "requires: {base_agent: '1.0.0', platforms: [linux], os_capabilities: "
		       "[BPF, cap_bpf]}\n",
		       10, 76, "each value once");
}

static void rules_over_several_fields_hold(void **state)
{
	(void)state;
	assert_problem(SMALLEST "resources:\n  memory_high_bytes: 3\n  memory_max_bytes: 2\n", 12,
		       22, "must not be more than 'resources.memory_max_bytes'");
	assert_problem(HEAD SUPERVISION FEATURES REQUIRES SCHEMA
		       "exec: {binary: x, file_capabilities: true}\n",
		       10, 38, "needs 'requires.os_capabilities'");
	assert_problem(SMALLEST "health: {run_once: true}\n", 11, 10, "'systemd-timer' only");
	assert_problem(HEAD SUPERVISION FEATURES REQUIRES
		       "exec: {binary: a.json}\nconfig_schema: a.json\n",
		       10, 16, "the same file");
	assert_problem(SMALLEST "health: {ready_socket: /run/affix/other/s}\n", 11, 24,
		       "below /run/affix/demo/");
	assert_problem(SMALLEST "health: {ready_socket: /run/affix/demo}\n", 11, 24,
		       "below /run/affix/demo/");
	assert_problem(SMALLEST "health: {ready_socket: /run/affix/demo-x/s}\n", 11, 24,
		       "below /run/affix/demo/");
	assert_problem(SMALLEST "health: {ready_socket: /run/affix/demo/../x/s}\n", 11, 24,
		       "without '.' or '..'");
	assert_problem(SMALLEST
		       "health: {ready_socket: /run/affix/demo/"
		       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		       "aaaaaaaaaaaaaaaaa}\n",
		       11, 24, "107 bytes");
}

static void state_directories_are_its_own(void **state)
{
	(void)state;
	assert_problem(SMALLEST "state_dirs: [/var/lib/affix/demo, /var/lib/affix]\n", 11, 35,
		       "a state directory must be /var/lib/affix/demo");
	assert_problem(SMALLEST "state_dirs: [/var/lib/affix/updater]\n", 11, 14, "must be");
	assert_problem(SMALLEST "state_dirs: [/var/lib/affix/demo2]\n", 11, 14, "must be");
	assert_problem(SMALLEST "state_dirs: [/etc]\n", 11, 14, "must be");
	assert_problem(SMALLEST "state_dirs: [relative]\n", 11, 14, "an absolute path");
	assert_problem(SMALLEST "state_dirs: ['/var/lib/affix/demo/%h']\n", 11, 14,
		       "an absolute path");
	assert_problem(SMALLEST "state_dirs: [/var/lib/affix/demo/a, /var/lib/affix/demo/a]\n", 11,
		       37, "each value once");
	assert_problem(SMALLEST "ipc: demo/1\nstate_dirs: [/run/affix/demo]\n", 12, 14,
		       "made for 'ipc' already");
}

static void names_in_the_bundle_are_single_and_plain(void **state)
{
	static const char *const bad[] = {"../evil",   "a/b",     ".hidden",    "-rf", "a b", "..",
					  "x.service", "x.timer", "addon.yaml", "a%b", "a$b"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char text[1024];

		(void)snprintf(text, sizeof(text), "%sexec: {binary: '%s'}\n",
			       HEAD SUPERVISION FEATURES REQUIRES SCHEMA, bad[i]);
		assert_problem(text, 10, 16, "'exec.binary' is");
	}
	assert_problem(HEAD SUPERVISION FEATURES REQUIRES EXEC "config_schema: ../a.json\n", 10, 16,
		       "'config_schema' is");
	assert_problem(HEAD SUPERVISION FEATURES REQUIRES EXEC "config_schema: schema.yaml\n", 10,
		       16, "a .json file");
	assert_problem(HEAD SUPERVISION FEATURES REQUIRES EXEC "config_schema: ''\n", 10, 16,
		       "1 to 4096");
	assert_problem(SMALLEST "ipc: Demo\n", 11, 6, "'netprobe-frame/1'");
	assert_problem(SMALLEST "ipc: demo/0\n", 11, 6, "'netprobe-frame/1'");
	assert_problem(HEAD SUPERVISION FEATURES EXEC SCHEMA
		       "requires: {base_agent: latest, platforms: [linux]}\n",
		       10, 24, "'requires.base_agent' is 'latest'");
	assert_problem(HEAD SUPERVISION FEATURES EXEC SCHEMA
		       "requires: {base_agent: 1.0.0, platforms: [linux], run_as: 'a:b'}\n",
		       10, 59, "a user name");
}

static void keys_for_others_are_ignored_everywhere(void **state)
{
	cleanup_manifest struct manifest *manifest =
		parse(SMALLEST "x-a: {b: [c]}\nhealth: {x-b: 1}\nresources: {x-c: 1}\n");

	(void)state;
	assert_non_null(manifest);
	assert_problem(SMALLEST "x_a: 1\n", 11, 1, "not a known key");
}

static void yaml_that_can_surprise_is_refused(void **state)
{
	(void)state;
	assert_problem(SMALLEST "x-a: &anchor 1\n", 11, 14, "anchors");
	assert_problem(SMALLEST "x-a: !!str 1\n", 11, 12, "tags");
	assert_problem(SMALLEST "x-a: {<<: 1}\n", 11, 7, "merge keys");
	assert_problem(SMALLEST "id: other\n", 11, 1, "'id' is given twice");
	assert_problem(SMALLEST "health: {max_restarts: 1, x-y: [1, 2], max_restarts: 2}\n", 11, 40,
		       "given twice");
	assert_problem(SMALLEST "? [a]\n: 1\n", 11, 3, "a key is not text");
	assert_problem(SMALLEST "---\n" SMALLEST, 11, 1, "a second document");
	assert_problem("%YAML 1.2\n---\n" SMALLEST, 1, 1, "directives");
	assert_problem(SMALLEST "x-a: [1\n", 12, 1, "YAML: ");
	assert_problem(SMALLEST "x-a: '\xff'\n", 11, 7, "the byte 0xff is not UTF-8");
	assert_problem("\xff\xfei\n", 1, 1, "the byte 0xff is not UTF-8");
}

static void aliases_are_refused_and_not_followed(void **state)
{
	static const char text[] = ID "name: &a Demo\ndescription: *a\n" VERSION KIND DELIVERY
		SUPERVISION FEATURES REQUIRES EXEC SCHEMA;
	cleanup_diagnostics struct diagnostics problems = problems_of(text, strlen(text));

	(void)state;
	assert_int_equal(problems.count, 2);
	assert_true(has(&problems, 2, 10, "anchors"));
	assert_true(has(&problems, 3, 15, "aliases"));
}

static void hostile_text_is_refused_soon(void **state)
{
	static const char *const pieces[] = {"[",  "{",  "[a, ", "? ",  "- ",  "{:",   ",",   ": ",
					     "\n", "\"", "&a ",  "!t ", "[\n", "a:\n", "|\n", "*"};
	cleanup_free char *text = malloc(MANIFEST_SIZE_MAX + 2);

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
		size_t length = strlen(pieces[i]);
		size_t n = 0;

		for (; n + length <= MANIFEST_SIZE_MAX; n += length)
			memcpy(text + n, pieces[i], length);
		problems = problems_of(text, n);
		assert_true(problems.count <= DIAGNOSTICS_MAX);
	}
	memset(text, '#', MANIFEST_SIZE_MAX + 1);
	text[MANIFEST_SIZE_MAX + 1] = '\0';
	assert_problem(text, 1, 1, "larger than 256 KiB");
	assert_int_equal(text[0], '#');
}

static void what_the_scanner_is_slow_or_greedy_with_is_refused_before(void **state)
{
	cleanup_free char *text = malloc(MANIFEST_SIZE_MAX);
	static const char start[] = "a: |\n";

	(void)state;
	assert_non_null(text);
	memset(text, ' ', MANIFEST_SIZE_MAX);
	memcpy(text, start, strlen(start));
	for (size_t i = strlen(start) + 1; i < MANIFEST_SIZE_MAX; i += 2)
		text[i] = '\n';
	text[MANIFEST_SIZE_MAX - 1] = '\0';
	assert_problem(text, 514, 1, "more than 1024 blanks");
	memset(text, '[', MANIFEST_SIZE_MAX - 1);
	assert_problem(text, 1, 1, "more than 16384 brackets");
}

static void nul_byte_is_refused_where_it_stands(void **state)
{
	static const char text[] = SMALLEST "x-a: a\0b\n";
	static const char behind_others[] = "\xef\xbb\xbfx-a: 1\r\nx-b: 1\rx-c: \xc3\xa4\0";
	cleanup_diagnostics struct diagnostics problems = problems_of(text, sizeof(text) - 1);
	cleanup_diagnostics struct diagnostics others =
		problems_of(behind_others, sizeof(behind_others) - 1);

	(void)state;
	assert_true(has(&problems, 11, 7, "a NUL byte"));
	assert_true(has(&others, 3, 7, "a NUL byte"));
}

/* Which YAML 1.2 allows: "Character Encodings", "Line Break Characters". */
static void byte_order_mark_and_any_line_ends_are_fine(void **state)
{
	static const char text[] = "\xef\xbb\xbf" SMALLEST;
	static const char *const ends[] = {"\r\n", "\r"};
	cleanup_manifest struct manifest *marked = parse(text);

	(void)state;
	assert_string_equal(marked->id, "demo");
	assert_problem("\xef\xbb\xbfid: Demo\n" NAME VERSION KIND DELIVERY SUPERVISION FEATURES
			       REQUIRES EXEC SCHEMA,
		       1, 5, "id");
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		cleanup_manifest struct manifest *manifest = NULL;
		char changed[2 * sizeof(SMALLEST)];
		size_t n = 0;

		for (const char *c = SMALLEST; *c; c++)
			n += (size_t)snprintf(changed + n, sizeof(changed) - n, "%.*s",
					      *c == '\n' ? 2 : 1, *c == '\n' ? ends[i] : c);
		manifest = parse(changed);
		assert_string_equal(manifest->name, "Demo");
		(void)snprintf(changed + n, sizeof(changed) - n, "x-a: &b 1");
		assert_problem(changed, 11, 9, "anchors");
	}
}

static void a_full_list_of_problems_is_not_success(void **state)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	cleanup_manifest struct manifest *manifest = NULL;

	(void)state;
	for (unsigned i = 0; i < DIAGNOSTICS_MAX; i++)
		assert_int_equal(diagnostics_add(&problems, REFUSAL_BAD_UNIT, "x", 1, 1, "x"), 0);
	assert_int_equal(manifest_parse("a: b", 4, "addon.yaml", &manifest, &problems), 1);
}

static void names_of_enums_and_platforms(void **state)
{
	(void)state;
	assert_string_equal(manifest_delivery_to_string(MANIFEST_DELIVERY_OS_PACKAGE),
			    "os-package");
	assert_string_equal(manifest_supervision_to_string(MANIFEST_SUPERVISION_EPHEMERAL_HELPER),
			    "ephemeral-helper");
	assert_null(manifest_supervision_to_string(MANIFEST_SUPERVISION_N));
	assert_true(manifest_platform_is_known("linux", "amd64"));
	assert_true(manifest_platform_is_known("linux", manifest_native_arch()));
	assert_false(manifest_platform_is_known("linux", "x86_64"));
	assert_false(manifest_platform_is_known("darwin", "arm64"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(smallest_manifest_gets_its_defaults),
		cmocka_unit_test(every_value_is_read),
		cmocka_unit_test(fields_for_other_agents_are_understood),
		cmocka_unit_test(all_problems_are_told_at_once_with_their_places),
		cmocka_unit_test(each_wrong_field_is_a_problem_of_its_own),
		cmocka_unit_test(signal_schemas_are_held_to_their_shape),
		cmocka_unit_test(types_are_not_guessed),
		cmocka_unit_test(text_holds_no_control_bytes),
		cmocka_unit_test(id_is_words_and_not_reserved),
		cmocka_unit_test(capabilities_are_linux_capabilities_in_any_spelling),
		cmocka_unit_test(rules_over_several_fields_hold),
		cmocka_unit_test(state_directories_are_its_own),
		cmocka_unit_test(names_in_the_bundle_are_single_and_plain),
		cmocka_unit_test(keys_for_others_are_ignored_everywhere),
		cmocka_unit_test(yaml_that_can_surprise_is_refused),
		cmocka_unit_test(aliases_are_refused_and_not_followed),
		cmocka_unit_test(hostile_text_is_refused_soon),
		cmocka_unit_test(what_the_scanner_is_slow_or_greedy_with_is_refused_before),
		cmocka_unit_test(nul_byte_is_refused_where_it_stands),
		cmocka_unit_test(byte_order_mark_and_any_line_ends_are_fine),
		cmocka_unit_test(a_full_list_of_problems_is_not_success),
		cmocka_unit_test(names_of_enums_and_platforms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
