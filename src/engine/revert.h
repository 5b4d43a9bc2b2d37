/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/health.h"
#include "engine/operation.h"

/*
 * The way back from an open transaction to the record's current plan, which is watched in turn.
 * Each fills the operation's result. 0 when the record says how it ended; -errno when not even that
 * could be done: the transaction stays open for recovery.
 */

/* The new plan was seen to be bad: evidence against it, so quarantine, unless the old one is bad as
 * well. */
must_check int revert_unhealthy(struct operation *operation, const struct health *health,
				uint64_t since_usec);

/* Something of the host's broke (*error* is a -errno): no quarantine. */
must_check int revert_broken(struct operation *operation, int error);

/* A unit of the new plan was masked by *mask* since the preflight: no quarantine. */
must_check int revert_masked(struct operation *operation, const char *mask);

/* An earlier process was interrupted: no quarantine, the result is `interrupted`. *start*: false
 * puts only files back. */
must_check int revert_interrupted(struct operation *operation, bool start);
