/* SPDX-License-Identifier: Apache-2.0 */

/* Packages: what is taken in, and what becomes of it. */

#include "control_fixture.h"

#include <dirent.h>

#include "control/package_arrival.h"

#define APPROVE "/api/v1/packages/demo/1.0.0/approve"
#define PULL    "/api/v1/packages/pull"

#define TEST(name) cmocka_unit_test_setup_teardown(name, control_setup, control_teardown)

static void an_imported_package_waits_for_approval(void **state)
{
	struct control *c = *state;
	struct bundle_maker maker;
	cleanup_json json_t *package = NULL;
	cleanup_json json_t *approved = NULL;
	const json_t *artifact;
	char target[128];
	struct stat status;

	bundle_maker_init(&maker);
	package = control_upload(c, 201, &maker, "1.0.0", "amd64");
	assert_string_equal(control_text(package, "state"), "imported");
	assert_string_equal(control_text(package, "base_agent"), ">=0.1.0");
	artifact = json_array_get(json_object_get(package, "artifacts"), 0);
	assert_string_equal(control_text(artifact, "arch"), "amd64");
	assert_string_equal(control_text(artifact, "key_name"), "maker");
	(void)snprintf(target, sizeof(target), "artifacts/%s", control_text(artifact, "sha256"));
	assert_int_equal(fstatat(c->dir, target, &status, 0), 0);
	assert_int_equal(status.st_size, control_number(artifact, "size"));
	control_refused(c, 409, "not-approved", "POST", "/api/v1/assignments",
			"{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
	approved = control_ask(c, 200, "POST", "/api/v1/packages/demo/1.0.0/approve", "{}");
	assert_string_equal(control_text(approved, "state"), "approved");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
}

static void the_same_bundle_again_changes_nothing_and_another_is_refused(void **state)
{
	struct control *c = *state;
	struct bundle_maker maker;
	cleanup_json json_t *again = NULL;
	cleanup_json json_t *other = NULL;
	cleanup_json json_t *audit = NULL;

	bundle_maker_init(&maker);
	json_decref(control_upload(c, 201, &maker, "1.0.0", "amd64"));
	again = control_upload(c, 201, &maker, "1.0.0", "amd64");
	assert_string_equal(control_text(again, "state"), "imported");
	audit = control_ask(c, 200, "GET", "/api/v1/audit?object=package%20demo+1.0.0", NULL);
	assert_int_equal(control_count(audit), 1);
	maker.binary[900] = 1;
	other = control_upload(c, 409, &maker, "1.0.0", "amd64");
	assert_string_equal(control_text(json_object_get(other, "error"), "name"),
			    "artifact-exists");
}

static void bundles_for_other_architectures_join_the_package(void **state)
{
	struct control *c = *state;
	struct bundle_maker maker;
	cleanup_json json_t *both = NULL;
	cleanup_json json_t *differs = NULL;

	bundle_maker_init(&maker);
	json_decref(control_upload(c, 201, &maker, "1.0.0", "amd64"));
	bundle_maker_elf(maker.binary, EM_AARCH64);
	both = control_upload(c, 201, &maker, "1.0.0", "arm64");
	assert_int_equal(json_array_size(json_object_get(both, "artifacts")), 2);
	bundle_maker_init(&maker);
	maker.binary[900] = 1;
	bundle_maker_set_text(&maker, "config.schema.json",
			      "{\"type\": \"object\", \"title\": \"\"}");
	differs = control_upload(c, 409, &maker, "1.0.0", "amd64");
	assert_string_equal(control_text(json_object_get(differs, "error"), "name"),
			    "manifest-differs");
}

static void what_a_host_would_refuse_is_refused(void **state)
{
	struct control *c = *state;
	struct bundle_maker maker;
	cleanup_json json_t *identity = NULL;
	cleanup_json json_t *unit = NULL;
	cleanup_json json_t *key = NULL;
	cleanup_json json_t *packages = NULL;
	struct minisign_public_key public;

	bundle_maker_init(&maker);
	identity = control_upload(c, 422, &maker, "1.0.1", "amd64");
	assert_string_equal(control_text(json_object_get(identity, "error"), "name"),
			    "identity-mismatch");
	bundle_maker_set_text(&maker, "affix-demo.service",
			      "[Service]\nExecStart=/bin/sh\nUser=affix-demo\n"
			      "[Install]\nWantedBy=multi-user.target\n");
	unit = control_upload(c, 422, &maker, "1.0.0", "amd64");
	assert_string_equal(control_text(json_object_get(unit, "error"), "name"), "unit-exec");
	bundle_maker_init(&maker);
	minisign_keygen(&c->secret, &public);
	key = control_upload(c, 422, &maker, "1.0.0", "amd64");
	assert_string_equal(control_text(json_object_get(key, "error"), "name"), "untrusted-key");
	packages = control_ask(c, 200, "GET", "/api/v1/packages", NULL);
	assert_int_equal(control_count(packages), 0);
}

static void an_upload_without_a_good_signature_parameter_is_refused(void **state)
{
	struct control *c = *state;

	assert_true(api_is_upload("POST", "/api/v1/packages"));
	assert_false(api_is_upload("GET", "/api/v1/packages"));
	control_refused(c, 400, "bad-request", "POST", "/api/v1/packages", NULL);
	control_refused(c, 400, "bad-request", "POST", "/api/v1/packages?signature=*", NULL);
	control_refused(c, 400, "bad-request", "POST", "/api/v1/packages?signature=YWJj", NULL);
}

static void approval_may_take_capabilities_away_but_add_none(void **state)
{
	struct control *c = *state;
	struct bundle_maker maker;
	cleanup_json json_t *again = NULL;
	cleanup_json json_t *all = NULL;
	cleanup_json json_t *package = NULL;
	char manifest[512];

	bundle_maker_init(&maker);
	control_manifest(manifest, sizeof(manifest), "1.0.0",
			 "  os_capabilities: [net_raw, net_admin]\n");
	bundle_maker_set_text(&maker, "addon.yaml", manifest);
	bundle_maker_set_text(&maker, "affix-demo.service",
			      "[Service]\nExecStart=/opt/affix/demo/current/demo\n"
			      "User=affix-demo\nAmbientCapabilities=CAP_NET_RAW\n"
			      "CapabilityBoundingSet=CAP_NET_RAW\n"
			      "[Install]\nWantedBy=multi-user.target\n");
	json_decref(control_upload(c, 201, &maker, "1.0.0", "amd64"));
	control_refused(c, 409, "capability-not-requested", "POST",
			"/api/v1/packages/demo/1.0.0/approve", "{\"capabilities\": [\"bpf\"]}");
	control_refused(c, 400, "bad-request", "POST", "/api/v1/packages/demo/1.0.0/approve",
			"{\"capabilities\": [\"fly\"]}");
	package = control_ask(c, 200, "POST", "/api/v1/packages/demo/1.0.0/approve",
			      "{\"capabilities\": [\"CAP_NET_RAW\"]}");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(package, "capabilities"), 0)),
		"cap_net_raw");
	again = control_ask(c, 200, "POST", "/api/v1/packages/demo/1.0.0/approve", "{}");
	assert_int_equal(json_array_size(json_object_get(again, "capabilities")), 1);
	all = control_ask(c, 200, "POST", "/api/v1/packages/demo/1.0.0/approve",
			  "{\"capabilities\": null}");
	assert_true(json_is_null(json_object_get(all, "capabilities")));
}

/* Approves what had *revision* when it was looked at. */
static json_t *approve(struct control *c, unsigned wanted, const json_t *seen)
{
	char body[128];

	(void)snprintf(body, sizeof(body), "{\"revision\": \"%s\"}",
		       control_text(seen, "revision"));
	return control_ask(c, wanted, "POST", APPROVE, body);
}

static void assert_changed(const json_t *answer)
{
	assert_string_equal(control_text(json_object_get(answer, "error"), "name"),
			    "package-changed");
}

static void an_approval_of_what_was_seen_takes_nothing_that_came_after(void **state)
{
	struct control *c = *state;
	struct bundle_maker maker;
	cleanup_json json_t *seen = NULL;
	cleanup_json json_t *refused = NULL;
	cleanup_json json_t *both = NULL;
	cleanup_json json_t *approved = NULL;
	cleanup_json json_t *revoked = NULL;

	bundle_maker_init(&maker);
	json_decref(control_upload(c, 201, &maker, "1.0.0", "amd64"));
	seen = control_ask(c, 200, "GET", "/api/v1/packages/demo/1.0.0", NULL);
	bundle_maker_elf(maker.binary, EM_AARCH64);
	both = control_upload(c, 201, &maker, "1.0.0", "arm64");
	refused = approve(c, 409, seen);
	assert_changed(refused);
	approved = approve(c, 200, both);
	assert_string_equal(control_text(approved, "state"), "approved");
	/* Somebody else revoked it meanwhile: that is not taken back by who did not see it. */
	control_do(c, 200, "POST", "/api/v1/packages/demo/1.0.0/revoke", "{}");
	revoked = approve(c, 409, approved);
	assert_changed(revoked);
	control_refused(c, 400, "bad-request", "POST", APPROVE, "{\"revision\": 1}");
	/* Who names no revision approves what there is. */
	control_do(c, 200, "POST", APPROVE, "{}");
}

/* One that was fetched, and is checked. */
static struct package_arrival *arrive(struct control *c, const struct bundle_maker *maker,
				      const char *arch)
{
	cleanup_free char *signature = control_spool(c, maker, "1.0.0", arch);
	const struct package_upload upload = {"upload", signature, strlen(signature)};
	struct package_arrival *arrival = NULL;

	assert_int_equal(package_arrival_new(c->fleet, &upload, &arrival), 0);
	package_arrival_check(arrival);
	assert_int_equal(arrival->result, 0);
	return arrival;
}

/* A pull that brought two bundles; its answer. */
static json_t *pull(struct control *c, unsigned wanted, const struct bundle_maker *first,
		    const struct bundle_maker *second)
{
	static const char body[] = "{\"reference\": \"registry.example/demo:1\"}";
	cleanup_package_arrival struct package_arrival *arrival = NULL;
	struct api_request request = {.method = "POST",
				      .path = PULL,
				      .authorization = c->admin,
				      .content_type = "application/json",
				      .body = body,
				      .body_size = strlen(body),
				      .arrival = &arrival};
	cleanup_api_response struct api_response response = API_RESPONSE_INIT;

	assert_int_equal(package_arrival_begin(c->fleet, &arrival), 0);
	arrival->pull = calloc(1, sizeof(*arrival->pull));
	assert_non_null(arrival->pull);
	arrival->pull->reference = strdup("registry.example/demo:1");
	arrival->next = arrive(c, first, "amd64");
	arrival->next->next = arrive(c, second, "arm64");
	arrival->is_checked = true;
	api_handle(c->fleet, &request, &response);
	assert_int_equal(response.status, wanted);
	return json_loadb(response.body, response.body_size, 0, NULL);
}

static size_t count_files(struct control *c, const char *name)
{
	DIR *dir = fdopendir(openat(c->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n - 2;
}

static void a_pull_is_taken_whole_or_leaves_nothing(void **state)
{
	struct control *c = *state;
	struct bundle_maker first;
	struct bundle_maker second;
	cleanup_json json_t *refused = NULL;
	cleanup_json json_t *taken = NULL;

	bundle_maker_init(&first);
	bundle_maker_init(&second);
	bundle_maker_elf(second.binary, EM_AARCH64);
	bundle_maker_set_text(&second, "config.schema.json",
			      "{\"type\": \"object\", \"title\": \"\"}");
	refused = pull(c, 409, &first, &second);
	assert_string_equal(control_text(json_object_get(refused, "error"), "name"),
			    "manifest-differs");
	assert_int_equal(count_files(c, "artifacts") + count_files(c, "incoming"), 0);
	bundle_maker_init(&second);
	bundle_maker_elf(second.binary, EM_AARCH64);
	taken = pull(c, 200, &first, &second);
	assert_int_equal(control_count(taken), 1);
	assert_int_equal(count_files(c, "artifacts"), 2);
	assert_int_equal(count_files(c, "incoming"), 0);
}

static void artifacts_and_signatures_can_be_had_by_name(void **state)
{
	struct control *c = *state;
	struct api_request request = {
		.method = "GET",
		.path = "/api/v1/packages/demo/1.0.0/artifacts/linux/amd64",
		.authorization = c->admin,
	};
	cleanup_api_response struct api_response response = API_RESPONSE_INIT;
	cleanup_json json_t *signature = NULL;

	control_package(c, "1.0.0");
	api_handle(c->fleet, &request, &response);
	assert_int_equal(response.status, 200);
	assert_int_equal(strlen(response.artifact), 64);
	signature = control_ask(
		c, 200, "GET", "/api/v1/packages/demo/1.0.0/artifacts/linux/amd64/signature", NULL);
	assert_non_null(strstr(json_string_value(signature), "trusted comment: affix:1 id=demo"));
	control_refused(c, 404, "not-found", "GET",
			"/api/v1/packages/demo/1.0.0/artifacts/linux/arm64", NULL);
}

static bool is_there(struct control *c, const char *name)
{
	struct stat status;

	return fstatat(c->dir, name, &status, 0) == 0;
}

/* Of a pull that broke off. */
#define PARTIAL "pulled/partial/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void what_a_crash_leaves_is_removed_at_the_start(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *package = NULL;
	const json_t *artifact;
	char known[128];

	control_package(c, "1.0.0");
	package = control_ask(c, 200, "GET", "/api/v1/packages/demo/1.0.0", NULL);
	artifact = json_array_get(json_object_get(package, "artifacts"), 0);
	(void)snprintf(known, sizeof(known), "artifacts/%s", control_text(artifact, "sha256"));
	assert_int_equal(fd_close(openat(c->dir, "incoming/upload", O_CREAT | O_WRONLY, 0600)),
			 -EBADF);
	assert_int_equal(fd_close(openat(c->dir, "artifacts/0123", O_CREAT | O_WRONLY, 0600)),
			 -EBADF);
	assert_int_equal(mkdirat(c->dir, "pulled", 0700), 0);
	assert_int_equal(mkdirat(c->dir, "pulled/partial", 0700), 0);
	assert_int_equal(fd_close(openat(c->dir, PARTIAL, O_CREAT | O_WRONLY, 0600)), -EBADF);
	assert_true(is_there(c, "incoming/upload") && is_there(c, "artifacts/0123"));
	assert_true(is_there(c, PARTIAL));
	control_reopen(c);
	assert_false(is_there(c, PARTIAL));
	assert_false(is_there(c, "incoming/upload") || is_there(c, "artifacts/0123"));
	assert_true(is_there(c, known));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_imported_package_waits_for_approval),
		TEST(the_same_bundle_again_changes_nothing_and_another_is_refused),
		TEST(bundles_for_other_architectures_join_the_package),
		TEST(what_a_host_would_refuse_is_refused),
		TEST(an_upload_without_a_good_signature_parameter_is_refused),
		TEST(approval_may_take_capabilities_away_but_add_none),
		TEST(an_approval_of_what_was_seen_takes_nothing_that_came_after),
		TEST(a_pull_is_taken_whole_or_leaves_nothing),
		TEST(artifacts_and_signatures_can_be_had_by_name),
		TEST(what_a_crash_leaves_is_removed_at_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
