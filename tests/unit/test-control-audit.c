/* SPDX-License-Identifier: Apache-2.0 */

/* What is in the audit log, and how long it is kept. */

#include "base/clock.h"
#include "control/api_call.h"
#include "control_fixture.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, control_setup, control_teardown)
#define DAY        86400U
#define MANY       300U /* more than two batches */

static json_t *entries(struct control *c)
{
	return control_ask(c, 200, "GET", "/api/v1/audit?limit=1000", NULL);
}

static void keep_for(struct control *c, unsigned days)
{
	c->audit_keep_days = days;
	control_reopen(c);
	control_enrol(c, &(struct control_agent){0}, "web1");
}

static void make_tokens(struct control *c, unsigned n)
{
	char body[64];

	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(body, sizeof(body), "{\"name\": \"t%u\"}", i);
		control_do(c, 201, "POST", "/api/v1/join-tokens", body);
	}
}

/* What changes something: one call for each route that is not GET, in an order in which each has
 * what it needs. *entry* is what the newest entry is then; the import of a bundle is not sent as
 * JSON. */
static const struct {
	const char *method;
	const char *route;
	const char *target; /* behind /api/v1 */
	const char *body;
	unsigned status;
	const char *action;
	const char *object;
	bool has_before;
	bool has_after;
} changes[] = {
	{"POST",   "/packages",                           NULL,                           NULL,					  201, "import", "package demo 2.0.0", false, true },
	{"POST",   "/packages/{addon}/{version}/approve", "/packages/demo/2.0.0/approve", "{}",                                          200,
	 "approve",																     "package demo 2.0.0", true,  true },
	{"POST",   "/assignments",                        "/assignments",
	 "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}",                                                            201, "create",
	 "assignment 1",																		      false, true },
	{"PATCH",  "/assignments/{assignment}",           "/assignments/1",               "{\"priority\": 2}",                           200, "change",
	 "assignment 1",																		      true,  true },
	{"POST",   "/rollouts",                           "/rollouts",                    "{\"assignment\": 1, \"version\": \"2.0.0\"}", 201,
	 "create",																      "rollout 1",          false, true },
	{"POST",   "/rollouts/{rollout}/pause",           "/rollouts/1/pause",            "",                                            200, "pause",  "rollout 1",
	 true,																				       true },
	{"POST",   "/rollouts/{rollout}/resume",          "/rollouts/1/resume",           "",                                            200, "resume", "rollout 1",
	 true,																				       true },
	{"POST",   "/rollouts/{rollout}/abort",           "/rollouts/1/abort",            "{}",                                          200, "abort",  "rollout 1",
	 true,																				       true },
	{"DELETE", "/assignments/{assignment}",           "/assignments/1",               NULL,                                          204, "remove",
	 "assignment 1",																		      true,  false},
	{"POST",   "/hosts/{host}/confirm-removal",       "/hosts/1/confirm-removal",     "{}",                                          200,
	 "confirm-removal",															     "host 1",             false, true },
	{"POST",   "/packages/{addon}/{version}/revoke",  "/packages/demo/2.0.0/revoke",
	 "{\"reason\": \"a hole\"}",												     200, "revoke", "package demo 2.0.0", true,  true },
	{"POST",   "/join-tokens",                        "/join-tokens",                 "{\"name\": \"j\"}",                           201, "create", "join-token 2",
	 false,																				      true },
	{"POST",   "/join-tokens/{token}/revoke",         "/join-tokens/2/revoke",        "",                                            204, "revoke",
	 "join-token 2",																		      true,  true },
	{"POST",   "/api-tokens",                         "/api-tokens",                  "{\"name\": \"a\", \"role\": \"viewer\"}",     201,
	 "create",																      "api-token 2",        false, true },
	{"POST",   "/api-tokens/{token}/revoke",          "/api-tokens/2/revoke",         "",                                            204, "revoke",
	 "api-token 2",																		       true,  true },
	{"POST",   "/hosts/{host}/revoke",                "/hosts/1/revoke",              "",                                            204, "revoke", "host 1",             true,
	 true																					     },
	{"DELETE", "/hosts/{host}",                       "/hosts/1",                     NULL,                                          204, "remove", "host 1",             true,  false},
};

static void change(struct control *c, size_t i)
{
	cleanup_json json_t *answer = NULL;
	char target[128];

	if (!changes[i].target) {
		struct bundle_maker maker;
		char manifest[512];

		bundle_maker_init(&maker);
		control_manifest(manifest, sizeof(manifest), "2.0.0", "");
		bundle_maker_set_text(&maker, "addon.yaml", manifest);
		answer = control_upload(c, changes[i].status, &maker, "2.0.0", "amd64");
		return;
	}
	(void)snprintf(target, sizeof(target), "/api/v1%s", changes[i].target);
	answer = control_ask(c, changes[i].status, changes[i].method, target, changes[i].body);
}

static void is_audited(struct control *c, size_t i)
{
	cleanup_json json_t *audit = control_ask(c, 200, "GET", "/api/v1/audit?limit=1", NULL);
	const json_t *entry = control_item(audit, 0);

	assert_string_equal(control_text(entry, "action"), changes[i].action);
	assert_string_equal(control_text(entry, "object"), changes[i].object);
	assert_string_equal(control_text(entry, "who"), "token 'first'");
	assert_string_equal(control_text(entry, "peer"), "192.0.2.1");
	if (json_is_object(json_object_get(entry, "before")) != changes[i].has_before ||
	    json_is_object(json_object_get(entry, "after")) != changes[i].has_after)
		fail_msg("%s %s", changes[i].method, changes[i].route);
}

/* A fetch from a registry needs one: tests/oci/test-oci-registry.py looks at its entry. */
static bool is_known(const struct api_route *route)
{
	if (strcmp(route->path, "/api/v1/packages/pull") == 0)
		return true;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		if (strcmp(route->method, changes[i].method) == 0 &&
		    strcmp(route->path + strlen("/api/v1"), changes[i].route) == 0)
			return true;
	}
	return false;
}

static void every_route_that_changes_something_says_so(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	for (const struct api_route *route = api_routes; route->method; route++) {
		if (strcmp(route->method, "GET") != 0 && !is_known(route))
			fail_msg("%s %s", route->method, route->path);
	}
	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	control_say_status(c, &agent, "1.0.0", "running");
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		change(c, i);
		is_audited(c, i);
	}
}

static void old_entries_go_and_young_ones_stay(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *left = NULL;
	char until[CLOCK_TEXT_SIZE];
	const json_t *prune;

	keep_for(c, 10);
	control_time += 9 * DAY;
	make_tokens(c, 2);
	control_time += 2 * DAY;
	control_tick(c);
	left = entries(c);
	assert_int_equal(control_count(left), 3);
	prune = control_item(left, 0);
	assert_string_equal(control_text(prune, "action"), "prune");
	assert_string_equal(control_text(prune, "who"), "affixd");
	/* The administrator's token, the host's, and its enrolment. */
	assert_int_equal(control_number(json_object_get(prune, "after"), "rows"), 3);
	clock_format(control_time - 10 * DAY, until);
	assert_string_equal(control_text(json_object_get(prune, "after"), "until"), until);
	assert_string_equal(control_text(control_item(left, 1), "action"), "create");
}

static void many_go_in_small_batches_and_are_one_entry(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *half = NULL;
	cleanup_json json_t *left = NULL;

	keep_for(c, 10);
	make_tokens(c, MANY);
	control_time += 11 * DAY;
	control_tick(c);
	half = entries(c);
	assert_in_range(control_count(half), MANY / 4, MANY - 1);
	for (unsigned i = 0; i < 3; i++) {
		control_time += 1;
		control_tick(c);
	}
	left = entries(c);
	assert_int_equal(control_count(left), 1);
	assert_int_equal(control_number(json_object_get(control_item(left, 0), "after"), "rows"),
			 MANY + 3);
}

static void nothing_old_leaves_no_entry(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *before = NULL;
	cleanup_json json_t *after = NULL;

	keep_for(c, 10);
	before = entries(c);
	for (unsigned i = 0; i < 5; i++) {
		control_time += DAY;
		control_tick(c);
	}
	after = entries(c);
	assert_true(json_equal(before, after));
}

static void a_clock_that_jumps_for_a_moment_costs_nothing(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *before = NULL;
	cleanup_json json_t *after = NULL;

	keep_for(c, 10);
	control_tick(c);
	before = entries(c);
	control_time += 3650U * DAY;
	control_tick(c);
	control_time += 1;
	control_tick(c);
	control_time -= 3650U * DAY;
	control_tick(c);
	after = entries(c);
	assert_true(json_equal(before, after));
}

static void zero_keeps_them_for_ever(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *before = NULL;
	cleanup_json json_t *after = NULL;

	keep_for(c, 0);
	before = entries(c);
	control_time += 10000ULL * DAY;
	control_tick(c);
	after = entries(c);
	assert_true(json_equal(before, after));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_route_that_changes_something_says_so),
		TEST(old_entries_go_and_young_ones_stay),
		TEST(many_go_in_small_batches_and_are_one_entry),
		TEST(nothing_old_leaves_no_entry),
		TEST(a_clock_that_jumps_for_a_moment_costs_nothing),
		TEST(zero_keeps_them_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
