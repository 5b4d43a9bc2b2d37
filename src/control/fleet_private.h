/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/assign.h"
#include "control/audit.h"
#include "control/fleet.h"
#include "control/fleet_map.h"
#include "control/store.h"

/* What the parts of the deciding half share; nobody else includes it. */

#define FLEET_HASH_SIZE 32U

/* Bits of OpAMP's AgentCapabilities that decisions hang on. */
#define FLEET_AGENT_TAKES_CONFIG   0x2U
#define FLEET_AGENT_TAKES_PACKAGES 0x8U
#define FLEET_AGENT_TAKES_SETTINGS 0x100U
#define FLEET_AGENT_SENDS_HEARTS   0x2000U

/* A connection of a host. Small: there is one per connected host. */
struct fleet_session {
	uint64_t connection;
	int64_t host;
	size_t index; /* in the fleet's list */
	uint64_t last_seen;
	uint64_t last_written; /* what the database has as last_seen */
	uint64_t sequence;
	uint64_t former;        /* the highest before the start of an agent that polls, or 0 */
	uint64_t offered_again; /* the same packages once more, when it asked */
	uint32_t offer_again_seconds; /* until that may be again */
	uint64_t generation;          /* of the catalog that it was last told of; 0: never */
	uint32_t capabilities;
	bool is_polling;
	bool has_polled;     /* *sequence* is of its last poll, by whatever connection */
	bool is_turned_away; /* the last poll by this connection was a rival's */
	bool has_packages;   /* was sent an offer with this hash */
	bool has_config;
	bool names_other_offer; /* than the one it was sent */
	bool has_greeted;       /* was told what we understand */
	bool has_described;     /* told all of itself on this connection */
	bool is_settled;        /* its offer hangs on nothing that it says from now on */
	uint8_t uid[FLEET_UID_SIZE];
	uint8_t packages_hash[FLEET_HASH_SIZE];
	uint8_t config_hash[FLEET_HASH_SIZE];
	char *credential;     /* to be handed over, or NULL */
	char *base_url;       /* how the host reached us, or NULL */
	char *peer;           /* who polls by this connection, or NULL */
	uint64_t rival_seen;  /* when another with the same credential was last turned away */
	uint64_t taken_since; /* since when *takeovers* are counted */
	unsigned takeovers;   /* by which it came to this connection */
};

struct fleet_counters {
	uint64_t reports;
	uint64_t hellos;
	uint64_t refusals;
	uint64_t messages;
	uint64_t commits;
	uint64_t failed_commits;
	uint64_t requests;
};

struct fleet {
	struct store *store;
	uint64_t started;     /* when this process began to hear hosts, or could again */
	uint64_t heard_until; /* when one was heard last before that, as far as it is known */
	uint64_t ticked;      /* when time was looked at last; 0: not yet */
	struct fleet_options options;
	char *public_url;
	struct fleet_output output;
	uint8_t url_key[FLEET_KEY_SIZE];
	int lock_fd;
	struct fleet_session **sessions;
	size_t n_sessions;
	size_t sessions_size;
	struct fleet_map by_connection;
	struct fleet_map by_host;
	struct fleet_said *said; /* once the transaction is on disk (fleet.c) */
	size_t n_said;
	size_t said_size;
	struct assign_catalog *catalog; /* NULL: to be loaded */
	uint64_t generation;            /* counts its changes, from 1 */
	size_t offer_cursor;            /* sessions before it know of this generation */
	bool is_offering;
	bool offers_to_all; /* or first to those that poll: theirs waits for the next poll anyway */
	size_t seen_cursor;
	bool has_rollouts;      /* one may be running */
	uint64_t rollouts_next; /* when to look at them again */
	struct audit_prune audit_prune;
	uint64_t imports;    /* begun since the start */
	uint64_t audit_next; /* when to look for old entries again */
	struct fleet_counters counters;
};

uint64_t fleet_now(const struct fleet *fleet);
/* RFC 3339, or null for 0. NULL: no memory. */
json_t *fleet_time_json(uint64_t time);
/* The catalog as the database has it now. */
must_check int fleet_catalog(struct fleet *fleet, const struct assign_catalog **ret);
/* Packages, assignments or rollouts changed: every host is to be looked at again. */
void fleet_changed(struct fleet *fleet);

/* Queue an output; *data* is taken over, also on failure. */
must_check int fleet_say(struct fleet *fleet, uint64_t connection, uint8_t *data, size_t size,
			 bool close_after);
must_check int fleet_say_refusal(struct fleet *fleet, uint64_t connection, unsigned status,
				 unsigned retry_after);

/* fleet_session.c */
struct fleet_session *fleet_session_find(const struct fleet *fleet, uint64_t connection);
struct fleet_session *fleet_session_of_host(const struct fleet *fleet, int64_t host);
void fleet_session_end(struct fleet *fleet, struct fleet_session *session);
void fleet_sessions_done(struct fleet *fleet);
/* Whether two take turns with the credential of a host. */
bool fleet_is_duplicate(const struct fleet *fleet, int64_t host);
/* Whether a report is of another host that polls with the same credential: then it was refused. */
must_check int fleet_turn_away(struct fleet *fleet, struct fleet_session *session,
			       const struct fleet_report *report, bool *ret);
/* Writes the times of a slice of hosts that only sent heartbeats. */
must_check int fleet_write_seen(struct fleet *fleet);
/* fleet_report.c: whether the host is to be offered its packages once more, as it names others. */
must_check bool fleet_forget_other_offer(struct fleet_session *session);
/* When a host was last heard of; whether it is silent, beyond when nobody could be heard. */
uint64_t fleet_last_seen(const struct fleet *fleet, int64_t host, uint64_t stored);
bool fleet_is_stale(const struct fleet *fleet, int64_t host, uint64_t stored);
/* When every host had its chance to be back after the start. */
uint64_t fleet_returned(const struct fleet *fleet);
/* Whether what is stored of a host was said to this process: before, it may be out of date. */
bool fleet_has_told(const struct fleet *fleet, int64_t host, uint64_t stored);

/* fleet_offer.c: what a host gets now, as one ServerToAgent. Without *is_answer* nothing is said if
 * there is nothing new. */
must_check int fleet_offer(struct fleet *fleet, struct fleet_session *session, bool is_answer,
			   uint64_t flags);
/* The digest of the packages that a host is offered now. 0; 1: no such host; -errno. */
must_check int fleet_offer_hash(struct fleet *fleet, int64_t host, uint8_t ret[FLEET_HASH_SIZE]);
/* One host is to be looked at again. */
void fleet_offer_again(struct fleet *fleet, int64_t host);

/* fleet_removal.c: the add-ons whose removal is confirmed for an offer of this digest, which is
 * made now; NULL: none. What was confirmed for another is forgotten. */
must_check int fleet_removal_load(struct fleet *fleet, int64_t host,
				  const uint8_t hash[FLEET_HASH_SIZE], json_t **ret);
