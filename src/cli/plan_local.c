/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Planning on an author's machine. A plan is a pure function of bundle, policy and configuration;
 * where there is no host to ask, the policy that affix is built with stands in for the host's. What
 * a signature beside the bundle says of it is taken at its word, so that the plan, and its digest,
 * are those of a host without a policy of its own.
 */

#include "cli/plan_local.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "bundle/bundle.h"
#include "bundle/trust.h"
#include "engine/delivery.h"
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

/* What the bundle's signature says of it: 0; -ENOENT if it has none, or none of ours; refused. */
static int read_signature(const struct host_call *call, const char *path, struct identity *ret,
			  char key_id[MINISIGN_KEY_ID_TEXT_SIZE], struct refusal *reterr_refusal)
{
	cleanup_free char *beside = NULL;
	cleanup_free char *text = NULL;
	struct minisign_signature signature;
	size_t size = 0;
	int r = str_format(&beside, "%s.minisig", path);

	if (r < 0)
		return r;
	r = command_read_file(call->signature ? call->signature : beside, MINISIGN_FILE_MAX, &text,
			      &size);
	if (r == -ENOENT && call->signature)
		return command_unsigned(path, call->signature, reterr_refusal);
	if (r == 0)
		r = trust_signature_parse(text, size, &signature, reterr_refusal);
	if (r != 0)
		return r;
	if (identity_parse(signature.trusted_comment, ret) != 0)
		return -ENOENT;
	minisign_key_id_to_string(signature.key_id, key_id);
	return 0;
}

static int open_bundle(const struct host_call *call, const char *path, struct bundle **ret,
		       struct refusal *reterr_refusal)
{
	char key_id[MINISIGN_KEY_ID_TEXT_SIZE] = "";
	cleanup_bundle struct bundle *bundle = NULL;
	struct identity identity;
	cleanup_fd int fd = -EBADF;
	bool has_identity;
	int r = command_open_file(path, &fd);

	if (r < 0)
		return r;
	r = read_signature(call, path, &identity, key_id, reterr_refusal);
	if (r != 0 && r != -ENOENT)
		return r;
	has_identity = r == 0;
	r = bundle_open(fd, has_identity ? &identity : NULL, NULL, &bundle, reterr_refusal);
	if (r == 0 && has_identity)
		r = digest_of_fd(fd, &bundle->digest, NULL);
	if (r != 0)
		return r;
	memcpy(bundle->key_id, key_id, sizeof(bundle->key_id));
	*ret = TAKE_PTR(bundle);
	return 0;
}

/* The request as it would travel, signed or not: the protocol's rules for the rest hold here, too.
 */
static int check_request(struct host_call *call, struct refusal *reterr_refusal)
{
	struct request *request = &call->request;

	request->fds[request->n_fds++] = REQUEST_FD_BUNDLE;
	request->fds[request->n_fds++] = REQUEST_FD_SIGNATURE;
	if (call->config)
		request->fds[request->n_fds++] = REQUEST_FD_CONFIG;
	return host_check_request(request, reterr_refusal);
}

static int make_plan(struct host_call *call, const char *path, struct plan **ret,
		     struct refusal *reterr_refusal)
{
	cleanup_host_policy struct host_policy *policy = NULL;
	cleanup_bundle struct bundle *bundle = NULL;
	cleanup_plan struct plan *plan = NULL;
	cleanup_json json_t *config = NULL;
	struct plan_narrowing narrowing = {0};
	struct plan_config configs = {0};
	int r;

	r = check_request(call, reterr_refusal);
	if (r == 0)
		r = delivery_read_narrowing(&call->request, &narrowing, reterr_refusal);
	if (r == 0)
		r = host_policy_default(&policy);
	if (r == 0)
		r = read_config(call->config, &config, reterr_refusal);
	if (r == 0)
		r = open_bundle(call, path, &bundle, reterr_refusal);
	configs.fleet = config;
	if (r == 0)
		r = plan_make(bundle, policy, &configs, &narrowing, &plan, reterr_refusal);
	if (r == 0)
		r = delivery_validate(bundle, plan, reterr_refusal);
	if (r == 0)
		*ret = TAKE_PTR(plan);
	return r;
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
	if (r == 0)
		r = json_add(result->data, "overrides", json_array());
	if (r == 0)
		r = json_add(result->data, "verified", json_false());
	return r < 0 ? r
		     : result_set(result, RESULT_DONE, "", "the plan of '%s' %s: %zu objects",
				  plan->identity.id, plan->identity.version, plan->n_objects);
}

int plan_locally(struct host_call *call, const char *path)
{
	cleanup_result struct result result = RESULT_INIT;
	cleanup_plan struct plan *plan = NULL;
	cleanup_json json_t *json = NULL;
	int r = make_plan(call, path, &plan, &call->refusal);

	if (r > 0)
		return host_run(call);
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
