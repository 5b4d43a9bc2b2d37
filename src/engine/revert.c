/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Back to the old plan. What is known against the new one is written into the open transaction
 * first, so that a rollback that is itself interrupted still ends with the right verdict. Only
 * evidence against the add-on counts for quarantine: if the old version fails as well, the host is
 * at fault.
 */

#include "engine/revert.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "engine/commit.h"
#include "engine/transaction.h"
#include "engine/transaction_steps.h"
#include "engine/units.h"
#include "plan/masks.h"

#define LOG_LINES 50U
/* A version that is left because it is bad is not waited for as long as it would like. */
#define STOP_BAD_USEC (10 * CLOCK_USEC_PER_SEC)

/* Whether the evidence is against the add-on alone. */
static bool is_clear(const struct record_transaction *transaction)
{
	return !json_is_true(json_object_get(transaction->evidence, "is_overridden"));
}

/* What was found out about the new plan; kept as the transaction's `evidence`. */
static int record_evidence(struct operation *operation, const char *name, const char *reason,
			   const char *unit, uint64_t since_usec)
{
	struct record_transaction *transaction = operation->record->transaction;
	/* It ends in the name of a file, perhaps in the middle of a character. */
	cleanup_free char *shown = str_escape(reason, strlen(reason), strlen(reason));
	cleanup_json json_t *evidence = json_object();
	cleanup_strv struct strv lines = STRV_INIT;
	json_t *log = NULL;
	int r;

	if (!evidence || !shown)
		return -ENOMEM;
	r = json_add_string(evidence, "name", name);
	if (r == 0)
		r = json_add_string(evidence, "reason", shown);
	if (r == 0 && unit && operation->manager &&
	    manager_log_tail(unit, since_usec, LOG_LINES, &lines) == 0) {
		log = json_array();
		r = json_add(evidence, "log", log);
	}
	for (size_t i = 0; r == 0 && log && i < lines.count; i++)
		r = json_append(log, json_string(lines.items[i]));
	if (r < 0)
		return r;
	json_decref(transaction->evidence);
	transaction->evidence = TAKE_PTR(evidence);
	return 0;
}

/* What a distribution ships for all units is no suspect. */
static bool is_administrators(const char *drop_in)
{
	return !path_is_below(drop_in, "/usr/lib") && !path_is_below(drop_in, "/lib");
}

/* A drop-in that somebody gave *unit*, or all units of its kind, besides what *plan* has; NULL
 * where there is none. */
static const char *find_override(const struct plan *plan, const struct manager_unit *unit)
{
	for (size_t i = 0; i < unit->drop_in_paths.count; i++) {
		const char *drop_in = unit->drop_in_paths.items[i];

		if (!plan_find(plan, drop_in) && is_administrators(drop_in))
			return drop_in;
	}
	return NULL;
}

/* Adds to *reason* that somebody masked a unit of *plan* meanwhile. Whether it is so. */
static bool add_mask(struct operation *operation, const struct plan *plan, char *reason,
		     size_t size)
{
	cleanup_strv struct strv masks = STRV_INIT;
	size_t length = strlen(reason);

	if (masks_find(&operation->tree, plan, &masks) < 0 || masks.count == 0)
		return false;
	(void)snprintf(reason + length, size - length,
		       "; '%.200s' masks a unit of it, so nothing is quarantined", masks.items[0]);
	return true;
}

/* Adds to *reason* that systemd reads more about the units than *plan* has: it may be that which
 * fails. Whether it does. */
static bool add_override(struct operation *operation, const struct plan *plan, char *reason,
			 size_t size)
{
	size_t length = strlen(reason);

	for (size_t i = 0; operation->manager && i < plan->n_units; i++) {
		cleanup_manager_unit struct manager_unit now = MANAGER_UNIT_INIT;
		const char *drop_in = NULL;

		if (manager_get_unit(operation->manager, plan->units[i].name, &now) == 0)
			drop_in = find_override(plan, &now);
		if (!drop_in)
			continue;
		(void)snprintf(
			reason + length, size - length,
			"; '%.200s' is not the add-on's and applies to it, so nothing is quarantined",
			drop_in);
		return true;
	}
	return false;
}

/* Both plans' units. Before the watch it is the old version that may run under the new one's names,
 * and it may take the time that it needs. */
static int stop_units(struct operation *operation, bool is_new_running)
{
	const struct record *record = operation->record;
	int error = units_stop(operation->manager, record->transaction->to,
			       is_new_running ? STOP_BAD_USEC : UNITS_STOP_USEC);
	/* What did not die is most often in both: it had its time. */
	int r = units_stop(operation->manager, record->current,
			   error == -ETIMEDOUT ? 0 : UNITS_STOP_USEC);

	return error < 0 && error != -ETIMEDOUT ? error : r;
}

/* Files of the old plan, whatever the tree holds now. */
static int restore_files(struct operation *operation, bool is_new_running)
{
	const struct record_transaction *transaction = operation->record->transaction;
	int r = stop_units(operation, is_new_running);

	/* What hangs in the kernel does not even die. The files go back all the same: the old
	 * version is started when systemd has given that process up. */
	if (r == 0 || r == -ETIMEDOUT)
		r = transaction_restore_files(operation);
	return r < 0 ? r : units_forget(operation->manager, transaction->to);
}

/* Starts the old plan and watches it. An add-on that was not installed before has nothing to watch,
 * nor has one that is masked. */
static int watch_old(struct operation *operation, struct health *ret, bool *ret_masked)
{
	const struct record *record = operation->record;
	int r;

	ret->state = HEALTH_GOOD;
	if (!operation->manager || !record->current || record->is_stopped)
		return 0;
	/* The add-on's user may have put something in their way. They are there from before, and
	 * if not, the watch says what comes of it. */
	ignore_result(units_make_directories(operation->manager, record->current));
	r = units_start(operation->manager, record->current);
	*ret_masked = r == -ESHUTDOWN;
	if (r < 0)
		return *ret_masked ? 0 : r;
	return health_watch(operation->manager, record->current, &operation->tree, 0, ret);
}

static const char *old_text(const struct record *record, bool is_lost, bool is_masked, char *text,
			    size_t size)
{
	if (!record->current)
		return "nothing of it is left but its user";
	(void)snprintf(text, size, "%s is back%s%s", record->current->identity.version,
		       is_lost ? ", with files that are changed or missing" : "",
		       is_masked ? ", but not started, as a unit of it is masked" : "");
	return text;
}

/* What was tried: an uninstall has no version. */
static void name_attempt(const struct record *record, char *text, size_t size)
{
	const struct record_transaction *transaction = record->transaction;

	(void)snprintf(text, size, "%s of '%s'%s%s",
		       record_operation_to_string(transaction->operation), record->id,
		       transaction->to ? " " : "",
		       transaction->to ? transaction->to->identity.version : "");
}

static int describe(struct operation *operation, const struct health *old, bool is_masked,
		    bool *ret_quarantine)
{
	const struct record *record = operation->record;
	const struct record_transaction *transaction = record->transaction;
	const char *name = "interrupted";
	const char *reason = "the updater was interrupted";
	bool is_lost = record->current && operation_has_lost(operation, record->current);
	bool is_bad;
	char attempt[192];
	char text[192];

	if (transaction->evidence) {
		ignore_result(json_member_string(transaction->evidence, "name", &name));
		ignore_result(json_member_string(transaction->evidence, "reason", &reason));
	}
	is_bad = strcmp(name, "unhealthy") == 0;
	*ret_quarantine =
		is_bad && is_clear(transaction) && old->state == HEALTH_GOOD && !is_masked;
	name_attempt(record, attempt, sizeof(attempt));
	if (is_lost && (old->state != HEALTH_GOOD || !operation->manager))
		return result_set(
			operation->result, RESULT_FAILED, "old-version-lost",
			"%s failed: %s; and %s is lost: its files are changed or missing and could not be put back; install a version, or repair it with its bundle",
			attempt, reason, record->current->identity.version);
	if (old->state != HEALTH_GOOD)
		return result_set(operation->result, RESULT_FAILED, is_bad ? "host-at-fault" : name,
				  "%s failed: %s; and %s, which was put back, fails as well: %s",
				  attempt, reason, record->current->identity.version, old->reason);
	return result_set(operation->result,
			  strcmp(name, "interrupted") == 0 ? RESULT_INTERRUPTED
							   : RESULT_ROLLED_BACK,
			  name, "%s failed: %s; %s", attempt, reason,
			  old_text(record, is_lost, is_masked, text, sizeof(text)));
}

static int quarantine(struct operation *operation)
{
	struct record *record = operation->record;
	const struct plan *to = record->transaction->to;
	const char *reason = "";
	struct digest digest;
	int r;

	/* A rollback's or a repair's target was committed before: it is not barred for what
	 * happened now. */
	if (!to || record->transaction->operation == RECORD_ROLLBACK ||
	    record->transaction->operation == RECORD_REPAIR)
		return 0;
	ignore_result(json_member_string(record->transaction->evidence, "reason", &reason));
	r = plan_digest(to, &digest);
	if (r < 0)
		return r;
	return record_add_quarantine(record, &digest, to->identity.version, reason,
				     clock_realtime_sec());
}

/* The end of the way back: the verdict into the result, the transaction closed, the record saved.
 */
static int conclude(struct operation *operation, const struct health *old, bool is_masked)
{
	struct record *record = operation->record;
	struct record_transaction *transaction = record->transaction;
	struct result *result = operation->result;
	bool is_guilty = false;
	int r;

	r = describe(operation, old, is_masked, &is_guilty);
	if (r == 0 && is_guilty)
		r = quarantine(operation);
	if (r < 0)
		return r;
	json_decref(result->log);
	result->log = json_incref(json_object_get(transaction->evidence, "log"));
	record->transaction = NULL;
	r = commit_result(operation, result);
	if (r < 0) {
		record->transaction = transaction;
		return r;
	}
	(void)record_transaction_free(transaction);
	return 0;
}

static int finish(struct operation *operation)
{
	struct health old = {0};
	bool is_masked = false;
	int r;

	r = watch_old(operation, &old, &is_masked);
	/* Bytes and directories of the new plan: while the transaction is open, so that no crash
	 * can leave them. */
	if (r == 0)
		r = transaction_sweep(operation);
	return r < 0 ? r : conclude(operation, &old, is_masked);
}

static int go_back(struct operation *operation, bool start)
{
	bool is_new_running = operation->record->transaction->phase == RECORD_WATCHING;
	int r;

	/* The phase is for readers; the way back does not depend on it, and a full disk must not
	 * bar it. */
	ignore_result(transaction_set_phase(operation, RECORD_REVERTING));
	r = restore_files(operation, is_new_running);
	if (r < 0)
		return r;
	ignore_result(transaction_set_phase(operation, RECORD_RESTORED));
	return start || !operation->tree.is_live ? finish(operation) : 0;
}

int revert_unhealthy(struct operation *operation, const struct health *health, uint64_t since_usec)
{
	struct record_transaction *transaction = operation->record->transaction;
	char reason[HEALTH_REASON_MAX + 320];
	bool is_overridden;
	int r;

	(void)snprintf(reason, sizeof(reason), "%s", health->reason);
	is_overridden = add_mask(operation, transaction->to, reason, sizeof(reason)) ||
			add_override(operation, transaction->to, reason, sizeof(reason));
	r = record_evidence(operation, "unhealthy", reason, health->unit, since_usec);
	if (r == 0)
		r = json_add(transaction->evidence, "is_overridden", json_boolean(is_overridden));
	return r < 0 ? r : go_back(operation, true);
}

int revert_broken(struct operation *operation, int error)
{
	cleanup_free char *mount = operation_find_mount(operation, error);
	char reason[HEALTH_REASON_MAX];
	int r;

	if (mount)
		(void)snprintf(reason, sizeof(reason), "'%.200s' is a mount point", mount);
	r = record_evidence(operation, "error", mount ? reason : strerrordesc_np(-error), NULL, 0);
	return r < 0 ? r : go_back(operation, true);
}

int revert_masked(struct operation *operation, const char *mask)
{
	char reason[HEALTH_REASON_MAX];
	int r;

	(void)snprintf(reason, sizeof(reason),
		       "'%.200s' masks a unit of it by now, so its administrator wants it off",
		       mask);
	r = record_evidence(operation, "held", reason, NULL, 0);
	return r < 0 ? r : go_back(operation, true);
}

int revert_interrupted(struct operation *operation, bool start)
{
	if (operation->record->transaction->phase != RECORD_RESTORED)
		return go_back(operation, start);
	return start || !operation->tree.is_live ? finish(operation) : 0;
}
