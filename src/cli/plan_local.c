/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Planning on an author's machine. A plan is a pure function of bundle, policy and configuration;
 * where there is no host to ask, the policy that affix is built with stands in for the host's.
 */

#include "cli/plan_local.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "bundle/bundle.h"
#include "plan/plan.h"

bool plan_has_updater(void)
{
	struct stat st;

	return stat(REQUEST_FLEET_SOCKET, &st) == 0 || stat(REQUEST_ADMIN_SOCKET, &st) == 0;
}

static int read_config(const char *path, json_t **ret, struct refusal *reterr_refusal)
{
	cleanup_free char *text = NULL;
	struct json_problem problem = {0};
	size_t size = 0;
	int r;

	if (!path)
		return 0;
	r = command_read_file(path, REQUEST_CONFIG_MAX, &text, &size);
	if (r == 0)
		r = json_parse_object(text, size, ret, &problem);
	return r > 0 ? refuse(reterr_refusal, REFUSAL_BAD_CONFIG, "'%s' is not one JSON object: %s",
			      path, problem.text)
		     : r;
}

static int make_plan(const struct host_call *call, const char *path, struct plan **ret,
		     struct refusal *reterr_refusal)
{
	cleanup_host_policy struct host_policy *policy = NULL;
	cleanup_bundle struct bundle *bundle = NULL;
	cleanup_json json_t *config = NULL;
	const struct plan_narrowing narrowing = {0};
	struct plan_config configs = {0};
	cleanup_fd int fd = -EBADF;
	int r;

	r = command_open_file(path, &fd);
	if (r == 0)
		r = host_policy_default(&policy);
	if (r == 0)
		r = read_config(call->config, &config, reterr_refusal);
	if (r == 0)
		r = bundle_open(fd, NULL, -EBADF, &bundle, reterr_refusal);
	configs.fleet = config;
	return r != 0 ? r : plan_make(bundle, policy, &configs, &narrowing, ret, reterr_refusal);
}

static int fill_result(const struct plan *plan, struct result *result)
{
	struct digest digest;
	int r;

	result->verb = strdup(request_verb_to_string(REQUEST_PLAN));
	result->id = strdup(plan->identity.id);
	result->version = strdup(plan->identity.version);
	result->plan = malloc(DIGEST_TEXT_SIZE);
	result->time = clock_realtime_sec();
	result->data = json_object();
	if (!result->verb || !result->id || !result->version || !result->plan || !result->data)
		return -ENOMEM;
	r = plan_digest(plan, &digest);
	if (r < 0)
		return r;
	digest_to_string(&digest, result->plan);
	r = json_add(result->data, "plan", plan_to_json(plan));
	return r < 0 ? r
		     : result_set(result, RESULT_DONE, "", "the plan of '%s' %s: %zu objects",
				  plan->identity.id, plan->identity.version, plan->n_objects);
}

int plan_locally(const struct host_call *call, const char *path)
{
	cleanup_result struct result result = RESULT_INIT;
	cleanup_plan struct plan *plan = NULL;
	cleanup_json json_t *json = NULL;
	struct refusal refusal = REFUSAL_INIT;
	int r;

	r = make_plan(call, path, &plan, &refusal);
	if (r > 0)
		return command_refuse(&refusal);
	if (r < 0)
		return command_broke(r, "the bundle '%s' cannot be planned", path);
	r = fill_result(plan, &result);
	if (r < 0)
		return command_broke(r, "the plan cannot be shown");
	(void)fputs(
		"note: no updater runs here: planned by the built-in policy, signature not verified\n",
		stderr);
	if (!call->json) {
		host_print(&call->request, &result);
		return COMMAND_DONE;
	}
	json = result_to_json(&result);
	return json ? command_print_json(json) : command_broke(-ENOMEM, "the plan cannot be shown");
}
