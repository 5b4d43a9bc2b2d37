/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ipc/refusal.h"

/* How an operation ended. The exit code of `affix` follows from it. */
enum result_outcome {
	RESULT_DONE,        /* 0: as asked, or nothing needed doing */
	RESULT_REFUSED,     /* 1 (4 if transient): nothing changed */
	RESULT_ROLLED_BACK, /* 3: the new version failed; the old one is back and healthy (or
			       nothing is left of a first install) */
	RESULT_FAILED,      /* 3: the new one failed and so did the old one, or something broke: the
			       sentence says what stands */
	RESULT_INTERRUPTED, /* 3: the updater was killed or the power failed; the old plan is back
			     */
	RESULT_OUTCOME_N,
};

/* What the updater answers, and what a record keeps: affix-updater(8), "Results". */
struct result {
	enum result_outcome outcome;
	bool is_unchanged; /* done, and nothing needed doing; not told to others */
	/* The refusal's name, or "unhealthy", "host-at-fault", "old-version-lost", "interrupted",
	 * "error"; "" when done. */
	char name[40];
	char *message;    /* one sentence */
	char *request_id; /* or NULL */
	char *verb;
	char *id;      /* or NULL */
	char *version; /* that the operation was about, or NULL */
	char *plan;    /* the plan's digest, or NULL */
	uint64_t time; /* seconds since 1970 */
	json_t *log;   /* lines of the failed unit, or NULL */
	json_t *data;  /* the verb's own answer (status, drift, plan), or NULL */
};

#define RESULT_INIT     \
	(struct result) \
	{               \
	}

json_t *result_to_json(const struct result *result);
/* 0; 1 for anything result_to_json() does not write; -errno. */
must_check int result_from_json(const json_t *json, struct result *ret);
void result_done(struct result *result);
#define cleanup_result CLEANUP(result_done)

/* 0, 1, 3 or 4: see affix(1), EXIT STATUS. */
int result_exit_code(const struct result *result);
const char *result_outcome_to_string(enum result_outcome outcome);

/* Fills outcome, name and message from a refusal. 0 or -ENOMEM. */
must_check int result_set_refusal(struct result *result, const struct refusal *refusal);
must_check int result_set(struct result *result, enum result_outcome outcome, const char *name,
			  const char *format, ...) format_check(4, 5);
