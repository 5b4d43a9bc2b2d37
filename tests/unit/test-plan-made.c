/* SPDX-License-Identifier: Apache-2.0 */

/* What plan_make() makes is what records may hold: it reads back from its JSON, unchanged. */

#include "plan/plan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

static const char manifest_head[] =
	"id: demo\nname: Demo\nversion: 1.2.3-rc.1\nkind: native\ndelivery: pushed-artifact\n"
	"language: c\ncapabilities: [demo]\nconfig_schema: config.schema.json\n"
	"resources:\n  memory_max_bytes: 268435456\n"
	"state_dirs: [/var/lib/affix/demo]\n"
	"health:\n  window_seconds: 5\n";

static const char schema[] = "{\"type\":\"object\"}";

static const char service[] = "[Unit]\nDescription=Demo\n[Service]\nUser=affix-demo\n"
			      "ExecStart=/opt/affix/demo/current/demo\n";

static const char wanted[] = "[Install]\nWantedBy=multi-user.target\n";

static const char timer[] = "[Unit]\nDescription=Demo\n[Timer]\nOnBootSec=1min\n"
			    "OnUnitActiveSec=1h\n[Install]\nWantedBy=timers.target\n";

static void add_entry(struct bundle *bundle, const char *name, const char *text)
{
	struct bundle_entry *entry = &bundle->entries[bundle->n_entries++];

	*entry = (struct bundle_entry){
		.name = strdup(name), .text = strdup(text), .size = strlen(text), .fd = -EBADF};
	entry->is_binary = strcmp(name, "demo") == 0;
	digest_of(text, strlen(text), &entry->digest);
}

/* A bundle as bundle_open() would leave it, with *rest* of the manifest and the units. */
static struct bundle *make_bundle(const char *rest, const char *const *units)
{
	struct bundle *bundle = calloc(1, sizeof(*bundle));
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_free char *text = NULL;

	assert_non_null(bundle);
	assert_int_equal(str_format(&text, "%s%s", manifest_head, rest), 0);
	bundle->entries = calloc(8, sizeof(*bundle->entries));
	if (manifest_parse(text, strlen(text), "addon.yaml", &bundle->manifest, &diagnostics) != 0)
		fail_msg("%s", diagnostics.items[0].message);
	bundle->identity = (struct identity){.id = "demo",
					     .version = "1.2.3-rc.1",
					     .os = "linux",
					     .arch = "amd64",
					     .created = 1769860800,
					     .epoch = 2};
	memcpy(bundle->key_id, "0123456789ABCDEF", sizeof(bundle->key_id));
	add_entry(bundle, "addon.yaml", text);
	add_entry(bundle, "config.schema.json", schema);
	add_entry(bundle, "demo", "\177ELF");
	for (; *units; units += 2)
		add_entry(bundle, units[0], units[1]);
	return bundle;
}

static void assert_reads_back(const char *rest, const char *const *units, size_t n_units)
{
	cleanup_bundle struct bundle *bundle = make_bundle(rest, units);
	cleanup_host_policy struct host_policy *policy = NULL;
	cleanup_json json_t *fleet = json_pack("{s:s}", "name", "\xc3\xa9\n\"");
	const struct plan_config config = {.fleet = fleet};
	const struct plan_narrowing narrowing = {0};
	struct refusal refusal = REFUSAL_INIT;
	struct json_problem problem = {0};
	cleanup_plan struct plan *plan = NULL;
	cleanup_plan struct plan *again = NULL;
	cleanup_json json_t *json = NULL;
	struct digest digests[2];

	assert_int_equal(host_policy_default(&policy), 0);
	if (plan_make(bundle, policy, &config, &narrowing, &plan, &refusal) != 0)
		fail_msg("%s", refusal.text);
	assert_int_equal(plan->n_units, n_units);
	json = plan_to_json(plan);
	assert_non_null(json);
	if (plan_from_json(json, &again, &problem) != 0)
		fail_msg("%s", problem.text);
	assert_int_equal(plan_digest(plan, &digests[0]), 0);
	assert_int_equal(plan_digest(again, &digests[1]), 0);
	assert_true(digest_is_equal(&digests[0], &digests[1]));
	assert_int_equal(plan->n_objects, again->n_objects);
	for (size_t i = 0; i < plan->n_objects; i++) {
		const struct plan_object *a = &plan->objects[i];
		const struct plan_object *b = &again->objects[i];

		assert_int_equal(a->size, b->size);
		assert_true(digest_is_equal(&a->digest, &b->digest));
	}
}

static void service_with_ambient_capabilities_reads_back(void **state)
{
	cleanup_free char *unit = NULL;

	(void)state;
	assert_int_equal(
		str_format(&unit, "%sAmbientCapabilities=CAP_NET_RAW\n%s", service, wanted), 0);
	assert_reads_back("supervision: systemd-service\nexec: {binary: demo}\n"
			  "requires: {base_agent: '>=0.1.0', platforms: [linux], "
			  "os_capabilities: [cap_net_raw]}\nipc: affix-ipc/1\n",
			  (const char *const[]){"affix-demo.service", unit, NULL}, 1);
}

static void service_with_file_capabilities_reads_back(void **state)
{
	cleanup_free char *unit = NULL;

	(void)state;
	assert_int_equal(str_format(&unit, "%s%s", service, wanted), 0);
	assert_reads_back("supervision: systemd-service\n"
			  "exec: {binary: demo, file_capabilities: true}\n"
			  "requires: {base_agent: '>=0.1.0', platforms: [linux], "
			  "os_capabilities: [cap_net_raw, cap_bpf]}\n",
			  (const char *const[]){"affix-demo.service", unit, NULL}, 1);
}

static void timer_with_its_service_reads_back(void **state)
{
	(void)state;
	assert_reads_back("supervision: systemd-timer\nexec: {binary: demo}\n"
			  "requires: {base_agent: '>=0.1.0', platforms: [linux]}\n",
			  (const char *const[]){"affix-demo.service", service, "affix-demo.timer",
						timer, NULL},
			  2);
}

static void manifest_may_have_as_many_state_directories_as_a_plan(void **state)
{
	static const char most[] = "state_dirs: [/var/lib/affix/demo]\n";
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_manifest struct manifest *manifest = NULL;
	const char *rest = strstr(manifest_head, most);

	(void)state;
	assert_int_equal(buffer_format(&text, "%.*s%s", (int)(rest - manifest_head), manifest_head,
				       rest + strlen(most)),
			 0);
	assert_int_equal(buffer_format(&text,
				       "supervision: systemd-service\nexec: {binary: demo}\n"
				       "requires: {base_agent: '>=0.1.0', platforms: [linux]}\n"
				       "state_dirs:\n"),
			 0);
	for (unsigned i = 0; i < MANIFEST_STATE_DIRS_MAX + 1; i++)
		assert_int_equal(buffer_format(&text, "- /var/lib/affix/demo/%02u\n", i), 0);
	assert_int_equal(manifest_parse(text.data, text.size, "addon.yaml", &manifest, &problems),
			 1);
	assert_non_null(strstr(problems.items[0].message, "at most 64"));
	assert_int_equal(manifest_parse(text.data, text.size - strlen("- /var/lib/affix/demo/64\n"),
					"addon.yaml", &manifest, &problems),
			 0);
}

/* Our own mistake, or the author's: found before anything is begun. */
static void plan_that_would_not_read_back_is_refused_by_name(void **state)
{
	cleanup_free char *unit = NULL;
	cleanup_bundle struct bundle *bundle = NULL;
	cleanup_host_policy struct host_policy *policy = NULL;
	const struct plan_config config = {0};
	const struct plan_narrowing narrowing = {0};
	struct refusal refusal = REFUSAL_INIT;
	struct plan *plan = NULL;

	(void)state;
	assert_int_equal(str_format(&unit, "%s%s", service, wanted), 0);
	bundle = make_bundle("supervision: systemd-service\nexec: {binary: demo}\n"
			     "requires: {base_agent: '>=0.1.0', platforms: [linux]}\n",
			     (const char *const[]){"affix-demo.service", unit, NULL});
	assert_int_equal(strv_add(&bundle->manifest->state_dirs, "/etc/ssh"), 0);
	assert_int_equal(host_policy_default(&policy), 0);
	assert_int_equal(plan_make(bundle, policy, &config, &narrowing, &plan, &refusal),
			 REFUSAL_UNSUPPORTED);
	assert_non_null(strstr(refusal.text, "cannot be kept on a host: foreign state directory"));
	assert_null(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(service_with_ambient_capabilities_reads_back),
		cmocka_unit_test(service_with_file_capabilities_reads_back),
		cmocka_unit_test(timer_with_its_service_reads_back),
		cmocka_unit_test(manifest_may_have_as_many_state_directories_as_a_plan),
		cmocka_unit_test(plan_that_would_not_read_back_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
