/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "ipc/refusal.h"

#define REQUEST_HEADER_MAX    (16UL * 1024)
#define REQUEST_ID_MAX        64U
#define REQUEST_BUNDLE_MAX    (1ULL << 30)
#define REQUEST_SIGNATURE_MAX 4096U
#define REQUEST_CONFIG_MAX    (256UL * 1024)
#define REQUEST_FDS_MAX       3U
#define REQUEST_DEADLINE_USEC (5ULL * 1000 * 1000)

#define REQUEST_FLEET_SOCKET "/run/affix/updater.sock"
#define REQUEST_ADMIN_SOCKET "/run/affix/admin.sock"

enum request_verb {
	REQUEST_INSTALL,
	REQUEST_ROLLBACK,
	REQUEST_UNINSTALL,
	REQUEST_CONFIGURE,
	REQUEST_STATUS,
	REQUEST_DRIFT,
	REQUEST_REPAIR,
	REQUEST_PLAN,
	REQUEST_PRUNE,
	REQUEST_HOLD,
	REQUEST_CLEAR_QUARANTINE,
	REQUEST_VERB_N,
};

/* The descriptors a request may carry, each at most once, in the order that `fds` names them. */
enum request_fd {
	REQUEST_FD_BUNDLE,
	REQUEST_FD_SIGNATURE,
	REQUEST_FD_CONFIG,
	REQUEST_FD_N,
};

/* A request's header: {"schema":1,"verb":…,"request_id":…,"id":…,…}; unknown and duplicate keys are
 * refused. */
struct request {
	enum request_verb verb;
	char request_id[REQUEST_ID_MAX + 1]; /* [A-Za-z0-9._-]; "" for none */
	char id[26];                         /* "" where the verb needs none */
	char version[65];     /* rollback: the version wanted; "" for the previous one */
	bool purge;           /* uninstall */
	bool release;         /* hold: let go */
	bool stop;            /* hold: stop it as well */
	bool allow_downgrade; /* install: floor override */
	bool use_running; /* configure without a descriptor: the fleet's configuration stays, the
			     administrator's own keys are read again */
	char reason[257]; /* hold */
	bool has_capabilities;
	json_t *capabilities; /* array of names: narrows */
	json_t *limits;       /* object of integers: lowers */
	enum request_fd fds[REQUEST_FDS_MAX];
	size_t n_fds;
};

#define REQUEST_INIT     \
	(struct request) \
	{                \
	}

/* 0; refused with REFUSAL_BAD_REQUEST or REFUSAL_UNKNOWN_VERB; -ENOMEM. End *ret* with
 * request_done(). */
must_check int request_parse(const char *text, size_t size, struct request *ret,
			     struct refusal *reterr_refusal);
/* The header's text; the caller frees it. 0 or -ENOMEM. */
must_check int request_format(const struct request *request, char **ret_text);
void request_done(struct request *request);
#define cleanup_request CLEANUP(request_done)

const char *request_verb_to_string(enum request_verb verb);
/* "bundle", "signature", "config". */
const char *request_fd_to_string(enum request_fd fd);

/*
 * Whether the fleet's socket may ask for this: the verb, and no field that is the administrator's
 * alone. 0 or refused with REFUSAL_FORBIDDEN. A verb that is not listed is denied.
 */
must_check int request_check_fleet(const struct request *request, struct refusal *reterr_refusal);
