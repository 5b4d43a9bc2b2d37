/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Recovery. Early in the boot only files are put back, so that what starts next is the old version;
 * later, or before the next request, the old version is started and watched and the result written.
 * A watch that was interrupted in this same boot is taken up again instead: the new version may
 * well be fine.
 */

#include "engine/transaction.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "engine/boot.h"
#include "engine/commit.h"
#include "engine/revert.h"
#include "engine/transaction_steps.h"

static bool is_same_boot(const struct record_transaction *transaction)
{
	cleanup_free char *boot = boot_id_load();

	return boot && *boot && strcmp(boot, transaction->boot_id) == 0;
}

/* gcc 12's analyzer takes for lost what is kept behind the result. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int set_identity(struct operation *operation)
{
	const struct record *record = operation->record;
	const struct record_transaction *transaction = record->transaction;
	struct result *result = operation->result;

	free(result->verb);
	free(result->id);
	free(result->version);
	free(result->request_id);
	result->verb = strdup(record_operation_to_string(transaction->operation));
	result->id = strdup(record->id);
	result->version = transaction->to ? strdup(transaction->to->identity.version) : NULL;
	result->request_id = transaction->request_id[0] ? strdup(transaction->request_id) : NULL;
	result->time = clock_realtime_sec();
	if (!result->verb || !result->id || (transaction->to && !result->version) ||
	    (transaction->request_id[0] && !result->request_id))
		return -ENOMEM;
	return 0;
}

#pragma GCC diagnostic pop

/* Intent without deed: nothing that runs has changed. */
static int drop_intent(struct operation *operation)
{
	struct record *record = operation->record;
	int r;

	r = result_set(operation->result, RESULT_INTERRUPTED, "interrupted",
		       "%s of '%s' was interrupted before anything was changed; try it again",
		       record_operation_to_string(record->transaction->operation), record->id);
	if (r == 0)
		r = transaction_drop(operation);
	return r < 0 ? r : commit_result(operation, operation->result);
}

int transaction_recover(struct operation *operation, bool start)
{
	struct record_transaction *transaction = operation->record->transaction;
	bool may_resume =
		start && operation->manager && transaction && transaction->phase == RECORD_WATCHING;
	int r;

	/* What cannot be swept (a mount in a state directory) must not bar what is to come. */
	if (!transaction) {
		ignore_result(transaction_sweep(operation));
		return 0;
	}
	r = set_identity(operation);
	if (r == 0 && !operation->tree.is_live)
		r = tree_forget_user(&operation->tree);
	if (r < 0)
		return r;
	if (transaction->phase == RECORD_STAGING)
		return drop_intent(operation);
	if (may_resume && is_same_boot(transaction))
		return transaction_watch(operation, 0);
	return revert_interrupted(operation, start);
}

/* What could not be ended, and why: a mount in the way, if there is one; NULL without memory. */
static char *describe_open(const struct operation *operation, const char *id, int error)
{
	cleanup_free char *mount = operation_find_mount(operation, error);
	char *text = NULL;

	if (error > 0)
		return strdup(operation->refusal.text);
	ignore_result(str_format(&text, "the open transaction of '%s' could not be ended%s%s%s: %s",
				 id, mount ? ", unmount '" : "", mount ? mount : "",
				 mount ? "', which is a mount point" : "",
				 strerrordesc_np(-error)));
	return text;
}

/* One add-on of a recovery: one whose lock is held has a living updater. */
static int recover_one(const struct engine_call *call, const char *id, bool start,
		       char **reterr_what)
{
	cleanup_result struct result result = RESULT_INIT;
	cleanup_operation struct operation operation = OPERATION_INIT;
	int r;

	r = operation_open(call, false, &result, &operation);
	if (r == 0)
		r = store_lock(&operation.store, id, false, 0, &operation.lock, &operation.refusal);
	if (r == 0)
		r = store_forget_unfinished(&operation.store, id);
	if (r == 0) {
		r = store_load(&operation.store, id, &operation.record, &operation.refusal);
		/* Killed before there was a record: that was all. */
		if (r == -ENOENT)
			return 0;
	}
	if (r == 0)
		r = transaction_recover(&operation, start);
	if (r > 0 && operation.refusal.code == REFUSAL_BUSY)
		return 0;
	if (r != 0 && !*reterr_what)
		*reterr_what = describe_open(&operation, id, r);
	return r > 0 ? -EUCLEAN : r;
}

static int list_recoverable(const struct store *store, struct strv *ret)
{
	cleanup_strv struct strv ids = STRV_INIT;
	cleanup_strv struct strv unfinished = STRV_INIT;
	int r;

	r = store_list(store, &ids);
	if (r == 0)
		r = store_list_unfinished(store, &unfinished);
	for (size_t i = 0; r == 0 && i < unfinished.count; i++) {
		if (!strv_has(&ids, unfinished.items[i]))
			r = strv_add(&ids, unfinished.items[i]);
	}
	if (r < 0)
		return r;
	*ret = ids;
	ids = STRV_INIT;
	return 0;
}

int engine_recover(const char *root, bool start, char **reterr_what)
{
	const struct request request = REQUEST_INIT;
	const struct engine_call call = {
		.request = &request,
		.root = root,
		.is_admin = true,
		.trust_dirfd = -EBADF,
	};
	cleanup_strv struct strv ids = STRV_INIT;
	cleanup_store struct store store = {.dirfd = -EBADF};
	struct tree tree = {.rootfd = -EBADF};
	int worst = 0;
	int r;

	r = tree_open(root ? root : "/", !root, &tree);
	if (r == 0)
		r = store_open(&tree, false, &store);
	if (r == 0)
		r = list_recoverable(&store, &ids);
	tree_done(&tree);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (size_t i = 0; i < ids.count; i++) {
		r = recover_one(&call, ids.items[i], start, reterr_what);
		if (r < 0 && worst == 0)
			worst = r;
	}
	return worst;
}
