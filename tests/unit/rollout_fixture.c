/* SPDX-License-Identifier: Apache-2.0 */

#include "rollout_fixture.h"

struct control_agent rollout_agents[ROLLOUT_HOSTS];

void rollout_make_hosts(struct control *c)
{
	static const char *const names[ROLLOUT_HOSTS] = {"web1", "web2", "web3", "web4"};

	control_package(c, "1.0.0");
	control_package(c, "2.0.0");
	control_do(c, 201, "POST", "/api/v1/assignments",
		   "{\"addon\": \"demo\", \"version\": \"1.0.0\", \"selector\": \"\"}");
	memset(rollout_agents, 0, sizeof(rollout_agents));
	for (size_t i = 0; i < ROLLOUT_HOSTS; i++) {
		control_enrol(c, &rollout_agents[i], names[i]);
		control_say_status(c, &rollout_agents[i], "1.0.0", "running");
	}
	control_time += 10;
}

void rollout_start(struct control *c, const char *rest)
{
	char body[256];

	(void)snprintf(body, sizeof(body),
		       "{\"assignment\": 1, \"version\": \"2.0.0\", \"wait_seconds\": 20, "
		       "\"timeout_seconds\": 60%s%s}",
		       *rest ? ", " : "", rest);
	control_do(c, 201, "POST", "/api/v1/rollouts", body);
	control_tick(c);
}

void rollout_is(struct control *c, const char *state, int64_t wave)
{
	cleanup_json json_t *rollout = control_ask(c, 200, "GET", "/api/v1/rollouts/1", NULL);

	assert_string_equal(control_text(rollout, "state"), state);
	assert_int_equal(control_number(rollout, "wave"), wave);
}

void rollout_wanted(struct control *c, size_t i, char ret[16])
{
	char target[64];
	cleanup_json json_t *json = NULL;

	(void)snprintf(target, sizeof(target), "/api/v1/hosts/%lld/explain/demo",
		       (long long)rollout_agents[i].host);
	json = control_ask(c, 200, "GET", target, NULL);
	(void)snprintf(ret, 16, "%s", control_text(json, "wanted"));
}

unsigned rollout_count_wanted(struct control *c, const char *version)
{
	unsigned n = 0;
	char text[16];

	for (size_t i = 0; i < ROLLOUT_HOSTS; i++) {
		rollout_wanted(c, i, text);
		n += strcmp(text, version) == 0;
	}
	return n;
}

void rollout_follow(struct control *c, const char *version, const char *state)
{
	char text[16];

	for (size_t i = 0; i < ROLLOUT_HOSTS; i++) {
		rollout_wanted(c, i, text);
		if (strcmp(text, "2.0.0") == 0)
			control_say_status(c, &rollout_agents[i], version, state);
		else
			assert_int_equal(fleet_seen(c->fleet, &rollout_agents[i].connection, 1), 0);
	}
}

void rollout_live_for(struct control *c, unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i += 5) {
		control_time += 5;
		for (size_t k = 0; k < ROLLOUT_HOSTS; k++)
			assert_int_equal(fleet_seen(c->fleet, &rollout_agents[k].connection, 1), 0);
		control_forget(c);
		control_tick(c);
	}
}
