/* SPDX-License-Identifier: Apache-2.0 */

/* The REST API from an operator's side. */

#include "control_fixture.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, control_setup, control_teardown)

static void make_token(struct control *c, const char *role, char *ret, size_t size)
{
	char body[128];
	cleanup_json json_t *json = NULL;

	(void)snprintf(body, sizeof(body), "{\"name\": \"a %s\", \"role\": \"%s\"}", role, role);
	json = control_ask(c, 201, "POST", "/api/v1/api-tokens", body);
	(void)snprintf(ret, size, "Bearer %s", control_text(json, "token"));
}

static unsigned status_as(struct control *c, const char *authorization, const char *method,
			  const char *target, const char *body)
{
	unsigned status = 0;

	json_decref(control_ask_as(c, authorization, method, target, body, &status));
	return status;
}

static void health_is_for_everybody_and_nothing_else_is(void **state)
{
	struct control *c = *state;

	assert_int_equal(status_as(c, NULL, "GET", "/healthz", NULL), 200);
	assert_int_equal(status_as(c, NULL, "GET", "/metrics", NULL), 401);
	assert_int_equal(status_as(c, NULL, "GET", "/api/v1/hosts", NULL), 401);
	assert_int_equal(status_as(c, "Bearer x", "GET", "/api/v1/hosts", NULL), 401);
	assert_int_equal(status_as(c, "Basic x", "GET", "/api/v1/hosts", NULL), 401);
}

static void the_first_token_is_in_a_file_for_the_owner_only(void **state)
{
	struct control *c = *state;
	struct stat status;
	cleanup_json json_t *list = NULL;

	assert_int_equal(fstatat(c->dir, "admin-token", &status, 0), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(fstatat(c->dir, "affixd.db", &status, 0), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	/* And it is made once. */
	control_reopen(c);
	list = control_ask(c, 200, "GET", "/api/v1/api-tokens", NULL);
	assert_int_equal(control_count(list), 1);
}

static unsigned may_upload(struct control *c, const char *authorization)
{
	cleanup_api_response struct api_response answer = API_RESPONSE_INIT;
	const struct api_request question = {.method = "POST",
					     .path = "/api/v1/packages",
					     .authorization = authorization,
					     .is_question = true};

	api_handle(c->fleet, &question, &answer);
	return answer.status;
}

static void roles_bound_what_a_token_can_do(void **state)
{
	struct control *c = *state;
	char viewer[80];
	char operator[80];

	make_token(c, "viewer", viewer, sizeof(viewer));
	make_token(c, "operator", operator, sizeof(operator));
	assert_int_equal(status_as(c, viewer, "GET", "/api/v1/assignments", NULL), 200);
	assert_int_equal(status_as(c, viewer, "POST", "/api/v1/assignments", "{}"), 403);
	assert_int_equal(status_as(c, viewer, "GET", "/api/v1/audit", NULL), 403);
	assert_int_equal(status_as(c, operator, "POST", "/api/v1/assignments", "{}"), 400);
	assert_int_equal(status_as(c, operator, "POST", "/api/v1/join-tokens", "{}"), 403);
	assert_int_equal(status_as(c, operator, "POST", "/api/v1/hosts/1/revoke", NULL), 403);
	assert_int_equal(may_upload(c, NULL), 401);
	assert_int_equal(may_upload(c, viewer), 403);
	assert_int_equal(may_upload(c, operator), 100);
}

static void a_revoked_or_expired_token_is_nobodys(void **state)
{
	struct control *c = *state;
	char viewer[80];
	char operator[80];

	make_token(c, "viewer", viewer, sizeof(viewer));
	control_do(c, 204, "POST", "/api/v1/api-tokens/2/revoke", NULL);
	assert_int_equal(status_as(c, viewer, "GET", "/api/v1/hosts", NULL), 401);
	control_refused(c, 404, "not-found", "POST", "/api/v1/api-tokens/2/revoke", NULL);
	{
		cleanup_json json_t *json =
			control_ask(c, 201, "POST", "/api/v1/api-tokens",
				    "{\"name\": \"short\", \"role\": \"operator\", "
				    "\"expires_in\": 60}");

		(void)snprintf(operator, sizeof(operator), "Bearer %s",
			       control_text(json, "token"));
	}
	assert_int_equal(status_as(c, operator, "GET", "/api/v1/hosts", NULL), 200);
	control_time += 61;
	assert_int_equal(status_as(c, operator, "GET", "/api/v1/hosts", NULL), 401);
}

static void no_secret_is_in_the_database_or_the_lists(void **state)
{
	struct control *c = *state;
	char viewer[80];
	cleanup_free char *data = NULL;
	cleanup_free char *listed = NULL;
	cleanup_json json_t *list = NULL;
	size_t size = 0;

	make_token(c, "viewer", viewer, sizeof(viewer));
	list = control_ask(c, 200, "GET", "/api/v1/audit", NULL);
	listed = json_dumps(list, 0);
	assert_null(strstr(listed, viewer + strlen("Bearer affix-api-")));
	c->fleet = fleet_free(c->fleet);
	assert_int_equal(fd_read_file_at(c->dir, "affixd.db", 10 << 20, &data, &size), 0);
	assert_null(memmem(data, size, viewer + strlen("Bearer affix-api-"), 20));
	control_open(c);
}

static void requests_that_are_none_are_refused_by_name(void **state)
{
	struct control *c = *state;

	control_refused(c, 404, "not-found", "GET", "/", NULL);
	control_refused(c, 404, "not-found", "GET", "/api/v1/nothing", NULL);
	control_refused(c, 404, "not-found", "GET", "/api/v1/hosts/", NULL);
	control_refused(c, 404, "not-found", "GET", "/api/v1/hosts/x", NULL);
	control_refused(c, 404, "not-found", "GET", "/api/v1/hosts/99999999999999999999", NULL);
	control_refused(c, 404, "not-found", "GET", "/api/v1/hosts/7", NULL);
	control_refused(c, 405, "method-not-allowed", "PUT", "/api/v1/hosts", NULL);
	control_refused(c, 400, "bad-request", "GET", "/api/v1/hosts?limit=0", NULL);
	control_refused(c, 400, "bad-request", "GET", "/api/v1/hosts?limit=5000", NULL);
	control_refused(c, 400, "bad-request", "GET", "/api/v1/hosts?after=-1", NULL);
	control_refused(c, 400, "bad-request", "GET", "/api/v1/hosts?order=name", NULL);
	control_refused(c, 400, "bad-request", "GET", "/api/v1/hosts?limit=%zz", NULL);
	control_refused(c, 400, "bad-request", "GET", "/api/v1/hosts?host=%00", NULL);
	control_refused(c, 400, "bad-selector", "GET", "/api/v1/hosts?selector=env%3D", NULL);
	control_refused(c, 400, "bad-json", "POST", "/api/v1/join-tokens", "{\"a\":1,\"a\":2}");
	control_refused(c, 400, "bad-json", "POST", "/api/v1/join-tokens", "[]");
	control_refused(c, 400, "bad-request", "POST", "/api/v1/join-tokens", "{\"name\": 5}");
	control_refused(c, 400, "bad-request", "POST", "/api/v1/join-tokens",
			"{\"name\": \"a\", \"uses\": 5}");
	control_refused(c, 400, "bad-request", "POST", "/api/v1/api-tokens",
			"{\"name\": \"a\", \"role\": \"god\"}");
	control_refused(c, 409, "exists", "POST", "/api/v1/api-tokens",
			"{\"name\": \"first\", \"role\": \"admin\"}");
}

static void lists_go_on_where_the_page_before_ended(void **state)
{
	struct control *c = *state;
	int64_t next = 0;
	size_t seen = 0;

	for (int i = 0; i < 7; i++)
		control_do(c, 201, "POST", "/api/v1/join-tokens", "{\"name\": \"t\"}");
	do {
		char target[96];
		cleanup_json json_t *page = NULL;

		(void)snprintf(target, sizeof(target), "/api/v1/join-tokens?limit=3&after=%lld",
			       (long long)next);
		page = control_ask(c, 200, "GET", target, NULL);
		assert_int_equal(control_number(page, "schema"), 1);
		assert_true(control_count(page) <= 3);
		assert_int_equal(control_number(control_item(page, 0), "id"), seen + 1);
		seen += control_count(page);
		next = control_number(page, "next");
	} while (next != 0);
	assert_int_equal(seen, 7);
}

/* Page by page of one item each, until there is no next one. */
static size_t walk(struct control *c, const char *list, json_t *items)
{
	int64_t after = 0;
	size_t pages = 0;

	do {
		cleanup_json json_t *page = NULL;
		char target[128];

		(void)snprintf(target, sizeof(target), "%s?limit=1&after=%lld", list,
			       (long long)after);
		page = control_ask(c, 200, "GET", target, NULL);
		if (control_count(page) != 1)
			fail_msg("%s has no page", target);
		assert_int_equal(json_array_extend(items, json_object_get(page, "items")), 0);
		after = json_integer_value(json_object_get(page, "next"));
		pages++;
	} while (after != 0);
	return pages;
}

static void every_list_has_the_same_items_in_pages_as_at_once(void **state)
{
	static const char *const lists[] = {
		"/api/v1/hosts",
		"/api/v1/packages",
		"/api/v1/assignments",
		"/api/v1/rollouts",
		"/api/v1/rollouts/1/hosts",
		"/api/v1/join-tokens",
		"/api/v1/api-tokens",
		"/api/v1/audit",
	};
	struct control *c = *state;
	struct control_agent agents[2] = {0};

	control_package(c, "1.0.0");
	control_package(c, "2.0.0");
	control_enrol(c, &agents[0], "web1");
	control_enrol(c, &agents[1], "web2");
	for (unsigned i = 0; i < 2; i++) {
		control_do(c, 201, "POST", "/api/v1/assignments",
			   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
		control_do(c, 201, "POST", "/api/v1/rollouts",
			   "{\"assignment\": 1, \"version\": \"2.0.0\", \"waves\": [1]}");
		control_do(c, 200, "POST",
			   i == 0 ? "/api/v1/rollouts/1/abort" : "/api/v1/rollouts/2/pause",
			   i == 0 ? "{\"revert\": true}" : NULL);
	}
	control_do(c, 201, "POST", "/api/v1/api-tokens", "{\"name\": \"x\", \"role\": \"viewer\"}");
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		cleanup_json json_t *whole = control_ask(c, 200, "GET", lists[i], NULL);
		cleanup_json json_t *items = json_array();

		assert_in_range(walk(c, lists[i], items), 2, 100);
		assert_true(json_is_null(json_object_get(whole, "next")));
		assert_true(json_equal(items, json_object_get(whole, "items")));
	}
}

static void configuration_is_validated_and_the_error_names_the_place(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *bad = NULL;

	control_package(c, "1.0.0");
	bad = control_ask(c, 422, "POST", "/api/v1/assignments",
			  "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\", "
			  "\"config\": {\"level\": 0}}");
	assert_string_equal(control_text(json_object_get(bad, "error"), "name"), "bad-config");
	assert_string_equal(control_text(json_object_get(bad, "error"), "path"), "/config/level");
	control_refused(c, 422, "bad-config", "POST", "/api/v1/assignments",
			"{\"addon\": \"demo\", \"version\": \"latest\", \"selector\": \"\", "
			"\"config\": {\"unknown\": 1}}");
	control_refused(c, 422, "local-key", "POST", "/api/v1/assignments",
			"{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\", "
			"\"config\": {\"secret\": \"x\"}}");
}

static void an_assignment_that_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *body;
		unsigned status;
		const char *name;
	} bad[] = {
		{"{\"addon\": \"demo\", \"version\": \"1.0.0\"}",                                  400, "bad-request"             },
		{"{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\", \"host\": 1}",
		 400,										   "bad-request"             },
		{"{\"addon\": \"demo\", \"version\": \"1.0.0\", \"host\": 7}",                     404, "not-found"               },
		{"{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"a==b\"}",          400,
		 "bad-selector"												   },
		{"{\"addon\": \"demo\", \"version\": \"one\", \"selector\": \"\"}",                400,
		 "bad-request"												    },
		{"{\"addon\": \"Demo!\", \"version\": \"1.0.0\", \"selector\": \"\"}",             400,
		 "bad-request"												    },
		{"{\"addon\": \"demo\", \"version\": \"2.0.0\", \"selector\": \"\"}",              409,
		 "not-approved"												   },
		{"{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\", "
		 "\"priority\": \"high\"}",				       400, "bad-request"             },
		{"{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\", "
		 "\"enabled\": 1}",					       400, "bad-request"             },
		{"{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\", "
		 "\"limits\": {\"tasks\": 1}}",				   400, "bad-limits"              },
		{"{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\", "
		 "\"capabilities\": [\"net_raw\"]}",			      409, "capability-not-requested"},
		{"{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\", \"id\": 5}",
		 400,										   "bad-request"             },
	};
	struct control *c = *state;
	cleanup_json json_t *list = NULL;

	control_package(c, "1.0.0");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		control_refused(c, bad[i].status, bad[i].name, "POST", "/api/v1/assignments",
				bad[i].body);
	list = control_ask(c, 200, "GET", "/api/v1/assignments", NULL);
	assert_int_equal(control_count(list), 0);
}

static void a_change_is_judged_as_a_whole(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *changed = NULL;

	control_package(c, "1.0.0");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"env=prod\", "
		   "\"config\": {\"level\": 3}}");
	control_refused(c, 422, "bad-config", "PATCH", "/api/v1/assignments/1",
			"{\"config\": {\"level\": 0}}");
	changed = control_ask(c, 200, "PATCH", "/api/v1/assignments/1",
			      "{\"priority\": 5, \"selector\": \"env = test\"}");
	assert_int_equal(control_number(changed, "priority"), 5);
	assert_string_equal(control_text(changed, "selector"), "env=test");
	assert_int_equal(control_number(json_object_get(changed, "config"), "level"), 3);
	control_refused(c, 404, "not-found", "PATCH", "/api/v1/assignments/9", "{}");
}

static void every_change_is_in_the_audit_log_with_before_and_after(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *audit = NULL;
	const json_t *entry;

	control_package(c, "1.0.0");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"enabled\": false}");
	audit = control_ask(c, 200, "GET", "/api/v1/audit?object=assignment+1", NULL);
	assert_int_equal(control_count(audit), 2);
	entry = control_item(audit, 0);
	assert_string_equal(control_text(entry, "who"), "token 'first'");
	assert_string_equal(control_text(entry, "peer"), "192.0.2.1");
	assert_string_equal(control_text(entry, "action"), "change");
	assert_true(json_is_true(json_object_get(json_object_get(entry, "before"), "enabled")));
	assert_true(json_is_false(json_object_get(json_object_get(entry, "after"), "enabled")));
}

static void explain(struct control *c, const char *verdict, const char *wanted, int64_t assignment)
{
	cleanup_json json_t *json =
		control_ask(c, 200, "GET", "/api/v1/hosts/1/explain/demo", NULL);

	assert_string_equal(control_text(json, "verdict"), verdict);
	assert_string_equal(control_text(json, "wanted"), wanted);
	assert_int_equal(control_number(json, "assignment"), assignment);
	assert_true(strlen(control_text(json, "reason")) > 5);
}

static void one_assignment_wins_by_priority_then_host_then_age(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	control_package(c, "1.0.0");
	control_package(c, "2.0.0");
	control_enrol(c, &agent, "web1");
	explain(c, "not-assigned", "", 0);
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
	explain(c, "offered", "1.0.0", 1);
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"2.0.0\", \"selector\": \"env=prod\"}");
	explain(c, "offered", "2.0.0", 2);
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"host\": 1}");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"2.0.0\", \"selector\": \"\"}");
	explain(c, "offered", "1.0.0", 3);
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"latest\", \"selector\": \"\", "
		   "\"priority\": 1, \"enabled\": false}");
	explain(c, "disabled", "", 5);
	control_do(c, 200, "PATCH", "/api/v1/assignments/5", "{\"enabled\": true}");
	explain(c, "offered", "2.0.0", 5);
	control_do(c, 204, "DELETE", "/api/v1/assignments/5", NULL);
	explain(c, "offered", "1.0.0", 3);
}

static void import_with(struct control *c, const char *version, const char *requires_lines)
{
	struct bundle_maker maker;
	char manifest[512];
	char target[128];

	bundle_maker_init(&maker);
	control_manifest(manifest, sizeof(manifest), version, requires_lines);
	bundle_maker_set_text(&maker, "addon.yaml", manifest);
	json_decref(control_upload(c, 201, &maker, version, "amd64"));
	(void)snprintf(target, sizeof(target), "/api/v1/packages/demo/%s/approve", version);
	control_do(c, 200, "POST", target, "{}");
}

static void gates_keep_hosts_from_what_they_cannot_run(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.arch = "aarch64"};

	import_with(c, "1.0.0", "");
	import_with(c, "2.0.0", "  agent_capabilities: [teleport]\n");
	control_enrol(c, &agent, "web1");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
	explain(c, "no-artifact", "", 1);
	agent.arch = "x86_64";
	control_describe(c, &agent);
	explain(c, "offered", "1.0.0", 1);
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"version\": \"2.0.0\"}");
	explain(c, "agent-capability", "", 1);
	/* latest is the newest that this host can have. */
	control_do(c, 200, "PATCH", "/api/v1/assignments/1", "{\"version\": \"latest\"}");
	explain(c, "offered", "1.0.0", 1);
}

static void a_revoked_package_stays_only_where_it_runs(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_json json_t *status = NULL;

	control_package(c, "1.0.0");
	control_package(c, "2.0.0");
	control_enrol(c, &agent, "web1");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"latest\", \"selector\": \"\"}");
	control_do(c, 200, "POST", "/api/v1/packages/demo/2.0.0/revoke",
		   "{\"reason\": \"it leaks\"}");
	explain(c, "offered", "1.0.0", 1);
	control_say_status(c, &agent, "2.0.0", "running");
	explain(c, "offered", "2.0.0", 1);
	status = control_ask(c, 200, "GET", "/api/v1/status", NULL);
	assert_true(json_is_true(json_object_get(control_item(status, 0), "revoked")));
	control_do(c, 200, "POST", "/api/v1/packages/demo/1.0.0/revoke", "{}");
	explain(c, "offered", "2.0.0", 1);
	control_say_status(c, &agent, "", "stopped");
	explain(c, "not-approved", "", 1);
}

static void a_host_is_removed_only_after_it_was_revoked(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_json json_t *hosts = NULL;

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"host\": 1}");
	control_refused(c, 409, "not-revoked", "DELETE", "/api/v1/hosts/1", NULL);
	control_do(c, 204, "POST", "/api/v1/hosts/1/revoke", NULL);
	hosts = control_ask(c, 200, "GET", "/api/v1/hosts", NULL);
	assert_int_equal(control_count(hosts), 0);
	control_do(c, 204, "DELETE", "/api/v1/hosts/1", NULL);
	control_refused(c, 404, "not-found", "GET", "/api/v1/assignments/1", NULL);
	control_hello(c, &agent);
	assert_int_equal(fleet_flush(c->fleet), 0);
	assert_int_equal(control_last(c, &agent)->status, 401);
}

static void hosts_are_listed_by_selector(void **state)
{
	struct control *c = *state;
	struct control_agent prod = {0};
	struct control_agent test = {.env = "test"};
	cleanup_json json_t *list = NULL;

	control_enrol(c, &prod, "web1");
	control_enrol(c, &test, "web2");
	list = control_ask(c, 200, "GET", "/api/v1/hosts?selector=env%3Dtest%2Carch!%3Darm64",
			   NULL);
	assert_int_equal(control_count(list), 1);
	assert_string_equal(control_text(control_item(list, 0), "name"), "web2");
}

static void metrics_are_numbers_with_help(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_json json_t *text = NULL;
	const char *metrics;

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	control_say_status(c, &agent, "1.0.0", "running");
	text = control_ask(c, 200, "GET", "/metrics", NULL);
	metrics = json_string_value(text);
	assert_non_null(strstr(metrics, "\naffixd_connected_hosts 1\n"));
	assert_non_null(strstr(metrics, "\naffixd_addons{addon=\"demo\",state=\"running\"} 1\n"));
	assert_non_null(strstr(metrics, "# TYPE affixd_reports_total counter\n"));
}

static void say_events(struct control *c, struct control_agent *agent, const char *addon,
		       const char *events)
{
	char text[256];

	(void)snprintf(text, sizeof(text),
		       "{\"id\":\"%s\",\"version\":\"1.0.0\",\"state\":\"running\","
		       "\"restarts\":0,\"events\":%s}",
		       addon, events);
	control_say(c, agent, text);
}

static void assert_metric(struct control *c, bool wanted, const char *line)
{
	cleanup_json json_t *text = control_ask(c, 200, "GET", "/metrics", NULL);

	assert_int_equal(strstr(json_string_value(text), line) != NULL, wanted);
}

#define EVENTS(kind, count) \
	"\naffixd_addon_events_total{addon=\"demo\",kind=\"" kind "\"} " count "\n"

static void events_are(struct control *c, int host, const char *wanted)
{
	cleanup_json json_t *json = NULL;
	cleanup_free char *text = NULL;
	char target[48];

	(void)snprintf(target, sizeof(target), "/api/v1/hosts/%d", host);
	json = control_ask(c, 200, "GET", target, NULL);
	text = json_to_canonical(json_object_get(json, "events"));
	assert_string_equal(text, wanted);
}

static void events_of_addons_are_counted_over_all_hosts_and_never_shrink(void **state)
{
	struct control *c = *state;
	struct control_agent one = {0};
	struct control_agent two = {0};

	control_package(c, "1.0.0");
	control_enrol(c, &one, "web1");
	control_enrol(c, &two, "web2");
	say_events(c, &one, "demo", "{\"dpi_event\":5,\"other\":1}");
	say_events(c, &two, "demo", "{\"dpi_event\":7}");
	assert_metric(c, true, "# TYPE affixd_addon_events_total counter\n");
	assert_metric(c, true, EVENTS("dpi_event", "12"));
	assert_metric(c, true, EVENTS("other", "1"));
	events_are(c, 1, "{\"demo\":{\"dpi_event\":5,\"other\":1}}\n");
	events_are(c, 2, "{\"demo\":{\"dpi_event\":7}}\n");
	/* Said again, and grown. */
	say_events(c, &one, "demo", "{\"dpi_event\":5,\"other\":2}");
	assert_metric(c, true, EVENTS("dpi_event", "12"));
	assert_metric(c, true, EVENTS("other", "2"));
	/* An agent that was started anew counts from nothing. */
	say_events(c, &one, "demo", "{\"dpi_event\":3}");
	assert_metric(c, true, EVENTS("dpi_event", "15"));
	control_reopen(c);
	assert_metric(c, true, EVENTS("dpi_event", "15"));
}

static void hosts_make_up_no_labels_and_no_numbers_of_events(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	say_events(c, &agent, "invented", "{\"dpi_event\":5}");
	say_events(c, &agent, "demo",
		   "{\"dpi_event\":-5,\"made_up\":1,\"mdns_snapshot\":9223372036854775807,"
		   "\"pcapng_block\":\"9\",\"x\\\"} 1\\n\":2}");
	say_events(c, &agent, "demo", "[7]");
	assert_metric(c, false, "affixd_addon_events_total{");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(health_is_for_everybody_and_nothing_else_is),
		TEST(the_first_token_is_in_a_file_for_the_owner_only),
		TEST(roles_bound_what_a_token_can_do),
		TEST(a_revoked_or_expired_token_is_nobodys),
		TEST(no_secret_is_in_the_database_or_the_lists),
		TEST(requests_that_are_none_are_refused_by_name),
		TEST(lists_go_on_where_the_page_before_ended),
		TEST(every_list_has_the_same_items_in_pages_as_at_once),
		TEST(configuration_is_validated_and_the_error_names_the_place),
		TEST(an_assignment_that_makes_no_sense_is_refused),
		TEST(a_change_is_judged_as_a_whole),
		TEST(every_change_is_in_the_audit_log_with_before_and_after),
		TEST(one_assignment_wins_by_priority_then_host_then_age),
		TEST(gates_keep_hosts_from_what_they_cannot_run),
		TEST(a_revoked_package_stays_only_where_it_runs),
		TEST(a_host_is_removed_only_after_it_was_revoked),
		TEST(hosts_are_listed_by_selector),
		TEST(metrics_are_numbers_with_help),
		TEST(events_of_addons_are_counted_over_all_hosts_and_never_shrink),
		TEST(hosts_make_up_no_labels_and_no_numbers_of_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
