/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/desired.h"
#include "agent/host.h"
#include "agent/memory.h"
#include "agent/offer.h"
#include "base/cleanup.h"
#include "ipc/result.h"

/* What to do about one add-on. */
enum step_kind {
	STEP_NONE, /* it is as wanted, or nobody here wants anything of it */
	STEP_WAIT, /* nothing now; *name* and *reason* say why */
	STEP_INSTALL,
	STEP_CONFIGURE,
	STEP_UNINSTALL,
	STEP_REPAIR,
	STEP_ROLLBACK, /* what is wanted is what ran before, and the updater has it still */
};

struct step {
	enum step_kind kind;
	char id[MANIFEST_ID_MAX + 1];
	char name[MEMORY_NAME_SIZE]; /* of a wait: "held", "removal-delay", … or a refusal's */
	char reason[MEMORY_TEXT_SIZE];
};

struct reconcile_policy {
	uint64_t removal_delay;    /* seconds */
	uint64_t mass_removal;     /* seconds, where the server cannot confirm */
	bool ignores_confirmation; /* the server's word does not make a mass removal sooner */
	bool repair;
};

struct reconcile_input {
	const struct offer *offer;
	const struct desired *desired;
	const struct host *host;
	const struct reconcile_policy *policy;
	uint64_t now;     /* seconds since 1970 */
	uint64_t elapsed; /* seconds, by a clock that only goes forward, since the last call */
	/* The connection on which the packages of the offer were last received, in this process or
	 * one before; 0: on none of this process. */
	uint64_t connection;
};

struct reconcile_result {
	struct step *steps; /* one per add-on that anybody knows of, by id */
	size_t count;
	uint64_t wake; /* seconds until something here changes by time alone; UINT64_MAX: never */
	bool wants_reconnect;   /* an offer on another connection has to confirm a removal */
	bool wants_fresh_offer; /* a download URL was refused */
};

#define RECONCILE_RESULT_INIT     \
	(struct reconcile_result) \
	{                         \
	}

void reconcile_result_done(struct reconcile_result *result);

/* Desired × host × memory × time → steps. No I/O; *memory* is what the removal rules count in. 0 or
 * -ENOMEM. */
must_check int reconcile(const struct reconcile_input *input, struct memory *memory,
			 struct reconcile_result *ret);

/* How a failure is remembered. *random* spreads the return of hosts that fail together. */
struct reconcile_failure {
	enum memory_failure kind;
	const char *name;
	const char *text;
	const char *plan;     /* or NULL */
	bool is_url;          /* the download is to blame: another URL may help */
	uint64_t retry_after; /* seconds the server asked for; 0: not said */
};

void reconcile_failed(struct memory_addon *addon, const struct wanted *wanted,
		      const struct reconcile_failure *failure, uint64_t now, uint32_t random);
void reconcile_succeeded(struct memory_addon *addon, const struct wanted *wanted, const char *plan);

/* The version that is wanted is back, with the configuration and the rights that it had. */
void reconcile_rolled_back(struct memory_addon *addon, const struct wanted *wanted,
			   const char *plan);

/* What the updater's answer, and an HTTP status of a download, say of trying again. */
enum memory_failure reconcile_judge_result(const struct result *result);
enum memory_failure reconcile_judge_status(long status);
