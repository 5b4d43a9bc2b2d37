/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/operation.h"

/* What a transaction is to do. */
struct transaction_order {
	enum record_operation operation;
	struct plan *to;       /* owned and taken; NULL: uninstall */
	struct bundle *bundle; /* to stage, or NULL when the bytes are there */
	json_t *config;        /* borrowed: the fleet configuration to keep, or NULL */
	bool purge;
};

/*
 * Goes from the record's current plan to *order->to*: intent, stage, switch, watch, commit, or
 * back. The lock is held. Fills the operation's result. 0; refused (nothing was changed); -errno
 * (something broke and the old plan could not be put back either: the transaction stays open for
 * recovery).
 */
must_check int transaction_run(struct operation *operation, struct transaction_order *order);

/*
 * Ends the record's open transaction, which an earlier process left: DESIGN §5. *start*: also start
 * and watch (a running host); else only files are put back. A tree that is not running is done
 * after that; a running host's transaction stays open as RECORD_RESTORED until it was watched. 0 or
 * -errno.
 */
must_check int transaction_recover(struct operation *operation, bool start);

/* Removes what no committed plan needs: bytes of versions, directories of an add-on that is not
 * installed, links of one that is stopped. */
must_check int transaction_sweep(struct operation *operation);
