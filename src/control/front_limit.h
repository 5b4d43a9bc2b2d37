/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/cleanup.h"

/*
 * How much one address may have open. IPv6 addresses count by their /64: that is what one peer has.
 * A connection is unproven until somebody vouches for it; those are few, so that no stranger can
 * keep hosts out.
 */
struct limit_address;

struct limits {
	void *tree; /* search.h */
	unsigned connections_max;
	unsigned unproven_max;
};

/* Counts a new connection. 0 and *ret*, which limit_release() gives back; 1: too many; -ENOMEM. */
must_check int limit_take(struct limits *limits, const struct sockaddr_storage *peer,
			  struct limit_address **ret);
/* The connection is unproven no more. */
void limit_prove(struct limit_address *address);
/* The connection is closed; *address* may be NULL. */
void limit_release(struct limits *limits, struct limit_address *address, bool is_proven);

/* Tokens that come back over time, *rate* a second up to *burst*. */
struct limit_bucket {
	uint64_t msec;  /* when *spent* was true */
	uint64_t spent; /* thousandths of a token */
};

/* Takes one token at *now*; false: none is left. */
bool limit_bucket_take(struct limit_bucket *bucket, uint64_t now, unsigned rate, unsigned burst);
