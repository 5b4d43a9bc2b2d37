/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/api_problem.h"

struct fleet;
struct package_arrival;

/*
 * An add-on that affixd fetches from a registry itself. What talks to the registry is a process of
 * its own (puller.h), started for one reference and confined; what it brings is an upload like any
 * other, and as little believed.
 */
struct package_pull {
	char *reference;
	char *registry;  /* HOST[:PORT] of the reference */
	char *auth_file; /* NULL: no credentials */
	char *ca_file;   /* NULL: the system's authorities */
	uint64_t number;
	atomic_bool is_abandoned; /* set by whoever wants it to end: the result is -ECANCELED */
};

struct package_pull *package_pull_free(struct package_pull *pull);

/* An arrival whose bundles are still to be fetched. 0; 1 where *reference* is none, or its registry
 * is not among those that affixd.yaml allows; -errno. */
must_check int package_pull_new(struct fleet *fleet, const char *reference,
				struct package_arrival **ret, struct api_problem *reterr);

/* Fetches the bundles, and checks each: they are *arrival->next* and behind. May run on another
 * thread. */
void package_pull_check(struct package_arrival *arrival);

/* Empties the cache of pulls, as far as nobody uses it. */
void package_pull_forget(int data_dirfd);
