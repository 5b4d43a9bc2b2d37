/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/*
 * The deciding half of affixd: everything that is known of the fleet, and what follows from it. One
 * thread. It owns the database and the artifacts in the data directory, and no socket: what hosts
 * say comes in as the structs below, what they are told goes out through struct fleet_output.
 *
 * Connections are named by a number that the caller makes unique over all fronts: the front's
 * number in the highest 16 bits (FLEET_CONNECTION), the front's own number below.
 *
 * Nothing goes out before what it says is on disk: outputs wait for fleet_flush(), which commits
 * all that came in since the last one. Call it when nothing more is waiting to be read, and at
 * least every 50 ms.
 */
struct fleet;

#define FLEET_CONNECTION(front, number) (((uint64_t)(front) << 48) | ((number)&0xffffffffffffULL))
#define FLEET_UID_SIZE                  16U
#define FLEET_KEY_SIZE                  32U
#define FLEET_PROBLEM_MAX               512U

/* What a fleet says to connections. *data* is borrowed for the call. */
struct fleet_output {
	void *userdata;
	/* The bytes of one ServerToAgent, written out unchanged; the connection ends after it with
	 * *close_after*. Some are answers, others come of themselves: a host that polls gets those,
	 * in their order, with its next polls. */
	void (*message)(void *userdata, uint64_t connection, const void *data, size_t size,
			bool close_after);
	/* The connection is not, or no longer, wanted: HTTP status and, unless 0, Retry-After in
	 * seconds: 401 unknown, 403 revoked, 409 the same host came by another connection, 503 try
	 * again. It ends; no fleet_gone() is expected for it, and one does no
	 * harm. */
	void (*refuse)(void *userdata, uint64_t connection, unsigned status, unsigned retry_after);
};

struct fleet_options {
	int data_dirfd;  /* borrowed for the life of the fleet */
	int trust_dirfd; /* keys that bundles are verified with; -EBADF: trust.d in the data */
	const char *public_url;  /* what hosts reach us by: "https://fleet.example:4320"; no '/' at
				    the end */
	bool trust_certificates; /* a client certificate's CN may stand for a credential */
	unsigned heartbeat_seconds; /* offered to hosts; 0: 30 */
	unsigned stale_seconds;     /* silence after which a host is stale; 0: three heartbeats */
	unsigned url_seconds;       /* life of a download URL; 0: 3600 */
	uint64_t (*clock)(void);    /* seconds since 1970; NULL: the real clock */
};

/*
 * Opens or makes the database DATA/affixd.db, brings it up to date, and on the first start makes
 * the first admin token, in DATA/admin-token (0600). 0; 1 with a sentence in *reterr*
 * (FLEET_PROBLEM_MAX bytes): damaged, locked by another affixd, newer than this program; -errno.
 */
must_check int fleet_open(const struct fleet_options *options, const struct fleet_output *output,
			  struct fleet **ret, char *reterr);
struct fleet *fleet_free(struct fleet *fleet);

DEFINE_CLEANUP(struct fleet *, fleet, fleet_free)
#define cleanup_fleet CLEANUP(cleanup_fleet)

/* The key of download URLs, for the fronts (package_url.h). Stays the same over restarts. */
const uint8_t *fleet_url_key(const struct fleet *fleet);

/* The first message of a connection. All strings may be NULL. */
struct fleet_hello {
	uint64_t connection;
	uint8_t instance_uid[FLEET_UID_SIZE];
	const char *authorization; /* the header's value */
	const char *peer;          /* address, for the audit log */
	const char *transport;     /* "ws" or "http" */
	const char *certificate_name;
};

/* An attribute of the agent's description, its value as text. */
struct fleet_attribute {
	const char *key;
	const char *value;
	bool identifying;
};

/* One component of the health tree, parents before children. */
struct fleet_health {
	const char *component; /* "" for the agent itself, else the map key: the add-on's id */
	bool healthy;
	const char *status;     /* or NULL */
	const char *last_error; /* or NULL */
	uint64_t start_time;    /* nanoseconds since 1970, 0: unknown */
};

struct fleet_bytes {
	const void *data;
	size_t size;
};

struct fleet_package_status {
	const char *name;
	const char *has_version;
	struct fleet_bytes has_hash;
	const char *offered_version;
	struct fleet_bytes offered_hash;
	unsigned status; /* OpAMP's PackageStatusEnum */
	const char *error;
};

struct fleet_config_entry {
	const char *name;
	const char *content_type;
	struct fleet_bytes body;
};

/* One AgentToServer, decoded. What is not present was not in the message: it did not change. */
struct fleet_report {
	uint64_t connection;
	uint64_t sequence;
	bool is_after_gap; /* messages were lost: it does not follow the connection's last one,
			    * heartbeats that the front answered included */
	uint64_t capabilities;
	uint64_t flags;
	bool has_description;
	const struct fleet_attribute *attributes;
	size_t n_attributes;
	bool has_health;
	const struct fleet_health *health;
	size_t n_health;
	bool has_config_status;
	struct fleet_bytes config_hash; /* last_remote_config_hash */
	unsigned config_status;         /* OpAMP's RemoteConfigStatuses */
	const char *config_error;
	bool has_effective_config;
	const struct fleet_config_entry *effective_config;
	size_t n_effective_config;
	bool has_packages;
	struct fleet_bytes packages_hash; /* server_provided_all_packages_hash */
	const char *packages_error;
	const struct fleet_package_status *packages;
	size_t n_packages;
	bool has_custom_capabilities;
	const char *const *custom_capabilities;
	size_t n_custom_capabilities;
	bool has_custom_message;
	const char *custom_capability;
	const char *custom_type;
	struct fleet_bytes custom_data;
	bool disconnect;
};

/*
 * What hosts say. 0, also where the host was refused (that is an output); -errno where the database
 * failed: the connection was then refused with 503, and the fleet goes on.
 */
must_check int fleet_hello(struct fleet *fleet, const struct fleet_hello *hello);
/* Answered by exactly one message() or refuse(). A connection without an accepted fleet_hello() is
 * refused. */
must_check int fleet_report(struct fleet *fleet, const struct fleet_report *report);
/* Connections whose heartbeat came (the fronts answered it themselves). */
must_check int fleet_seen(struct fleet *fleet, const uint64_t *connections, size_t n);
void fleet_gone(struct fleet *fleet, uint64_t connection);
/* A front ended, and all its connections with it. */
void fleet_front_gone(struct fleet *fleet, unsigned front);

/* Commits and lets outputs out. 0; -errno: all that was to be committed is dropped, and its
 * connections are refused with 503 instead, so that their hosts say it again. */
must_check int fleet_flush(struct fleet *fleet);

/*
 * What time does: rollouts, staleness, offers to hosts that a change concerns (a slice of them per
 * call). Flushes. *ret_wait_ms* is when to call again: 0 at once, at most 1000. 0 or -errno as
 * fleet_flush().
 */
must_check int fleet_tick(struct fleet *fleet, unsigned *ret_wait_ms);
