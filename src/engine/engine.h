/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bundle/bundle.h"
#include "ipc/request.h"
#include "ipc/result.h"
#include "plan/plan.h"

/*
 * One request carried out on one host or tree: the same code behind the updater's sockets and
 * behind `affix --root`. What to do is in the request, what it needs comes as descriptors; the
 * answer is a result, always.
 */
struct engine_call {
	const struct request *request;
	const int *fds;   /* REQUEST_FD_N, -EBADF where none */
	const char *root; /* NULL: the running host, with its systemd */
	bool is_copy;     /* *root* is a copy of parts of an image (plan/tree.h) */
	bool is_admin;    /* the administrator's socket, or --root */
	bool carry_logs;  /* log lines may go into the result */
	int trust_dirfd;  /* --trust; -EBADF: TRUST_PATH of the tree */
	/* With *is_copy*: who takes content that nobody looks at in the copy; or NULL. */
	const struct bundle_sink *sink;
	struct bundle_copy *begun; /* of the bundle; or NULL */
	/*
	 * May be NULL. Called once nothing of *fds* is read any more, before any lock and before
	 * anything is changed: they may be closed then. 0 or -errno, which ends the request.
	 */
	int (*on_received)(void *context);
	void *context;
	/* REQUEST_INSTALL into a copy, in place of what would come in descriptors: affix itself. */
	struct engine_own *own;
};

/* What nobody signed: a plan of affix itself (plan/plan_own.h), and its entries, with spooled
 * content. Both are the caller's; the plan's place is NULL once it is taken. */
struct engine_own {
	struct plan *plan;
	struct bundle *bundle;
};

/* engine_execute(): a transaction could not be ended and is left open; somebody has to settle it.
 */
#define ENGINE_E_UNSETTLED 1

/* Fills *ret* in any case but -ENOMEM. 0, ENGINE_E_UNSETTLED or -ENOMEM. */
must_check int engine_execute(const struct engine_call *call, struct result *ret);

/*
 * Ends open transactions of a tree: files only (*start* false: early boot, --root), or also
 * starting, watching and writing results (*start* true: settle). Transactions whose lock is held
 * are left alone: their updater lives. 0 or -errno for the first that could not be ended, with a
 * sentence about it in *reterr_what* (for the caller to free; NULL on entry, and where there is
 * none); the rest is done all the same.
 */
must_check int engine_recover(const char *root, bool start, char **reterr_what);
