/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/engine.h"
#include "manifest/host_policy.h"
#include "plan/tree.h"
#include "store/store.h"
#include "unit/manager.h"

/*
 * What one request works with: the tree, its store and policy, the manager of a running host, and
 * the answer that is being made. Opened by operation_open(), ended by operation_done().
 */
struct operation {
	const struct engine_call *call;
	struct tree tree;
	struct store store;
	struct host_policy *policy;    /* NULL: it cannot be understood */
	struct refusal policy_refusal; /* why */
	struct manager *manager;       /* NULL for a tree that is not running */
	int lock;                      /* the add-on's, once operation_lock() was called */
	struct record *record;         /* of the locked add-on */
	bool is_switched;              /* the tree, and it is synced with the next record */
	bool is_answered;              /* the result is an earlier one of the same request id */
	struct result *result;
	struct digest subject;  /* of the plan that it is about: operation_set_subject() */
	struct refusal refusal; /* where a step that refuses puts its reason */
};

#define OPERATION_INIT                                                       \
	(struct operation)                                                   \
	{                                                                    \
		.tree.rootfd = -EBADF, .store.dirfd = -EBADF, .lock = -EBADF \
	}

/*
 * Opens tree, store (made if *make*), host policy and, for a live tree, the manager. A policy that
 * cannot be understood is none: operation_check_policy(). 0; refused; -errno.
 */
must_check int operation_open(const struct engine_call *call, bool make, struct result *result,
			      struct operation *ret);
void operation_done(struct operation *operation);
#define cleanup_operation CLEANUP(operation_done)

/* What operation_lock() returns beside refusals. */
#define OPERATION_E_ANSWERED ((int)REFUSAL_N)

/*
 * Takes the lock of *id*, loads its record (a new one if there is none), and ends a transaction
 * that an earlier updater left open. 0; refused; OPERATION_E_ANSWERED where the request was carried
 * out before, the result filled; -errno.
 */
must_check int operation_lock(struct operation *operation, const char *id);

/* The request is not for affix itself, of which *id* is a part: says what is. */
must_check int operation_refuse_own(struct operation *operation, const char *id);

/* Answers from *record* a request id that it has the result of; `is_answered` says whether. 0 or
 * -errno. */
must_check int operation_answer_again(struct operation *operation, const struct record *record);

/* Reads the locked record again from the disk. 0 or -errno. */
must_check int operation_reload(struct operation *operation);

/* Refuses with REFUSAL_BAD_HOST_POLICY, naming the place, where the host's policy cannot be
 * understood. */
must_check int operation_check_policy(struct operation *operation);

/* Refuses with REFUSAL_NOT_INSTALLED; where the locked record has no current plan. */
must_check int operation_refuse_not_installed(struct operation *operation, const char *id);
must_check int operation_check_installed(struct operation *operation, const char *id);

/* Whether *plan*'s bytes are damaged, gone or cannot be read: nothing can be gone back to. */
bool operation_has_lost(const struct operation *operation, const struct plan *plan);

/* The mount point on a path of the open transaction's plans that *error* (-EBUSY) may be about, for
 * the caller to free; NULL where there is none. */
char *operation_find_mount(const struct operation *operation, int error);

/* The result is about this plan: id, version, digest, which is that of the subject already. */
must_check int operation_name_subject(struct operation *operation, const struct plan *plan);
/* The same, and the subject's digest is made. */
must_check int operation_set_subject(struct operation *operation, const struct plan *plan);

/* Refuses what the fleet may not do to this add-on: held, protected. The administrator may. */
must_check int operation_check_fleet(struct operation *operation, const char *id, bool is_removal);

/* Whether whoever asked may see log lines: the administrator, or the fleet if the host allows it.
 */
bool operation_carries_logs(const struct operation *operation);

/* The time against which expiry is judged: max(clock, build date, newest `created` committed). */
must_check int operation_now(struct operation *operation, uint64_t *ret);

/* The verbs. Each fills the result when it is done; 0; refused (reason in operation->refusal);
 * -errno. */
must_check int operation_install(struct operation *operation);
must_check int operation_rollback(struct operation *operation);
must_check int operation_uninstall(struct operation *operation);
must_check int operation_configure(struct operation *operation);
must_check int operation_repair(struct operation *operation);
must_check int operation_prune(struct operation *operation);
must_check int operation_hold(struct operation *operation);
must_check int operation_clear_quarantine(struct operation *operation);
must_check int operation_status(struct operation *operation);
must_check int operation_drift(struct operation *operation);
must_check int operation_plan(struct operation *operation);
