/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/assign_catalog.h"

/* What is known of a host when it is decided what it gets. */
struct assign_host {
	int64_t id;
	char *name;
	char *os;
	char *arch;
	char *agent_version;
	struct strv agent_capabilities;
	struct strv words; /* the texts that *labels* borrow */
	struct selector_label *labels;
	size_t n_labels;
	bool has_confirmed; /* a removal: fleet_removal.h */
};

#define ASSIGN_HOST_INIT     \
	(struct assign_host) \
	{                    \
	}

/* 0; 1 where there is no such host; -errno. */
must_check int assign_host_load(struct store *store, int64_t id, struct assign_host *ret);
void assign_host_done(struct assign_host *host);

#define cleanup_assign_host CLEANUP(assign_host_done)

/* What comes of it for one add-on on one host; the gates are in the order in which they are asked.
 */
enum assign_verdict {
	ASSIGN_OFFERED,
	ASSIGN_NOT_ASSIGNED,
	ASSIGN_DISABLED,
	ASSIGN_NOT_APPROVED,
	ASSIGN_REVOKED,
	ASSIGN_PLATFORM,
	ASSIGN_NO_ARTIFACT,
	ASSIGN_BASE_AGENT,
	ASSIGN_AGENT_CAPABILITY,
	ASSIGN_VERDICT_N,
};

#define ASSIGN_REASON_MAX 256U

struct assign_choice {
	const struct assignment *assignment;    /* the one that wins, or NULL */
	const struct assign_package *package;   /* what is wanted, NULL where it is not there */
	const struct assign_artifact *artifact; /* set where it is offered */
	const char *version;                    /* wanted; "" where there is none */
	enum assign_verdict verdict;            /* on what the assignment says */
	bool is_revoked;                        /* offered all the same, because the host runs it */
	bool by_rollout;                        /* the version is the rollout's */
	bool hangs_on_running;                  /* another if the host ran something else */
	char reason[ASSIGN_REASON_MAX];         /* one sentence */
};

const char *assign_verdict_to_string(enum assign_verdict verdict);

/* Whether the host gets a version: the assignment's, or else the one that it runs. */
static inline bool assign_is_offered(const struct assign_choice *choice)
{
	return choice->artifact != NULL;
}

/* The configuration for what is offered: the assignment's, or the last one before it that fits this
 * version, where that does not. NULL: none. */
const char *assign_config(const struct assign_choice *choice);

/* Whether the assignment is for that host. */
bool assign_matches(const struct assignment *assignment, const struct assign_host *host);

/*
 * What *host* gets of every add-on that is assigned to it, by name of the add-on; the caller frees
 * *ret*. Pointers in it are the catalog's. 0 or -errno.
 */
must_check int assign_decide(const struct assign_catalog *catalog, struct store *store,
			     const struct assign_host *host, struct assign_choice **ret,
			     size_t *ret_n);

/* The same for one add-on. */
must_check int assign_decide_one(const struct assign_catalog *catalog, struct store *store,
				 const struct assign_host *host, const char *addon,
				 struct assign_choice *ret);
