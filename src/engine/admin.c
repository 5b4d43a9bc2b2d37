/* SPDX-License-Identifier: Apache-2.0 */

/* hold, prune, clear-quarantine: the administrator's verbs. Each is one change of the record and
 * what follows from it. */

#include <errno.h>
#include <string.h>

#include "engine/commit.h"
#include "engine/operation.h"
#include "engine/stopped.h"
#include "engine/transaction.h"
#include "engine/units.h"
#include "plan/apply.h"

/* gcc 12's analyzer takes for lost what is kept behind the record. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

/* The record first: killed after it, whoever comes next takes the links away. */
static int hold(struct operation *operation)
{
	const struct request *request = operation->call->request;
	struct record *record = operation->record;
	int r;

	free(record->hold_reason);
	record->hold_reason = request->reason[0] ? strdup(request->reason) : NULL;
	record->is_held = true;
	record->is_stopped = record->is_stopped || request->stop;
	r = result_set(operation->result, RESULT_DONE, "",
		       "'%s' is held%s; 'affix hold %s --release' lets go", record->id,
		       record->is_stopped ? " and stopped" : "", record->id);
	if (r == 0)
		r = commit_result(operation, operation->result);
	return r == 0 ? stopped_keep(operation) : r;
}

#pragma GCC diagnostic pop

/* The record last: killed before it, the add-on is stopped still, and the links go again. */
static int release(struct operation *operation)
{
	struct record *record = operation->record;
	bool was_stopped = record->is_stopped;
	int r;

	r = was_stopped ? stopped_enable(operation) : 0;
	if (r != 0)
		return r;
	free(record->hold_reason);
	record->hold_reason = NULL;
	record->is_held = record->is_stopped = false;
	r = result_set(operation->result, RESULT_DONE, "", "'%s' is no longer held", record->id);
	if (r == 0)
		r = commit_result(operation, operation->result);
	if (r == 0 && was_stopped)
		r = units_start(operation->manager, record->current);
	/* What is masked is off by its own link. */
	return r == -ESHUTDOWN ? 0 : r;
}

/* What is on disk decides what has become of it; the links follow that. */
static int explain(struct operation *operation, int error)
{
	const struct request *request = operation->call->request;
	int r = operation_reload(operation);

	if (r < 0)
		return r;
	ignore_result(transaction_sweep(operation));
	if (operation->record->is_held == request->release)
		return error;
	return result_set(
		operation->result, RESULT_FAILED, "error",
		"'%s' is %s in its record, but it could not all be carried out: %s; try again",
		operation->record->id, request->release ? "no longer held" : "held",
		strerrordesc_np(-error));
}

int operation_hold(struct operation *operation)
{
	const char *id = operation->call->request->id;
	int r;

	r = operation_lock(operation, id);
	if (r == 0)
		r = operation_check_installed(operation, id);
	if (r == 0)
		r = operation_set_subject(operation, operation->record->current);
	if (r != 0)
		return r;
	r = operation->call->request->release ? release(operation) : hold(operation);
	return r < 0 ? explain(operation, r) : r;
}

int operation_prune(struct operation *operation)
{
	struct record *record;
	size_t n;
	int r;

	r = operation_lock(operation, operation->call->request->id);
	if (r == 0)
		r = apply_check_old_mounts(&operation->tree, operation->record->older,
					   operation->record->n_older, &operation->refusal);
	if (r != 0)
		return r;
	record = operation->record;
	n = record->n_older;
	for (size_t i = 0; i < n; i++)
		(void)plan_free(record->older[i]);
	record->n_older = 0;
	r = result_set(operation->result, RESULT_DONE, "", "%zu older version%s of '%s' removed", n,
		       n == 1 ? "" : "s", record->id);
	if (r == 0)
		r = commit_result(operation, operation->result);
	return r == 0 ? transaction_sweep(operation) : r;
}

int operation_clear_quarantine(struct operation *operation)
{
	struct record *record;
	size_t n;
	int r;

	r = operation_lock(operation, operation->call->request->id);
	if (r != 0)
		return r;
	record = operation->record;
	n = record->n_quarantine;
	record_clear_quarantine(record);
	r = result_set(operation->result, RESULT_DONE, "", "%zu quarantined plan%s of '%s' cleared",
		       n, n == 1 ? "" : "s", record->id);
	return r == 0 ? commit_result(operation, operation->result) : r;
}
