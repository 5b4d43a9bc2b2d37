/* SPDX-License-Identifier: Apache-2.0 */

/* What the fleet does when its disk or database fails: nobody is told what is not so, and hosts
 * come back with what was lost. */

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <signal.h>
#include <sqlite3.h>

#include "base/clock.h"
#include "control_fixture.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, control_setup, control_teardown)

static struct rlimit no_limit;

static void fill_disk(void)
{
	struct rlimit full;

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &no_limit), 0);
	full = no_limit;
	full.rlim_cur = 1;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
}

static void free_disk(void)
{
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &no_limit), 0);
}

static sqlite3 *lock_database(struct control *c)
{
	char path[64];
	sqlite3 *other = NULL;

	(void)snprintf(path, sizeof(path), "%s/affixd.db", c->path);
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	return other;
}

static void a_report_that_cannot_be_kept_sends_the_host_away_for_a_while(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	struct control_agent other = {0};
	struct fleet_report report = {.capabilities = CONTROL_AGENT,
				      .has_custom_message = true,
				      .custom_capability = "io.affix.status",
				      .custom_type = "status"};
	cleanup_json json_t *status = NULL;
	static const char text[] = "{\"schema\": 1, \"addons\": [{\"id\": \"demo\", "
				   "\"version\": \"1.0.0\", \"state\": \"running\"}]}";

	control_enrol(c, &agent, "web1");
	control_enrol(c, &other, "web2");
	report.connection = agent.connection;
	report.sequence = 5;
	report.custom_data = (struct fleet_bytes){text, strlen(text)};
	control_forget(c);
	fill_disk();
	ignore_result(fleet_report(c->fleet, &report));
	assert_true(fleet_flush(c->fleet) < 0);
	free_disk();
	assert_int_equal(control_last(c, &agent)->status, 503);
	assert_null(control_last(c, &other));
	/* It comes again with everything, and all is well. */
	control_hello(c, &agent);
	control_describe(c, &agent);
	control_say_status(c, &agent, "1.0.0", "running");
	assert_int_equal(control_last(c, &agent)->status, 0);
	status = control_ask(c, 200, "GET", "/api/v1/status?host=web1", NULL);
	assert_string_equal(control_text(control_item(status, 0), "running"), "1.0.0");
	control_report(c, &other, &(struct fleet_report){.capabilities = CONTROL_AGENT});
	assert_int_equal(control_last(c, &other)->status, 0);
}

static void a_credential_that_was_not_kept_is_not_given(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {.name = "web1"};
	struct fleet_report report = {.capabilities = CONTROL_AGENT, .sequence = 1};
	cleanup_json json_t *hosts = NULL;

	control_join_token(c, "{\"name\": \"one\", \"max_uses\": 1}", agent.authorization,
			   sizeof(agent.authorization));
	control_forget(c);
	fill_disk();
	ignore_result(
		fleet_hello(c->fleet, &(struct fleet_hello){.connection = FLEET_CONNECTION(1, 77),
							    .authorization = agent.authorization}));
	report.connection = FLEET_CONNECTION(1, 77);
	ignore_result(fleet_report(c->fleet, &report));
	ignore_result(fleet_flush(c->fleet));
	free_disk();
	for (size_t i = 0; i < c->n_said; i++)
		assert_true(c->said[i].status != 0);
	hosts = control_ask(c, 200, "GET", "/api/v1/hosts", NULL);
	assert_int_equal(control_count(hosts), 0);
	/* And the token was not used up by it. */
	control_hello(c, &agent);
	control_describe(c, &agent);
	assert_int_equal(control_last(c, &agent)->status, 0);
}

static void a_change_that_cannot_be_kept_is_not_made(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *list = NULL;

	control_package(c, "1.0.0");
	fill_disk();
	control_refused(c, 507, "disk-full", "POST", "/api/v1/assignments",
			"{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
	free_disk();
	list = control_ask(c, 200, "GET", "/api/v1/assignments", NULL);
	assert_int_equal(control_count(list), 0);
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
}

static void a_locked_database_says_so_and_reading_goes_on(void **state)
{
	struct control *c = *state;
	sqlite3 *other = lock_database(c);

	control_refused(c, 503, "database-locked", "POST", "/api/v1/join-tokens",
			"{\"name\": \"a\"}");
	control_do(c, 200, "GET", "/api/v1/hosts", NULL);
	assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(other);
	control_do(c, 201, "POST", "/api/v1/join-tokens", "{\"name\": \"a\"}");
}

static void while_the_database_is_locked_hosts_wait_for_their_offers_and_stay(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	unsigned wait = 0;
	sqlite3 *other;

	control_package(c, "1.0.0");
	control_enrol(c, &agent, "web1");
	control_tick(c);
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
	control_forget(c);
	other = lock_database(c);
	assert_int_equal(fleet_tick(c->fleet, &wait), 0);
	assert_true(wait > 0);
	assert_null(control_last(c, &agent));
	assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(other);
	control_tick(c);
	assert_non_null(control_last(c, &agent));
	assert_int_equal(control_last(c, &agent)->status, 0);
}

static void a_database_that_is_locked_at_the_start_is_said_and_left_alone(void **state)
{
	struct control *c = *state;
	cleanup_json json_t *tokens = NULL;
	char problem[FLEET_PROBLEM_MAX] = "";
	sqlite3 *other;

	control_do(c, 201, "POST", "/api/v1/join-tokens", "{\"name\": \"one\"}");
	c->fleet = fleet_free(c->fleet);
	other = lock_database(c);
	assert_int_equal(control_try_open(c, problem), 1);
	assert_non_null(strstr(problem, "lock"));
	(void)sqlite3_close(other);
	control_open(c);
	tokens = control_ask(c, 200, "GET", "/api/v1/join-tokens", NULL);
	assert_int_equal(control_count(tokens), 1);
}

/* As the store of an affixd that was killed: it ends a moment later. */
static void an_affixd_that_is_ending_is_waited_for(void **state)
{
	struct control *c = *state;
	int ready[2];
	char byte;
	pid_t pid;

	c->fleet = fleet_free(c->fleet);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = openat(c->dir, "lock", O_RDWR | O_CLOEXEC);

		if (fd < 0 || flock(fd, LOCK_EX) < 0 || write(ready[1], "x", 1) != 1)
			_exit(EXIT_FAILURE);
		clock_sleep_usec(300 * CLOCK_USEC_PER_MSEC);
		_exit(EXIT_SUCCESS);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	control_open(c);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

static void a_damaged_database_is_said_at_the_start(void **state)
{
	struct control *c = *state;
	char problem[FLEET_PROBLEM_MAX] = "";
	char page[4096];
	int fd;

	c->fleet = fleet_free(c->fleet);
	fd = openat(c->dir, "affixd.db", O_RDWR | O_CLOEXEC);
	memset(page, 0x5a, sizeof(page));
	for (off_t at = 4096; at < 20 * 4096; at += 4096)
		assert_int_equal(pwrite(fd, page, sizeof(page), at), sizeof(page));
	(void)fd_close(fd);
	assert_int_equal(control_try_open(c, problem), 1);
	assert_non_null(strstr(problem, "backup"));
}

static void what_is_killed_before_its_commit_is_gone_and_the_rest_is_not(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	cleanup_json json_t *host = NULL;

	control_enrol(c, &agent, "web1");
	agent.name = "renamed";
	{
		const struct fleet_attribute name = {"host.name", "renamed", false};
		const struct fleet_report report = {.connection = agent.connection,
						    .sequence = 9,
						    .has_description = true,
						    .attributes = &name,
						    .n_attributes = 1};

		assert_int_equal(fleet_report(c->fleet, &report), 0);
	}
	control_reopen(c);
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(host, "name"), "web1");
	/* The digests are those of what is there: the host is believed when it says it again. */
	control_hello(c, &agent);
	control_describe(c, &agent);
	json_decref(host);
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_string_equal(control_text(host, "name"), "renamed");
}

static void names_and_texts_of_hosts_are_bounded(void **state)
{
	struct control *c = *state;
	struct control_agent agent = {0};
	char longer[3000];
	const struct fleet_attribute attributes[] = {
		{"host.name",           longer,         false},
		{"affix.label.ok",      "yes",          false},
		{"affix.label.bad key", "yes",          false},
		{"affix.label.value",   "not a value!", false},
		{"affix.label.os",      "plan9",        false},
		{NULL,                  "x",            false},
		{"empty",               NULL,           false},
	};
	struct fleet_report report = {.has_description = true,
				      .attributes = attributes,
				      .n_attributes = ARRAY_SIZE(attributes)};
	cleanup_json json_t *host = NULL;
	const json_t *labels;

	control_enrol(c, &agent, "web1");
	memset(longer, 'x', sizeof(longer) - 1);
	/* A character that the limit falls into. */
	memcpy(longer + 1023, "\xc3\xa4", 2);
	longer[sizeof(longer) - 1] = '\0';
	control_report(c, &agent, &report);
	host = control_ask(c, 200, "GET", "/api/v1/hosts/1", NULL);
	assert_int_equal(strlen(control_text(host, "name")), 1023);
	labels = json_object_get(host, "labels");
	assert_int_equal(json_object_size(labels), 2);
	assert_string_equal(control_text(labels, "ok"), "yes");
	/* Nobody's label takes the place of what the host is. */
	{
		cleanup_json json_t *list =
			control_ask(c, 200, "GET", "/api/v1/hosts?selector=os%3Dplan9", NULL);

		assert_int_equal(control_count(list), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_report_that_cannot_be_kept_sends_the_host_away_for_a_while),
		TEST(a_credential_that_was_not_kept_is_not_given),
		TEST(a_change_that_cannot_be_kept_is_not_made),
		TEST(a_locked_database_says_so_and_reading_goes_on),
		TEST(while_the_database_is_locked_hosts_wait_for_their_offers_and_stay),
		TEST(a_database_that_is_locked_at_the_start_is_said_and_left_alone),
		TEST(an_affixd_that_is_ending_is_waited_for),
		TEST(a_damaged_database_is_said_at_the_start),
		TEST(what_is_killed_before_its_commit_is_gone_and_the_rest_is_not),
		TEST(names_and_texts_of_hosts_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
