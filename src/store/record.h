/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "crypto/digest.h"
#include "plan/plan.h"

#define RECORD_DIRECTORY      "/var/lib/affix/updater"
#define RECORD_SIZE_MAX       (8U << 20)
#define RECORD_OLDER_MAX      8U /* committed plans behind the previous one */
#define RECORD_QUARANTINE_MAX 32U
#define RECORD_RESULTS_MAX    8U /* request ids that are answered again */

enum record_operation {
	RECORD_INSTALL,
	RECORD_ROLLBACK,
	RECORD_CONFIGURE,
	RECORD_REPAIR,
	RECORD_UNINSTALL,
	RECORD_OPERATION_N,
};

/* How far an open transaction is. Before the commit it goes back to `current`, except a watch in
 * the same boot. */
enum record_phase {
	RECORD_STAGING, /* intent is recorded; the tree may hold staged bytes, nothing that runs has
			   changed */
	RECORD_SWITCHING, /* units and links may be old, new or mixed; nothing of the new version
			     was started */
	RECORD_WATCHING,  /* the new version may run */
	RECORD_REVERTING, /* going back to the old plan */
	RECORD_RESTORED,  /* files are the old plan's again; it is to be started and watched */
	RECORD_PHASE_N,
};

struct record_transaction {
	enum record_operation operation;
	enum record_phase phase;
	struct plan *to;     /* NULL: uninstall */
	struct strv created; /* directories that this transaction makes */
	char *request_id;
	char *boot_id;
	bool is_local;    /* who asked for it: an install's origin, whoever ends it */
	bool purge;       /* uninstall: state directories too */
	json_t *config;   /* the fleet configuration to keep on commit, or NULL */
	json_t *evidence; /* while reverting: the result to report when done */
};

struct record_quarantine {
	struct digest plan;
	char version[VERSION_MAX + 1];
	uint64_t since;
	char *reason;
};

/* What is kept for ever about an id: read over all records. */
struct record_floor {
	bool is_set;
	struct identity identity; /* epoch, version, created count */
};

/* The record of one add-on, also of one that was uninstalled. The only truth about what is
 * installed. */
struct record {
	char id[MANIFEST_ID_MAX + 1];
	struct plan *current;  /* NULL: not installed */
	struct plan *previous; /* the plan committed before it, whose bytes are kept; or NULL */
	struct plan **older;   /* committed before that, newest first */
	size_t n_older;
	json_t *config;      /* the fleet configuration of `current`, before the merge; or NULL */
	json_t *configs;     /* the same of committed plans before it, as text, by their bundle's
				digest; not there: what the plan has, or NULL */
	struct strv created; /* directories made for this add-on */
	struct record_floor floor;
	char bound_key[MINISIGN_KEY_ID_TEXT_SIZE]; /* "" before the first commit */
	uint64_t newest_created;                   /* the time floor's share */
	bool is_local;                             /* origin */
	bool is_held;
	bool is_stopped; /* held and stopped: its enablement links are taken away */
	char *hold_reason;
	bool is_purging; /* uninstalled with --purge, and state directories may still be there */
	struct record_quarantine *quarantine;
	size_t n_quarantine;
	json_t *results; /* array of the last results, newest last (ipc/result.h) */
	struct record_transaction *transaction; /* NULL: none is open */
};

must_check int record_new(const char *id, struct record **ret);
struct record *record_free(struct record *record);
struct record_transaction *record_transaction_free(struct record_transaction *transaction);

DEFINE_CLEANUP(struct record *, record, record_free)
#define cleanup_record CLEANUP(cleanup_record)

json_t *record_to_json(const struct record *record);
/* 0; 1 for anything that record_to_json() does not write; -errno. */
must_check int record_from_json(const json_t *json, struct record **ret,
				struct json_problem *reterr);

/* Whether the plan, or its version by three quarantined plans in 24 hours, is barred. 0 or refused.
 */
must_check int record_check_quarantine(const struct record *record, const struct digest *plan,
				       const char *version, uint64_t now,
				       struct refusal *reterr_refusal);
must_check int record_add_quarantine(struct record *record, const struct digest *plan,
				     const char *version, const char *reason, uint64_t now);
void record_clear_quarantine(struct record *record);
const char *record_operation_to_string(enum record_operation operation);
const char *record_phase_to_string(enum record_phase phase);
