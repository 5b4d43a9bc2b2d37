/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/store.h"

/* Who did something, for the log of all changes. */
struct audit_actor {
	const char *who;  /* "token NAME", "host NAME", "affixd" */
	const char *peer; /* an address, or NULL */
	uint64_t time;
};

/*
 * Writes down, within the transaction of the change itself, what was done to what: "assignment
 * 17", "package sensor 1.2.0". *before* and *after* may be NULL; no secret is in them. 0 or -errno.
 */
must_check int audit_add(struct store *store, const struct audit_actor *actor, const char *action,
			 const char *object, const json_t *before, const json_t *after);

/* Where old entries are being removed: 0 in *entry*: the next batch begins a run of its own. */
struct audit_prune {
	uint64_t until; /* entries before this time go */
	int64_t entry;  /* the one that counts what this run removed */
};

/* Removes a batch of old entries, and says so in the log: one entry for all batches of a run.
 * *ret_more*: there are more. 0 or -errno. */
must_check int audit_prune(struct store *store, struct audit_prune *prune, uint64_t now,
			   bool *ret_more);
