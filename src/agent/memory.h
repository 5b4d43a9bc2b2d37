/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/desired.h"
#include "base/cleanup.h"
#include "manifest/manifest.h"

#define MEMORY_PLAN_SIZE 129U
#define MEMORY_HASH_SIZE (OFFER_HASH_MAX * 2 + 1)
#define MEMORY_NAME_SIZE 40U
#define MEMORY_TEXT_SIZE 512U

/* What a failure says of trying again. */
enum memory_failure {
	MEMORY_NO_FAILURE,
	MEMORY_TRANSIENT,   /* after a while */
	MEMORY_PERMANENT,   /* not until something else is wanted, or the administrator reloads */
	MEMORY_QUARANTINED, /* not until the plan is another, or its quarantine is cleared */
	MEMORY_FRESH_OFFER, /* when the server offers another URL */
	MEMORY_FAILURE_N,
};

/* What the agent knows of an add-on that neither offer nor host tell. */
struct memory_addon {
	char id[MANIFEST_ID_MAX + 1];
	/* The last success: what was wanted, and the plan that it made. "": none. */
	char key[DESIRED_KEY_SIZE];
	char bundle_key[DESIRED_KEY_SIZE];
	char content_hash[DESIRED_KEY_SIZE];
	char previous_hash[DESIRED_KEY_SIZE]; /* of the bundle before */
	char previous_bundle_key[DESIRED_KEY_SIZE];
	char package_hash[MEMORY_HASH_SIZE];
	char plan[MEMORY_PLAN_SIZE];
	/* The last failure, of what was wanted then. */
	enum memory_failure failure;
	char failed_key[DESIRED_KEY_SIZE];
	char failed_plan[MEMORY_PLAN_SIZE];
	char failed_url[DESIRED_KEY_SIZE];   /* SHA-256; "" where the URL is not to blame */
	char failed_local[DESIRED_KEY_SIZE]; /* drop_ins.h: those it failed under; "" for none */
	char failed_name[MEMORY_NAME_SIZE];
	char failed_text[MEMORY_TEXT_SIZE];
	uint64_t attempts;
	uint64_t retry_at; /* seconds since 1970 */
	/* How long an offer without it has stood, in seconds that the host was up. */
	bool is_missing;
	uint64_t missing_seconds;
	uint64_t missing_connections;
	uint64_t missing_connection; /* the last of them */
	/* The state that was reported, and since when. */
	char state[MEMORY_NAME_SIZE];
	uint64_t since;
	uint64_t restarts;
};

struct memory {
	struct memory_addon *items;
	size_t count;
};

#define MEMORY_INIT     \
	(struct memory) \
	{               \
	}

void memory_done(struct memory *memory);

struct memory_addon *memory_find(const struct memory *memory, const char *id);
/* The same, made if it is not there. NULL: no memory. Moves what was found before. */
struct memory_addon *memory_get(struct memory *memory, const char *id);
void memory_forget(struct memory *memory, const char *id);
/* The administrator says: try everything again. */
void memory_clear_failures(struct memory *memory);
/* Those of one name. */
void memory_clear_named_failures(struct memory *memory, const char *name);

json_t *memory_to_json(const struct memory *memory);
/* 0; 1 for anything that memory_to_json() does not write; -ENOMEM. */
must_check int memory_from_json(const json_t *json, struct memory *ret);
