/* SPDX-License-Identifier: Apache-2.0 */

/* rollback and uninstall: the verbs that leave the current version. */

#include <errno.h>
#include <string.h>

#include "engine/commit.h"
#include "engine/delivery.h"
#include "engine/operation.h"
#include "engine/transaction.h"
#include "plan/apply.h"

/* Without a version it goes back, never forth: what a rollback left is asked for by its version. */
static bool is_target(const struct record *record, const struct plan *plan, const char *version)
{
	if (version[0] != '\0')
		return strcmp(plan->identity.version, version) == 0;
	return identity_compare(&plan->identity, &record->current->identity) < 0;
}

/* The recorded plan that is asked for, the newest in history that it may be. Borrowed from the
 * record. */
static const struct plan *find_target(const struct record *record, const char *version)
{
	if (record->previous && is_target(record, record->previous, version))
		return record->previous;
	for (size_t i = 0; i < record->n_older; i++) {
		if (is_target(record, record->older[i], version))
			return record->older[i];
	}
	return NULL;
}

static int check_target(struct operation *operation, const struct plan *target)
{
	const char *id = operation->call->request->id;
	const char *version = operation->call->request->version;
	bool has_bytes = false;
	int r;

	if (!target && version[0])
		return refuse(
			&operation->refusal, REFUSAL_NO_PREVIOUS,
			"'%s' has no recorded version %s to go back to; 'affix status %s' lists those it has",
			id, version, id);
	if (!target)
		return refuse(
			&operation->refusal, REFUSAL_NO_PREVIOUS,
			"'%s' has no earlier version to go back to, or its files were lost before the upgrade; install one instead, or name a recorded one ('affix status %s' lists them)",
			id, id);
	r = apply_has_bytes(&operation->tree, target, &has_bytes);
	if (r < 0 || has_bytes)
		return r;
	return refuse(
		&operation->refusal, REFUSAL_ROLLBACK_IMPOSSIBLE,
		"'%s' %s is lost: its files are changed or missing, so it cannot be gone back to; the administrator can install its bundle with --allow-downgrade",
		id, target->identity.version);
}

/* One step back is the fleet's, from the newest version that was committed: step by step it would
 * reach the oldest one, with all its known holes. */
static int check_step(struct operation *operation)
{
	const struct record *record = operation->record;

	if (operation->call->is_admin || !record->floor.is_set ||
	    identity_compare(&record->current->identity, &record->floor.identity) >= 0)
		return 0;
	return refuse(
		&operation->refusal, REFUSAL_FORBIDDEN,
		"'%s' was rolled back already, from %s to %s; only the administrator may go back further",
		record->id, record->floor.identity.version, record->current->identity.version);
}

/* What the host's administrator has forbidden since does not come back by the fleet. */
static int check_rights(struct operation *operation, const struct plan *target)
{
	const struct host_policy *policy = operation->policy;
	uint64_t beyond;

	if (operation->call->is_admin || !policy)
		return 0;
	beyond = target->capabilities & ~manifest_capability_mask(&policy->capabilities);
	if (beyond)
		return refuse(
			&operation->refusal, REFUSAL_CAPABILITY_NOT_ALLOWED,
			"'%s' %s had %s, which this host does not allow any more; only the administrator may go back to it",
			target->identity.id, target->identity.version,
			manifest_capability_to_string(__builtin_ctzll(beyond)));
	if (!plan_owns_user(target) &&
	    !host_policy_allows_user(policy, target->identity.id, target->user))
		return refuse(
			&operation->refusal, REFUSAL_USER_NOT_ALLOWED,
			"'%s' %s ran as '%s', which this host does not allow any more; only the administrator may go back to it",
			target->identity.id, target->identity.version, target->user);
	return 0;
}

/*
 * The administrator's own keys are those of today, whenever the version ran. Where the version does
 * not take them it has those of its time, if it is the administrator who wants it back.
 */
static int make_target(struct operation *operation, const struct plan *target, const json_t *fleet,
		       struct plan **ret)
{
	cleanup_plan struct plan *plan = NULL;
	int r = plan_clone(target, &plan);

	if (r < 0)
		return r;
	r = delivery_renew_config(operation, plan, fleet);
	if (r < 0 || (r > 0 && !operation->call->is_admin))
		return r;
	if (r > 0) {
		operation->refusal = REFUSAL_INIT;
		return plan_clone(target, ret);
	}
	*ret = TAKE_PTR(plan);
	return 0;
}

int operation_rollback(struct operation *operation)
{
	const char *id = operation->call->request->id;
	struct transaction_order order = {.operation = RECORD_ROLLBACK};
	const struct plan *target = NULL;
	cleanup_json json_t *fleet = NULL;
	int r;

	r = operation_lock(operation, id);
	if (r == 0)
		r = operation_check_installed(operation, id);
	if (r == 0)
		r = operation_check_fleet(operation, id, false);
	if (r == 0)
		r = check_step(operation);
	if (r == 0) {
		target = find_target(operation->record, operation->call->request->version);
		r = check_target(operation, target);
	}
	if (r == 0)
		r = check_rights(operation, target);
	if (r == 0)
		r = commit_find_config(operation->record, target, &fleet);
	if (r == 0)
		r = make_target(operation, target, fleet, &order.to);
	if (r == 0)
		r = operation_set_subject(operation, order.to);
	if (r == 0)
		r = apply_preflight(&operation->tree, order.to, operation->record->current,
				    &operation->refusal);
	if (r != 0) {
		(void)plan_free(order.to);
		return r;
	}
	order.config = fleet;
	r = transaction_run(operation, &order);
	(void)plan_free(order.to);
	return r;
}

int operation_uninstall(struct operation *operation)
{
	const char *id = operation->call->request->id;
	struct transaction_order order = {
		.operation = RECORD_UNINSTALL,
		.purge = operation->call->request->purge,
	};
	int r;

	r = operation_lock(operation, id);
	if (r == 0)
		r = operation_check_installed(operation, id);
	if (r == 0)
		r = operation_check_fleet(operation, id, true);
	if (r == 0 && !operation->call->is_admin && operation->record->is_local)
		r = refuse(
			&operation->refusal, REFUSAL_FORBIDDEN,
			"'%s' was installed by the administrator, only the administrator may uninstall it",
			id);
	if (r == 0)
		r = apply_check_mounts(&operation->tree, operation->record->current,
				       &operation->refusal);
	if (r == 0)
		r = apply_check_old_mounts(&operation->tree, &operation->record->previous, 1,
					   &operation->refusal);
	if (r == 0)
		r = apply_check_old_mounts(&operation->tree, operation->record->older,
					   operation->record->n_older, &operation->refusal);
	if (r == 0)
		r = operation_set_subject(operation, operation->record->current);
	return r != 0 ? r : transaction_run(operation, &order);
}
