/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "control/fleet_report.h"

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
	 * seconds: 401 unknown, 403 revoked, 409 the same host is connected by another connection,
	 * 503 try again. It ends; no fleet_gone() is expected for it, and one does no harm. */
	void (*refuse)(void *userdata, uint64_t connection, unsigned status, unsigned retry_after);
};

struct fleet_options {
	int data_dirfd;  /* borrowed for the life of the fleet */
	int trust_dirfd; /* keys that bundles are verified with; -EBADF: trust.d in the data */
	const char *public_url;  /* what hosts reach us by: "https://fleet.example:4320"; no '/' at
				    the end; NULL: as each host did */
	bool trust_certificates; /* a client certificate's CN may stand for a credential */
	unsigned heartbeat_seconds; /* offered to hosts; 0: 30 */
	unsigned poll_seconds;      /* the same to those that poll; 0, or more: heartbeat_seconds */
	unsigned stale_seconds;     /* silence after which a host is stale; 0: three heartbeats */
	unsigned url_seconds;       /* life of a download URL; 0: 3600 */
	const struct strv *registries; /* HOST[:PORT] that add-ons may be pulled from; borrowed */
	const char *registry_auth;     /* file of credentials for them, or NULL; borrowed */
	const char *registry_ca;       /* file of their authorities, or NULL; borrowed */
	unsigned audit_keep_days;      /* older entries of the audit log are removed; 0: none is */
	uint64_t (*clock)(void);       /* seconds since 1970; NULL: the real clock */
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
/* Whether there is anything to commit or to let out. */
bool fleet_has_news(const struct fleet *fleet);

/*
 * What time does: rollouts, staleness, offers to hosts that a change concerns (a slice of them per
 * call). Flushes. *ret_wait_ms* is when to call again: 0 at once, at most 1000. 0 or -errno as
 * fleet_flush().
 */
must_check int fleet_tick(struct fleet *fleet, unsigned *ret_wait_ms);
