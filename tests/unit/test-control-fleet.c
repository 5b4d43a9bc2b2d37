/* SPDX-License-Identifier: Apache-2.0 */

/* The fleet from a host's side: who may come, what they are told. */

#include "control/package_url.h"
#include "control_fixture.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, control_setup, control_teardown)

static unsigned refusal_of(struct control *c, struct control_agent *agent)
{
	const struct control_said *said;

	assert_int_equal(fleet_flush(c->fleet), 0);
	said = control_last(c, agent);
	return said ? said->status : 0;
}

static void a_stranger_is_sent_away(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.name = "web1"};

	control_hello(c, &agent);
	assert_int_equal(refusal_of(c, &agent), 401);
	(void)snprintf(agent.authorization, sizeof(agent.authorization), "Bearer nonsense");
	control_hello(c, &agent);
	assert_int_equal(refusal_of(c, &agent), 401);
	/* An API token is no host's. */
	(void)snprintf(agent.authorization, sizeof(agent.authorization), "%s", c->admin);
	control_hello(c, &agent);
	assert_int_equal(refusal_of(c, &agent), 401);
}

static void a_report_without_a_hello_is_refused(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.name = "web1", .connection = 99};
	struct fleet_report report = {0};

	control_report(c, &agent, &report);
	assert_int_equal(refusal_of(c, &agent), 401);
}

static void a_join_token_makes_a_host_that_gets_a_credential_of_its_own(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	cleanup_json json_t *audit = NULL;
	cleanup_json json_t *host = NULL;

	control_enrol(c, &agent, "web1");
	assert_non_null(strstr(agent.authorization, "Bearer affix-host-"));
	/* The second answer, to the credential, has none. */
	assert_null(control_decode(control_last(c, &agent), &arena)->connection_settings);
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(host, "name"), "web1");
	assert_string_equal(control_text(host, "presence"), "connected");
	assert_string_equal(control_text(json_object_get(host, "labels"), "env"), "prod");
	audit = control_ask(c, 200, "GET", "/api/v1/audit?object=host+1", NULL);
	assert_string_equal(control_text(control_item(audit, 0), "action"), "enrol");
	assert_string_equal(control_text(control_item(audit, 0), "peer"), "192.0.2.7");
	assert_int_equal(
		control_number(json_object_get(control_item(audit, 0), "after"), "join_token"), 1);
}

static void an_answer_that_was_lost_does_not_make_a_second_host(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.name = "web1"};
	cleanup_json json_t *hosts = NULL;

	control_join_token(c, "{\"name\": \"one\", \"max_uses\": 1}", agent.authorization,
			   sizeof(agent.authorization));
	control_hello(c, &agent);
	control_describe(c, &agent);
	control_hello(c, &agent);
	control_describe(c, &agent);
	assert_int_equal(refusal_of(c, &agent), 0);
	hosts = control_ask(c, 200, "GET", "/api/v1/hosts", NULL);
	assert_int_equal(control_count(hosts), 1);
}

static void a_join_token_is_good_for_as_many_hosts_as_it_says(void **state)
{
	struct control *c = *state;
	struct control_agent first = {.name = "web1", .uid = {1}};
	struct control_agent second = {.name = "web2", .uid = {2}};

	control_join_token(c, "{\"name\": \"one\", \"max_uses\": 1}", first.authorization,
			   sizeof(first.authorization));
	memcpy(second.authorization, first.authorization, sizeof(first.authorization));
	control_hello(c, &first);
	assert_int_equal(refusal_of(c, &first), 0);
	control_hello(c, &second);
	assert_int_equal(refusal_of(c, &second), 401);
}

static void a_join_token_ends_with_its_time_and_when_it_is_revoked(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.name = "web1", .uid = {1}};
	struct control_agent other = {.name = "web2", .uid = {2}};

	control_join_token(c, "{\"name\": \"short\", \"expires_in\": 60}", agent.authorization,
			   sizeof(agent.authorization));
	control_time += 61;
	control_hello(c, &agent);
	assert_int_equal(refusal_of(c, &agent), 401);
	control_join_token(c, "{\"name\": \"long\"}", other.authorization,
			   sizeof(other.authorization));
	control_do(c, 204, "POST", "/api/v1/join-tokens/2/revoke", NULL);
	control_hello(c, &other);
	assert_int_equal(refusal_of(c, &other), 401);
}

static void a_revoked_host_is_out_at_once_and_stays_out(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};

	control_enrol(c, &agent, "web1");
	control_forget(c);
	control_do(c, 204, "POST", "/api/v1/hosts/1/revoke", NULL);
	assert_int_equal(control_last(c, &agent)->status, 403);
	control_hello(c, &agent);
	assert_int_equal(refusal_of(c, &agent), 403);
	control_reopen(c);
	control_hello(c, &agent);
	assert_int_equal(refusal_of(c, &agent), 403);
}

static void a_certificate_counts_only_where_it_was_said_to(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.name = "web1", .certificate = "web1.example"};
	cleanup_json json_t *hosts = NULL;

	control_hello(c, &agent);
	assert_int_equal(refusal_of(c, &agent), 401);
	c->trust_certificates = true;
	control_reopen(c);
	for (int i = 0; i < 2; i++) {
		control_hello(c, &agent);
		control_describe(c, &agent);
		assert_int_equal(refusal_of(c, &agent), 0);
	}
	hosts = control_ask(c, 200, "GET", "/api/v1/hosts", NULL);
	assert_int_equal(control_count(hosts), 1);
	assert_string_equal(control_text(control_item(hosts, 0), "certificate"), "web1.example");
	control_do(c, 204, "POST", "/api/v1/hosts/1/revoke", NULL);
	control_hello(c, &agent);
	assert_int_equal(refusal_of(c, &agent), 403);
	/* Forgetting the host does not let it in again. */
	control_do(c, 204, "DELETE", "/api/v1/hosts/1", NULL);
	control_hello(c, &agent);
	assert_int_equal(refusal_of(c, &agent), 403);
}

static void of_two_connections_of_one_host_the_newer_stays(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	struct control_agent again;

	control_enrol(c, &agent, "web1");
	again = agent;
	control_forget(c);
	control_hello(c, &again);
	assert_int_equal(refusal_of(c, &agent), 409);
	assert_int_equal(refusal_of(c, &again), 0);
}

static void nothing_is_said_before_it_is_committed(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.name = "web1"};
	struct fleet_report report = {.capabilities = CONTROL_AGENT};

	control_join_token(c, "{\"name\": \"one\"}", agent.authorization,
			   sizeof(agent.authorization));
	control_forget(c);
	control_hello(c, &agent);
	report.connection = agent.connection;
	assert_int_equal(fleet_report(c->fleet, &report), 0);
	assert_int_equal(c->n_said, 0);
	assert_int_equal(fleet_flush(c->fleet), 0);
	assert_int_equal(c->n_said, 1);
}

static void who_has_not_told_everything_is_asked_for_it(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	struct fleet_report report = {0};
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__ServerToAgent *message;

	control_enrol(c, &agent, "web1");
	control_reopen(c);
	control_hello(c, &agent);
	control_report(c, &agent, &report);
	message = control_decode(control_last(c, &agent), &arena);
	assert_int_equal(message->flags, 1);
	assert_null(message->packages_available);
}

static void a_gap_in_what_came_is_asked_for(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	struct fleet_report report = {.is_after_gap = true};
	cleanup_opamp_arena struct opamp_arena *arena = NULL;

	control_enrol(c, &agent, "web1");
	control_report(c, &agent, &report);
	assert_int_equal(control_decode(control_last(c, &agent), &arena)->flags, 1);
}

static const Opamp__Proto__PackageAvailable *offered(const Opamp__Proto__ServerToAgent *message,
						     const char *name)
{
	assert_non_null(message->packages_available);
	for (size_t i = 0; i < message->packages_available->n_packages; i++) {
		if (strcmp(message->packages_available->packages[i]->key, name) == 0)
			return message->packages_available->packages[i]->value;
	}
	return NULL;
}

static const char *config_of(const Opamp__Proto__ServerToAgent *message, const char *name)
{
	static char text[2048];
	const Opamp__Proto__AgentConfigMap *map;

	assert_non_null(message->remote_config);
	map = message->remote_config->config;
	for (size_t i = 0; i < map->n_config_map; i++) {
		const ProtobufCBinaryData *body = &map->config_map[i]->value->body;

		if (strcmp(map->config_map[i]->key, name) != 0)
			continue;
		(void)snprintf(text, sizeof(text), "%.*s", (int)body->len, (char *)body->data);
		return text;
	}
	return NULL;
}

static void an_assignment_reaches_hosts_that_are_connected(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	const Opamp__Proto__PackageAvailable *package;
	Opamp__Proto__ServerToAgent *message;
	struct package_url url;
	char *query;

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	control_forget(c);
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"env=prod\", "
		   "\"config\": {\"level\": 3}}");
	assert_int_equal(c->n_said, 0);
	control_tick(c);
	message = control_decode(control_last(c, &agent), &arena);
	package = offered(message, "demo");
	assert_non_null(package);
	assert_string_equal(package->version, "1.0.0");
	assert_int_equal(package->type, 1);
	assert_int_equal(package->file->content_hash.len, 32);
	assert_memory_equal(package->file->signature.data, "untrusted comment", 17);
	assert_string_equal(config_of(message, "demo"), "{\"level\":3}\n");
	assert_non_null(strstr(config_of(message, "affix"), "\"enabled\":true"));
	query = strchr(package->file->download_url, '?');
	*query++ = '\0';
	assert_int_equal(package_url_parse(fleet_url_key(c->fleet),
					   package->file->download_url +
						   strlen("https://fleet.example:4320"),
					   query, control_time, &url),
			 0);
	assert_int_equal(url.host, agent.host);
	/* Nothing new: nothing said. */
	control_forget(c);
	control_tick(c);
	assert_int_equal(c->n_said, 0);
}

static void hosts_that_do_not_match_are_told_nothing(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.env = "test"};

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	control_forget(c);
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"env=prod\"}");
	control_tick(c);
	assert_null(control_last(c, &agent));
	/* Until the host is another. */
	agent.env = "prod";
	control_describe(c, &agent);
	{
		cleanup_opamp_arena struct opamp_arena *arena = NULL;

		assert_non_null(offered(control_decode(control_last(c, &agent), &arena), "demo"));
	}
}

static void unassigning_offers_nothing_instead_of_saying_nothing(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__ServerToAgent *message;

	control_package(c, "1.0.0");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"latest\", \"selector\": \"\"}");
	control_enrol(c, &agent, "web1");
	control_do(c, 204, "DELETE", "/api/v1/assignments/1", NULL);
	control_forget(c);
	control_tick(c);
	message = control_decode(control_last(c, &agent), &arena);
	assert_non_null(message->packages_available);
	assert_int_equal(message->packages_available->n_packages, 0);
}

static void a_confirmed_removal_holds_for_the_offer_it_was_for(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_opamp_arena struct opamp_arena *first = NULL;
	cleanup_opamp_arena struct opamp_arena *second = NULL;
	Opamp__Proto__ServerToAgent *message;

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	control_say_status(c, &agent, "1.0.0", "running");
	control_forget(c);
	control_do(c, 200, "POST", "/api/v1/hosts/1/confirm-removal", "{}");
	control_tick(c);
	message = control_decode(control_last(c, &agent), &first);
	assert_non_null(strstr(config_of(message, "affix"), "\"confirm_removal\":[\"demo\"]"));
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"latest\", \"selector\": \"\"}");
	control_forget(c);
	control_tick(c);
	message = control_decode(control_last(c, &agent), &second);
	assert_null(strstr(config_of(message, "affix"), "confirm_removal"));
}

static bool is_offered_packages(struct control *c, struct control_agent *agent)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;

	return control_decode(control_last(c, agent), &arena)->packages_available != NULL;
}

/* A host that is offered packages, names no offer, is offered them again, and names none. */
static void name_no_offer(struct control *c, struct control_agent *agent,
			  struct fleet_report *report)
{
	control_package(c, "1.0.0");
	control_enrol(c, agent, "web1");
	control_report(c, agent, report);
	assert_true(is_offered_packages(c, agent));
	control_report(c, agent, report);
	assert_false(is_offered_packages(c, agent));
}

static void a_host_that_names_another_offer_gets_it_again_but_not_in_a_circle(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	struct fleet_report report = {.has_packages = true};

	name_no_offer(c, &agent, &report);
	control_time += 31;
	control_report(c, &agent, &report);
	assert_true(is_offered_packages(c, &agent));
	control_report(c, &agent, &report);
	assert_false(is_offered_packages(c, &agent));
	/* One that never names an offer hears of it less and less often. */
	control_time += 31;
	control_report(c, &agent, &report);
	assert_false(is_offered_packages(c, &agent));
}

static bool is_offered_on_a_heartbeat(struct control *c, struct control_agent *agent,
				      uint64_t seconds)
{
	control_forget(c);
	control_time += seconds;
	assert_int_equal(fleet_seen(c->fleet, &agent->connection, 1), 0);
	control_tick(c);
	return control_last(c, agent) && is_offered_packages(c, agent);
}

static void a_host_that_named_another_offer_once_gets_it_although_it_only_beats_since(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	struct fleet_report report = {.has_packages = true};

	name_no_offer(c, &agent, &report);
	assert_false(is_offered_on_a_heartbeat(c, &agent, 10));
	assert_true(is_offered_on_a_heartbeat(c, &agent, 21));
	/* It may have been lost on its way. */
	assert_false(is_offered_on_a_heartbeat(c, &agent, 30));
	assert_true(is_offered_on_a_heartbeat(c, &agent, 31));
}

static void a_silent_host_is_stale(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_json json_t *before = NULL;
	cleanup_json json_t *after = NULL;

	control_enrol(c, &agent, "web1");
	control_time += 80;
	assert_int_equal(fleet_seen(c->fleet, &agent.connection, 1), 0);
	control_time += 80;
	before = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(before, "presence"), "connected");
	control_time += 20;
	after = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(after, "presence"), "stale");
}

static void presence_is(struct control *c, const struct control_agent *agent, const char *wanted)
{
	cleanup_json json_t *host = NULL;
	char target[48];

	(void)snprintf(target, sizeof(target), "/api/v1/hosts/%lld", (long long)agent->host);
	host = control_ask(c, 200, "GET", target, NULL);
	assert_string_equal(control_text(host, "presence"), wanted);
}

static void only_who_was_silent_before_affixd_went_down_is_stale_at_once_after_it(void **state)
{
	struct control *c = *state;
	struct control_agent dead = {0};
	struct control_agent alive = {0};

	control_enrol(c, &dead, "dead");
	control_time += 3600;
	control_enrol(c, &alive, "alive");
	c->fleet = fleet_free(c->fleet);
	control_time += 3600;
	control_reopen(c);
	presence_is(c, &dead, "stale");
	presence_is(c, &alive, "away");
	control_time += 395;
	presence_is(c, &alive, "stale");
	control_hello(c, &alive);
	presence_is(c, &alive, "connected");
}

static void a_host_that_was_heard_of_in_the_future_is_stale_in_time(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	struct control_agent other = {0};
	struct control_agent silent = {0};

	/* The clock is set back while affixd is down ... */
	control_enrol(c, &agent, "web1");
	c->fleet = fleet_free(c->fleet);
	control_time -= 86400;
	control_reopen(c);
	presence_is(c, &agent, "away");
	control_time += 395;
	presence_is(c, &agent, "stale");
	/* ... or runs, and the host is gone. */
	control_enrol(c, &other, "web2");
	control_tick(c);
	fleet_gone(c->fleet, other.connection);
	control_time -= 86400;
	control_tick(c);
	presence_is(c, &other, "away");
	control_time += 50;
	control_tick(c);
	control_time += 345;
	presence_is(c, &other, "stale");
	/* ... or runs, and the host is connected and says nothing any more. */
	control_enrol(c, &silent, "web3");
	control_tick(c);
	control_time -= 86400;
	control_tick(c);
	presence_is(c, &silent, "connected");
	control_time += 50;
	control_tick(c);
	control_time += 345;
	presence_is(c, &silent, "stale");
}

static void what_hosts_said_survives_a_restart(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_json json_t *status = NULL;

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	control_say_status(c, &agent, "1.0.0", "running");
	control_reopen(c);
	status = control_ask(c, 200, "GET", "/api/v1/status", NULL);
	assert_string_equal(control_text(control_item(status, 0), "running"), "1.0.0");
	assert_string_equal(control_text(control_item(status, 0), "state"), "running");
}

static void a_second_affixd_does_not_start_on_the_same_data(void **state)
{
	struct control *c = *state;
	struct control other = *c;
	char problem[FLEET_PROBLEM_MAX] = "";

	other.fleet = NULL;
	assert_int_equal(control_try_open(&other, problem), 1);
	assert_non_null(strstr(problem, "another affixd"));
}

static uint64_t heartbeat_told(struct control *c, const struct control_agent *agent)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	const Opamp__Proto__ServerToAgent *message = control_decode(control_last(c, agent), &arena);

	return message->connection_settings
		       ? message->connection_settings->opamp->heartbeat_interval_seconds
		       : 0;
}

static void a_host_that_polls_is_told_how_often_once_on_each_connection(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.is_polling = true};

	control_enrol(c, &agent, "web1");
	assert_int_equal(heartbeat_told(c, &agent), CONTROL_POLL_SECONDS);
	control_describe(c, &agent);
	assert_int_equal(heartbeat_told(c, &agent), 0);
	control_reopen(c);
	control_hello(c, &agent);
	control_describe(c, &agent);
	assert_int_equal(heartbeat_told(c, &agent), CONTROL_POLL_SECONDS);
}

static void a_front_that_ends_takes_its_connections_along(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_json json_t *host = NULL;
	struct fleet_report report = {0};

	control_enrol(c, &agent, "web1");
	fleet_front_gone(c->fleet, 1);
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(host, "presence"), "away");
	control_report(c, &agent, &report);
	assert_int_equal(refusal_of(c, &agent), 401);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_stranger_is_sent_away),
		TEST(a_report_without_a_hello_is_refused),
		TEST(a_join_token_makes_a_host_that_gets_a_credential_of_its_own),
		TEST(an_answer_that_was_lost_does_not_make_a_second_host),
		TEST(a_join_token_is_good_for_as_many_hosts_as_it_says),
		TEST(a_join_token_ends_with_its_time_and_when_it_is_revoked),
		TEST(a_revoked_host_is_out_at_once_and_stays_out),
		TEST(a_certificate_counts_only_where_it_was_said_to),
		TEST(of_two_connections_of_one_host_the_newer_stays),
		TEST(nothing_is_said_before_it_is_committed),
		TEST(who_has_not_told_everything_is_asked_for_it),
		TEST(a_gap_in_what_came_is_asked_for),
		TEST(an_assignment_reaches_hosts_that_are_connected),
		TEST(hosts_that_do_not_match_are_told_nothing),
		TEST(unassigning_offers_nothing_instead_of_saying_nothing),
		TEST(a_confirmed_removal_holds_for_the_offer_it_was_for),
		TEST(a_host_that_names_another_offer_gets_it_again_but_not_in_a_circle),
		TEST(a_host_that_named_another_offer_once_gets_it_although_it_only_beats_since),
		TEST(a_silent_host_is_stale),
		TEST(only_who_was_silent_before_affixd_went_down_is_stale_at_once_after_it),
		TEST(a_host_that_was_heard_of_in_the_future_is_stale_in_time),
		TEST(what_hosts_said_survives_a_restart),
		TEST(a_second_affixd_does_not_start_on_the_same_data),
		TEST(a_host_that_polls_is_told_how_often_once_on_each_connection),
		TEST(a_front_that_ends_takes_its_connections_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
