/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/operation.h"

/* Steps that a transaction and the way back from it share. The transaction is open. 0 or -errno. */

/* Writes the phase to the record on disk. */
must_check int transaction_set_phase(struct operation *operation, enum record_phase phase);

/* apply_switch() under the global lock, and the manager's reload. */
must_check int transaction_switch_files(struct operation *operation, const struct plan *to,
					const struct plan *from);

/* Starts and watches the transaction's plan; commits it or goes back. *window_usec* 0: the plan's
 * own window. */
must_check int transaction_watch(struct operation *operation, uint64_t window_usec);
