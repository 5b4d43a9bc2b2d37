/* SPDX-License-Identifier: Apache-2.0 */

/* What every verb begins with: the tree, the store, the policy, PID 1, the lock, and the checks
 * that go for all. */

#include "engine/operation.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "engine/commit.h"
#include "engine/transaction.h"
#include "plan/apply.h"
#include "plan/mounts.h"

/* How long the administrator waits for an add-on that is being worked on; others do not wait. */
#define ADMIN_WAIT (30 * CLOCK_USEC_PER_SEC)

/*
 * What the administrator allows is needed to bring something new, not to get rid of it: a mistake
 * in the file must bar neither the way back nor the end of what was interrupted.
 */
static int load_policy(struct operation *operation)
{
	int r = host_policy_load(operation->tree.rootfd, &operation->policy,
				 &operation->policy_refusal);

	if (r < 0 && r != -ENOMEM)
		r = refuse(&operation->policy_refusal, REFUSAL_BAD_HOST_POLICY,
			   HOST_POLICY_PATH " cannot be read: %s; replace it or remove it",
			   strerrordesc_np(-r));
	return MIN(r, 0);
}

int operation_open(const struct engine_call *call, bool make, struct result *result,
		   struct operation *ret)
{
	cleanup_operation struct operation operation = OPERATION_INIT;
	int r;

	operation.call = call;
	operation.result = result;
	r = tree_open(call->root ? call->root : "/", !call->root, &operation.tree);
	if (r < 0)
		return r;
	operation.tree.is_copy = call->is_copy;
	r = store_open(&operation.tree, make, &operation.store);
	if (r == -ENOENT && !make)
		r = 0;
	if (r == -ENOTRECOVERABLE)
		return refuse(&ret->refusal, REFUSAL_BAD_RECORD, STORE_SHARED_TEXT);
	if (r == 0)
		r = load_policy(&operation);
	if (r != 0)
		return r;
	if (!call->root) {
		r = manager_open(&operation.manager);
		if (r < 0)
			return refuse(
				&ret->refusal, REFUSAL_NO_MANAGER,
				"systemd does not answer on /run/systemd/private: %s; use --root DIR for a tree that is not running",
				strerrordesc_np(-r));
	}
	*ret = operation;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): clang 14 does not see the cleanup */
	operation = OPERATION_INIT;
	return 0;
}

void operation_done(struct operation *operation)
{
	(void)record_free(operation->record);
	(void)manager_close(operation->manager);
	(void)host_policy_free(operation->policy);
	store_done(&operation->store);
	tree_done(&operation->tree);
	(void)fd_close(operation->lock);
	/* The refusal stays: it is read after the rest is gone. */
	operation->record = NULL;
	operation->manager = NULL;
	operation->policy = NULL;
	operation->lock = -EBADF;
}

int operation_reload(struct operation *operation)
{
	struct record *record = NULL;
	int r;

	r = store_load(&operation->store, operation->record->id, &record, &operation->refusal);
	if (r != 0)
		return r < 0 ? r : -EUCLEAN;
	(void)record_free(operation->record);
	operation->record = record;
	return 0;
}

/* Ends what an earlier updater left, into a result of its own: this request's is still to come. */
static int recover_first(struct operation *operation)
{
	cleanup_result struct result earlier = RESULT_INIT;
	struct result *own = operation->result;
	int r;

	operation->result = &earlier;
	r = transaction_recover(operation, true);
	operation->result = own;
	return r;
}

int operation_refuse_not_installed(struct operation *operation, const char *id)
{
	const struct tree *tree = &operation->tree;

	return refuse(&operation->refusal, REFUSAL_NOT_INSTALLED,
		      "'%s' is not installed %s this %s; 'affix %sstatus' lists what is", id,
		      tree->is_live ? "on" : "in", tree_noun(tree), tree->is_copy ? "image " : "");
}

/* Only what a signed bundle names gets a lock: locks stay, and ids cost nothing. */
static int check_known(struct operation *operation, const char *id)
{
	cleanup_record struct record *record = NULL;
	int r;

	if (operation->call->request->verb == REQUEST_INSTALL)
		return 0;
	r = store_load(&operation->store, id, &record, &operation->refusal);
	return r == -ENOENT ? operation_refuse_not_installed(operation, id) : r;
}

int operation_refuse_own(struct operation *operation, const char *id)
{
	enum request_verb verb = operation->call->request->verb;
	const char *how = strcmp(id, "vm") == 0 ? "inject --profile vm" : "inject --with-affix";

	if (verb == REQUEST_UNINSTALL)
		how = "rm-add-on";
	if (operation->manager)
		return refuse(&operation->refusal, REFUSAL_PROTECTED,
			      "'%s' is affix itself, which a running host does not change; 'affix "
			      "image %s' does, in its image",
			      id, how);
	return refuse(&operation->refusal, REFUSAL_PROTECTED,
		      "'%s' is affix itself, of which there is no bundle to %s it from; 'affix "
		      "image %s' brings it anew, into an image",
		      id, request_verb_to_string(verb), how);
}

/* What is done from a bundle is not for affix itself, and nothing is where it runs. */
static int check_own(struct operation *operation, const char *id)
{
	const struct engine_call *call = operation->call;
	enum request_verb verb = call->request->verb;
	bool wants_bundle = verb == REQUEST_CONFIGURE || verb == REQUEST_ROLLBACK ||
			    (verb == REQUEST_REPAIR && call->request->n_fds > 0);

	if (!manifest_id_is_own(id) || (!operation->manager && !wants_bundle))
		return 0;
	return operation_refuse_own(operation, id);
}

int operation_lock(struct operation *operation, const char *id)
{
	int r = check_own(operation, id);

	if (r == 0)
		r = check_known(operation, id);
	if (r != 0)
		return r;
	r = store_lock(&operation->store, id, operation->call->is_admin,
		       operation->call->is_admin ? ADMIN_WAIT : 0, &operation->lock,
		       &operation->refusal);
	if (r == 0)
		r = store_forget_unfinished(&operation->store, id);
	if (r != 0)
		return r;
	r = store_load(&operation->store, id, &operation->record, &operation->refusal);
	if (r == -ENOENT)
		return record_new(id, &operation->record);
	if (r == 0)
		r = recover_first(operation);
	/* It may have been carried out while this process waited. */
	if (r == 0)
		r = operation_answer_again(operation, operation->record);
	if (r == 0 && operation->is_answered)
		return OPERATION_E_ANSWERED;
	return r;
}

int operation_answer_again(struct operation *operation, const struct record *record)
{
	const struct request *request = operation->call->request;
	cleanup_result struct result earlier = RESULT_INIT;
	int r;

	if (request->request_id[0] == '\0')
		return 0;
	r = commit_find_result(record, request->request_id, &earlier);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!earlier.verb || strcmp(earlier.verb, request_verb_to_string(request->verb)) != 0)
		return 0;
	result_done(operation->result);
	*operation->result = earlier;
	earlier = RESULT_INIT;
	operation->is_answered = true;
	return 0;
}

int operation_check_policy(struct operation *operation)
{
	if (operation->policy)
		return 0;
	operation->refusal = operation->policy_refusal;
	return (int)operation->refusal.code;
}

int operation_check_fleet(struct operation *operation, const char *id, bool is_removal)
{
	const struct record *record = operation->record;
	int r;

	if (operation->call->is_admin)
		return 0;
	if (record->is_held)
		return refuse(
			&operation->refusal, REFUSAL_HELD,
			"'%s' is held by the administrator%s%s; 'affix hold %s --release' lets go",
			id, record->hold_reason ? ": " : "",
			record->hold_reason ? record->hold_reason : "", id);
	if (!is_removal)
		return 0;
	/* Whether it is protected is not known. */
	r = operation_check_policy(operation);
	if (r == 0 && strv_has(&operation->policy->protected_ids, id))
		return refuse(
			&operation->refusal, REFUSAL_PROTECTED,
			"'%s' is protected on this host; its administrator can change that in " HOST_POLICY_PATH,
			id);
	return r;
}

bool operation_carries_logs(const struct operation *operation)
{
	return operation->call->carry_logs ||
	       (operation->policy && operation->policy->results_carry_logs);
}

int operation_now(struct operation *operation, uint64_t *ret)
{
	uint64_t now = MAX(clock_realtime_sec(), (uint64_t)AFFIX_BUILD_TIME);
	uint64_t floor = 0;
	int r;

	r = store_time_floor(&operation->store, &floor, &operation->refusal);
	if (r == 0)
		*ret = MAX(now, floor);
	return r;
}

bool operation_has_lost(const struct operation *operation, const struct plan *plan)
{
	bool has_bytes = false;
	int r = apply_has_bytes(&operation->tree, plan, &has_bytes);

	return r < 0 || !has_bytes;
}

char *operation_find_mount(const struct operation *operation, int error)
{
	const struct record *record = operation->record;
	char *path = NULL;

	if (error != -EBUSY || !record || !record->transaction)
		return NULL;
	if (mounts_find(&operation->tree, record->current, &path) < 0)
		return NULL;
	if (!path)
		ignore_result(mounts_find(&operation->tree, record->transaction->to, &path));
	return path;
}

int operation_check_installed(struct operation *operation, const char *id)
{
	return operation->record->current ? 0 : operation_refuse_not_installed(operation, id);
}

/* gcc 12's analyzer takes for lost what is kept behind the result. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

int operation_name_subject(struct operation *operation, const struct plan *plan)
{
	struct result *result = operation->result;

	free(result->id);
	free(result->version);
	free(result->plan);
	result->id = strdup(plan->identity.id);
	result->version = strdup(plan->identity.version);
	result->plan = malloc(DIGEST_TEXT_SIZE);
	if (!result->id || !result->version || !result->plan)
		return -ENOMEM;
	digest_to_string(&operation->subject, result->plan);
	return 0;
}

#pragma GCC diagnostic pop

int operation_set_subject(struct operation *operation, const struct plan *plan)
{
	int r = plan_digest(plan, &operation->subject);

	return r < 0 ? r : operation_name_subject(operation, plan);
}
