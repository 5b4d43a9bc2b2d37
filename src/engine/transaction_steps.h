/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/clock.h"
#include "engine/operation.h"

/* How long PID 1 may take to read its units again. */
#define RELOAD_TIMEOUT (90 * CLOCK_USEC_PER_SEC)

/* Steps that a transaction and the way back from it share. The transaction is open. 0 or -errno. */

/* Writes the phase to the record on disk. */
must_check int transaction_set_phase(struct operation *operation, enum record_phase phase);

/* From the transaction's plan back to the record's current one, under the global lock, and the
 * manager's reload; also where the current plan's bytes are lost by now. */
must_check int transaction_restore_files(struct operation *operation);

/* Starts and watches the transaction's plan; commits it or goes back. *window_usec* 0: the plan's
 * own window. */
must_check int transaction_watch(struct operation *operation, uint64_t window_usec);

/*
 * Ends a transaction that got no further than its intent: what it prepared is removed, nothing that
 * runs has changed. 0 or -errno: it stays open for recovery.
 */
must_check int transaction_drop(struct operation *operation);
