/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The transaction: intent → staged → switching → watching → committed, or back through reverting.
 * The record says on disk which of them it is, before the tree is touched; the rename that replaces
 * the record is the only commit point. A process that dies anywhere leaves an open transaction, and
 * recover.c goes back to the old plan with the same steps.
 */

#include "engine/transaction.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "engine/boot.h"
#include "engine/commit.h"
#include "engine/health.h"
#include "engine/revert.h"
#include "engine/stopped.h"
#include "engine/transaction_steps.h"
#include "engine/units.h"
#include "plan/apply.h"
#include "plan/apply_objects.h"
#include "plan/masks.h"
#include "plan/plan_own.h"
#include "plan/plan_paths.h"

/* gcc 12's analyzer takes for lost what is kept behind the record. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

/* The intent, on disk before anything else is. */
static int begin(struct operation *operation, struct transaction_order *order)
{
	struct record_transaction *transaction = calloc(1, sizeof(*transaction));
	int r = 0;

	if (!transaction)
		return -ENOMEM;
	operation->record->transaction = transaction;
	transaction->operation = order->operation;
	/* Nothing runs in a tree that is not running: there is no phase before the switch to tell
	 * from it. */
	transaction->phase = operation->manager ? RECORD_STAGING : RECORD_SWITCHING;
	transaction->to = TAKE_PTR(order->to);
	transaction->is_local = operation->call->is_admin;
	transaction->purge = order->purge;
	transaction->config = order->config ? json_incref(order->config) : NULL;
	transaction->request_id = strdup(operation->call->request->request_id);
	transaction->boot_id = boot_id_load();
	if (!transaction->request_id || !transaction->boot_id)
		return -ENOMEM;
	if (transaction->to)
		r = apply_missing_directories(&operation->tree, transaction->to,
					      &transaction->created);
	return r < 0 ? r : commit_save(operation);
}

#pragma GCC diagnostic pop

int transaction_set_phase(struct operation *operation, enum record_phase phase)
{
	if (operation->record->transaction->phase == phase)
		return 0;
	operation->record->transaction->phase = phase;
	return commit_save(operation);
}

/* A binary with file capabilities belongs to the user's group. */
static bool has_files_of_user(const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_objects; i++) {
		if (strcmp(plan->objects[i].owner, plan->user) == 0 ||
		    strcmp(plan->objects[i].group, plan->user) == 0)
			return true;
	}
	return false;
}

/* In a tree that is not running. */
static int prepare_user(struct operation *operation, const struct plan *to,
			struct user_addition **ret)
{
	bool is_own = plan_is_own(to);
	char gecos[128];

	if (!plan_owns_user(to))
		return 0;
	(void)snprintf(gecos, sizeof(gecos), "affix add-on %s", to->identity.id);
	return user_addition_prepare(&operation->tree, to->user,
				     is_own ? PLAN_OWN_USER_NAME : gecos,
				     is_own ? PLAN_OWN_USER_HOME : "/", ret);
}

/* Before something is to belong to it. */
static int make_user(struct operation *operation, const struct plan *to, struct user_addition **ret)
{
	int r;

	if (operation->manager)
		return units_make_user(operation->manager, to);
	if (!has_files_of_user(to))
		return 0;
	r = prepare_user(operation, to, ret);
	if (r < 0 || !*ret)
		return r;
	r = apply_sync(&operation->tree, -EBADF);
	return r < 0 ? r : user_addition_publish(*ret);
}

/* Users once made stay. In a tree that is not running one that nothing belongs to is made with the
 * sync that all wait for, and the accounts are not locked while a bundle is copied. */
static int stage(struct operation *operation, struct bundle *bundle)
{
	cleanup_user_addition struct user_addition *user = NULL;
	const struct plan *to = operation->record->transaction->to;
	int r;

	if (!to)
		return 0;
	r = make_user(operation, to, &user);
	if (r == 0 && bundle) {
		r = apply_stage(&operation->tree, to, bundle);
		bundle_close_spool(bundle);
	}
	if (r == 0 && !operation->manager && !user)
		r = prepare_user(operation, to, &user);
	if (r == 0)
		r = apply_prepare(&operation->tree, to);
	return r == 0 && user ? user_addition_publish(user) : r;
}

/* Under the switch's lock. *is_saved_next*: the record is saved next, and waits for the disk on
 * behalf of the files as well. */
static int switch_files(struct operation *operation,
			int (*apply)(const struct tree *tree, const struct plan *to,
				     const struct plan *from, const struct strv *created),
			const struct plan *to, const struct plan *from, bool is_saved_next)
{
	struct record *record = operation->record;
	cleanup_strv struct strv created = STRV_INIT;
	int r = 0;

	for (size_t i = 0; r == 0 && i < record->created.count; i++)
		r = strv_add(&created, record->created.items[i]);
	for (size_t i = 0; r == 0 && record->transaction && i < record->transaction->created.count;
	     i++)
		r = strv_add(&created, record->transaction->created.items[i]);
	if (r == 0)
		r = apply(&operation->tree, to, from, &created);
	operation->is_switched = r == 0 && is_saved_next;
	if (r == 0 && !is_saved_next)
		r = apply_sync(&operation->tree, -EBADF);
	if (r == 0 && operation->manager)
		r = manager_reload(operation->manager, RELOAD_TIMEOUT);
	return r;
}

int transaction_restore_files(struct operation *operation)
{
	struct record *record = operation->record;
	cleanup_fd int lock = -EBADF;
	int r;

	if (!record->current && !record->transaction->to)
		return 0;
	r = store_lock_switch(&operation->store, &lock);
	return r < 0 ? r
		     : switch_files(operation, apply_restore, record->current,
				    record->transaction->to, false);
}

/* A mask that was set while the plan was prepared, the old version stopped and the lock waited for;
 * NULL where there is none, or whoever asked may overrule it. */
static int find_new_mask(struct operation *operation, char **ret)
{
	const struct record_transaction *transaction = operation->record->transaction;
	cleanup_strv struct strv masks = STRV_INIT;
	int r = 0;

	if (transaction->to && (transaction->operation != RECORD_REPAIR || !transaction->is_local))
		r = masks_find(&operation->tree, transaction->to, &masks);
	if (r < 0 || masks.count == 0)
		return r;
	*ret = strdup(masks.items[0]);
	return *ret ? 0 : -ENOMEM;
}

/* From the record's current plan to the transaction's, and the manager's reload, unless there is a
 * new mask. */
static int switch_unmasked(struct operation *operation, char **ret_mask)
{
	struct record *record = operation->record;
	cleanup_fd int lock = -EBADF;
	int r;

	r = store_lock_switch(&operation->store, &lock);
	if (r == 0)
		r = find_new_mask(operation, ret_mask);
	if (r < 0 || *ret_mask)
		return r;
	/* Nothing runs in a tree that is not running: the commit comes at once. */
	return switch_files(operation, apply_switch, record->transaction->to, record->current,
			    !operation->manager);
}

/* Down to here is the old version's time, from here the new one's. */
static int switch_over(struct operation *operation, char **ret_mask)
{
	struct record *record = operation->record;
	const struct plan *to = record->transaction->to;
	int r;

	r = transaction_set_phase(operation, RECORD_SWITCHING);
	if (r == 0)
		r = units_stop(operation->manager, record->current, UNITS_STOP_USEC);
	if (r == 0)
		r = switch_unmasked(operation, ret_mask);
	if (r < 0 || *ret_mask)
		return r;
	r = units_forget(operation->manager, record->current);
	if (r == 0 && to)
		r = units_make_directories(operation->manager, to);
	if (r < 0 || !to || !operation->manager)
		return r;
	return transaction_set_phase(operation, RECORD_WATCHING);
}

/* Whether the commit leaves a version behind that cannot be gone back to. */
static bool leaves_lost(const struct operation *operation)
{
	const struct plan *left = operation->record->current;
	const struct plan *to = operation->record->transaction->to;

	return left && to && !digest_is_equal(&left->bundle, &to->bundle) &&
	       operation_has_lost(operation, left);
}

static int describe_done(struct operation *operation, bool is_lost)
{
	static const char *const deeds[RECORD_OPERATION_N] = {
		[RECORD_INSTALL] = "is installed",      [RECORD_ROLLBACK] = "is back",
		[RECORD_CONFIGURE] = "is reconfigured", [RECORD_REPAIR] = "is repaired",
		[RECORD_UNINSTALL] = "is uninstalled",
	};
	const struct record *record = operation->record;
	const struct record_transaction *transaction = record->transaction;
	bool is_running = operation->manager && transaction->to && !record->is_stopped;

	return result_set(operation->result, RESULT_DONE, "", "'%s' %s %s%s%s%s%s", record->id,
			  transaction->to ? transaction->to->identity.version
					  : record->current->identity.version,
			  deeds[transaction->operation], is_running ? ", running and healthy" : "",
			  is_lost ? "; there is no way back to " : "",
			  is_lost ? record->current->identity.version : "",
			  is_lost ? ", whose files are changed or missing" : "");
}

/*
 * The commit point. If the record could not be replaced, what is on disk decides: it may be the new
 * one all the same, when only the last sync failed.
 */
static int commit(struct operation *operation)
{
	struct record *record = operation->record;
	struct record_transaction *transaction = record->transaction;
	bool is_lost = leaves_lost(operation);
	int r;

	r = describe_done(operation, is_lost);
	if (r == 0)
		r = commit_transaction(operation, is_lost);
	if (r == 0) {
		bool purge = transaction->purge;

		commit_nothing(record);
		record->is_purging = purge;
		r = commit_result(operation, operation->result);
	}
	if (r < 0) {
		int error = r;

		r = operation_reload(operation);
		if (r < 0)
			return r;
		if (operation->record->transaction)
			return revert_broken(operation, error);
	}
	/* What is left over after the commit point is swept again by every later request and
	 * recovery. */
	r = transaction_sweep(operation);
	if (r < 0 && operation->record->is_purging)
		return result_set(
			operation->result, RESULT_DONE, "",
			"'%s' is uninstalled; its state could not be removed (%s), look at " PLAN_STATE_BASE
			"/%s, " PLAN_CACHE_BASE "/%s and " PLAN_LOGS_BASE "/%s",
			operation->record->id, strerrordesc_np(-r), operation->record->id,
			operation->record->id, operation->record->id);
	/* Of an image there may be no later request: nothing of it is brought in. */
	return operation->tree.is_copy ? r : 0;
}

/* Starts and watches the new plan. 0 committed or reverted, the result says which. */
int transaction_watch(struct operation *operation, uint64_t window_usec)
{
	struct record *record = operation->record;
	const struct plan *to = record->transaction->to;
	struct health health = {.state = HEALTH_GOOD};
	uint64_t since = clock_realtime_sec() * CLOCK_USEC_PER_SEC;
	int r;

	if (!to || !operation->manager || record->is_stopped)
		return commit(operation);
	r = units_start(operation->manager, to);
	/* The watch says what comes of a unit that is masked. */
	if (r == 0 || r == -ESHUTDOWN)
		r = health_watch(operation->manager, to, &operation->tree, window_usec, &health);
	if (r < 0)
		return revert_broken(operation, r);
	return health.state == HEALTH_GOOD ? commit(operation)
					   : revert_unhealthy(operation, &health, since);
}

int transaction_drop(struct operation *operation)
{
	struct record *record = operation->record;
	struct record_transaction *transaction = record->transaction;
	int r;

	r = transaction_restore_files(operation);
	if (r == 0)
		r = transaction_sweep(operation);
	if (r < 0)
		return r;
	record->transaction = NULL;
	r = commit_save(operation);
	if (r < 0) {
		record->transaction = transaction;
		return r;
	}
	(void)record_transaction_free(transaction);
	return 0;
}

/* An intent that could not be saved may be on disk all the same: what is there decides. */
static int abandon(struct operation *operation)
{
	int r = operation_reload(operation);

	if (r == -ENOENT) {
		commit_nothing(operation->record);
		return 0;
	}
	return r < 0 || !operation->record->transaction ? r : transaction_drop(operation);
}

int transaction_run(struct operation *operation, struct transaction_order *order)
{
	cleanup_free char *mask = NULL;
	int r;

	r = begin(operation, order);
	if (r < 0) {
		/* Should this not succeed either, the intent stays open and recovery does it. */
		ignore_result(abandon(operation));
		return r;
	}
	r = stage(operation, order->bundle);
	if (r < 0) {
		ignore_result(transaction_drop(operation));
		return r;
	}
	r = switch_over(operation, &mask);
	if (r == 0 && mask)
		return revert_masked(operation, mask);
	return r < 0 ? revert_broken(operation, r) : transaction_watch(operation, 0);
}

static int remove_directories(struct operation *operation, const struct strv *created)
{
	int r = 0;

	for (size_t i = created->count; r == 0 && i > 0; i--)
		r = apply_remove_directory(&operation->tree, created->items[i - 1]);
	return r;
}

/* State goes last, after the commit of an uninstall that asked for it; asked again until it is
 * gone. */
static int purge_state(struct operation *operation)
{
	static const char *const bases[] = {PLAN_STATE_BASE, PLAN_CACHE_BASE, PLAN_LOGS_BASE};
	struct record *record = operation->record;

	if (!record->is_purging)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		cleanup_fd int parent = -EBADF;
		const char *name = NULL;
		char path[128];
		int r;

		(void)snprintf(path, sizeof(path), "%s/%s", bases[i], record->id);
		r = tree_open_parent(&operation->tree, path, &parent, &name);
		if (r == 0)
			r = tree_remove(parent, name);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	record->is_purging = false;
	return commit_save(operation);
}

int transaction_sweep(struct operation *operation)
{
	const struct plan *keep[RECORD_OLDER_MAX + 3];
	struct record *record = operation->record;
	size_t n = 0;
	int r;

	if (record->current)
		keep[n++] = record->current;
	if (record->previous)
		keep[n++] = record->previous;
	for (size_t i = 0; i < record->n_older && n < ARRAY_SIZE(keep); i++)
		keep[n++] = record->older[i];
	r = apply_prune(&operation->tree, record->id, keep, n);
	if (r < 0 || record->current)
		return r < 0 ? r : stopped_keep(operation);
	r = remove_directories(operation, &record->created);
	if (r == 0 && record->transaction)
		r = remove_directories(operation, &record->transaction->created);
	return r < 0 ? r : purge_state(operation);
}
